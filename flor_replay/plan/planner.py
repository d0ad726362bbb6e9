"""What of a run is executed again, from where, and for how long. Pure: facts in, segments out."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flor_instrument import Place

from flor_replay.plan.facts import MainLoop, RunFacts
from flor_replay.plan.segments import Segment
from flor_replay.plan.walk import Asked, Walk

START_UP_SECONDS = 2.0  # of an interpreter with torch, where no run says better
CLOSE = 1.02  # to the ideal: it need not be better
CUT_SECONDS = 1.0  # what takes less is not cut: a second worker has its own prefix to run
WORKER_SECONDS = 0.08  # of a worker forked from a warm parent: its sandbox, its end


@dataclass(frozen=True)
class Need:
    """What the hindsight statements of one version ask for."""

    places: frozenset[Place]
    carried: str | None = None  # why the patch's own state lives across iterations; None if it does not
    nested_carried: bool = False  # it lives across the nested loop's iterations
    iterations: frozenset[int] | None = None  # only these of the main loop; None for all
    effects: str | None = (
        None  # why the patch may change what training computes; None: the source shows that it does not
    )


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


def start_up(facts: RunFacts) -> float:
    """Seconds of the interpreter and the imports."""
    return START_UP_SECONDS if facts.start_up_seconds is None else facts.start_up_seconds


def plan_run(facts: RunFacts, need: Need, *, warm: bool = True) -> RunPlan:
    """What is executed for one run, by one worker. `warm`: workers find the libraries imported."""
    main = facts.main
    if main is None:
        return _whole(facts, warm, "no flor.loop was recorded")
    if main.iterations == 0:
        return _whole(facts, warm, "no iteration of the main loop was completed")
    if facts.status == "finished" and main.ended_by is None:
        # `bar = tqdm(flor.loop(...))`, left by break: the loop lives as long as the script's own name for it.
        return _whole(
            facts, warm, "the script left the main loop early and kept its iterator: where it went on is unknown"
        )
    if need.carried:
        return _whole(facts, warm, f"the added code keeps state across iterations: {need.carried}")
    return _Planner(facts, main, need, warm).plan()


def knowing_dead(main: MainLoop, segment: Segment) -> Segment:
    """The segment, told what its checkpoints lack and nothing that it executes can read."""
    used = segment.checkpoints
    dead = [(point.checkpoint, path) for point in main.points if point.checkpoint in used for path in point.dead]
    return replace(segment, dead=tuple(dead))


def _start(facts: RunFacts, warm: bool) -> float:
    return WORKER_SECONDS if warm else WORKER_SECONDS + start_up(facts)


def _whole(facts: RunFacts, warm: bool, reason: str) -> RunPlan:
    return RunPlan(facts.run, (whole(facts, warm=warm),), reason)


def whole(facts: RunFacts, *, warm: bool = True) -> Segment:
    """Everything; of a run that was cut off in its main loop only what it had completed (the rest may be endless)."""
    segment = Segment("whole", seconds=facts.seconds + _start(facts, warm), prefix=True, suffix=True)
    main = facts.main
    if facts.status not in ("crashed", "stopped") or main is None or main.ended_by is not None or not main.iterations:
        return segment
    return replace(segment, loop=main.ordinal, stop=main.iterations)


_TOP = {Place.BEFORE_NESTED, Place.ITERATION}
_INSIDE = _TOP | {Place.NESTED, Place.AFTER_NESTED, Place.BETWEEN_NESTED}


class _Planner:
    def __init__(self, facts: RunFacts, main: MainLoop, need: Need, warm: bool) -> None:
        self._facts = facts
        self._main = main
        self._need = need
        self._begin = _start(facts, warm) + main.prefix_seconds
        self._before = bool(need.places & {Place.BEFORE, Place.BETWEEN})
        self._after = bool(need.places & {Place.AFTER, Place.BETWEEN}) and main.ended_by is not None
        asked = Asked(
            top=bool(need.places & _TOP),
            nested=Place.NESTED in need.places or need.nested_carried,
            proof=need.effects is not None,
        )
        self._walk = Walk(main, asked)
        ends = [point for point in main.points if point.complete and point.at == "end"]
        self._end = ends[0] if ends and main.ended_by == "exhausted" else None

    def plan(self) -> RunPlan:
        run = self._facts.run
        wanted = self._wanted() if self._need.places & _INSIDE else []
        if not wanted and not self._before and not self._after:
            inside = bool(self._need.places & _INSIDE)
            return RunPlan(run, (), "none of its iterations is asked for" if inside else "nothing to execute")
        segment = self._segment(wanted, prefix=self._before, suffix=self._after)
        return RunPlan(run, (segment,), self._reason(segment, wanted))

    def halves(self, segment: Segment) -> tuple[Segment, Segment] | None:
        """A segment in two of about equal time; None where that cannot be."""
        wanted = sorted(segment.kept())
        half = sum(self._main.seconds[index] for index in wanted) / 2
        borders = set(self._walk.borders)
        best: tuple[float, int] | None = None
        before = 0.0
        for place, index in enumerate(wanted):
            if place and (index in borders or index - 1 != wanted[place - 1]):
                best = min(best or (float("inf"), 0), (abs(before - half), place))
            before += self._main.seconds[index]
        if best is None:
            return None
        cut = best[1]
        first = self._segment(wanted[:cut], prefix=segment.prefix, suffix=False)
        return first, self._segment(wanted[cut:], prefix=False, suffix=segment.suffix)

    def _wanted(self) -> list[int]:
        every = range(self._main.iterations)
        chosen = self._need.iterations
        return list(every) if chosen is None else [index for index in every if index in chosen]

    def _segment(self, wanted: Sequence[int], *, prefix: bool, suffix: bool) -> Segment:
        steps, seconds = self._walk.steps(wanted)
        end = None
        if suffix:
            rest = self._facts.seconds - self._main.prefix_seconds - sum(self._main.seconds)
            seconds += max(0.0, rest)
            place = steps[-1].stop if steps else 0
            if place < self._main.iterations:
                if self._end is not None:
                    end = self._end.checkpoint
                    seconds += self._end.restore_seconds
                else:
                    last = self._main.iterations - 1
                    steps, cost = self._walk.steps([*wanted, last])
                    seconds = cost + max(0.0, rest)
                    # It is executed for what follows it: its own values are not asked for.
                    first = steps[-1].keep[0]
                    steps[-1] = replace(steps[-1], keep=(first, last))
        made = Segment(
            "part",
            self._main.ordinal,
            tuple(steps),
            end,
            prefix=prefix,
            suffix=suffix,
            seconds=self._begin + seconds,
        )
        return knowing_dead(self._main, made)

    def _reason(self, segment: Segment, wanted: Sequence[int]) -> str:
        if not segment.steps:
            return "the main loop is not executed"
        skipped = {index for step in segment.steps for index, _, _ in step.exits}
        reasons = []
        if skipped:
            reasons.append("the nested loop is skipped where the state at its exit was captured")
        if not skipped.issuperset(wanted):
            reasons.append(self._why_not_skipped(segment, [index for index in wanted if index not in skipped]))
        if self._need.effects is not None and segment.checkpoints:
            reasons.append(f"the added code may change what training computes ({self._need.effects}): it is tried")
        return "; ".join(reasons)

    def _why_not_skipped(self, segment: Segment, executed: Sequence[int]) -> str:
        if Place.NESTED in self._need.places:
            why = "the statement stands in the nested loop"
        elif self._need.nested_carried:
            why = "the added code keeps state in the nested loop"
        elif not any(self._main.nested.get(index) for index in executed):
            why = "there is no nested loop"
        elif all(self._walk.skips(index) is False and index in self._walk.captured for index in executed):
            why = "the nested loop takes less than putting its exit's state back"
        else:
            why = "the state at the nested loop's exit was not captured"
        if segment.checkpoints:
            return f"whole iterations: {why}"
        lacking = next((point for point in self._main.points if not point.complete), None)
        if lacking is not None:
            return f"whole iterations from the start ({why}): {lacking.missing[0]} could not be captured"
        if not self._main.points:
            return f"whole iterations from the start ({why}): no checkpoint was taken"
        return f"whole iterations from the start: {why}"


def share_out(
    plans: Mapping[str, RunPlan],
    about: Mapping[str, tuple[RunFacts, Need]],
    workers: int,
    *,
    warm: bool = True,
) -> dict[str, RunPlan]:
    """The plans with their longest segments cut in two, as long as `workers` are done sooner for it."""
    segments = [(segment, run) for run, plan in plans.items() for segment in plan.segments]
    chosen, best = segments, makespan([segment.seconds for segment, _ in segments], workers)
    # An ideal share of the work for everybody: where every piece is a small part of it, they fit together.
    ideal = sum(segment.seconds for segment, _ in segments) / max(1, workers)
    waiting = [(-segment.seconds, place) for place, (segment, _) in enumerate(segments)]
    heapq.heapify(waiting)
    segments = list(segments)
    while waiting and best > CLOSE * ideal and -waiting[0][0] >= max(CUT_SECONDS, ideal / 8):
        place = heapq.heappop(waiting)[1]
        segment, run = segments[place]
        facts, need = about[run]
        halves = None
        if segment.kind == "part" and facts.main is not None:
            halves = _Planner(facts, facts.main, need, warm).halves(segment)
        if halves is None:
            continue
        segments[place] = halves[0], run
        segments.append((halves[1], run))
        heapq.heappush(waiting, (-halves[0].seconds, place))
        heapq.heappush(waiting, (-halves[1].seconds, len(segments) - 1))
        now = makespan([segment.seconds for segment, _ in segments], workers)
        if now < best:  # few pieces before many: each has its own prefix to run
            chosen, best = list(segments), now
    segments = chosen
    found: dict[str, list[Segment]] = {run: [] for run in plans}
    for segment, run in segments:
        found[run].append(segment)
    return {run: replace(plan, segments=tuple(found[run])) for run, plan in plans.items()}


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Time until the last of these tasks is done when the longest go first to whoever is free (Graham's LPT)."""
    loads = [0.0] * max(1, workers)
    for task in sorted(seconds, reverse=True):
        heapq.heapreplace(loads, loads[0] + task)
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
