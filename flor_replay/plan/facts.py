"""What is known of a recorded run before it is replayed: its main loop, durations, restore points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from flor_instrument import Holder

from flor_replay.store import database, records
from flor_replay.store.runs import Run

if TYPE_CHECKING:
    import duckdb
    from flor_checkpoint import NotCaptured


RESTORE_SECONDS = 0.01  # of a small state, and what each byte adds
RESTORE_SECONDS_PER_BYTE = 0.25e-9
Point: TypeAlias = Literal["start", "exit", "end"]
_POINTS: Mapping[str, Point] = {"start": "start", "exit": "exit", "end": "end"}


@dataclass(frozen=True)
class Lost:
    """Something that a checkpoint lacks."""

    path: str  # access path
    holders: tuple[Holder, ...] = ()  # every name that leads to it, by paths from the project's root; none: unknown


@dataclass(frozen=True)
class RestorePoint:
    """A checkpoint that a replay may start from."""

    checkpoint: str
    at: Point  # "start" of iteration `index`, "exit" of loop `nested` in it, "end" of the main loop
    index: int
    nested: str | None
    lost: tuple[Lost, ...] = ()  # what the checkpoint lacks of the state
    dead: tuple[str, ...] = ()  # access paths of those among them that the rest of the run cannot read
    restore_seconds: float = 0.02  # estimate

    @property
    def missing(self) -> tuple[str, ...]:
        """Access paths of what it lacks and a replay from here may need."""
        return tuple(lost.path for lost in self.lost if lost.path not in self.dead)

    @property
    def complete(self) -> bool:
        """Whether a replay may start from it."""
        return not self.missing


@dataclass(frozen=True)
class MainLoop:
    """The main loop that replay is planned by: the longest of the run's outermost loops."""

    ordinal: int  # among the outermost loops, in the order they began
    name: str
    occurrence: int
    kind: str  # what it runs over: "sequence", "loader", "iterator"
    iterations: int  # complete ones
    ended_by: str | None  # "exhausted", "closed", None while running or after a crash
    seconds: tuple[float, ...]  # of each complete iteration
    prefix_seconds: float  # from the run's start to its first iteration
    began_seq: int
    ended_seq: int | None
    nested: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # iteration -> names of loops in it, in order
    nested_ended_seq: Mapping[tuple[int, str], int] = field(default_factory=dict)
    nested_seconds: Mapping[int, float] = field(default_factory=dict)  # iteration -> of the loops in it, together
    repeated_nested: frozenset[int] = frozenset()  # iterations in which a nested loop of one name ran more than once
    points: tuple[RestorePoint, ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """One recorded run as the planner sees it."""

    run: str
    status: str
    seconds: float  # of the whole run from its first record, 0 if unknown
    start_up_seconds: float | None  # interpreter and imports before that
    main: MainLoop | None


def gather(runs: Sequence[Run]) -> dict[str, RunFacts]:
    """Facts of each run, read together."""
    with database.connect() as connection:
        events = _loop_events(connection, runs)
    return {run.run: _facts(run, events.get(run.run, [])) for run in runs}


@dataclass(frozen=True)
class _Event:
    event: str
    loops: tuple[str, ...]
    occurrences: tuple[int, ...]
    indices: tuple[int, ...]
    kind: str | None
    iterations: int | None
    seconds: float | None
    began: float | None
    ended_by: str | None
    seq: int | None


def _loop_events(connection: duckdb.DuckDBPyConnection, runs: Sequence[Run]) -> dict[str, list[_Event]]:
    rows = records.fetch(
        connection,
        "select run, event, loops, occurrences, indices, kind, iterations, seconds, began, ended_by, seq "
        f"from ({records.table(connection, runs, loops=True)}) where event <> 'value' and len(loops) <= 2",
    )
    found: dict[str, list[_Event]] = {}
    for run, event, loops, occurrences, indices, *rest in rows:
        made = _Event(str(event), tuple(loops), tuple(occurrences), tuple(indices), *rest)  # type: ignore[arg-type]
        found.setdefault(str(run), []).append(made)
    return found


def _facts(run: Run, events: Sequence[_Event]) -> RunFacts:
    seconds = float(run.info.get("seconds", 0.0))
    start_up = run.info.get("start_up_seconds")
    begun = [e for e in events if e.event == "begin" and len(e.loops) == 1]
    if not begun:
        return RunFacts(run.run, run.status, seconds, start_up, None)
    durations: dict[tuple[str, int], dict[int, _Event]] = {}
    for event in events:
        if event.event == "duration" and len(event.loops) == 1:
            durations.setdefault((event.loops[0], event.occurrences[0]), {})[event.indices[0]] = event
    totals = [sum(e.seconds or 0.0 for e in durations.get((b.loops[0], b.occurrences[0]), {}).values()) for b in begun]
    ordinal = max(range(len(begun)), key=lambda place: (totals[place], -place))
    main = _main_loop(
        run,
        events,
        begun[ordinal],
        ordinal,
        durations.get((begun[ordinal].loops[0], begun[ordinal].occurrences[0]), {}),
    )
    return RunFacts(run.run, run.status, seconds, start_up, main)


def _main_loop(
    run: Run, events: Sequence[_Event], begin: _Event, ordinal: int, durations: Mapping[int, _Event]
) -> MainLoop:
    name, occurrence = begin.loops[0], begin.occurrences[0]
    seconds: list[float] = []
    for index in sorted(durations):  # one stands for all since the one before
        count = index + 1 - len(seconds)
        seconds += [float(durations[index].seconds or 0.0) / count] * count
    complete = len(seconds)
    end = next(
        (e for e in events if e.event == "end" and e.loops == (name,) and e.occurrences == (occurrence,)),
        None,
    )
    nested: dict[int, list[str]] = {}
    ended: dict[tuple[int, str], int] = {}
    inside: dict[int, float] = {}
    repeated = set()
    for event in events:
        if (
            event.event == "end"
            and len(event.loops) == 2
            and event.loops[0] == name
            and event.occurrences[0] == occurrence
        ):
            index = event.indices[0]
            nested.setdefault(index, []).append(event.loops[1])
            ended[(index, event.loops[1])] = int(event.seq or 0)
            inside[index] = inside.get(index, 0.0) + float(event.seconds or 0.0)
            if event.occurrences[1] > 0 or event.ended_by != "exhausted":
                repeated.add(index)
    first = durations[min(durations)] if durations else None
    return MainLoop(
        ordinal=ordinal,
        name=name,
        occurrence=occurrence,
        kind=begin.kind or "iterator",
        iterations=complete,
        ended_by=end.ended_by if end else None,
        seconds=tuple(seconds),
        prefix_seconds=float(first.began or 0.0) if first else 0.0,
        began_seq=int(begin.seq or 0),
        ended_seq=int(end.seq) if end and end.seq is not None else None,
        nested={index: tuple(names) for index, names in nested.items()},
        nested_ended_seq=ended,
        nested_seconds=inside,
        repeated_nested=frozenset(repeated),
        points=tuple(_points(run, name, occurrence, ordinal)),
    )


def _points(run: Run, name: str, occurrence: int, ordinal: int) -> list[RestorePoint]:
    from flor_checkpoint import manifests

    found = []
    listed, _ = manifests(Path(run.folder.checkpoints))
    for manifest in listed:
        point = manifest.point
        at = _POINTS.get(str(point.get("at")))
        if at is None or [point.get(key) for key in ("loop", "occurrence", "ordinal")] != [name, occurrence, ordinal]:
            continue
        files = point.get("files")
        lost = [
            _lost(entry, files if isinstance(files, dict) else {})
            for entry in manifest.not_captured
            if not entry.of_running_loop  # its items are drawn again
        ]
        between = point.get("not_captured")
        lost += [Lost(str(entry)) for entry in (between if isinstance(between, (list, tuple)) else ())]
        nested = point.get("nested")
        found.append(
            RestorePoint(
                checkpoint=manifest.id,
                at=at,
                index=int(str(point.get("index"))),
                nested=str(nested) if nested is not None else None,
                lost=tuple(lost),
                restore_seconds=RESTORE_SECONDS + manifest.bytes_logical * RESTORE_SECONDS_PER_BYTE,
            )
        )
    return found


def _lost(entry: NotCaptured, files: Mapping[str, str]) -> Lost:
    holders: list[Holder] = []
    for space, name in entry.holders:
        if space not in files:
            return Lost(entry.path)
        kind, _, rest = space.partition(":")
        holders.append((files[space], rest.partition(":")[2] if kind == "frame" else None, name))
    return Lost(entry.path, tuple(holders))


class Deadness(Protocol):
    """`flor_instrument.lost_but_dead`, asked about the sources that are to be replayed."""

    def __call__(
        self, script: str, holders: frozenset[Holder], loop: str, point: Point, nested: str | None, /
    ) -> frozenset[Holder]: ...


def without_dead(facts: RunFacts, script: str, prefix: str, dead: Deadness) -> RunFacts:
    """The facts for a replay of certain sources: what a checkpoint lacks and they cannot read is not missed.

    `script` is by path from the repository's top, `prefix` leads from there to the project's root. `dead` must be
    asked of the patched sources: a statement added by hindsight may read what the recorded code did not.
    """
    main = facts.main
    if main is None or all(point.complete for point in main.points):
        return facts
    asked: dict[tuple[Point, str | None], set[Holder]] = {}
    for point in main.points:
        holders = {(prefix + file, scope, name) for lost in point.lost for file, scope, name in lost.holders}
        asked.setdefault((point.at, point.nested), set()).update(holders)
    gone = {at: dead(script, frozenset(found), main.name, *at) for at, found in asked.items() if found}
    points = []
    for point in main.points:
        here = gone.get((point.at, point.nested), frozenset())
        paths = [
            lost.path
            for lost in point.lost
            if lost.holders and all((prefix + file, scope, name) in here for file, scope, name in lost.holders)
        ]
        points.append(replace(point, dead=tuple(paths)))
    return replace(facts, main=replace(main, points=tuple(points)))
