"""What of a run is executed again, from where, and for how long. Pure: facts in, segments out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from flor_instrument import Place

from flor_replay.plan.facts import MainLoop, RestorePoint, RunFacts
from flor_replay.plan.segments import Segment

START_UP_SECONDS = 2.0  # of an interpreter with torch, where no run says better
RESTORE_SECONDS = 0.05


@dataclass(frozen=True)
class Need:
    """What the hindsight statements of one version ask for."""

    places: frozenset[Place]
    carried: str | None = None  # why the patch's own state lives across iterations; None if it does not
    nested_carried: bool = False  # it lives across the nested loop's iterations
    iterations: frozenset[int] | None = None  # only these of the main loop; None for all


@dataclass(frozen=True)
class RunPlan:
    """What is executed of one run, and why."""

    run: str
    segments: tuple[Segment, ...]
    reason: str

    @property
    def seconds(self) -> float:
        """Estimated work, all segments one after another."""
        return sum(segment.seconds for segment in self.segments)


def plan_run(facts: RunFacts, need: Need, workers: int) -> RunPlan:
    """Segments for one run. `workers` is how many could work on this run alone."""
    start_up = facts.start_up_seconds if facts.start_up_seconds is not None else START_UP_SECONDS
    main = facts.main
    if main is None:
        return _whole(facts, start_up, "no flor.loop was recorded")
    if main.iterations == 0:
        return _whole(facts, start_up, "no iteration of the main loop was completed")
    if facts.status == "finished" and main.ended_by is None:
        # `bar = tqdm(flor.loop(...))`, left by break: the loop lives as long as the script's own name for it.
        return _whole(
            facts, start_up, "the script left the main loop early and kept its iterator: where it went on is unknown"
        )
    if need.carried:
        return _whole(facts, start_up, f"the added code keeps state across iterations: {need.carried}")
    plan = _Planner(facts, main, need, workers, start_up).plan()
    return replace(plan, segments=tuple(knowing_dead(main, segment) for segment in plan.segments))


def knowing_dead(main: MainLoop, segment: Segment) -> Segment:
    """The segment, told what its checkpoints lack and nothing that it executes can read."""
    used = {segment.restore, *(checkpoint for _, _, checkpoint in segment.exits)}
    dead = [(point.checkpoint, path) for point in main.points if point.checkpoint in used for path in point.dead]
    return replace(segment, dead=tuple(dead))


def _whole(facts: RunFacts, start_up: float, reason: str) -> RunPlan:
    return RunPlan(facts.run, (whole(facts, start_up),), reason)


def whole(facts: RunFacts, start_up: float = START_UP_SECONDS) -> Segment:
    """Everything; of a run that was cut off in its main loop only what it had completed (the rest may be endless)."""
    segment = Segment("whole", seconds=facts.seconds + start_up, prefix=True, suffix=True)
    main = facts.main
    if facts.status not in ("crashed", "stopped") or main is None or main.ended_by is not None or not main.iterations:
        return segment
    return replace(segment, loop=main.ordinal, stop=main.iterations)


_TOP = {Place.BEFORE_NESTED, Place.ITERATION, Place.NESTED}
_BOTTOM = {Place.AFTER_NESTED, Place.BETWEEN_NESTED}


class _Planner:
    def __init__(self, facts: RunFacts, main: MainLoop, need: Need, workers: int, start_up: float) -> None:
        self._facts = facts
        self._main = main
        self._need = need
        self._workers = max(1, workers)
        self._start_up = start_up + main.prefix_seconds
        self._before = bool(need.places & {Place.BEFORE, Place.BETWEEN})
        self._after = bool(need.places & {Place.AFTER, Place.BETWEEN}) and main.ended_by is not None
        self._iterations = bool(need.places & (_TOP | _BOTTOM))
        points = [point for point in main.points if point.complete]
        self._starts = {p.index: p for p in points if p.at == "start" and p.index < main.iterations}
        self._exits = {(p.index, p.nested): p for p in points if p.at == "exit"}
        self._end = next((p for p in points if p.at == "end"), None) if main.ended_by == "exhausted" else None

    def plan(self) -> RunPlan:
        if not self._iterations:
            return self._outside()
        wanted = self._wanted()
        if not wanted:
            return RunPlan(self._facts.run, (), "none of its iterations is asked for")
        plans = [(self._edges(self._whole_iterations(wanted)), self._reason())]
        skipping = self._skipped(wanted)
        if skipping:
            rest = self._whole_iterations(wanted - skipping)
            plans.append(
                (
                    self._edges([*rest, *self._exit_segments(sorted(skipping))]),
                    "the nested loop is skipped where the state at its exit was captured",
                )
            )
        segments, reason = min(plans, key=lambda plan: makespan([s.seconds for s in plan[0]], self._workers))
        return RunPlan(self._facts.run, tuple(segments), reason)

    def _whole_iterations(self, wanted: set[int]) -> list[Segment]:
        """Whole iterations, each group from the checkpoint before it; or all from the start, where that is quicker."""
        if not wanted:
            return []
        groups = [segment for group in _runs_of(wanted) for segment in self._iteration_segments(group)]
        first, last = min(wanted), max(wanted)
        through = self._iteration_segments(range(first, last + 1))
        return min(groups, through, key=lambda plan: makespan([s.seconds for s in plan], self._workers))

    def _reason(self) -> str:
        if self._starts:
            return "whole iterations"
        lacking = next((point for point in self._main.points if not point.complete), None)
        if lacking is not None:
            return f"whole iterations from the start: {lacking.missing[0]} could not be captured"
        return "whole iterations from the start: no checkpoint was taken"

    def _wanted(self) -> set[int]:
        every = range(self._main.iterations)
        chosen = self._need.iterations
        return set(every) if chosen is None else {index for index in every if index in chosen}

    def _outside(self) -> RunPlan:
        run = self._facts.run
        segments = []
        if self._before:
            segments.append(Segment("prefix", self._main.ordinal, seconds=self._start_up, prefix=True))
        if self._after:
            if self._end is not None:
                end = Segment(
                    "suffix",
                    self._main.ordinal,
                    restore=self._end.checkpoint,
                    suffix=True,
                    seconds=self._start_up + RESTORE_SECONDS + self._suffix_seconds(),
                )
                segments.append(end)
            else:
                last = max((index for index in self._starts), default=0)
                segments.append(self._iteration_segment(last, last, self._main.iterations, suffix=True))
        return RunPlan(run, tuple(segments), "the main loop is not executed" if segments else "nothing to execute")

    def _suffix_seconds(self) -> float:
        rest = self._facts.seconds - self._main.prefix_seconds - sum(self._main.seconds)
        return max(0.0, rest)

    def _skipped(self, wanted: set[int]) -> set[int]:
        """The iterations of which only the part after the nested loops is executed."""
        if self._need.places & _TOP or self._need.nested_carried:
            return set()
        return {
            index
            for index in wanted
            if index not in self._main.repeated_nested
            and self._main.nested.get(index)
            and all((index, name) in self._exits for name in self._main.nested[index])
        }

    def _exit_segments(self, indices: Sequence[int]) -> list[Segment]:
        pieces = min(self._workers, max(1, len(indices) // 4))
        segments = []
        for part in range(pieces):
            mine = indices[part * len(indices) // pieces : (part + 1) * len(indices) // pieces]
            exits = tuple(
                (index, name, self._exits[(index, name)].checkpoint)
                for index in mine
                for name in self._main.nested[index]
            )
            seconds = self._start_up + len(exits) * RESTORE_SECONDS
            segments.append(
                Segment("exits", self._main.ordinal, mine[0], mine[0], mine[-1] + 1, exits=exits, seconds=seconds)
            )
        return segments

    def _iteration_segments(self, group: range) -> list[Segment]:
        """`group` cut at checkpoints into pieces of about equal work."""
        work = sum(self._main.seconds[group.start : group.stop])
        pieces = max(1, min(self._workers, int(work / max(self._start_up, 0.2))))
        first = self._start_before(group.start)
        cuts = [group.start]
        borders = sorted(index for index in self._starts if group.start < index < group.stop)
        for piece in range(1, pieces):
            ideal = work * piece / pieces
            best = min(
                (b for b in borders if b > cuts[-1]),
                key=lambda b: abs(sum(self._main.seconds[group.start : b]) - ideal),
                default=None,
            )
            if best is not None:
                cuts.append(best)
        segments = []
        for place, cut in enumerate(cuts):
            stop = cuts[place + 1] if place + 1 < len(cuts) else group.stop
            segments.append(self._iteration_segment(first if place == 0 else cut, cut, stop))
        return segments

    def _start_before(self, index: int) -> int:
        return max((start for start in self._starts if start <= index), default=0)

    def _iteration_segment(self, first: int, start: int, stop: int, *, suffix: bool = False) -> Segment:
        point: RestorePoint | None = self._starts.get(first) if first > 0 else None
        seconds = self._start_up + sum(self._main.seconds[first:stop]) + (self._suffix_seconds() if suffix else 0.0)
        return Segment(
            "iterations",
            self._main.ordinal,
            first,
            start,
            stop,
            restore=point.checkpoint if point else None,
            suffix=suffix,
            seconds=seconds,
        )

    def _edges(self, segments: list[Segment]) -> list[Segment]:
        """See that what is logged before and after the loop is executed by somebody, where it is asked for."""
        made = list(segments)
        if self._before:
            place = next((i for i, s in enumerate(made) if s.kind == "iterations"), 0)
            made[place] = replace(made[place], prefix=True)
        if self._after:
            last = next(
                (i for i, s in enumerate(made) if s.kind == "iterations" and s.stop == self._main.iterations),
                None,
            )
            if last is not None:
                longer = made[last].seconds + self._suffix_seconds()
                made[last] = replace(made[last], suffix=True, seconds=longer)
            else:
                made += [
                    s
                    for s in _Planner(
                        self._facts,
                        self._main,
                        Need(frozenset({Place.AFTER})),
                        self._workers,
                        self._start_up - self._main.prefix_seconds,
                    )
                    ._outside()
                    .segments
                ]
        return made


def _runs_of(indices: Collection[int]) -> list[range]:
    """Consecutive indices as ranges."""
    found: list[range] = []
    for index in sorted(indices):
        if found and found[-1].stop == index:
            found[-1] = range(found[-1].start, index + 1)
        else:
            found.append(range(index, index + 1))
    return found


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Time until the last of these tasks is done when the longest go first to whoever is free (Graham's LPT)."""
    loads = [0.0] * max(1, workers)
    for task in sorted(seconds, reverse=True):
        place = loads.index(min(loads))
        loads[place] += task
    return max(loads) if seconds else 0.0


def parse_iterations(text: str) -> tuple[str, frozenset[int] | range]:
    """``epoch=0:10:5`` (start:stop:step), ``epoch=3`` or ``epoch=1,4,7``. Raises ValueError in plain words."""
    name, found, spec = text.partition("=")
    if not found or not name:
        raise ValueError(f"--iters {text!r}: write it as epoch=0:10:5, epoch=3 or epoch=1,4,7")
    try:
        if ":" in spec:
            parts = [int(part) if part else None for part in spec.split(":")]
            if len(parts) > 3 or (len(parts) == 3 and parts[2] is not None and parts[2] < 1):
                raise ValueError
            start, stop, step = [*parts, None, None][:3]
            return name, range(start or 0, 10**9 if stop is None else stop, step or 1)
        return name, frozenset(int(part) for part in spec.split(","))
    except ValueError:
        raise ValueError(f"--iters {text!r}: {spec!r} is not start:stop:step or a list of numbers") from None
