"""A proposal as data: which statements go where in each version, and what is executed for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flor_instrument import Patch, Placement, Propagation, Refusal

from flor_replay.plan import planner
from flor_replay.plan.facts import RunFacts
from flor_replay.plan.planner import Need, RunPlan
from flor_replay.record.wrapping import Wrap
from flor_replay.replay.task import Inserted
from flor_replay.store.runs import Run


@dataclass(frozen=True)
class FilePatch:
    """What today's version of one file adds. `path` is relative to the repository's top."""

    path: str
    today: bytes
    patch: Patch

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(label(self.patch, unit) for unit in range(len(self.patch.units))))


def label(patch: Patch, unit: int) -> str:
    """What a unit is called: the name that it logs, or its first line."""
    found = patch.units[unit]
    return found.name or found.text.strip().splitlines()[0]


@dataclass(frozen=True)
class FileResult:
    """What became of statements of today's `today` in the version's file `path`."""

    today: str
    path: str
    patch: Patch  # the statements that are meant: all of the file's, or those whose function stands elsewhere
    original: bytes  # the version's file; empty where it has none
    result: Propagation

    def name(self, placement: Placement) -> str:
        return placement.name or label(self.patch, placement.unit)


@dataclass(frozen=True)
class Refused:
    """A statement that has no place in a version. `line` is its line in today's file `today`."""

    statement: str
    reason: str
    today: str
    line: int | None
    file: FileResult
    refusal: Refusal


@dataclass
class VersionProposal:
    """One version: what was placed where, what was refused, and the plan of each of its runs."""

    commit: str
    runs: list[Run]
    files: list[FileResult] = field(default_factory=list)
    sources: dict[str, bytes] = field(default_factory=dict)  # the patched files
    problem: str | None = None  # why nothing can be done for this version
    patched: str | None = None  # the commit of the patched version
    reason: str = ""  # where the statements stand, in words
    volatile: frozenset[str] = frozenset()
    needs: dict[str, tuple[RunFacts, Need]] = field(default_factory=dict)  # run -> what its plan was made of
    clock_fed: Mapping[str, Sequence[str]] = field(default_factory=dict)  # state that tells the time
    plans: dict[str, RunPlan] = field(default_factory=dict)
    wraps: dict[str, tuple[Wrap, ...]] = field(default_factory=dict)  # run -> loops named in memory, by patched lines
    dead: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)  # run -> (checkpoint, what it may lack)
    pythons: dict[str, str] = field(default_factory=dict)  # run -> the interpreter of an environment of its own
    filled: dict[str, str] = field(default_factory=dict)  # run -> verdict of earlier replays that cover it

    @property
    def placed(self) -> list[tuple[FileResult, Placement]]:
        return [(file, placement) for file in self.files for placement in file.result.placed]

    @property
    def names(self) -> tuple[str, ...]:
        """What will be filled."""
        return tuple(dict.fromkeys(file.name(placement) for file, placement in self.placed if placement.kind == "log"))

    @property
    def placed_by(self) -> dict[str, str]:
        """The names that a person placed, with how: "accepted" or "edited"."""
        return {file.name(p): p.placed_by for file, p in self.placed if p.kind == "log" and p.placed_by != "tool"}

    @property
    def replaced(self) -> frozenset[str]:
        """Names whose recorded values are made again."""
        return frozenset(str(placement.name) for _, placement in self.placed if placement.replaces)

    @property
    def refused(self) -> list[Refused]:
        return [
            Refused(label(file.patch, refusal.unit), refusal.reason, file.today, refusal.line, file, refusal)
            for file in self.files
            for refusal in file.result.refused
        ]

    @property
    def already(self) -> bool:
        """Nothing was placed or refused, and nothing is executed: the version has the statements."""
        return not self.problem and not self.names and not self.refused and not self.plans

    @property
    def inserted(self) -> tuple[Inserted, ...]:
        return tuple(
            Inserted(file.path, placement.line, placement.end_line, placement.replaces)
            for file, placement in self.placed
        )

    @property
    def seconds(self) -> float:
        return sum(plan.seconds for plan in self.plans.values())


@dataclass(frozen=True)
class Selection:
    """Which runs and iterations are asked for."""

    last: int | None = None
    runs: frozenset[str] | None = None
    where: str | None = None
    iterations: tuple[str, frozenset[int] | range] | None = None
    names: frozenset[str] | None = None  # of the statements in today's file; None for all that are new
    again: bool = False  # also what was replayed and diverged
    since: float | None = None  # unix seconds: only runs that began then or later
    seconds: float | None = None  # only as many versions, newest first, as can be replayed in this time


@dataclass
class Proposal:
    """Everything that ``add-log`` shows before it asks."""

    root: str
    store: str
    files: list[FilePatch]
    versions: list[VersionProposal]  # newest first
    left_out: list[tuple[Run, str]]  # runs that cannot be replayed, with the reason
    left_aside: list[str]  # a sentence for each file that adds nothing
    facts: dict[str, RunFacts]
    jobs: int
    since: dict[str, Sequence[Run]] = field(default_factory=dict)  # what is different today, and for which runs
    fewer: str | None = None  # why there are fewer workers than asked for
    warm: bool = True  # whether workers are forked from a process that has imported the libraries

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for file in self.files for name in file.names))

    @property
    def missed(self) -> list[tuple[Run, str]]:
        """The runs left out that a user may miss: of another script, what ran in a notebook or a server is nothing to miss."""
        asked = {file.path for file in self.files}
        return [
            (run, reason)
            for run, reason in self.left_out
            if run.info.get("entry", {}).get("kind") not in ("interactive", "hosted")
            or any(path == run.filename or path.endswith(f"/{run.filename}") for path in asked)
        ]

    @property
    def to_replay(self) -> list[VersionProposal]:
        return [version for version in self.versions if any(plan.segments for plan in version.plans.values())]

    def estimate(self) -> float:
        """Seconds until the last worker is done, with the warm parent's imports."""
        plans = [plan for version in self.versions for plan in version.plans.values() if plan.segments]
        imports = max((planner.start_up(self.facts[plan.run]) for plan in plans if self.warm), default=0.0)
        return imports + planner.makespan([segment.seconds for plan in plans for segment in plan.segments], self.jobs)
