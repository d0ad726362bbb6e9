"""The live log of a run: records are appended to a queue here and to ``log.jsonl`` by a thread, some times a second.

A line is one JSON object. ``e`` says what it is:

- ``r`` a log record: s (order in the run), n name, k kind, a int, f float, x text (see `flor_replay.values`),
  l loop names, c occurrences, i indices (outermost first), o ordinal among equal (name, loop path), t unix seconds,
  h 0 recorded, 1 written by an added hindsight statement, 2 by one that replaces a statement
- ``v`` the value of an iteration where it is a scalar other than its index: l c i, k a f x
- ``d`` the duration of an iteration of a main loop: l c i, d seconds, b seconds since the run's start when it began
- ``b`` a loop began, after s records: l c, i of the iterations around it, k what it runs over
- ``e`` a loop ended, after s records: l c, i, n iterations, d seconds, k what it ran over, x "exhausted" or "closed" (break, return, exception)
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from json.encoder import encode_basestring_ascii as _quote

from flor_replay.record.device_values import Late
from flor_replay.values import clean_name, encode_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flor_replay.values import Fields

FLUSH_SECONDS = 0.5
HEARTBEAT_SECONDS = 30.0
_BATCH = (
    200  # records written down at once: less than a millisecond in which training may wait for the interpreter lock
)
FULL = 50_000  # records waiting; past that the calling thread writes

Path = tuple[tuple[str, int, int], ...]  # (loop name, occurrence, index), outermost first


def _fields(fields: Fields) -> str:
    kind, number, text = fields
    line = f',"k":"{kind}"'
    if number is not None:
        line += f',"a":{number}' if kind != "float" else f',"f":{number!r}'
    if text is not None:
        line += f',"x":{_quote(text)}'
    return line


def _place(names: tuple[str, ...], path: Path) -> str:
    loops = ",".join(_quote(name) for name in names)
    occurrences = ",".join([str(level[1]) for level in path])
    indices = ",".join([str(level[2]) for level in path])
    return f',"l":[{loops}],"c":[{occurrences}],"i":[{indices}]'


class Journal:
    """Appends to one ``log.jsonl``. `append` may be called from any thread and never blocks on a disk."""

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        self._file = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self.queue: deque[tuple[Any, ...]] = deque()
        self.append = self.queue.append
        self._warn = warn
        self.written = 0  # log records handed to the operating system
        self._lock = threading.Lock()
        self._main_writes = False  # the main thread is in `flush`: the one that signal handlers interrupt
        self._afterwards: Callable[[], None] | None = None
        self.beside: Callable[[], None] | None = None  # something else that the thread is to write down
        self._stop = threading.Event()
        self.broken = False  # records were lost: the store could not be written
        self._names: dict[str, str] = {}
        self._cached_path: Path | None = None
        self._cached_place = ""
        self._thread = threading.Thread(target=self._run, name="flor-journal", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Everything appended before this call is handed to the operating system on return."""
        self._flush(last=False)

    def _flush(self, last: bool) -> None:
        main = threading.current_thread() is threading.main_thread()
        if main:
            self._main_writes = True
        with self._lock:
            queue = self.queue
            while queue:
                lines = [self._line(queue.popleft()) for _ in range(min(len(queue), _BATCH))]
                self._write(("\n".join(lines) + "\n").encode())  # and others get the interpreter lock meanwhile
            if last and self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        if main:
            self._main_writes = False
            afterwards, self._afterwards = self._afterwards, None
            if afterwards is not None:
                afterwards()

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
        self._fd = -1
        self.broken = True

    def _run(self) -> None:
        idle = 0.0
        while not self._stop.wait(FLUSH_SECONDS):
            if self.beside is not None:
                self.beside()
            if self.queue:
                self.flush()
                idle = 0.0
                continue
            idle += FLUSH_SECONDS
            if idle >= HEARTBEAT_SECONDS:  # readers on other machines see that the run is alive
                idle = 0.0
                with contextlib.suppress(OSError):
                    os.utime(self._file)

    def _write(self, data: bytes) -> None:
        if self.broken or self._fd < 0:
            return
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self.broken = True
            self._warn(f"logging stopped: the store cannot be written ({error.strerror}); training goes on")

    def _line(self, item: tuple[Any, ...]) -> str:
        event = item[0]
        if event == "r":
            _, name, taken, path, ordinal, moment, flag = item
            self.written += 1
            kind = type(taken)
            fields: Fields = taken if kind is tuple else taken.fields() if kind is Late else encode_plain(taken)
            quoted = self._names.get(name)
            if quoted is None:
                quoted = self._names[name] = _quote(clean_name(name))
            line = f'{{"e":"r","s":{self.written},"n":{quoted}{_fields(fields)}{self._where(path)},"o":{ordinal},"t":{moment!r}'
            return line + (f',"h":{flag}}}' if flag else "}")
        if event == "v":
            return f'{{"e":"v"{_fields(item[2])}{self._where(item[1])}}}'
        if event == "d":
            return f'{{"e":"d"{self._where(item[1])},"d":{item[2]!r},"b":{item[3]!r}}}'
        _, prefix, name, occurrence, iterations, seconds, kind, end = item
        names = (*[level[0] for level in prefix], name)
        place = _place(names, (*prefix, (name, occurrence, -1)))
        line = f'{{"e":"{event}","s":{self.written}{place},"k":{_quote(kind)}'
        if event == "e":
            line += f',"n":{iterations},"d":{seconds!r},"x":"{end}"'
        return line + "}"

    def _where(self, path: Path) -> str:
        if path is not self._cached_path:
            self._cached_path = path
            self._cached_place = _place(tuple(level[0] for level in path), path)
        return self._cached_place
