"""From today's files and the recorded runs to a proposal: which statements go where, and what is executed for them."""

from __future__ import annotations

import ast
import functools
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flor_instrument import (
    Patch,
    Place,
    Propagation,
    SourceError,
    carried,
    hindsight,
    lost_but_dead,
    propagate,
    volatile_names,
    where,
)

from flor_replay.errors import SourceProblem, StoreError, UsageError
from flor_replay.history.versions import History
from flor_replay.plan import facts as plan_facts
from flor_replay.plan import planner
from flor_replay.plan.facts import RunFacts
from flor_replay.plan.planner import Need, RunPlan
from flor_replay.plan.segments import Segment
from flor_replay.replay.task import Inserted
from flor_replay.store.runs import Run


@dataclass(frozen=True)
class FilePatch:
    """What today's version of one file adds."""

    path: str
    today: bytes
    patch: Patch
    results: dict[bytes, Propagation] = field(default_factory=dict, repr=False, compare=False)  # by a version's bytes

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(unit.name or unit.text for unit in self.patch.units))


@dataclass
class VersionProposal:
    """One version: what was placed where, what was refused, and the plan of each of its runs."""

    commit: str
    runs: list[Run]
    files: dict[str, Propagation] = field(default_factory=dict)  # path in this version -> result
    originals: dict[str, bytes] = field(default_factory=dict)
    problem: str | None = None  # why nothing can be done for this version
    patched: str | None = None  # the commit of the patched version
    names: tuple[str, ...] = ()  # what will be filled
    reason: str = ""  # where the statements stand, in words
    volatile: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    plans: dict[str, RunPlan] = field(default_factory=dict)
    filled: dict[str, str] = field(default_factory=dict)  # run -> verdict of earlier replays that cover it

    @property
    def refused(self) -> list[tuple[str, str, int | None]]:
        """(name or text of the statement, reason, line in today's file)"""
        return [
            (_label(path, result, refusal.unit, self._units.get(path)), refusal.reason, refusal.line)
            for path, result in self.files.items()
            for refusal in result.refused
        ]

    _units: dict[str, Patch] = field(default_factory=dict)

    @property
    def already(self) -> bool:
        """Nothing was placed or refused: the version has the statements."""
        return not self.problem and not self.names and not self.refused

    @property
    def inserted(self) -> tuple[Inserted, ...]:
        return tuple(
            Inserted(path, placement.line, placement.end_line, placement.replaces)
            for path, result in self.files.items()
            for placement in result.placed
        )

    @property
    def seconds(self) -> float:
        return sum(plan.seconds for plan in self.plans.values())


def _label(path: str, result: Propagation, unit: int, patch: Patch | None) -> str:
    if patch is None or unit >= len(patch.units):
        return path
    found = patch.units[unit]
    return found.name or found.text.strip().splitlines()[0]


@dataclass(frozen=True)
class Selection:
    """Which runs and iterations are asked for."""

    last: int | None = None
    runs: frozenset[str] | None = None
    where: str | None = None
    iterations: tuple[str, frozenset[int] | range] | None = None
    names: frozenset[str] | None = None  # of the statements in today's file; None for all that are new
    again: bool = False  # also what was replayed and diverged


@dataclass
class Proposal:
    """Everything that ``add-log`` shows before it asks."""

    root: str
    store: str
    files: list[FilePatch]
    versions: list[VersionProposal]  # newest first
    left_out: list[tuple[Run, str]]  # runs that cannot be replayed, with the reason
    facts: dict[str, RunFacts]
    jobs: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for file in self.files for name in file.names))

    @property
    def to_replay(self) -> list[VersionProposal]:
        return [version for version in self.versions if any(plan.segments for plan in version.plans.values())]

    def estimate(self) -> float:
        """Seconds until the last worker is done."""
        work = [segment.seconds for v in self.versions for plan in v.plans.values() for segment in plan.segments]
        return planner.makespan(work, self.jobs)


