"""How much training is slowed down while checkpoints are written beside it: an estimate from what can be measured.

What writing takes of the processors is known exactly, and training loses so much where it wants all of them (a thread that
waits at a barrier for another one loses what that one lost); where a processor is idle anyway it takes nothing. Memory's bandwidth and caches are shared too: iterations beside the
writing are compared with those that were alone. Single iterations vary far more than writing slows them, so that comparison is
bounded by the time that writing took, and of the last ones the middle counts, less what it is uncertain by: the noise of half a
second's iterations would else make a small checkpoint look ten times dearer than it is.
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

_REMEMBERED = 9
_ENOUGH = 3
_SURE = 1.5  # deviations of the middle that are taken off


class Writing(Protocol):
    """What writes: a `Capturer`."""

    @property
    def busy(self) -> bool: ...
    @property
    def cpu_seconds(self) -> float: ...
    @property
    def wall_seconds(self) -> float: ...


class Processors:
    """How many processors there are for this process, and how busy they are: by it, or by all that run on the machine."""

    def __init__(self) -> None:
        affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
        self._count = min(float(len(affinity(0)) if affinity is not None else os.cpu_count() or 1), _quota())
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._idle = _idle_seconds()

    def idle(self, but: float) -> float:
        """The part of one processor, 0 to 1, that nobody wanted since this was made; `but`: seconds of ours that don't count."""
        wall = max(time.perf_counter() - self._wall, 1e-3)
        left = self._count - (time.process_time() - self._cpu - but) / wall
        return min(max(min(left, (_idle_seconds() - self._idle + but) / wall), 0.0), 1.0)

    def idle_beside(self, threads: int) -> float:
        """The same, as far as can be told now, once so many threads of this process want one each."""
        return min(max(self._count - max(threads, _running()), 0.0), 1.0)


_TICK_SECONDS = 0.01  # of /proc/stat, for everybody


def _idle_seconds() -> float:
    """Since the machine was started, of all its processors; 0 where the system does not say."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return sum(map(int, file.readline().split()[4:6])) * _TICK_SECONDS  # idle, and waiting for a disk
    except (OSError, ValueError):
        return 0.0


def _running() -> float:
    """Threads that run or wait for a processor, of the whole machine; many where the system does not say.

    Now or in the last minute, whichever are fewer: what a run does as it begins is soon over.
    """
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            minute, _, _, now, *_ = file.readline().split()
        return min(float(minute), float(now.partition("/")[0]))
    except (OSError, ValueError):
        return math.inf


def _quota() -> float:
    """Processors that the container may use."""
    try:
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return float(most) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


class Slowdown:
    """Told of iterations; answers what the writing beside them cost."""

    __slots__ = ("_alone", "_cpu", "_excess", "_processors", "_shares", "_wall", "_writing", "watching")

    def __init__(self, writing: Writing, processors: Processors | None = None) -> None:
        self._writing = writing
        self._processors = processors or Processors()
        self._alone: list[float] = []
        self._shares: list[float] = []  # of the time that writing took, what the iterations beside it took longer
        self._cpu = 0.0
        self._wall = 0.0
        self._excess = 0.0
        self.watching = False
        """Something is being written, or was at the last look."""

    def quiet(self, seconds: float) -> None:
        """An iteration ran alone."""
        alone = self._alone
        if len(alone) < _REMEMBERED:
            alone.append(seconds)
        else:
            alone.pop(0)
            alone.append(seconds)

    def watch(self) -> None:
        """A checkpoint was handed to the writer."""
        self.watching = True

    def iteration(self, seconds: float, count: int = 1) -> float:
        """`count` iterations ran while a checkpoint was written; once that is done, the seconds that it cost, else 0."""
        if len(self._alone) >= _ENOUGH:
            self._excess += seconds - count * _middle(self._alone)
        if self._writing.busy:
            return 0.0
        self.watching = False
        cpu, wall = self._writing.cpu_seconds - self._cpu, self._writing.wall_seconds - self._wall
        self._cpu += cpu
        self._wall += wall
        if len(self._alone) >= _ENOUGH and wall > 0.0:
            self._shares = [*self._shares[1 - _REMEMBERED :], self._excess / wall]
        self._excess = 0.0
        return max((1.0 - self._processors.idle(self._cpu)) * cpu, self._surely() * wall)

    def idle_at_first(self) -> float:
        """The part of a processor that training will leave idle, as far as can be told before it begins."""
        torch: Any = sys.modules.get("torch")
        return self._processors.idle_beside(torch.get_num_threads() if hasattr(torch, "get_num_threads") else 1)

    def _surely(self) -> float:
        """The share of the time of writing that training lost, as far as the noise lets see it; 0 to 1."""
        shares = self._shares
        if len(shares) < _ENOUGH:
            return 0.0
        middle = _middle(shares)
        deviation = _middle([abs(share - middle) for share in shares])
        return min(max(middle - _SURE * deviation / math.sqrt(len(shares)), 0.0), 1.0)


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
