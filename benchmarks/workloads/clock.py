"""What a training loop took, beside the same work done by a twin that nobody records: to the file that RESULT names.

A machine that others use is a tenth slower in one minute than in the next, more than recording costs. Pieces of the twin's
training stand all along the loop, so that its seconds can be told in theirs. The twin is held here, outside the project:
what it is does not become part of the recorded state, and its time not part of the loop's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable


class Clock:
    """Seconds of a loop, in pieces between those of the twin."""

    def __init__(self) -> None:
        self._work: Callable[[], object] = lambda: None
        self._every = 0.0
        self._since = (0.0, 0.0, 0.0)
        self._pieces: list[tuple[float, float, float, float]] = []

    def beside(self, work: Callable[[], object], every: float) -> None:
        """What the twin does after each so many seconds; once before anything counts."""
        self._work = work
        self._every = every
        work()

    def start(self) -> None:
        """The loop begins."""
        self._since = _now()

    def beat(self) -> None:
        """One more step of the loop is done."""
        if time.perf_counter() - self._since[0] >= self._every:
            self._piece()

    def stop(self) -> None:
        """The loop is over."""
        self._piece()
        with open(os.environ["RESULT"], "w", encoding="ascii") as file:
            json.dump(self._pieces, file)

    def _piece(self) -> None:
        began = _now()
        wall, cpu, mine = (now - then for now, then in zip(began, self._since, strict=True))
        self._work()
        _, all_threads, taken = (now - then for now, then in zip(_now(), began, strict=True))
        others = all_threads - taken  # what recording did meanwhile counts
        self._pieces.append((wall, cpu + others, taken, cpu - mine + others))
        self._since = _now()


def _now() -> tuple[float, float, float]:
    """Wall seconds, processor seconds of all threads, and of this one."""
    return time.perf_counter(), time.process_time(), time.thread_time()


clock = Clock()
beside, start, beat, stop = clock.beside, clock.start, clock.beat, clock.stop
