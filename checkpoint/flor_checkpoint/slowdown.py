"""How much training is slowed down while checkpoints are written beside it: an estimate from what can be measured.

What writing takes of the processors is known exactly, and training loses so much where it wants all of them (a thread that
waits at a barrier for another one loses what that one lost). Memory's bandwidth and caches are shared too: iterations beside the
writing are compared with those that were alone. Single iterations vary far more than writing slows them, so that comparison is
bounded, by the time that writing took and by twice what it took of the processors (the writer steps back: most of a small
checkpoint's time it waits, and harms nobody), and the middle of the last ones counts.
"""

from __future__ import annotations

from typing import Protocol

_REMEMBERED = 9
_ENOUGH = 3
_PROCESSOR = 2.0  # of the processor seconds that writing took, what training may have lost at most


class Writing(Protocol):
    """What writes: a `Capturer`."""

    @property
    def busy(self) -> bool: ...
    @property
    def cpu_seconds(self) -> float: ...
    @property
    def wall_seconds(self) -> float: ...


class Slowdown:
    """Told of iterations; answers what the writing beside them cost."""

    __slots__ = ("_alone", "_cpu", "_excess", "_shares", "_wall", "_writing", "watching")

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
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

    def iteration(self, seconds: float) -> float:
        """An iteration ran while a checkpoint was written; once that is done, the seconds that it cost, else 0."""
        if len(self._alone) >= _ENOUGH:
            self._excess += seconds - _middle(self._alone)
        if self._writing.busy:
            return 0.0
        self.watching = False
        cpu, wall = self._writing.cpu_seconds - self._cpu, self._writing.wall_seconds - self._wall
        self._cpu += cpu
        self._wall += wall
        if len(self._alone) >= _ENOUGH and wall > 0.0:
            self._shares = [*self._shares[1 - _REMEMBERED :], min(max(self._excess / wall, 0.0), 1.0)]
        self._excess = 0.0
        beside = _middle(self._shares) * wall if len(self._shares) >= _ENOUGH else 0.0
        return max(cpu, min(beside, _PROCESSOR * cpu))


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
