"""The policy is pure: simulated clocks."""

from __future__ import annotations

import os
import random
import time

import pytest
from flor_checkpoint import AdaptivePolicy, Slowdown
from flor_checkpoint.slowdown import Processors


def simulate(
    cost, iteration, count: int, seed: int | None = None, known: bool = False
) -> tuple[AdaptivePolicy, float, float, float]:
    """The policy; the share of the run lost at its end; the most at any moment; the expected replay of one iteration."""
    rng = random.Random(seed)
    policy = AdaptivePolicy(count=count if known else None)
    first = cost(0.0)
    policy.baseline(0.5 * first, first)
    lost = 0.5 * first
    total = since = waited = worst = 0.0
    for index in range(count):
        place = index / count
        waited += since
        seconds = iteration(place) * (rng.lognormvariate(0, 0.3) if seed is not None else 1.0)
        policy.iteration(seconds)
        total += seconds
        since += seconds
        if policy.due_at_end() if index == count - 1 else policy.due():
            stall = cost(place) * (rng.lognormvariate(0, 0.3) if seed is not None else 1.0)
            policy.captured(0.3 * stall)
            policy.slowed(0.7 * stall)
            lost += stall
            since = 0.0
            worst = max(worst, lost / total)
    return policy, lost / total, max(worst, lost / total), waited / count / total


STEADY = [(0.01, 1.0, 100), (0.01, 0.001, 100_000), (1.0, 60.0, 30), (0.002, 0.0001, 50_000), (0.3, 0.5, 300)]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("shape", STEADY)
def test_the_loss_stays_small_and_the_replay_short(shape, known):
    cost, iteration, count = shape
    policy, lost, worst, replay = simulate(lambda _: cost, lambda _: iteration, count, known=known)
    assert policy.checkpoints >= 1
    assert worst <= 0.05
    assert lost <= 0.02
    assert replay <= 0.1


def test_a_short_loop_of_known_length_is_covered():
    """A checkpoint costs a fourth of a percent of it: where the end is known, none comes too late."""
    unknown = simulate(lambda _: 0.08, lambda _: 0.25, 120)
    known = simulate(lambda _: 0.08, lambda _: 0.25, 120, known=True)
    assert known[3] < 0.95 * unknown[3]
    assert known[2] <= 0.03


def test_a_length_that_is_not_reached_or_passed_does_no_harm():
    policy = AdaptivePolicy(count=3)
    policy.baseline(0.0, 0.001)
    for _ in range(1000):
        policy.iteration(1.0)
        if policy.due():
            policy.captured(0.001)
    assert policy.checkpoints > 900
    assert AdaptivePolicy(count=0).due_at_end() is False


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_the_budget_holds_at_every_moment_whatever_drifts(seed, known):
    rng = random.Random(seed)
    cost_at, cost_by = rng.uniform(0.001, 0.1), rng.uniform(1 / 20, 20)
    time_at, time_by = rng.uniform(0.01, 1.0), rng.uniform(1 / 20, 20)
    found = simulate(lambda x: cost_at * cost_by**x, lambda x: time_at * time_by**x, 1000, seed, known)
    assert found[2] <= 0.05


def test_every_iteration_where_it_costs_next_to_nothing():
    policy, *_ = simulate(lambda _: 0.001, lambda _: 1.0, 50)
    assert policy.checkpoints == 50


def test_all_or_few():
    """What serves one iteration only is worth more where no iteration is left out."""
    every, lost, *_ = simulate(lambda _: 0.0035, lambda _: 1.0, 200)
    assert every.checkpoints >= 195
    assert lost <= 0.0045
    some, lost, *_ = simulate(lambda _: 0.0055, lambda _: 1.0, 200)
    assert 50 <= some.checkpoints <= 105
    assert lost <= 0.005


def test_none_where_one_would_break_the_budget():
    policy, *_ = simulate(lambda _: 10.0, lambda _: 1.0, 20)
    assert policy.checkpoints == 0


def test_a_first_checkpoint_that_could_not_be_had_inside_is_had_at_the_end():
    policy, lost, *_ = simulate(lambda _: 0.5, lambda _: 1.0, 20)
    assert policy.checkpoints == 1
    assert lost <= 0.05


def test_costs_that_grow_thin_the_checkpoints():
    growing = simulate(lambda x: 0.01 * 100**x, lambda _: 1.0, 2000)[0]
    steady = simulate(lambda _: 0.01, lambda _: 1.0, 2000)[0]
    assert growing.checkpoints < steady.checkpoints / 2


def test_one_slow_checkpoint_does_not_thin_the_rest():
    cost = lambda x: 1.0 if 0.5 <= x < 0.5005 else 0.01  # noqa: E731
    policy, *_ = simulate(cost, lambda _: 1.0, 2000)
    assert policy.checkpoints > 0.8 * simulate(lambda _: 0.01, lambda _: 1.0, 2000)[0].checkpoints


