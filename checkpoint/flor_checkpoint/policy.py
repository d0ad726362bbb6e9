"""When to take a checkpoint: Flor's adaptive rule, with its estimates renewed as training goes on.

The published rule materialises iff ``M/C < min(1/(1+c), eps) * n/(k+1)``, with M the seconds that a checkpoint
costs the training thread, C the seconds of an iteration, n iterations and k checkpoints so far, c the ratio of
restoring to materialising. With ``C = total/n`` that is ``M * (k+1) < share * total``; what the k checkpoints
really cost stands here in place of ``M * k``, so that the loss stays under the budget whatever the estimates were.
"""

from __future__ import annotations

RESTORE_RATIO = 1.38
"""Flor's measured mean of restore seconds over materialise seconds."""


class AdaptivePolicy:
    """Pure: it is told what happened and says whether a checkpoint is due."""

    __slots__ = (
        "_estimate_seconds",
        "_not_before",
        "_share",
        "_spent_seconds",
        "_total_seconds",
        "checkpoints",
    )

    def __init__(
        self, epsilon: float = 1 / 15, *, restore_ratio: float = RESTORE_RATIO, stall_estimate: float = 0.0
    ) -> None:
        self._share = min(1.0 / (1.0 + restore_ratio), epsilon)
        self._estimate_seconds = stall_estimate
        self._spent_seconds = 0.0
        self._total_seconds = 0.0
        self._not_before = 0.0
        self.checkpoints = 0

    @property
    def stall_estimate(self) -> float:
        """Seconds that the next checkpoint is expected to cost."""
        return self._estimate_seconds

    def baseline(self, seconds: float, stall_estimate: float | None = None) -> None:
        """The cost of the walk at loop entry: the first estimate, and seconds already spent."""
        self._estimate_seconds = seconds if stall_estimate is None else stall_estimate
        self._spent_seconds += seconds

    def iteration(self, seconds: float) -> None:
        """One more iteration ran, in `seconds` without the time that checkpoints took."""
        self._total_seconds += seconds

    def captured(self, stall_seconds: float, slowdown_seconds: float = 0.0) -> None:
        """A checkpoint was taken; its writing slowed the iterations beside it by `slowdown_seconds`, if known."""
        cost = stall_seconds + slowdown_seconds
        self._spent_seconds += cost
        self._estimate_seconds = cost if self.checkpoints == 0 else 0.5 * (self._estimate_seconds + cost)
        self.checkpoints += 1

    def skipped(self) -> None:
        """A checkpoint that was due could not be taken (the writer is busy): wait for 5 % more of the run."""
        self._not_before = self._total_seconds * 1.05

    def due(self) -> bool:
        """Whether to take a checkpoint now."""
        total = self._total_seconds
        return self._spent_seconds + self._estimate_seconds < self._share * total and total >= self._not_before
