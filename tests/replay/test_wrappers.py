"""A loop that is entered in its middle: what is wrapped around it counts on as if it had seen every iteration."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

import pytest

from flor_replay.errors import ReplayMismatch
from flor_replay.record.loops import Level, LoopIterator, Stack
from flor_replay.replay.wrappers import move_on


class Entering:
    """An observer that enters every main loop at an iteration."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.done = False

    def before_fetch(self, loop: LoopIterator) -> None:
        if not self.done:
            self.done = True
            move_on(loop, self.at - loop.index - 1)
            loop.jump(self.at)

    def skips(self, loop: LoopIterator) -> bool:
        return False

    def abandoned(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def entered(wrap: Callable[[Iterable[Any]], Iterable[Any]], at: int = 3) -> list[Any]:
    loop = LoopIterator("epoch", range(10, 16), Stack(Level("", (), 0)), Entering(at))  # type: ignore[arg-type]
    return [item for item in wrap(loop)]


def counted(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        kept = item
        yield kept


# As the progress bar that everybody uses draws: whatever its module is called, the code is this.
bar = FunctionType(counted.__code__, {**globals(), "__name__": "tqdm.std"})


def test_nothing_around_it() -> None:
    assert entered(lambda loop: loop) == [13, 14, 15]


@pytest.mark.parametrize(
    "wrap",
    [
        enumerate,
        lambda loop: enumerate(loop, 5),
        lambda loop: enumerate(enumerate(loop), 2),
        lambda loop: counted(enumerate(loop, 7)),
        lambda loop: enumerate(bar(enumerate(bar(loop)))),
        lambda loop: map(str, enumerate(loop)),
    ],
)
def test_counts_go_on(wrap: Callable[[Iterable[Any]], Iterable[Any]]) -> None:
    assert entered(wrap) == list(wrap(range(10, 16)))[3:]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda loop: zip(loop, "abcdef", strict=True),
        lambda loop: zip("abcdef", loop, strict=True),
        lambda loop: itertools.islice(loop, 4),
        lambda loop: itertools.accumulate(loop),
        lambda loop: enumerate(itertools.pairwise(loop)),
        lambda loop: enumerate(counted(loop)),
        lambda loop: enumerate(x for x in counted(loop) if x % 2),
        lambda loop: map(max, loop, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_keeps_a_place_of_its_own_is_refused(wrap: Callable[[Iterable[Any]], Iterable[Any]]) -> None:
    with pytest.raises(ReplayMismatch):
        entered(wrap)


def test_from_the_start_nothing_is_refused() -> None:
    assert entered(lambda loop: itertools.islice(loop, 2), at=0) == [10, 11]
