"""Named loops: where in them a record is made.

Every thread has its own stack of open levels. A level is opened by a loop's first ``next()`` and closed when the loop is
exhausted, or when Python drops its iterator: that is when ``break``, ``return`` or an exception leaves the ``for``.

Iterations of microseconds must not pay for this one by one. A loop over ``range(n)`` is looked at once in a while: between two
looks Python's own iterator over a part of it runs alone, which iteration that is is asked of it, and what an iteration's level
holds is made when something asks for it.
"""

from __future__ import annotations

import sys
import threading
import weakref
from itertools import chain
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Protocol

    from flor_replay.record.journal import Path

    class LoopObserver(Protocol):
        """Who is told what loops do: the recorder takes checkpoints, the replayer puts them back."""

        def stretches(self, loop: LoopIterator) -> bool: ...  # whether iterations of it may pass without a word
        def loop_begins(self, loop: LoopIterator) -> None: ...
        def before_fetch(self, loop: LoopIterator) -> None: ...
        def iteration_begins(self, level: Level, value: object) -> None: ...
        def iteration_ends(self, level: Level, seconds: float, count: int = 1) -> None: ...  # the last `count` of them
        def loop_ends(self, loop: LoopIterator, end: str) -> None: ...
        def skips(self, loop: LoopIterator) -> bool: ...
        def abandoned(self) -> bool: ...


_opening = threading.Lock()

_LOOK_SECONDS = 0.02
"""A main loop is looked at about so often."""
_MOST_UNSEEN = 1024
_LEAST_UNSEEN = 4


class Level:
    """One open level of a thread's loop stack. It does not keep its iterator alive: its end is how ``break`` is seen."""

    __slots__ = (
        "_counts",
        "_every",
        "_manual",
        "_occurrences",
        "_path",
        "_settled",
        "alone",
        "began",
        "holds",
        "iterator",
        "last",
        "name",
        "occurrence",
        "prefix",
        "value",
    )

    def __init__(self, name: str, prefix: Path, occurrence: int) -> None:
        self.name = name
        self.prefix = prefix
        self.occurrence = occurrence
        self.last = -1  # the index of the running iteration, or of the last one of those that `alone` gives
        self.alone: Any = None  # an iterator over indices that runs without a word
        self._settled: int | None = -1  # the iteration that the rest is about
        self.holds = False  # a loop has begun inside
        self._path: Path = prefix
        self._counts: dict[str, int] = {}
        self._every: dict[str, int] = {}
        self._occurrences: dict[str, int] = {}
        self._manual: dict[str, Level] = {}
        self.began = 0.0
        self.iterator: weakref.ref[LoopIterator] | None = None
        self.value: object = None  # of the iteration, where it is a scalar that says more than the index

    @property
    def index(self) -> int:
        """Of the running iteration; -1 before the first."""
        alone = self.alone
        return self.last if alone is None else self.last - alone.__length_hint__()

    @index.setter
    def index(self, index: int) -> None:
        self.halt()
        self.last = index

    def let_run(self, indices: range) -> Iterator[int]:
        """An iterator over the indices of the next iterations, which are counted by its place."""
        alone = iter(indices)
        self.last, self.alone = indices[-1], alone
        return alone

    def halt(self) -> int:
        """Let the iterator that runs alone give no more: whoever asks it for the next item comes by here. The index."""
        alone = self.alone
        if alone is not None:
            self.last, self.alone = self.index, None
            alone.__setstate__(sys.maxsize)
        return self.last

    @property
    def path(self) -> Path:
        """Of the running iteration."""
        self._settle()
        return self._path

    @property
    def counts(self) -> dict[str, int]:
        """Log records in this iteration, by name."""
        self._settle()
        return self._counts

    @property
    def every(self) -> dict[str, int]:
        """The same with hindsight records counted in (replays only)."""
        self._settle()
        return self._every

    @property
    def manual(self) -> dict[str, Level]:
        """The last `flor.iteration` of each name inside this iteration."""
        self._settle()
        return self._manual

    def occurs(self, name: str) -> int:
        """Count a loop that begins inside this iteration; how many of its name began before."""
        self.halt()
        self.holds = True
        with _opening:
            self._settle()
            occurrence = self._occurrences.get(name, 0)
            self._occurrences[name] = occurrence + 1
        return occurrence

    def count_anew(self) -> None:
        """Another run goes on in the running iteration: its records are counted from none."""
        self.counts.clear()

    def drop(self) -> None:
        """The level was left without being closed."""
        loop = self.iterator() if self.iterator is not None else None
        if loop is not None:
            loop.drop()

    def begin(self, index: int) -> None:
        self.last, self.alone = index, None
        self._settled = None
        self.value = None
        self.began = perf_counter()

    def _settle(self) -> None:
        """Make what is kept of an iteration that of the running one."""
        index = self.index
        if index == self._settled:
            return
        self._settled = index
        self._path = (*self.prefix, (self.name, self.occurrence, index))
        if self._counts:
            self._counts = {}
        if self._every:
            self._every = {}
        if self._occurrences:
            self._occurrences = {}
        if self._manual:
            self._manual = {}


