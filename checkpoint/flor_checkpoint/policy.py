"""When to take a checkpoint.

Flor's published rule materialises iff ``M/C < min(1/(1+c), eps) * n/(k+1)``: M and C, the seconds that a checkpoint and an
iteration take, are measured once. This policy asks the same question of what training really lost, and then a second one.

*May it?* What was lost so far (the look at loop entry, stalls, slowdown while a checkpoint was written) and what the next one
is expected to cost stay under the budget at every moment, from the first checkpoint on.

*Is it worth it?* Replaying one iteration takes half a gap between checkpoints on average. The run's length is not known, so gaps
grow with it: gaps in the ratio 1 + g keep that half gap at a share g / (2 (2 + g)) of the run, whatever its length, with a
number of checkpoints that grows with the logarithm of the run's. Once the aimed-at rate of loss allows closer ones, gaps stay
constant, and the expected replay becomes a smaller and smaller part of the run.
"""

from __future__ import annotations

BUDGET = 0.05
"""The share of the run that recording may cost, whatever happens."""

_EARLY = 0.6
"""How much of the budget checkpoints inside the loop may use; the rest is for wrong estimates and for the one at its end."""

_GROWTH = 0.4
"""A gap is at most so much of the run before it: replaying one iteration takes a twelfth of the run."""

_CLOSEST = 0.4
"""How much of the budget may be spent on gaps that grow."""

_AIM = 0.14
"""How much of the budget is spent in the long run: 0.7 % of the run where the budget is 5 %."""

_REMEMBERED = 5


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


class AdaptivePolicy:
    """Pure: it is told what happened, in seconds, and says whether a checkpoint is due."""

    __slots__ = (
        "_budget",
        "_costs",
        "_estimate",
        "_last",
        "_next",
        "_not_before",
        "_spent",
        "_total",
        "checkpoints",
    )

    def __init__(self, budget: float = BUDGET) -> None:
        self._budget = budget
        self._estimate = 0.0
        self._costs: list[float] = []
        self._spent = 0.0
        self._total = 0.0
        self._last = 0.0  # the total at the last checkpoint
        self._not_before = 0.0
        self._next = 0.0  # the total at which one becomes due
        self.checkpoints = 0

    @property
    def estimate(self) -> float:
        """Seconds that the next checkpoint is expected to cost."""
        return self._estimate

    @property
    def spent(self) -> float:
        """Seconds lost so far."""
        return self._spent

    def baseline(self, seconds: float, estimate: float) -> None:
        """What the look at loop entry took, and what it says that a checkpoint will cost."""
        self._estimate = estimate
        self._spent += seconds
        self._plan()

    def iteration(self, seconds: float) -> None:
        """One more iteration ran, in `seconds` without the time that checkpoints took."""
        self._total += seconds

    def captured(self, stall: float, slowdown: float = 0.0) -> None:
        """A checkpoint was taken: it stalled training, and its writing slowed it down, as far as is known by now."""
        cost = stall + slowdown
        self._spent += cost
        self._costs = [*self._costs[1 - _REMEMBERED :], cost]
        self.checkpoints += 1
        self._last = self._total
        self._learn()

    def slowed(self, seconds: float) -> None:
        """Writing the last checkpoint slowed training by so much more."""
        self._spent += seconds
        if self._costs:
            self._costs[-1] += seconds
        self._learn()

    def lost(self, seconds: float) -> None:
        """Seconds that recording took and that led to no checkpoint."""
        self._spent += seconds
        self._plan()

    def skipped(self) -> None:
        """A checkpoint that was due could not be taken (the writer is busy): wait for 5 % more of the run."""
        self._not_before = self._total * 1.05
        self._plan()

    def due(self) -> bool:
        """Whether to take a checkpoint now."""
        return self._total >= self._next

    def due_at_end(self) -> bool:
        """Whether to take one now that the loop is over: it serves what is logged after it."""
        if self._total <= self._last:
            return False
        share = self._budget * (_EARLY if self.checkpoints else 1.0)
        return self._spent + self._estimate <= share * self._total

    def _learn(self) -> None:
        # The last one may be the first of a state that has grown; a single slow one is noise.
        if len(self._costs) == 1:
            self._estimate = self._costs[0]
        elif self._costs:
            self._estimate = max(_middle(self._costs), min(self._costs[-2:]))
        self._plan()

    def _plan(self) -> None:
        cost, budget = self._estimate, self._budget
        allowed = (self._spent + cost) / (budget * _EARLY)
        growing = max(_GROWTH * self._last, cost / (budget * _CLOSEST))
        wanted = self._last + min(cost / (budget * _AIM), growing)
        self._next = max(allowed, wanted, self._not_before)
