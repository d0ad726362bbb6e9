"""The live log of a run: what is logged is put on a list here, and written down in batches by a thread, some times a second.

Where a batch comes together sooner, the thread that logs makes it into bytes itself: its items are still in the processor's cache
then, and it would wait for the interpreter's lock while another did it. The disk it leaves to the journal's thread.

`queue` is flat: four items a record, so that a call costs one ``extend`` and leaves no object behind that the garbage
collector would have to visit. name, value, level, index; or `EVENT`, a tuple, None, -1:

- ("r", name, fields, path, ordinal, time, hindsight): a record of a replay, which counts ordinals itself
- ("v", path, fields): the value of an iteration
- ("b" or "e", prefix, name, occurrence, iterations, seconds, kind, end): a loop began or ended

`durations` has four items for each iteration of a main loop: level, index, seconds, seconds from the run's start to its
beginning. The form of the file is in `flor_replay.store.batches`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from flor_replay.store import batches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from flor_replay.record.loops import Level

FLUSH_SECONDS = 0.5
HEARTBEAT_SECONDS = 30.0
ITEMS = 4  # of the queue, for one record
FULL = 4096 * ITEMS  # a batch: less than a millisecond's work
_UNWRITTEN = 16 << 20  # bytes that wait for the disk; past that the calling thread writes: memory stays bounded
EVENT: Any = object()

Path = tuple[tuple[str, int, int], ...]  # (loop name, occurrence, index), outermost first


def _entry_of_path(path: Path) -> batches.Entry:
    places: list[int] = []
    for _, occurrence, index in path:
        places += (occurrence, index)
    return tuple([level[0] for level in path]), tuple(places[:-1])


def _without(places: list[int], column: list[Any]) -> list[Any]:
    """What stands elsewhere."""
    kept: list[Any] = []
    at = 0
    for place in places:
        kept += column[at:place]
        at = place + 1
    return kept + column[at:]


class Journal:
    """Appends to one live log. `extend` and `append` may be called from any thread and never block on a disk."""

    def __init__(self, path: str, root: Level, warn: Callable[[str], None]) -> None:
        self._file = path
        self._root = root
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self.queue: list[Any] = []
        self.extend = self.queue.extend
        self.durations: list[Any] = []
        self._warn = warn
        self.taken = 0  # log records made into frames
        self._making = threading.Lock()  # frames, in the order of the queue
        self._ready: list[bytes] = [batches.MAGIC]  # frames to be written
        self._writing = threading.Lock()
        self._main_works = False  # the main thread is in here: the one that signal handlers interrupt
        self._afterwards: Callable[[], None] | None = None
        self.beside: Callable[[], None] | None = None  # something else that the thread is to write down
        self._stop = threading.Event()
        self.broken = False  # records were lost: the store could not be written
        self._size = 0  # of the file
        self._write()
        self._thread = threading.Thread(target=self._run, name="flor-journal", daemon=True)
        self._thread.start()

    def append(self, event: tuple[Any, ...]) -> None:
        """Anything but a plain record."""
        self.extend((EVENT, event, None, -1))
        if len(self.queue) > FULL:
            self.relieve()

    def relieve(self) -> None:
        """Make frames of what waits; they are written soon. To be called where `queue` is longer than `FULL`."""
        with self._working():
            self._make()
            if sum(map(len, self._ready)) > _UNWRITTEN:
                self._write()

    def flush(self) -> None:
        """Everything appended before this call is handed to the operating system on return."""
        with self._working():
            self._make()
            self._write()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._stop.set()
        with self._working():
            self._make()
            self._write()
            with self._writing:
                if self._fd >= 0:
                    os.close(self._fd)
                    self._fd = -1

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        main = threading.current_thread() is threading.main_thread()
        if main:
            self._main_works = True
        try:
            yield
        finally:
            if main:
                self._main_works = False
                afterwards, self._afterwards = self._afterwards, None
                if afterwards is not None:
                    afterwards()

    def _make(self) -> None:
        """Frames of all that waits."""
        with self._making:
            if self.broken:
                self._forget()
            try:
                while self.queue:
                    items = self.queue[:FULL]
                    count = len(items)  # more may have come in the meantime
                    records, frames = self._frames(items[::4], items[1::4], items[2::4], items[3::4])
                    # Nothing is called from here to the end of the block: Ctrl-C comes before all of it or after.
                    self._ready += (frames,)
                    del self.queue[:count]
                    self.taken += records
                while self.durations:
                    part = self.durations[:FULL]
                    count = len(part)
                    frames = batches.durations(part[::4], part[1::4], part[2::4], part[3::4], self._describe)
                    self._ready += (frames,)
                    del self.durations[:count]
            except Exception as error:  # not for anything that can be logged; training goes on all the same
                self._lose(f"{type(error).__name__}: {error}")

    def _write(self) -> None:
        """Hand the frames to the operating system. Of one that fails nothing is in the file, as far as that is possible."""
        with self._writing:
            while self._ready and not self.broken and self._fd >= 0:
                left = memoryview(self._ready[0])
                size = self._size + len(left)
                try:
                    while left:
                        left = left[os.write(self._fd, left) :]
                    # No call here either: it is either to be written again, or counted.
                    self._size = size
                    del self._ready[:1]
                except BaseException as error:
                    with contextlib.suppress(OSError):
                        os.ftruncate(self._fd, self._size)
                    if not isinstance(error, OSError):
                        raise
                    self._lose(str(error.strerror))

    def _frames(self, names: list[Any], values: list[Any], levels: list[Any], indices: list[int]) -> tuple[int, bytes]:
        """How many records these are, and what is written for them."""
        if EVENT in set(names):
            return self._with_events(names, values, levels, indices)
        first = self.taken + 1
        log = batches.log(names, values, levels, indices, describe=self._describe, first=first, moment=time.time())
        return len(names), log

    def _with_events(
        self, names: list[Any], values: list[Any], levels: list[Any], indices: list[int]
    ) -> tuple[int, bytes]:
        before = self.taken
        places = [place for place, name in enumerate(names) if name is EVENT]
        others: list[Any] = []
        replayed: list[tuple[Any, ...]] = []
        seqs: list[int] = []
        for count, place in enumerate(places):
            event = values[place]
            seq = before + place - count + len(replayed)  # of the last record before it
            if event[0] == "r":
                replayed.append(event)
                seqs.append(seq + 1)
            elif event[0] == "v":
                loops, at = _entry_of_path(event[1])
                others.append(["value", loops, [*at, event[1][-1][2]], *event[2]])
            else:
                kind, prefix, loop, occurrence, iterations, seconds, over, end = event
                loops, at = _entry_of_path((*prefix, (loop, occurrence, -1)))
                told = "begin" if kind == "b" else "end"
                others.append([told, seq, loops, [*at, -1], over, iterations, seconds, end])
        frames = b""
        if replayed:  # there are no plain ones then
            _, called, fields, paths, ordinals, moments, hindsight = map(list, zip(*replayed, strict=True))
            frames = batches.log(
                called,
                fields,
                [_entry_of_path(path) for path in paths],
                [path[-1][2] if path else -1 for path in paths],
                describe=lambda entry: entry,
                first=before + 1,
                moment=moments[0],
                seqs=seqs,
                ordinals=ordinals,
                hindsight=hindsight,
            )
        elif len(places) < len(names):
            _, frames = self._frames(*[_without(places, column) for column in (names, values, levels, indices)])
        return len(names) - len(places) + len(replayed), frames + (batches.events(others) if others else b"")

    def _describe(self, level: Level) -> batches.Entry:
        if level is self._root:
            return (), ()
        return _entry_of_path((*level.prefix, (level.name, level.occurrence, -1)))

    def postpone(self, action: Callable[[], None]) -> bool:
        """For signal handlers: whether one has interrupted work here; then `action` is called at its end."""
        if self._main_works:
            self._afterwards = action
        return self._main_works

    def abandon(self) -> None:
        """In a forked child: the file belongs to the parent."""
        self._forget()
        self._fd = -1
        self.broken = True

    def _forget(self) -> None:
        self.queue.clear()
        self.durations.clear()
        self._ready.clear()

    def _run(self) -> None:
        idle = 0.0
        while not self._stop.wait(FLUSH_SECONDS):
            if self.beside is not None:
                self.beside()
            if self.queue or self.durations or self._ready:
                self.flush()
                idle = 0.0
                continue
            idle += FLUSH_SECONDS
            if idle >= HEARTBEAT_SECONDS:  # readers on other machines see that the run is alive
                idle = 0.0
                with contextlib.suppress(OSError):
                    os.utime(self._file)

    def _lose(self, why: str) -> None:
        self._forget()
        if not self.broken:
            self.broken = True
            self._warn(f"logging stopped: the store cannot be written ({why}); training goes on")
