"""When to take checkpoints, simulated: this project's policy beside Flor's published rule, over many shapes of runs.

A run has n iterations of C seconds and checkpoints that cost M seconds; both may vary, drift or jump. For each rule: the share
of the run lost to checkpoints, the most that this share ever was, the expected replay of one iteration as a share of the run,
and the share of the iterations at whose nested loop's exit there is a checkpoint, so that what stands after it can be executed
alone. The published rule takes a checkpoint of an iteration as a whole; where iterations are long enough to have a nested loop ours
takes exits and, beside some, the start that follows at half the cost: the two share most of their content.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from flor_checkpoint import AdaptivePolicy

from benchmarks.measure import Row

RESTORE_RATIO = 1.38  # Flor's measured mean of restore seconds over materialise seconds
EPSILON = 1 / 15  # and its tolerance
NESTED_SECONDS = 0.1  # iterations that take as long have a loop in them


class Rule(Protocol):
    def iteration(self, seconds: float) -> None: ...
    def due(self) -> bool: ...
    def captured(self, seconds: float, *, count: int = 1, start: bool = True) -> None: ...
    def due_start(self) -> bool: ...
    def due_at_end(self) -> bool: ...


class Published:
    """Flor's rule: M/C < min(1/(1+c), eps) * n/(k+1), with M and C as in the first iteration."""

    def __init__(self, first_checkpoint: float) -> None:
        self._m = first_checkpoint
        self._c = 0.0
        self._n = 0
        self._k = 0

    def iteration(self, seconds: float) -> None:
        self._n += 1
        self._c = self._c or seconds

    def due(self) -> bool:
        return self._m / self._c < min(1 / (1 + RESTORE_RATIO), EPSILON) * self._n / (self._k + 1)

    def captured(self, seconds: float, *, count: int = 1, start: bool = True) -> None:
        self._k += 1

    def due_start(self) -> bool:
        return True

    def due_at_end(self) -> bool:
        return False


@dataclass(frozen=True)
class Shape:
    """`checkpoint` and `iteration` give seconds for a place in the run from 0 to 1; `noise` is a lognormal sigma."""

    name: str
    count: int
    checkpoint: Callable[[float], float]
    iteration: Callable[[float], float]
    noise: float = 0.2


@dataclass(frozen=True)
class Outcome:
    checkpoints: int
    lost: float  # of the run
    worst: float  # the most that was lost of any beginning of the run
    replay: float  # expected, of one iteration, of the run
    exits: float  # of the iterations


def constant(value: float) -> Callable[[float], float]:
    return lambda _: value


def falling(seconds: float) -> Callable[[float], float]:
    return lambda x: float(seconds * 30**-x)


def rising(seconds: float) -> Callable[[float], float]:
    return lambda x: float(seconds * 30 ** (x - 1))


def slow_first(seconds: float, count: int) -> Callable[[float], float]:
    return lambda x: seconds * (50 if x < 1 / count else 1)


def shapes() -> Iterator[Shape]:
    for m in (0.003, 0.03, 0.3, 3.0):
        for c, n in ((0.00005, 400_000), (0.005, 20_000), (0.5, 200), (30.0, 60), (1200.0, 3)):
            if m < 0.05 * c * n:
                yield Shape(f"M {m} s, C {c} s, n {n}", n, constant(m), constant(c))
    for n, c in ((20_000, 0.01), (300, 1.0)):
        yield Shape(f"checkpoints grow 30 x, n {n}", n, lambda x: 0.02 * 30**x, constant(c))
        yield Shape(f"iterations shrink 30 x, n {n}", n, constant(0.05), falling(c))
        yield Shape(f"iterations grow 30 x, n {n}", n, constant(0.05), rising(c))
        yield Shape(f"first iteration 50 x, n {n}", n, constant(0.05), slow_first(c, n))
        yield Shape(f"checkpoints jump 20 x midway, n {n}", n, lambda x: 0.02 if x < 0.5 else 0.4, constant(c))
        yield Shape(f"noise, n {n}", n, constant(0.05), constant(c), noise=0.8)


