"""Loops over range(n) are looked at now and then only; what is recorded of an iteration is the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from flor_replay.plan.facts import gather
from flor_replay.record import loops
from flor_replay.record.loops import Level, Loop, Stack
from tests.replay.harness import logged
from tests.support import Project


class Observer:
    """Lets iterations pass; counts those that it is told of."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.ends: list[tuple[str, int, str]] = []
        self.begun = 0

    def stretches(self, loop: Any) -> bool:
        return True

    def iteration_ends(self, level: Level, seconds: float, count: int = 1) -> None:
        self.told[level.name] = self.told.get(level.name, 0) + count

    def iteration_begins(self, level: Level, value: object) -> None:
        self.begun += 1

    def loop_ends(self, loop: Any, end: str) -> None:
        self.ends.append((loop.name, loop.index, end))

    def loop_begins(self, loop: Any) -> None: ...
    def before_fetch(self, loop: Any) -> None: ...
    def skips(self, loop: Any) -> bool:
        return False

    def abandoned(self) -> bool:
        return False


@pytest.fixture
def stack() -> Stack:
    return Stack(Level("", (), 0))


@pytest.fixture
def observer() -> Observer:
    return Observer()


def test_every_iteration_is_counted_and_few_are_looked_at(stack: Stack, observer: Observer) -> None:
    for i in Loop("i", range(50_000), stack, observer):
        assert stack.top().index == i
        if i % 1000 == 0:
            assert stack.top().path == (("i", 0, i),)
            assert stack.top().counts == {}
            stack.top().counts["x"] = 1
    assert observer.told == {"i": 50_000}
    assert observer.begun < 5000
    assert observer.ends == [("i", 49_999, "exhausted")]
    assert len(stack.levels) == 1


def test_nested_ones_and_those_left_by_break(stack: Stack, observer: Observer) -> None:
    for i in Loop("i", range(2000), stack, observer):
        for j in Loop("j", range(50), stack, observer):
            if j == 7:
                assert stack.top().path == (("i", 0, i), ("j", 0, 7))
                break
        assert stack.top().path == (("i", 0, i),)
    assert observer.told["i"] == 2000
    assert observer.ends[:2] == [("j", 7, "closed")] * 2
    assert observer.ends[-1] == ("i", 1999, "exhausted")


def test_side_by_side(stack: Stack, observer: Observer) -> None:
    pairs = list(zip(Loop("i", range(3000), stack, observer), Loop("j", range(3000), stack, observer), strict=True))
    assert pairs == [(i, i) for i in range(3000)]
    assert len(stack.levels) == 1


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_done_inside_the_place_is_known(stack: Stack, observer: Observer, seed: int) -> None:
    """Inner loops that end, are left or are held, errors, questions: where an iteration stands is what it is."""
    chance = random.Random(seed)
    held = []
    seen = 0
    for i in Loop("i", range(3000), stack, observer):
        assert i == seen
        seen += 1
        done = chance.random()
        if done < 0.02:
            for j in Loop("j", range(chance.randrange(1, 400)), stack, observer):
                assert stack.top().path == (("i", 0, i), ("j", 0, j))
                if chance.random() < 0.02:
                    break
        elif done < 0.03:
            other = iter(Loop("k", range(500), stack, observer))
            assert [next(other) for _ in range(chance.randrange(1, 300))][-1] == stack.top().index
            held.append(other)  # and left open
        elif done < 0.04:
            with pytest.raises(ZeroDivisionError):
                for j in Loop("l", range(300), stack, observer):
                    1 / (j - 200)
        elif done < 0.3:
            assert stack.top().path == (("i", 0, i),)
            assert stack.top().counts == {}
            stack.top().counts["x"] = 1
        elif done < 0.4:
            assert stack.levels[1].index == i
    assert seen == 3000
    assert observer.told["i"] == 3000
    for other in held:
        rest = list(other)
        assert rest == list(range(500 - len(rest), 500))
    assert len(stack.levels) == 1


def test_the_iterator_that_runs_is_one_of_ours_to_a_checkpoint(project: Project) -> None:
    code = """
        import flor
        held = iter(flor.loop("i", range(3000)))
        total = 0
        for i in held:
            total += i
            if i % 1000 == 999:
                flor.log("total", total)
    """
    project.commit(files={"train.py": code})
    run = project.run()
    assert list(logged(run, "total").values()) == [sum(range(n)) for n in (1000, 2000, 3000)]
    told = project.command("doctor", run.run).stdout
    assert "held" not in told and "not captured" not in told, told


def test_a_held_iterator_goes_on_after_break(stack: Stack, observer: Observer) -> None:
    held = iter(Loop("i", range(3000), stack, observer))
    for i in held:
        if i == 1500:
            break
    assert next(held) == 1501
    assert list(held) == list(range(1502, 3000))


def test_an_exception_closes_it(stack: Stack, observer: Observer) -> None:
    with pytest.raises(ValueError, match="here"):
        for i in Loop("i", range(3000), stack, observer):
            if i == 2000:
                raise ValueError("here")
    assert observer.ends == [("i", 2000, "closed")]


@pytest.mark.parametrize("over", [range(3), range(1, 3000), range(0, 30, 2), [1, 2], "ab"])
def test_the_items_are_the_same(stack: Stack, observer: Observer, over: Any) -> None:
    assert list(Loop("i", over, stack, observer)) == list(over)


def test_what_is_recorded(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
        import flor
        for i in flor.loop("i", range(20_000)):
            if i % 4999 == 0:
                flor.log("x", i)
                flor.log("x", -i)
                for j in flor.loop("j", range(300)):
                    if j == 299:
                        flor.log("y", j)
    """
    project.commit(files={"train.py": code})
    run = project.run(every=False)
    assert list(logged(run, "x")) == [(("i", 0, i), n) for i in range(0, 20_000, 4999) for n in (0, 1)]
    assert list(logged(run, "y")) == [(("i", 0, i), ("j", 0, 299), 0) for i in range(0, 20_000, 4999)]
    main = gather([run])[run.run].main
    assert main is not None
    assert (main.iterations, main.ended_by, len(main.seconds)) == (20_000, "exhausted", 20_000)
    assert 0 < sum(main.seconds) < 60
    assert loops._MOST_UNSEEN < 20_000


def test_the_run_says_what_its_checkpoints_cost(project: Project) -> None:
    code = """
        import time
        import flor
        for i in flor.loop("i", range(4)):
            time.sleep(0.01)
            flor.log("i", i)
    """
    project.commit(files={"train.py": code})
    run = project.run()
    assert 0 < run.info["checkpoints_cost_seconds"] < 60
    assert "checkpoints cost it" in project.command("doctor", run.run).stdout
