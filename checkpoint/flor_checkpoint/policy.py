"""When to take a checkpoint.

Flor's published rule materialises iff ``M/C < min(1/(1+c), eps) * n/(k+1)``: M and C, the seconds that a checkpoint and an
iteration take, are measured once. This policy asks the same question of what training really lost, and then two more.

*May it?* What was lost so far (the look at loop entry, stalls, slowdown while a checkpoint was written) and what the next one
is expected to cost stay under the budget at every moment, from the first checkpoint on. The budget is a share of the run, and
the run began before its loop: imports and data that were loaded count.

*Is it worth it?* Replaying one iteration takes half a gap between checkpoints on average. Where the number of iterations is
known, and so about how long the loop will take, no gap is longer than a share of that. Where it is not, gaps
grow with the run: gaps in the ratio 1 + g keep that half gap at a share g / (2 (2 + g)) of the run, whatever its length, with a
number of checkpoints that grows with the logarithm of the run's. Once the aimed-at rate of loss allows closer ones, gaps stay
constant, and the expected replay becomes a smaller and smaller part of the run.

*Which one?* The exit of a nested loop serves what stands after it, in its own iteration and in no other: it is wanted in as
many as can be had, and most of all in every one. The start of an iteration serves all that follow: where exits are taken,
the next start comes with one of them as seldom as the growing gaps allow, or at a quarter of the rate.
"""

from __future__ import annotations

BUDGET = 0.05
"""The share of the run that recording may cost, whatever happens."""

_EARLY = 0.7
"""How much of the budget checkpoints inside the loop may use; the rest is for the one at its end."""

_DEARER = 3.0
"""The next checkpoint may be so many times dearer than expected and the budget still holds."""

_GROWTH = 0.4
"""A gap is at most so much of the run before it: replaying one iteration takes a twelfth of the run."""

_SHARE = 1 / 6
"""A gap is at most so much of a loop whose length is known: replaying one iteration takes a twelfth of it."""

_CLOSEST = 0.4
"""How much of the budget may be spent on gaps that are that long at most."""

_AIM = 0.05
"""How much of the budget is spent in the long run: 0.25 % of the run where the budget is 5 %."""

_EVERY = 1.7
"""Where that gives one to every iteration, so many times the rate is spent: then no nested loop is ever executed again."""

_GUESSED = 1.7
"""So much less than the guess at loop entry a checkpoint may cost: else the first iteration, of which there is one, goes without."""

_STARTS = 4.0
"""So many times rarer are the starts that come beside exits."""

_START_GROWTH = 0.25
_START_SHARE = 0.15
"""Their gaps are at most so much of the run before, and of the loop: they come only with an exit, so they come out longer."""

_REMEMBERED = 3


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


