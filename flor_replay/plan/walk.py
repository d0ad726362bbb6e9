"""The shortest way through a main loop: which iterations are executed, from which states, for those that are asked for.

A process has the run's own state at the start of one iteration, its place. It comes to a later one by executing what lies
between, or by putting a state back: one at an iteration's start, or one at the exit of an iteration's nested loop, after
which the rest of that iteration leads to the start of the next. An iteration that lies on the way need not execute its
nested loop where the state at its exit is there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from flor_replay.plan.facts import MainLoop, RestorePoint
from flor_replay.plan.segments import Step


@dataclass(frozen=True)
class Asked:
    """What of an iteration is asked for."""

    top: bool  # something before the nested loop
    nested: bool  # something in it, or state of the added code that lives in it
    proof: bool  # whether the added code leaves training alone is to be tried on one iteration


class Walk:
    """Ways through one run's main loop."""

    def __init__(self, main: MainLoop, asked: Asked) -> None:
        self._main = main
        self._asked = asked
        self._work = [0.0, *accumulate(main.seconds)]
        points = [point for point in main.points if point.complete]
        self._start_points = {p.index: p for p in points if p.at == "start" and 0 < p.index < main.iterations}
        self._starts = sorted(self._start_points)
        self._exit_points = _exits(main, points)
        self._exits = sorted(self._exit_points)
        costs = [self._passing(index) for index in range(main.iterations)]
        self._way = [0.0, *accumulate(costs)]

    @property
    def borders(self) -> list[int]:
        """Iterations at which a process may begin without executing many others."""
        return sorted({*self._starts, *(index + 1 for index in self._exits)})

    @property
    def captured(self) -> frozenset[int]:
        """The iterations whose nested loops' exits were captured."""
        return frozenset(self._exits)

    def skips(self, index: int) -> bool:
        """Whether the nested loop of an iteration on the way is passed over."""
        found = self._exit_points.get(index)
        if found is None:
            return False
        return self._rest(index) + _restoring(found) < self._main.seconds[index]

    def steps(self, wanted: Sequence[int]) -> tuple[list[Step], float]:
        """Steps for these iterations (ascending), and the seconds that they take."""
        steps: list[Step] = []
        seconds = 0.0
        place = 0
        for index in wanted:
            if place == index and steps:
                last = steps[-1]
                steps[-1] = replace(last, stop=index + 1, keep=(last.keep[0], index + 1))
            else:
                step, cost = self._enter(place, index)
                seconds += cost
                steps.append(step)
            place = index + 1
            seconds += self._executing(index)
        steps = [replace(step, exits=self._skipped(step, wanted)) for step in steps]
        if self._asked.proof:
            steps, more = self._tried(steps)
            seconds += more
        return steps, seconds

    # -- one iteration ---------------------------------------------------------------------------------------------

    def _rest(self, index: int) -> float:
        """Seconds of an iteration outside its nested loops."""
        nested = self._main.nested_seconds.get(index)
        whole = self._main.seconds[index]
        return max(0.0, whole - nested) if nested is not None else 0.05 * whole

    def _without_nested(self, index: int) -> float:
        return self._rest(index) + _restoring(self._exit_points[index])

    def _passing(self, index: int) -> float:
        return self._without_nested(index) if self.skips(index) else self._main.seconds[index]

    def _executing(self, index: int) -> float:
        return self._main.seconds[index] if self._asked.nested else self._passing(index)

    def _enter(self, place: int, index: int) -> tuple[Step, float]:
        """How a process at `place` comes to `index`, and what that costs."""
        keep = (index, index + 1)
        options: list[tuple[float, int, Step]] = [(self._between(place, index), 0, Step(place, index + 1, keep))]
        at = bisect_right(self._starts, index) - 1
        if at >= 0 and self._starts[at] > place:
            start = self._starts[at]
            point = self._start_points[start]
            cost = _restoring(point) + self._between(start, index)
            options.append((cost, 1, Step(start, index + 1, keep, restore=point.checkpoint)))
        at = bisect_left(self._exits, index) - 1
        if at >= 0 and self._exits[at] > place:
            before = self._exits[at]
            cost = self._without_nested(before) + self._between(before + 1, index)
            options.append((cost, 2, Step(before, index + 1, keep, blind=True)))
        if not self._asked.top and not self._asked.nested and index > place and self.skips(index):
            options.append((0.0, 3, Step(index, index + 1, keep, blind=True)))
        cost, _, step = min(options, key=lambda option: option[:2])
        return step, cost

    def _between(self, place: int, index: int) -> float:
        return self._way[index] - self._way[place]

    def _skipped(self, step: Step, wanted: Sequence[int]) -> tuple[tuple[int, str, str], ...]:
        found = []
        for index in range(step.first, step.stop):
            if index == step.first and step.blind:
                skipping = True
            elif self._asked.nested:
                at = bisect_left(wanted, index)
                skipping = not (at < len(wanted) and wanted[at] == index) and self.skips(index)
            else:
                skipping = self.skips(index)
            if skipping:
                found += [(index, name, p.checkpoint) for name, p in self._exit_points[index]]
        return tuple(found)

    # -- trying whether the added code leaves training alone -----------------------------------------------------------

    def _tried(self, steps: list[Step]) -> tuple[list[Step], float]:
        """The steps with one iteration whose nested loop is executed although it could be passed over.

        At its exit the state is compared with the recorded one: what the added code did in the iteration before it shows.
        Where a checkpoint at an iteration's start is come by anyway, or a nested loop is executed, nothing is added.
        """
        best: tuple[float, int, int] | None = None
        for number, step in enumerate(steps):
            skipped = {index for index, _, _ in step.exits}
            free = steps[number + 1].first > step.stop if number + 1 < len(steps) else True
            for index in range(step.keep[0] + 1, step.stop + 1):
                if index in self._start_points or (index == self._main.iterations and self._has_end):
                    return steps, 0.0
                if index not in self._exit_points or (index == step.stop and not free):
                    continue
                if index < step.stop and index not in skipped:
                    return steps, 0.0
                cost = self._main.seconds[index] - (self._passing(index) if index < step.stop else 0.0)
                if best is None or cost < best[0]:
                    best = (cost, number, index)
        if best is None:
            return steps, 0.0
        cost, number, index = best
        step = steps[number]
        exits = tuple(one for one in step.exits if one[0] != index)
        tried = replace(step, stop=max(step.stop, index + 1), exits=exits)
        return [*steps[:number], tried, *steps[number + 1 :]], cost

    @property
    def _has_end(self) -> bool:
        return any(point.at == "end" for point in self._main.points)


def _exits(main: MainLoop, points: Sequence[RestorePoint]) -> dict[int, tuple[tuple[str, RestorePoint], ...]]:
    """The iterations whose nested loops can all be passed over, with the points at their exits in order."""
    found: dict[tuple[int, str | None], RestorePoint] = {(p.index, p.nested): p for p in points if p.at == "exit"}
    exits = {}
    for index, names in main.nested.items():
        if names and index not in main.repeated_nested and index < main.iterations:
            there = [(name, found[index, name]) for name in names if (index, name) in found]
            if len(there) == len(names):
                exits[index] = tuple(there)
    return exits


def _restoring(points: RestorePoint | tuple[tuple[str, RestorePoint], ...]) -> float:
    if isinstance(points, RestorePoint):
        return points.restore_seconds
    return sum(point.restore_seconds for _, point in points)
