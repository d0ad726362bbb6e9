"""What the statements that were placed in a version need of each of its runs, and so what is executed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

from flor_instrument import Place, Where, carried, clock_fed, lost_but_dead, possible_effect, volatile_names, where

from flor_replay.history.versions import History
from flor_replay.plan import facts as plan_facts
from flor_replay.plan import planner
from flor_replay.plan.facts import RunFacts
from flor_replay.plan.planner import Need, RunPlan
from flor_replay.plan.segments import Segment
from flor_replay.replay.proposal import Selection, VersionProposal
from flor_replay.replay.rewrapping import with_loops, wraps_of
from flor_replay.replay.starting import Nurseries
from flor_replay.store.runs import UNRECORDED, Run


def plan_version(
    history: History,
    version: VersionProposal,
    known: Mapping[str, RunFacts],
    replays: Mapping[str, Sequence[Run]],
    selection: Selection,
    prefix: str,
    answers: dict[tuple[object, ...], Answers],
) -> None:
    """Fill in the version's plans: what one worker would execute for each of its runs that was recorded.

    `replays` has what was replayed before, by run. `answers` is what is known of other versions by now: those whose sources
    are the same are not looked at again.
    """
    recorded = [run for run in version.runs if run.status != UNRECORDED]
    if not recorded:
        return
    assert version.patched is not None
    plain = history.python_sources(version.patched)
    version.volatile = volatile_names(plain.values())
    version.clock_fed = {name: sorted(found) for name, found in asdict(clock_fed(plain.values())).items()}
    content = (frozenset(plain.items()), version.inserted)
    for run in recorded:
        script = prefix + run.filename
        wraps = version.wraps[run.run] = wraps_of(run, version, prefix)
        key = (content, wraps)  # runs of one version share them too, unless other loops of theirs were named in memory
        if key not in answers:
            answers[key] = Answers(version, with_loops(plain, wraps, prefix))
        about = answers[key]
        facts = plan_facts.without_dead(known[run.run], script, prefix, about.deadness)
        points = facts.main.points if facts.main is not None else ()
        version.dead[run.run] = tuple((point.checkpoint, path) for point in points for path in point.dead)
        need, version.reason = _need(version, about.located, script, facts, *about.carried(script))
        if selection.iterations is not None and facts.main is not None:
            loop, chosen = selection.iterations
            if loop != facts.main.name:
                version.plans[run.run] = RunPlan(run.run, (), f"its main loop is {facts.main.name!r}, not {loop!r}")
                continue
            need = replace(need, iterations=frozenset(i for i in range(facts.main.iterations) if i in chosen))
        need, verdict = _still_needed(need, facts, version.patched, replays.get(run.run, ()), selection.again)
        if verdict is not None and not need.places:
            version.filled[run.run] = verdict
            version.plans[run.run] = RunPlan(run.run, (), "already filled")
        elif not need.places:
            version.plans[run.run] = RunPlan(
                run.run, (), version.reason or "the statements are not reached by this script"
            )
        else:
            need = replace(need, effects=about.effects())
            version.needs[run.run] = facts, need
            version.plans[run.run] = planner.plan_run(facts, need, warm=Nurseries.possible())


def plan_unrecorded(
    version: VersionProposal,
    known: Mapping[str, RunFacts],
    replays: Mapping[str, Sequence[Run]],
    selection: Selection,
    prefix: str,
) -> None:
    """Fill in the plans of what was never recorded of a version: all of it is executed."""
    for run in version.runs:
        if run.status != UNRECORDED:
            continue
        if version.patched is None:  # it has the statements
            version.patched = version.commit
        version.wraps[run.run] = wraps_of(run, version, prefix)
        facts = known[run.run]
        need = Need(frozenset({Place.BEFORE, Place.AFTER}))
        need, verdict = _still_needed(need, facts, version.patched, replays.get(run.run, ()), selection.again)
        if verdict is not None:
            version.filled[run.run] = verdict
            version.plans[run.run] = RunPlan(run.run, (), "already filled")
        else:
            version.needs[run.run] = facts, need
            version.plans[run.run] = RunPlan(
                run.run, (planner.whole(facts, warm=Nurseries.possible()),), "it was never recorded"
            )


class Answers:
    """What is asked of one form of a version's sources; each question once."""

    def __init__(self, version: VersionProposal, sources: Mapping[str, bytes]) -> None:
        self._version = version
        self._sources = sources
        self.deadness = functools.cache(functools.partial(lost_but_dead, sources))
        self.located = functools.cache(functools.partial(where, sources))
        self.carried = functools.cache(self._carried)
        self.effects = functools.cache(self._effects)

    def _effects(self) -> str | None:
        """Why the patch may change what training computes."""
        placed: dict[str, list[tuple[int, int]]] = {}
        for file, placement in self._version.placed:
            placed.setdefault(file.path, []).append((placement.line, placement.end_line))
        return possible_effect(self._sources, placed)

    def _carried(self, script: str) -> tuple[str | None, bool]:
        """Whether the patch brings state of its own that lives across iterations."""
        across: str | None = None
        nested = False
        for path in self._version.sources:
            ranges = [(p.line, p.end_line) for file, p in self._version.placed if file.path == path]
            if ranges:
                found = carried(self._sources[path], ranges, files=self._sources, script=script, path=path)
                nested = nested or bool(found.across_nested)
                if found.across_main and across is None:
                    across = next(iter(found.reasons), ", ".join(found.across_main))
        return across, nested


def _need(
    version: VersionProposal,
    located: Callable[[str, tuple[str, int]], Where],
    script: str,
    facts: RunFacts,
    across: str | None,
    nested: bool,
) -> tuple[Need, str]:
    places: set[Place] = set()
    words: dict[str, None] = {}
    main = facts.main.name if facts.main else None
    for file, placement in version.placed:
        if placement.kind != "log":
            continue
        found = located(script, (file.path, placement.line))
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
    need: Need, facts: RunFacts, patched: str, replays: Sequence[Run], again: bool
) -> tuple[Need, str | None]:
    """What earlier replays of the run in the same patched version have not filled yet, and their verdict."""
    trusted = ("exact", "close", "unchecked") if again else ("exact", "close", "unchecked", "diverged")
    before = after = False
    done: set[int] = set()
    verdicts = []
    whole = False
    for replay in replays:
        verdict = str(replay.fidelity.get("verdict"))
        if replay.info.get("patched") != patched or verdict not in trusted:
            continue
        segment = Segment.from_data(dict(replay.info["segment"]))
        if verdict == "diverged" and segment.kind != "whole":
            continue
        verdicts.append(verdict)
        whole = whole or segment.kind == "whole"
        before = before or segment.prefix
        after = after or segment.suffix
        done |= segment.kept()
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