class AdaptivePolicy:
    """Pure: it is told what happened, in seconds, and says whether a checkpoint is due."""

    __slots__ = (
        "_before",
        "_budget",
        "_costs",
        "_count",
        "_done",
        "_estimate",
        "_last",
        "_last_done",
        "_last_start",
        "_later",
        "_next",
        "_not_before",
        "_of_last",
        "_spent",
        "_total",
        "checkpoints",
    )

    def __init__(self, budget: float = BUDGET, before: float = 0.0, count: int | None = None) -> None:
        """`before`: seconds of the run before its loop; `count`: how many iterations that has, where it is known."""
        self._budget = budget
        self._before = before
        self._count = count
        self._done = 0  # iterations
        self._estimate = 0.0
        self._costs: list[float] = []
        self._spent = 0.0
        self._total = 0.0
        self._last = 0.0  # the total at the last checkpoint
        self._last_done = 0  # iterations then
        self._last_start = 0.0  # the total at the last one that was an iteration's start
        self._not_before = 0.0
        self._next = 0.0  # the total before which none is due
        self._of_last = 1
        self._later = 1.0
        self.checkpoints = 0

    @property
    def estimate(self) -> float:
        """Seconds that the next checkpoint is expected to cost."""
        return self._estimate

    @property
    def spent(self) -> float:
        """Seconds lost so far."""
        return self._spent

    def baseline(self, seconds: float, estimate: float, later: float = 1.0) -> None:
        """What the look at loop entry took, and what it says that the first checkpoint will cost.

        `later`: what part of that those after it will cost, as far as is known: frozen weights are stored once.
        """
        self._estimate = estimate
        self._later = later
        self._spent += seconds
        self._plan()

    def iteration(self, seconds: float, count: int = 1) -> None:
        """`count` more iterations ran, in `seconds` without the time that checkpoints took."""
        self._total += seconds
        self._done += count

    def captured(self, stall: float, slowdown: float = 0.0, *, count: int = 1, start: bool = True) -> None:
        """Checkpoints were taken, `count` of them at about the same time, an iteration's `start` among them or not.

        They stalled training, and their writing slowed it down, as far as is known by now.
        """
        self._spent += stall + slowdown
        self._of_last = count
        self._costs = [*self._costs[1 - _REMEMBERED :], (stall + slowdown) / count]
        self.checkpoints += count
        self._last = self._total
        self._last_done = self._done
        if start:
            self._last_start = self._total
        self._learn()

    def slowed(self, seconds: float) -> None:
        """Writing the last checkpoints slowed training by so much more."""
        self._spent += seconds
        if self._costs:
            self._costs[-1] += seconds / self._of_last
        self._learn()

    def lost(self, seconds: float) -> None:
        """Seconds that recording took and that led to no checkpoint."""
        self._spent += seconds
        self._plan()

    def skipped(self) -> None:
        """A checkpoint that was due could not be taken (the writer is busy): wait for 5 % more of the run."""
        self._not_before = self._total * 1.05
        self._plan()

    def due(self, running: float = 0.0) -> bool:
        """Whether to take a checkpoint now; `running`: seconds of the iteration that is not over yet."""
        total = self._total + running
        if total < self._next:
            return False
        least = self._estimate / (_EVERY * self._rate() * (1.0 if self._costs else _GUESSED))
        if total >= self._last + least and total >= least * (self._done + (running > 0.0)):
            return True  # every iteration can have one
        return total >= self._last + self._wanted(self._gap(_GROWTH * self._last, _SHARE))

    def due_start(self) -> bool:
        """Whether the start of the next iteration is to be taken as well, now that the exit of a nested loop was."""
        since = self._total - self._last_start
        longest = min(
            _STARTS * self._estimate / self._rate(), self._gap(_START_GROWTH * self._last_start, _START_SHARE)
        )
        return since >= longest - (self._total - self._last) / 2  # the next exit comes about as late as this one

    def _gap(self, grown: float, share: float) -> float:
        """Seconds that may lie between two checkpoints: a share of the loop, or `grown` where its length is not known."""
        if self._count is None or not self._done:
            return grown
        last, done = (self._last, self._last_done) if self._done > self._last_done else (0.0, 0)
        left = (self._total - last) / (self._done - done) * max(self._count - self._done, 0)  # as they went of late
        return share * (self._total + left)

    def due_at_end(self) -> bool:
        """Whether to take one now that the loop is over: it serves what is logged after it."""
        if self._total <= self._last:
            return False
        share = self._budget * (_EARLY if self.checkpoints else 1.0)
        return self._spent + self._estimate <= share * (self._before + self._total)

    def _wanted(self, longest: float) -> float:
        """Seconds from one checkpoint to the next one, if they may be `longest` and the budget allows it."""
        cost = self._estimate
        return min(cost / self._rate(), max(longest, cost / (self._budget * _CLOSEST)))

    def _rate(self) -> float:
        """The aimed-at rate of loss."""
        return self._budget * _AIM

    def _learn(self) -> None:
        # The last one may be the first of a state that has grown; a single slow one is noise.
        if len(self._costs) == 1:
            self._estimate = self._costs[0] * self._later
        elif len(self._costs) == 2:
            self._estimate = self._costs[1]  # a run's first one is like no other
        elif self._costs:
            self._estimate = max(_middle(self._costs), min(self._costs[-2:]))
        self._plan()

    def _plan(self) -> None:
        cost, budget = self._estimate, self._budget
        allowed = max((self._spent + cost) / (budget * _EARLY), (self._spent + _DEARER * cost) / budget) - self._before
        self._next = max(allowed, self._last + cost / (budget * _CLOSEST), self._not_before)
