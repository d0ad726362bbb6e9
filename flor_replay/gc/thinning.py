"""Which checkpoints go when a store must become smaller. Pure: runs and sizes in, a choice out.

What a run's checkpoints are worth is measured in seconds: the *expected replay*, that is, the mean over the iterations of
its main loop, and over the three places where a statement may stand (in the iteration, after the nested loop, after the
main loop), of what has to be executed again to come to that place. Each step removes the checkpoint, or the pair of an
exit and the restore point right after it (they share nearly all content), that costs the fewest expected seconds for
each byte that is freed. Content counts as freed when nobody else refers to it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a run."""

    run: str
    id: str
    at: str  # "start", "exit", "end"; anything else is of no use to replays
    index: int
    nested: str | None
    blobs: frozenset[str]  # content that it refers to
    own_bytes: int  # its manifest and its graph
    created: float  # unix seconds

    @property
    def key(self) -> tuple[str, str]:
        return self.run, self.id


Unit = tuple[Checkpoint, ...]  # what is removed in one step


@dataclass(frozen=True)
class RunToThin:
    """A run whose checkpoints may go."""

    run: str
    seconds: tuple[float, ...]  # of each complete iteration of its main loop
    nested: Mapping[int, tuple[str, ...]]  # iteration -> the loops in it
    checkpoints: tuple[Checkpoint, ...]


@dataclass
class _State:
    """One run while it is being thinned."""

    run: RunToThin
    left: dict[str, Checkpoint]
    work: list[float] = field(init=False)  # seconds before each iteration
    best: tuple[float, float, float, Unit] | None = None

    def __post_init__(self) -> None:
        self.work = [0.0, *accumulate(self.run.seconds)]

    def starts(self) -> list[int]:
        count = len(self.run.seconds)
        return sorted({0, *(c.index for c in self.left.values() if c.at == "start" and 0 < c.index < count)})

    def exits(self) -> set[int]:
        """The iterations whose nested loops can all be skipped."""
        kept: dict[int, set[str | None]] = {}
        for checkpoint in self.left.values():
            if checkpoint.at == "exit":
                kept.setdefault(checkpoint.index, set()).add(checkpoint.nested)
        return {
            index
            for index, names in kept.items()
            if index < len(self.run.seconds) and names.issuperset(self.run.nested.get(index) or (None,))
        }

    def has_end(self) -> bool:
        return any(checkpoint.at == "end" for checkpoint in self.left.values())


def expected_seconds(run: RunToThin, kept: Iterable[Checkpoint]) -> float:
    """The expected replay of one statement in one iteration, with these checkpoints."""
    state = _State(run, {checkpoint.id: checkpoint for checkpoint in kept})
    count = len(run.seconds)
    if not count:
        return 0.0
    starts, exits, work = state.starts(), state.exits(), state.work
    whole = after_nested = 0.0
    for index in range(count):
        cost = work[index + 1] - work[starts[bisect_right(starts, index) - 1]]
        whole += cost
        after_nested += 0.0 if index in exits else cost
    after = 0.0 if state.has_end() else work[count] - work[starts[-1]]
    return (whole / count + after_nested / count + after) / 3