class Stack(threading.local):
    """The open levels of the calling thread, outermost first; the first is the run itself, the same for all threads."""

    def __init__(self, run: Level) -> None:
        self.levels: list[Level] = [run]

    def top(self) -> Level:
        return self.levels[-1]

    def open(self, level: Level) -> None:
        self.levels.append(level)

    def close(self, level: Level) -> list[Level]:
        """Take `level` and all that is still open inside it off the stack; innermost first."""
        levels = self.levels
        for place in range(len(levels) - 1, 0, -1):
            if levels[place] is level:
                closed = levels[place:]
                del levels[place:]
                return closed[::-1]
        return []

    def close_inside(self, level: Level) -> list[Level]:
        """Take what is open inside `level` off the stack (its loops were left without being closed)."""
        levels = self.levels
        if levels[-1] is level:
            return []
        for place in range(len(levels) - 1, 0, -1):
            if levels[place] is level:
                closed = levels[place + 1 :]
                del levels[place + 1 :]
                return closed[::-1]
        return []


def kind_of(iterable: object) -> str:
    """What a loop runs over, for planning: whether iteration i can be reached without running those before it.

    "sequence": by its index. "loader": by drawing i items, which depend on nothing that the loop does.
    "iterator": anything else.
    """
    if isinstance(iterable, (range, list, tuple, str, dict, set, frozenset)):
        return "sequence"
    kind = type(iterable)
    root = kind.__module__.partition(".")[0]
    if root in ("numpy", "torch", "pandas") and kind.__name__ in ("ndarray", "Tensor", "Index", "RangeIndex"):
        return "sequence"
    if any(base.__module__.startswith("torch.utils.data") and base.__name__ == "DataLoader" for base in kind.__mro__):
        return "loader"
    if root == "tqdm" and kind_of(getattr(iterable, "iterable", None)) != "iterator":
        return "loader"  # a progress bar over something that is the same without it
    return "iterator"


