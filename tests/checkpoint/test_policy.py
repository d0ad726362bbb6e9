"""The policy is pure: simulated clocks."""

from __future__ import annotations

import random
import timeit

from flor_checkpoint import AdaptivePolicy


def simulate(stall: float, iteration: float, count: int, drift: float = 1.0) -> tuple[int, float]:
    policy = AdaptivePolicy()
    policy.baseline(stall)
    lost = stall
    total = 0.0
    for _ in range(count):
        if policy.due():
            policy.captured(stall)
            lost += stall
        policy.iteration(iteration)
        total += iteration
        stall *= drift
    return policy.checkpoints, lost / total


def test_spends_no_more_than_the_budget():
    for stall, iteration, count in [(0.01, 1.0, 100), (0.1, 0.001, 100_000), (1.0, 60.0, 30), (0.002, 0.0001, 50_000)]:
        checkpoints, share = simulate(stall, iteration, count)
        assert checkpoints >= 1
        assert share <= 1 / 15


def test_takes_every_iteration_when_it_costs_next_to_nothing():
    checkpoints, _ = simulate(0.001, 1.0, 50)
    assert checkpoints >= 48


def test_takes_none_when_one_would_break_the_budget():
    assert simulate(10.0, 1.0, 20)[0] == 0


def test_a_stall_that_grows_thins_the_checkpoints():
    assert simulate(0.01, 1.0, 2000, drift=1.005)[0] < simulate(0.01, 1.0, 2000)[0]


def test_waits_after_a_skip():
    policy = AdaptivePolicy()
    for _ in range(100):
        policy.iteration(1.0)
    assert policy.due()
    policy.skipped()
    assert not policy.due()
    for _ in range(6):
        policy.iteration(1.0)
    assert policy.due()


def test_random_costs_stay_near_the_budget():
    rng = random.Random(1)
    for _ in range(50):
        policy = AdaptivePolicy(epsilon=0.05)
        spent = total = worst = 0.0
        for _ in range(2000):
            if policy.due():
                stall = rng.lognormvariate(-3, 0.3)
                spent += stall
                worst = max(worst, stall)
                policy.captured(stall)
            seconds = rng.lognormvariate(-2, 0.5)
            policy.iteration(seconds)
            total += seconds
        assert spent <= 0.05 * total + worst


def test_costs_less_than_a_microsecond():
    policy = AdaptivePolicy()

    def both() -> None:
        policy.iteration(0.001)
        policy.due()

    assert min(timeit.repeat(both, number=10_000, repeat=5)) / 10_000 < 1e-6