@pytest.mark.parametrize("count", [None, 10])
def test_the_running_iteration_counts(count):
    """At the exit of its nested loop an iteration is not over, and may be as long as all before."""
    policy = AdaptivePolicy(count=count)
    policy.baseline(0.001, 0.001)
    taken = []
    for index in range(10):
        due = policy.due(running=0.9)
        policy.iteration(1.0)
        if due:
            policy.captured(0.001, start=False)
            taken.append(index)
    assert taken == list(range(10))


def test_waits_after_a_skip():
    policy = AdaptivePolicy()
    policy.baseline(0.0, 0.001)
    for _ in range(100):
        policy.iteration(1.0)
    assert policy.due()
    policy.skipped()
    assert not policy.due()
    for _ in range(6):
        policy.iteration(1.0)
    assert policy.due()


def test_lost_seconds_count():
    policy = AdaptivePolicy()
    policy.baseline(0.0, 0.001)
    policy.iteration(1.0)
    assert policy.due()
    policy.lost(0.5)
    assert not policy.due()


class Writing:
    def __init__(self) -> None:
        self.busy = False
        self.cpu_seconds = 0.0
        self.wall_seconds = 0.0


class Busy:
    """Processors of which so much is idle."""

    def __init__(self, part: float = 0.0) -> None:
        self.part = part

    def idle(self, but: float) -> float:
        return self.part


def beside(slowdown: Slowdown, writing: Writing, cpu: float, wall: float, iteration: float) -> float:
    """One checkpoint that is written during one iteration."""
    slowdown.watch()
    writing.cpu_seconds += cpu
    writing.wall_seconds += wall
    return slowdown.iteration(iteration)


def test_slowdown_is_what_the_processors_gave_to_writing():
    writing = Writing()
    slowdown = Slowdown(writing, Busy())
    assert beside(slowdown, writing, 0.02, 0.05, 1.0) == pytest.approx(0.02)
    assert not slowdown.watching


@pytest.mark.parametrize(("idle", "lost"), [(0.0, 0.02), (0.75, 0.005), (1.0, 0.0)])
def test_what_a_processor_did_that_was_idle_anyway_is_not_lost(idle, lost):
    writing = Writing()
    assert beside(Slowdown(writing, Busy(idle)), writing, 0.02, 0.05, 1.0) == pytest.approx(lost)


def test_the_processors_of_this_machine():
    """One that this thread keeps busy is not idle; there are not more than there are."""
    processors = Processors()
    until = time.perf_counter() + 0.2
    while time.perf_counter() < until:
        pass
    count = os.cpu_count() or 1
    assert 0.0 <= processors.idle(0.0) <= processors.idle(0.2) <= 1.0
    assert processors.idle(0.0) <= max(0.0, count - 0.8)
    assert processors.idle_beside(count) == 0.0
    assert 0.0 <= processors.idle_beside(1) <= 1.0


def test_slowdown_is_measured_over_the_iterations_that_writing_took():
    writing = Writing()
    slowdown = Slowdown(writing, Busy())
    slowdown.watch()
    writing.busy = True
    assert slowdown.iteration(0.1) == 0.0
    assert slowdown.watching
    writing.busy = False
    writing.cpu_seconds = 0.03
    assert slowdown.iteration(0.1) == pytest.approx(0.03)


def test_iterations_that_are_slower_beside_writing_count():
    rng = random.Random(0)
    writing = Writing()
    slowdown = Slowdown(writing, Busy())
    found = 0.0
    for _ in range(20):
        for _ in range(5):
            slowdown.quiet(rng.gauss(0.1, 0.01))
        found = beside(slowdown, writing, 0.01, 0.1, rng.gauss(0.18, 0.01))
    assert found == pytest.approx(0.08, rel=0.3)


def mean_beside_noise(seconds: float, deviation: float, quiet: int, cpu: float, wall: float, checkpoints: int) -> float:
    """What a checkpoint is said to cost, in the mean, where its writing slows no iteration; `quiet` lie between two."""
    rng = random.Random(0)
    writing = Writing()
    slowdown = Slowdown(writing, Busy())
    found = []
    for _ in range(checkpoints):
        for _ in range(quiet):
            slowdown.quiet(rng.gauss(seconds, deviation))
        found.append(beside(slowdown, writing, cpu, wall, rng.gauss(seconds, deviation)))
    return sum(found) / len(found)


def test_noise_is_not_taken_for_slowdown():
    found = mean_beside_noise(1.0, 0.2, quiet=5, cpu=0.004, wall=0.005, checkpoints=50)
    assert found <= 0.0052  # never more than writing took, however noisy


def test_a_small_checkpoint_beside_noisy_iterations_costs_about_what_it_took_of_the_processors():
    found = mean_beside_noise(0.5, 0.05, quiet=2, cpu=0.0015, wall=0.015, checkpoints=100)
    assert found < 3 * 0.0015
