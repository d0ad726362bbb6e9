"""What a script prints, kept beside its records while it goes where it always went.

The files under ``sys.stdout`` and ``sys.stderr`` are exchanged for ones that write each piece twice: first where it goes,
then into the run's folder. So a terminal stays a terminal, nothing waits in another process when this one is killed, and
no byte is held back or put in another order. A pseudo-terminal would also see what C code and other programs write, at the
price of a process between the script and its terminal: signals, window size, job control and its death would be ours.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

KEPT_BYTES = 8 << 20  # of the beginning; and as much twice of the end


class Copy:
    """The run's file: the first bytes stay, of what comes after the last ones."""

    def __init__(self, path: str, kept: int = KEPT_BYTES) -> None:
        self._path = path
        self._kept = kept
        self._pid = os.getpid()
        self._size = 0
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._full = False  # the beginning is complete

    def write(self, data: Any) -> None:
        """Keep a piece. A failure ends the copy and nothing else."""
        if self._file is None:
            return
        try:
            if self._size >= self._kept:
                self._go_on()
            if self._file is not None:
                self._size += os.write(self._file, data)
        except OSError:
            self._file = None

    def _go_on(self) -> None:
        if os.getpid() != self._pid:  # a forked child leaves the files to its parent
            self._file = None
            return
        later, earlier = ending(self._path)
        assert self._file is not None
        os.close(self._file)
        self._file = None
        if self._full:
            os.replace(later, earlier)
        self._full = True
        self._file = os.open(later, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._size = 0


def ending(path: str) -> tuple[str, str]:
    """The files for the end of a long output: the last part, and the part before it."""
    stem = path.removesuffix(".txt")
    return f"{stem}.end.txt", f"{stem}.before-end.txt"


class _Twice(io.FileIO):
    copy: Copy

    def write(self, data: Any) -> int:
        done = super().write(data)
        if done:
            self.copy.write(data if done == len(data) else memoryview(data)[:done])
        return done


def keep(path: str) -> None:
    """From now on, what this process prints is also in the file `path`. Does nothing where it cannot be done."""
    try:
        copy = Copy(path)
    except OSError:
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper and getattr(sys, f"__{name}__") is stream:
            made = _twice(stream, copy)
            setattr(sys, name, made)
            setattr(sys, f"__{name}__", made)


def _twice(stream: io.TextIOWrapper, copy: Copy) -> TextIO:
    stream.flush()
    raw = _Twice(stream.fileno(), "w", closefd=False)
    raw.copy = copy
    raw.name = f"<{'stdout' if stream.fileno() == 1 else 'stderr'}>"  # as the interpreter calls it
    buffered = type(stream.buffer) is io.BufferedWriter
    made = io.TextIOWrapper(
        io.BufferedWriter(raw) if buffered else raw,
        encoding=stream.encoding,
        errors=stream.errors,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    made.mode = "w"  # type: ignore[misc]
    return made