def propose(
    history: History,
    root: str,
    store: str,
    paths: Sequence[str],
    everything: Sequence[Run],
    selection: Selection,
    jobs: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Proposal:
    """Work out the proposal. Nothing is executed, and nothing but objects under refs/flor is written.

    Raises SourceProblem when a file cannot be parsed or adds nothing, UsageError when it is not in the project,
    StoreError when there is nothing to replay.
    """
    recorded = [run for run in everything if not run.replay_of and run.rank == 0]
    usable, left_out = _usable(history, recorded, selection)
    if not recorded:
        raise StoreError("no runs are recorded in this project yet: run the script once, then change it")
    if not usable:
        reasons = "; ".join(dict.fromkeys(reason for _, reason in left_out)) or "none matches the selection"
        raise StoreError(f"none of the {len(recorded)} recorded runs can be replayed: {reasons}")
    versions = _by_version(usable)
    prefix = os.path.relpath(os.path.realpath(root), os.path.realpath(history.top))
    prefix = "" if prefix == "." else prefix + "/"
    files = [_file_patch(history, root, path, versions, selection, prefix) for path in paths]
    known = plan_facts.gather(usable)
    for place, version in enumerate(versions):
        progress(f"version {place + 1} of {len(versions)}")
        _place(history, version, files, versions[:place], prefix)
        if version.names:
            _plan(history, version, known, everything, selection, jobs, len(versions), prefix)
    return Proposal(root, store, files, versions, left_out, known, jobs)


def _usable(history: History, recorded: Sequence[Run], selection: Selection) -> tuple[list[Run], list[tuple[Run, str]]]:
    usable, left_out = [], []
    chosen = [run for run in recorded if selection.runs is None or run.run in selection.runs]
    if selection.last is not None:
        chosen = chosen[-selection.last :]
    known: dict[str, bool] = {}
    for run in chosen:
        commit = run.commit
        if run.status == "running":
            left_out.append((run, "it is still running"))
        elif run.info.get("entry", {}).get("kind") == "interactive":
            left_out.append((run, "it ran in a notebook or shell, which cannot be run again by itself"))
        elif commit is None:
            left_out.append((run, str(run.version.get("error", "it has no version"))))
        elif not known.setdefault(commit, history.has(commit)):
            left_out.append((run, f"its version {commit[:8]} is no longer in the repository"))
        else:
            usable.append(run)
    return usable, left_out


def _by_version(runs: Sequence[Run]) -> list[VersionProposal]:
    """Newest first."""
    found: dict[str, VersionProposal] = {}
    for run in reversed(runs):
        commit = str(run.commit)
        found.setdefault(commit, VersionProposal(commit, [])).runs.insert(0, run)
    return list(found.values())


def _file_patch(
    history: History,
    root: str,
    path: str,
    versions: Sequence[VersionProposal],
    selection: Selection,
    prefix: str,
) -> FilePatch:
    full = os.path.realpath(path)
    base = os.path.realpath(root)
    if not os.path.isfile(full):
        raise UsageError(f"{path}: there is no such file")
    if not full.startswith(base + os.sep):
        raise UsageError(f"{path} is not in the project {root}")
    name = os.path.relpath(full, base).replace(os.sep, "/")
    with open(full, "rb") as file:
        today = file.read()
    patch = None
    seen: set[bytes] = set()
    for version, old in zip(versions, history.followed(prefix + name, [one.commit for one in versions]), strict=True):
        if old is None or old[1] in seen:
            continue
        seen.add(old[1])
        try:
            patch = hindsight(old[1], today)
        except SourceError as error:
            line = f" line {error.line}" if error.line else ""
            raise SourceProblem(f"{name}{line}: {error}") from None
        if selection.names is not None:
            kept = [place for place, unit in enumerate(patch.units) if selection.names & {unit.name, *unit.names}]
            if len({patch.units[place].name for place in kept}) < len(selection.names) and version is not versions[-1]:
                continue  # an older version may lack the statement that this one has
            patch = replace(
                patch,
                units=tuple(patch.units[place] for place in kept),
                parts=tuple(patch.parts[place] for place in kept),
            )
        _check_calls(name, patch)
        if patch.units:
            return FilePatch(prefix + name, today, patch)
    if not seen:
        raise SourceProblem(f"{name} is in none of the recorded versions: run it once, then add statements")
    wanted = f" called {', '.join(sorted(selection.names))}" if selection.names else ""
    raise SourceProblem(
        f"{name} has no flor.log statement{wanted} that its recorded versions lack: add one and save the file"
    )


def _check_calls(name: str, patch: Patch) -> None:
    """A log call without a value would fail in every version: say so before anything runs."""
    for unit in patch.units:
        try:
            tree = ast.parse(textwrap.dedent(unit.text))
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "log":
                continue
            starred = any(isinstance(arg, ast.Starred) for arg in node.args) or any(
                k.arg is None for k in node.keywords
            )
            is_flor = isinstance(node.func.value, ast.Name) and node.func.value.id == "flor"
            if is_flor and not starred and len(node.args) + len(node.keywords) < 2:
                line = unit.line + node.lineno - 1
                raise SourceProblem(f"{name} line {line}: {ast.unparse(node)} has no value: flor.log(name, value)")


def _place(
    history: History,
    version: VersionProposal,
    files: Sequence[FilePatch],
    newer: Sequence[VersionProposal],
    prefix: str,
) -> None:
    """Propagate each file's patch into the version, along the versions between."""
    changed: dict[str, bytes] = {}
    commits = [one.commit for one in (*newer, version)]
    for file in files:
        *before, found = history.followed(file.path, commits)
        if found is None:
            if len(files) == 1:
                version.problem = f"it has no file {file.path[len(prefix) :]}"
            continue
        path, target = found
        result = file.results.get(target)
        if result is None:
            between = dict.fromkeys(source[1] for source in before if source is not None and source[1] != target)
            result = file.results[target] = propagate(file.patch, target, tuple(between))
        version.files[path] = result
        version.originals[path] = target
        version._units[path] = file.patch
        if result.placed:
            changed[path] = result.source
    names: dict[str, None] = {}
    for path, result in version.files.items():
        for placement in result.placed:
            if placement.kind == "log":
                unit = version._units[path].units[placement.unit]
                names[placement.name or unit.name or unit.text.strip().splitlines()[0]] = None
    version.names = tuple(names)
    if changed:
        message = "flor: hindsight statements " + ", ".join(names)
        version.patched = history.patched(version.commit, changed, message)
    version.replaced = frozenset(
        str(placement.name) for result in version.files.values() for placement in result.placed if placement.replaces
    )


def _plan(
    history: History,
    version: VersionProposal,
    known: Mapping[str, RunFacts],
    everything: Sequence[Run],
    selection: Selection,
    jobs: int,
    count: int,
    prefix: str,
) -> None:
    assert version.patched is not None
    sources = history.python_sources(version.patched)
    version.volatile = volatile_names(sources.values())
    share = max(1, -(-jobs * 2 // max(1, count)))  # workers that one run may use when many are replayed together
    kept: dict[str, tuple[str | None, bool]] = {}  # what the patch carries, by script: its runs share the answer
    deadness = functools.cache(functools.partial(lost_but_dead, sources))
    for run in version.runs:
        script = prefix + run.filename
        facts = plan_facts.without_dead(known[run.run], script, prefix, deadness)
        if script not in kept:
            kept[script] = _carried(version, sources, script)
        need, version.reason = _need(version, sources, script, facts, *kept[script])
        if selection.iterations is not None and facts.main is not None:
            loop, chosen = selection.iterations
            if loop != facts.main.name:
                version.plans[run.run] = RunPlan(run.run, (), f"its main loop is {facts.main.name!r}, not {loop!r}")
                continue
            need = replace(need, iterations=frozenset(i for i in range(facts.main.iterations) if i in chosen))
        need, verdict = _still_needed(need, facts, run, version.patched, everything, selection.again)
        if verdict is not None and not need.places:
            version.filled[run.run] = verdict
            version.plans[run.run] = RunPlan(run.run, (), "already filled")
        elif not need.places:
            version.plans[run.run] = RunPlan(
                run.run, (), version.reason or "the statements are not reached by this script"
            )
        else:
            version.plans[run.run] = planner.plan_run(facts, need, share)


def _carried(version: VersionProposal, sources: Mapping[str, bytes], script: str) -> tuple[str | None, bool]:
    """Whether the patch brings state of its own that lives across iterations."""
    across: str | None = None
    nested = False
    for path, result in version.files.items():
        if result.placed:
            ranges = [(p.line, p.end_line) for p in result.placed]
            found = carried(result.source, ranges, files=sources, script=script, path=path)
            nested = nested or bool(found.across_nested)
            if found.across_main and across is None:
                across = next(iter(found.reasons), ", ".join(found.across_main))
    return across, nested


def _need(
    version: VersionProposal,
    sources: Mapping[str, bytes],
    script: str,
    facts: RunFacts,
    across: str | None,
    nested: bool,
) -> tuple[Need, str]:
    places: set[Place] = set()
    words: dict[str, None] = {}
    main = facts.main.name if facts.main else None
    for path, result in version.files.items():
        for placement in result.placed:
            if placement.kind != "log":
                continue
            found = where(sources, script, (path, placement.line))
            words[found.reason] = None
            places |= found.places
            others = [site for site in found.mains if site.name != main]
            if others or len(found.mains) > 1:
                # It stands in a main loop that replay is not planned by: that one runs before or after it.
                places |= {Place.BEFORE, Place.AFTER}
    if Place.BETWEEN in places:
        places |= {Place.BEFORE, Place.AFTER}
        places.discard(Place.BETWEEN)
    return Need(frozenset(places), across, nested), "; ".join(words)


_INSIDE = frozenset({Place.BEFORE_NESTED, Place.ITERATION, Place.NESTED, Place.BETWEEN_NESTED, Place.AFTER_NESTED})


def _still_needed(
    need: Need, facts: RunFacts, run: Run, patched: str, everything: Sequence[Run], again: bool
) -> tuple[Need, str | None]:
    """What earlier replays of the same patched version have not filled yet, and their verdict."""
    trusted = ("exact", "close", "unchecked") if again else ("exact", "close", "unchecked", "diverged")
    before = after = False
    done: set[int] = set()
    verdicts = []
    whole = False
    for replay in everything:
        verdict = str(replay.fidelity.get("verdict"))
        if replay.replay_of != run.run or replay.info.get("patched") != patched or verdict not in trusted:
            continue
        segment = Segment.from_data(dict(replay.info["segment"]))
        if verdict == "diverged" and segment.kind != "whole":
            continue
        verdicts.append(verdict)
        whole = whole or segment.kind == "whole"
        before = before or segment.prefix
        after = after or segment.suffix
        done |= (
            {index for index, _, _ in segment.exits}
            if segment.kind == "exits"
            else set(range(segment.start, segment.stop))
        )
    if not verdicts:
        return need, None
    from flor_replay.replay.fidelity import worst

    verdict = worst(verdicts)
    if whole:
        return replace(need, places=frozenset()), verdict
    places = set(need.places)
    if before:
        places.discard(Place.BEFORE)
    if after or facts.main is None or facts.main.ended_by is None:
        places.discard(Place.AFTER)
    if facts.main is not None and places & _INSIDE:
        wanted = need.iterations if need.iterations is not None else frozenset(range(facts.main.iterations))
        rest = wanted - done
        if not rest:
            places -= _INSIDE
        need = replace(need, iterations=rest)
    return replace(need, places=frozenset(places)), verdict
