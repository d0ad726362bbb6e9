"""What a training loop took, beside the same work done by a twin that nobody records: to the file that RESULT names.

On a machine that others use, what takes 37 milliseconds in one second takes 55 in the next, and recording costs a hundredth. So the
twin, a second model, takes turns with the recorded one all along the loop: what the machine does slows both. The twin is held
here, outside the project: what it is does not become part of the recorded state, and its turns no part of the iterations that
flor times. While a checkpoint is being written it takes none, so that it is not slowed by what is not its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


class Clock:
    """Seconds of a loop's stretches, each with those of the twin's turn after it."""

    def __init__(self) -> None:
        self._work: Callable[[], object] = lambda: None
        self._steps = 1
        self._done = 0
        self._turns: list[tuple[float, float | None]] = []
        self._others = 0.0
        self._since = 0.0

    def beside(self, work: Callable[[], object], steps: int) -> None:
        """What the twin does after each so many steps of the loop; once before anything counts."""
        self._work = work
        self._steps = steps
        work()

    def start(self) -> None:
        """The loop begins."""
        self._others = _others()
        self._since = time.perf_counter()

    def beat(self) -> None:
        """One more step of the loop is done."""
        self._done += 1
        if self._done % self._steps == 0:
            self._turn()

    def stop(self) -> None:
        """The loop is over."""
        self._turns.append((time.perf_counter() - self._since, None))
        with open(os.environ["RESULT"], "w", encoding="ascii") as file:
            json.dump({"turns": self._turns, "others": _others() - self._others}, file)

    def _turn(self) -> None:
        began = time.perf_counter()
        stretch = began - self._since
        loops = _loops()
        if any(_writes(loop) for loop in loops):
            self._turns.append((stretch, None))
        else:
            self._work()
            taken = time.perf_counter() - began
            self._turns.append((stretch, taken))
            for loop in loops:
                loop.paused += taken
        self._since = time.perf_counter()


def _others() -> float:
    """Processor seconds of other threads than this one."""
    return time.process_time() - time.thread_time()


def _loops() -> list[Any]:
    """The open loops that flor records; none where `flor` is a stand-in."""
    recording = sys.modules.get("flor_replay.record.session")
    session = recording.running() if recording is not None else None
    return [level.iterator() for level in session.stack.levels[1:]] if session is not None else []


def _writes(loop: Any) -> bool:
    """Whether a checkpoint of this loop is being written."""
    main = loop._observer._main
    return main is not None and main._capturer is not None and main._capturer.busy


clock = Clock()
beside, start, beat, stop = clock.beside, clock.start, clock.beat, clock.stop