def simulate(shape: Shape, rule: Rule, spent: float, beside: float | None, seed: int = 0) -> Outcome:
    """`spent`: seconds that went before the first iteration; `beside`: a start's cost beside an exit's; None: no exits."""
    rng = random.Random(seed)
    clock = 0.0
    lost, worst, taken, exits = spent, 0.0, 0, 0
    since, waited = 0.0, 0.0  # since the last start that was taken; and summed over the iterations
    for index in range(shape.count):
        waited += since
        place = index / shape.count
        seconds = shape.iteration(place) * math.exp(rng.gauss(0.0, shape.noise))
        clock += seconds
        since += seconds
        rule.iteration(seconds)
        last = index == shape.count - 1
        if rule.due_at_end() if last else rule.due():
            cost = shape.checkpoint(place) * math.exp(rng.gauss(0.0, shape.noise))
            start = (beside is None or rule.due_start()) and not last
            cost *= 1.0 + (beside or 0.0) * start
            rule.captured(cost, count=2 if start and beside else 1, start=start)
            lost += cost
            taken += 1
            exits += beside is not None
            since = 0.0 if start else since
            if taken > 1 or not last:
                worst = max(worst, lost / clock)
    worst = max(worst, lost / clock)
    return Outcome(taken, lost / clock, worst, waited / shape.count / clock, exits / shape.count)


def ours(shape: Shape, known: bool = True) -> Outcome:
    """`known`: whether the loop runs over something that has a length."""
    first = shape.checkpoint(0.0)
    policy = AdaptivePolicy(count=shape.count if known else None)
    policy.baseline(0.5 * first, 0.8 * first)  # the look at loop entry, and an estimate that is off
    nested = shape.iteration(0.5) >= NESTED_SECONDS
    return simulate(shape, policy, 0.5 * first, 0.5 if nested else None)


def published(shape: Shape) -> Outcome:
    return simulate(shape, Published(shape.checkpoint(0.0)), 0.0, 0.0)


def run(quick: bool) -> list[Row]:
    chosen = [shape for shape in shapes() if not quick or shape.count <= 20_000]
    return _rows(chosen, True) + _rows(chosen, False)


def _rows(chosen: list[Shape], known: bool) -> list[Row]:
    found = [(shape, ours(shape, known), published(shape)) for shape in chosen]
    length = "length known" if known else "length not known"

    def row(what: str, mine: list[float], theirs: list[float], unit: str = "%") -> Row:
        a, b = sum(mine) / len(mine), sum(theirs) / len(theirs)
        return Row(f"{what}, {length}", a, b, "Flor's published rule", a / b if b else math.inf, len(found), unit=unit)

    pairs = [(a, b) for _, a, b in found]
    worst = [max(each[side].worst for each in pairs) for side in (0, 1)]
    behind = [max(each[side].replay for each in pairs) for side in (0, 1)]
    return [
        row("lost to checkpoints, mean over shapes", [a.lost for a, _ in pairs], [b.lost for _, b in pairs]),
        row("lost of any beginning of a run, worst shape", worst[:1], worst[1:]),
        row("expected replay of an iteration, mean", [a.replay for a, _ in pairs], [b.replay for _, b in pairs]),
        row("expected replay of an iteration, worst shape", behind[:1], behind[1:]),
        row("iterations with their nested loop's exit, mean", [a.exits for a, _ in pairs], [b.exits for _, b in pairs]),
        row(
            "checkpoints, mean",
            [a.checkpoints for a, _ in pairs],
            [b.checkpoints for _, b in pairs],
            unit="",
        ),
    ]


def main() -> None:
    print(
        f"{'shape':42s} {'ours: k':>8s} {'lost':>7s} {'worst':>7s} {'replay':>7s} {'exits':>5s}   rule: k    lost   worst  replay"
    )
    for shape in shapes():
        a, b = ours(shape), published(shape)
        mine = f"{a.checkpoints:8d} {a.lost:7.2%} {a.worst:7.2%} {a.replay:7.2%} {a.exits:5.0%}"
        print(f"{shape.name:42s} {mine} {b.checkpoints:9d} {b.lost:7.2%} {b.worst:7.2%} {b.replay:7.2%}")


if __name__ == "__main__":
    main()
