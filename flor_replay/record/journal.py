"""The live log of a run: what is logged is put on a list here, and written down in batches by a thread, some times a second.

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
import operator
import os
import threading
import time

from flor_replay.store import batches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flor_replay.record.loops import Level

FLUSH_SECONDS = 0.2
HEARTBEAT_SECONDS = 30.0
ITEMS = 4  # of the queue, for one record
FULL = 200_000 * ITEMS  # waiting; past that the calling thread writes: memory stays bounded
_SMALL = 16  # records that are not divided further where the disk is full
_BATCH = 4096 * ITEMS  # written down at once: about a millisecond in which training may wait for the interpreter lock
EVENT: Any = object()

Path = tuple[tuple[str, int, int], ...]  # (loop name, occurrence, index), outermost first


def _entry_of_path(path: Path) -> batches.Entry:
    places: list[int] = []
    for _, occurrence, index in path:
        places += (occurrence, index)
    return tuple([level[0] for level in path]), tuple(places[:-1])


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
        self.written = 0  # log records handed to the operating system
        self._lock = threading.Lock()
        self._main_writes = False  # the main thread is in `flush`: the one that signal handlers interrupt
        self._afterwards: Callable[[], None] | None = None
        self.beside: Callable[[], None] | None = None  # something else that the thread is to write down
        self._stop = threading.Event()
        self.broken = False  # records were lost: the store could not be written
        self._size = 0  # of the file
        self._write(batches.MAGIC)
        self._thread = threading.Thread(target=self._run, name="flor-journal", daemon=True)
        self._thread.start()

    def append(self, event: tuple[Any, ...]) -> None:
        """Anything but a plain record."""
        self.extend((EVENT, event, None, -1))
        if len(self.queue) > FULL:
            self.flush()

    def flush(self) -> None:
        """Everything appended before this call is handed to the operating system on return."""
        self._flush(last=False)

    def _flush(self, last: bool) -> None:
        main = threading.current_thread() is threading.main_thread()
        if main:
            self._main_writes = True
        with self._lock:
            try:
                self._drain()
            except OSError as error:
                self._lose(str(error.strerror))
            except Exception as error:  # not for anything that can be logged; training goes on all the same
                self._lose(f"{type(error).__name__}: {error}")
            if last and self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        if main:
            self._main_writes = False
            afterwards, self._afterwards = self._afterwards, None
            if afterwards is not None:
                afterwards()

    def _drain(self) -> None:
        # Both steps are one operation each, and others only append: nothing is lost between them.
        waiting = self.queue[:]
        del self.queue[: len(waiting)]
        for at in range(0, len(waiting), _BATCH):
            self._batch(waiting[at : at + _BATCH])
        ended = self.durations[:]
        del self.durations[: len(ended)]
        for at in range(0, len(ended), _BATCH):
            part = ended[at : at + _BATCH]
            self._write(batches.durations(part[::4], part[1::4], part[2::4], part[3::4], self._describe))

    def _batch(self, items: list[Any]) -> None:
        if self.broken:
            return
        records, frames = self._frames(items[::4], items[1::4], items[2::4], items[3::4])
        try:
            self._write(frames)
        except OSError:
            half = len(items) // (2 * ITEMS) * ITEMS
            if half < _SMALL * ITEMS:
                raise
            self._batch(items[:half])  # a disk that is nearly full takes what it can
            self._batch(items[half:])
        else:
            self.written += records

    def _frames(self, names: list[Any], values: list[Any], levels: list[Any], indices: list[int]) -> tuple[int, bytes]:
        """How many records these are, and what is written for them."""
        if EVENT in set(names):
            return self._with_events(names, values, levels, indices)
        first = self.written + 1
        log = batches.log(names, values, levels, indices, describe=self._describe, first=first, moment=time.time())
        return len(names), log

    def _with_events(
        self, names: list[Any], values: list[Any], levels: list[Any], indices: list[int]
    ) -> tuple[int, bytes]:
        before = self.written
        plain: list[int] = []
        others: list[Any] = []
        replayed: list[tuple[Any, ...]] = []
        seqs: list[int] = []
        for place, name in enumerate(names):
            if name is not EVENT:
                plain.append(place)
                continue
            event = values[place]
            seq = before + len(plain) + len(replayed)
            if event[0] == "r":
                replayed.append(event)
                seqs.append(seq + 1)
            elif event[0] == "v":
                loops, places = _entry_of_path(event[1])
                others.append(["value", loops, [*places, event[1][-1][2]], *event[2]])
            else:
                kind, prefix, loop, occurrence, iterations, seconds, over, end = event
                loops, places = _entry_of_path((*prefix, (loop, occurrence, -1)))
                told = "begin" if kind == "b" else "end"
                others.append([told, seq, loops, [*places, -1], over, iterations, seconds, end])
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
        elif plain:
            of = operator.itemgetter(*plain, plain[0])  # one item alone would come without its list
            _, frames = self._frames(*[list(of(column)[:-1]) for column in (names, values, levels, indices)])
        return len(plain) + len(replayed), frames + (batches.events(others) if others else b"")

    def _describe(self, level: Level) -> batches.Entry:
        if level is self._root:
            return (), ()
        return _entry_of_path((*level.prefix, (level.name, level.occurrence, -1)))

    def postpone(self, action: Callable[[], None]) -> bool:
        """For signal handlers: whether one has interrupted `flush`; then `action` is called at its end."""
        if self._main_writes:
            self._afterwards = action
        return self._main_writes

    def close(self) -> None:
        """Write what is left and close the file."""
        self._stop.set()
        self._flush(last=True)

    def abandon(self) -> None:
        """In a forked child: the file belongs to the parent."""
        self.queue.clear()
        self.durations.clear()
        self._fd = -1
        self.broken = True

    def _run(self) -> None:
        idle = 0.0
        while not self._stop.wait(FLUSH_SECONDS):
            if self.beside is not None:
                self.beside()
            if self.queue or self.durations:
                self.flush()
                idle = 0.0
                continue
            idle += FLUSH_SECONDS
            if idle >= HEARTBEAT_SECONDS:  # readers on other machines see that the run is alive
                idle = 0.0
                with contextlib.suppress(OSError):
                    os.utime(self._file)

    def _write(self, data: bytes) -> None:
        """Raises OSError; then nothing of `data` is in the file, as far as that is possible."""
        if self.broken or self._fd < 0:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def _lose(self, why: str) -> None:
        if not self.broken:
            self.broken = True
            self._warn(f"logging stopped: the store cannot be written ({why}); training goes on")