class Thinning:
    """One choice. `held` is what other runs (those under way) refer to: it is never freed."""

    def __init__(self, runs: Sequence[RunToThin], sizes: Mapping[str, int], held: Iterable[str]) -> None:
        self._sizes = sizes
        self._states = {run.run: _State(run, {c.id: c for c in run.checkpoints}) for run in runs}
        self._users: dict[str, set[tuple[str, str]]] = {}
        kept_anyway = set(held)
        for run in runs:
            for checkpoint in run.checkpoints:
                for blob in checkpoint.blobs - kept_anyway:
                    self._users.setdefault(blob, set()).add(checkpoint.key)
        # What would be freed with exactly these checkpoints: of one, and of two.
        self._exclusive: dict[frozenset[tuple[str, str]], int] = {}
        for blob, users in self._users.items():
            if len(users) <= 2:
                self._count(users, self._sizes.get(blob, 0))

    def choose(self, bytes_to_free: int) -> tuple[list[Checkpoint], int]:
        """The checkpoints that go, in order, and the bytes that this frees; fewer bytes where there is no more."""
        chosen: list[Checkpoint] = []
        freed = 0
        for last_too in (False, True):  # the last checkpoint of a run stays until every run is down to one
            dirty = set(self._states)
            while freed < bytes_to_free:
                for run in dirty:
                    self._states[run].best = self._best(self._states[run], last_too)
                dirty = set()
                found = min((s.best for s in self._states.values() if s.best is not None), default=None, key=_order)
                if found is None:
                    break
                unit = found[3]
                freed += self._freed(unit)
                for checkpoint in unit:
                    dirty |= self._remove(checkpoint)
                    chosen.append(checkpoint)
        return chosen, freed

    def _count(self, users: set[tuple[str, str]], size: int) -> None:
        key = frozenset(users)
        self._exclusive[key] = self._exclusive.get(key, 0) + size

    def _freed(self, unit: Unit) -> int:
        keys = [checkpoint.key for checkpoint in unit]
        total = sum(checkpoint.own_bytes for checkpoint in unit)
        total += sum(self._exclusive.get(frozenset((key,)), 0) for key in keys)
        return total + (self._exclusive.get(frozenset(keys), 0) if len(keys) == 2 else 0)

    def _remove(self, checkpoint: Checkpoint) -> set[str]:
        """Take it out; the runs whose best step may be another now."""
        del self._states[checkpoint.run].left[checkpoint.id]
        changed = {checkpoint.run}
        for blob in checkpoint.blobs:
            users = self._users.get(blob)
            if users is None:
                continue
            size = self._sizes.get(blob, 0)
            if len(users) <= 2:
                self._count(users, -size)
            users.discard(checkpoint.key)
            if 0 < len(users) <= 2:
                self._count(users, size)
                changed |= {run for run, _ in users}
        return changed

    def _best(self, state: _State, last_too: bool) -> tuple[float, float, float, Unit] | None:
        """(expected seconds for each byte, -bytes, created, unit) of the step that costs the run least."""
        left = state.left
        costs = _costs(state)
        units: list[Unit] = [(checkpoint,) for checkpoint in left.values()]
        after = {c.index: c for c in left.values() if c.at in ("start", "end")}
        units += [(c, after[c.index + 1]) for c in left.values() if c.at == "exit" and c.index + 1 in after]
        best = None
        for unit in units:
            if len(unit) == len(left) and not last_too:
                continue
            freed = max(1, self._freed(unit))
            step = (sum(costs[c.id] for c in unit) / freed, -float(freed), unit[0].created, unit)
            if best is None or _order(step) < _order(best):
                best = step
        return best


def _order(step: tuple[float, float, float, Unit]) -> tuple[float, float, float, str]:
    return (*step[:3], step[3][0].id)


def _costs(state: _State) -> dict[str, float]:
    """By how much the expected replay grows when this checkpoint goes. An exit and the start after it do not interact."""
    count = len(state.run.seconds)
    if not count:
        return dict.fromkeys(state.left, 0.0)
    starts, exits, work = state.starts(), state.exits(), state.work
    lacking = [0, *accumulate(index not in exits for index in range(count))]
    end = state.has_end()
    costs = {}
    for checkpoint in state.left.values():
        index = checkpoint.index
        cost = 0.0
        if checkpoint.at == "start" and 0 < index < count:
            place = bisect_left(starts, index)
            following = starts[place + 1] if place + 1 < len(starts) else count
            more = work[index] - work[starts[place - 1]]
            cost = more * (following - index + lacking[following] - lacking[index]) / count
            cost += more if place + 1 == len(starts) and not end else 0.0
        elif checkpoint.at == "exit" and index in exits:
            cost = (work[index + 1] - work[starts[bisect_right(starts, index) - 1]]) / count
        elif checkpoint.at == "end":
            cost = work[count] - work[starts[-1]]
        costs[checkpoint.id] = cost / 3
    return costs