class LoopIterator:
    """Runs over one ``flor.loop``."""

    __slots__ = (
        "__weakref__",
        "_done",
        "_iterator",
        "_looked",
        "_next",
        "_observer",
        "_quota",
        "_stack",
        "level",
        "name",
        "paused",
        "source",
        "started",
    )

    def __init__(self, name: str, iterable: Iterable[Any], stack: Stack, observer: LoopObserver) -> None:
        self.name = name
        self.source = iterable
        self.level: Level | None = (
            None  # opened by the first next(): only then is it known inside which iteration it runs
        )
        self.paused = 0.0  # seconds of this iteration that were ours (checkpoints), not training's
        self.started = 0.0
        self._iterator: Iterator[Any] | None = None
        self._stack = stack
        self._observer = observer
        self._done = False
        self._next = 0  # where it goes on after it was taken for left
        self._looked = -1  # the iteration that ended at the last look
        self._quota = 0  # iterations that may pass until the next one

    def __iter__(self) -> LoopIterator:
        return self

    @property
    def index(self) -> int:
        """Of the running iteration; -1 before the first."""
        return -1 if self.level is None else self.level.index

    @property
    def nested(self) -> bool:
        """Whether it runs inside another loop, or will where it begins now."""
        return bool(self.level.prefix) if self.level is not None else len(self._stack.levels) > 1

    @property
    def length(self) -> int | None:
        """How many iterations there are, where what it runs over says so."""
        try:
            return len(self.source)  # type: ignore[arg-type]
        except Exception:  # it has no length, or none that it can say: whatever it raises
            return None

    @property
    def prefix(self) -> Path:
        return () if self.level is None else self.level.prefix

    @property
    def occurrence(self) -> int:
        return 0 if self.level is None else self.level.occurrence

    @property
    def depth(self) -> int:
        """0 for a main loop."""
        return len(self.prefix)

    def __next__(self) -> Any:
        if self._done:
            raise StopIteration
        observer = self._observer
        level = self.level
        if level is None:
            level = self._open()
            if observer.skips(self):
                self._finish("exhausted")
                raise StopIteration
        else:
            for inner in self._stack.close_inside(level):
                inner.drop()
            self._look(level)
        if not level.prefix:
            observer.before_fetch(self)
        self.paused = 0.0
        iterator = self._iterator
        if iterator is None:
            iterator = self._iterator = iter(self.source)
        try:
            value = next(iterator)
        except StopIteration:
            self._finish("exhausted")
            raise
        self._looked = level.index
        level.begin(level.index + 1)
        observer.iteration_begins(level, value)
        return value

    def _look(self, level: Level) -> None:
        """The iterations since the last look are over."""
        seconds, count = perf_counter() - level.began - self.paused, level.index - self._looked
        self._observer.iteration_ends(level, seconds, count)
        if level.prefix:
            self._quota = sys.maxsize  # nobody is told of the iterations of a nested loop
            return
        wanted = min(_MOST_UNSEEN, 4 * count, int(_LOOK_SECONDS * count / max(seconds, 1e-9)))
        self._quota = wanted if wanted >= _LEAST_UNSEEN else 0

    def stretch(self) -> Iterator[Any]:
        """All items, as ``__next__`` gives them; most of them without a look at anything.

        For a loop over ``range(n)``, whose items say no more than their index and whose iterator never fails. A loop that
        begins inside an iteration ends the stretch: what it leaves open must be seen.
        """
        return Stretches.from_iterable(self._stretches(self.source))

    def _stretches(self, over: Any) -> Iterator[Iterable[Any]]:
        for value in self:
            yield (value,)
            level = self.level
            if level is None or not self._quota or level.holds or self._iterator is None:
                continue
            if not self._observer.stretches(self):
                continue
            indices = over[level.index + 1 :][: self._quota]
            if indices:
                rest = self._iterator = iter(over[indices.stop :])
                yield level.let_run(indices)
                index = level.halt()
                if index + 1 < indices.stop and self._iterator is rest:
                    self._iterator = iter(over[index + 1 :])

    def jump(self, index: int) -> None:
        """Make `index` the next iteration. Sequences are entered there; others are drawn until there.

        Raises ValueError where the loop is past `index` already or ends before it.
        """
        level = self.level
        if level is None or index == level.index + 1:
            return
        if isinstance(self.source, (range, list, tuple, str)):
            self._iterator = iter(self.source[index:])
        else:
            if index <= level.index:
                raise ValueError(f"loop {self.name!r} is past iteration {index}")
            iterator = self._iterator
            if iterator is None:
                iterator = self._iterator = iter(self.source)
            for _ in range(index - level.index - 1):
                try:
                    next(iterator)
                except StopIteration:
                    raise ValueError(f"loop {self.name!r} ended before iteration {index}") from None
        level.index = index - 1

    @property
    def running(self) -> dict[str, object]:
        """What the items are drawn from, as a namespace for checkpoints; empty where an index says it all."""
        if kind_of(self.source) == "sequence":
            return {}
        return {"iterator": self.source if self._iterator is None else self._iterator}

    def resume(self, index: int, iterator: Iterator[Any] | None) -> None:
        """Make `index` the next iteration, without drawing; `iterator`: where its item comes from, if it is another."""
        if self.level is not None:
            self.level.index = index - 1
        if iterator is not None:
            self._iterator = iterator

    def finish(self) -> None:
        """Make the loop end at its next ``next()``: nothing is drawn any more."""
        if self.level is not None:
            self.level.halt()
        self._iterator = iter(())

    def _open(self) -> Level:
        parent = self._stack.top()
        level = self.level = Level(self.name, parent.path, parent.occurs(self.name))
        level.index = self._looked = self._next - 1
        level.iterator = weakref.ref(self)
        self._stack.open(level)
        self.started = perf_counter()
        self._observer.loop_begins(self)
        return level

    def _close(self, end: str) -> None:
        for level in self._stack.close(self.level) if self.level is not None else ():
            if level is not self.level:
                level.drop()
        self._observer.loop_ends(self, end)

    def _finish(self, end: str) -> None:
        self._done = True
        self._close(end)
        self._iterator = None

    def drop(self) -> None:
        """Left by break, return or an exception.

        Or it seemed so: under ``zip(flor.loop(...), flor.loop(...))`` the second one is found open when the first goes
        on. It is opened again by its next ``next()`` and misses nothing.
        """
        level = self.level
        if level is not None and not self._done:
            if level.index >= 0 and not level.prefix:
                self._look(level)
            self._close("closed")
            self._next = level.halt() + 1
            self.level = None

    def __del__(self) -> None:
        if self.level is not None and not self._done and not self._observer.abandoned():
            self.drop()


class Stretches(chain):  # type: ignore[type-arg]
    """Runs over a ``flor.loop`` a part at a time. A class of ours: a checkpoint knows what holds it."""

    __slots__ = ()


class Loop:
    """What ``flor.loop`` returns: iterable once, with the length of what it runs over.

    The iterator is an object apart: ``pbar = tqdm(flor.loop(...))`` keeps the Loop alive, not the iterator, so ``break`` is seen.
    """

    __slots__ = ("_iterable", "_name", "_observer", "_stack")

    def __init__(self, name: str, iterable: Iterable[Any], stack: Stack, observer: LoopObserver) -> None:
        self._name = name
        self._iterable = iterable
        self._stack = stack
        self._observer = observer

    def __iter__(self) -> Iterator[Any]:
        loop = LoopIterator(self._name, self._iterable, self._stack, self._observer)
        over = self._iterable
        if type(over) is range and over.start == 0 and over.step == 1 and self._observer.stretches(loop):
            return loop.stretch()
        return loop

    def __len__(self) -> int:
        return len(self._iterable)  # type: ignore[arg-type]

    def __length_hint__(self) -> int:
        import operator

        return operator.length_hint(self._iterable)
