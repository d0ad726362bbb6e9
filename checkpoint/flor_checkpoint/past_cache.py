"""Writing large files without leaving them in the page cache.

A checkpoint is written to be read another day. Kept in memory it would push out what training reads, its data, and for
every page the kernel does work beside the training: written past the cache it takes half of the processor's time.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from flor_checkpoint.digest import Buffer
from flor_checkpoint.memory import address_of, raw_view

_LARGE_BYTES = 4 << 20
"""What is smaller stays in the cache: it does no harm there."""

_BLOCK_BYTES = 4096
"""What any disk takes."""

_PIECE_BYTES = 4 << 20  # blocks

_WORTH_BYTES = 256 << 10  # what is shorter is copied

_NOT_LIKE_THIS = (errno.EINVAL, errno.EOPNOTSUPP)

_DIRECT = getattr(os, "O_DIRECT", 0) if sys.platform == "linux" else 0


def padding(before: int, pieces: Sequence[Buffer]) -> int:
    """How many more bytes than `before` the pieces should stand behind, to be written from where they lie as far as possible."""
    sizes = [len(piece) for piece in pieces]
    if before + sum(sizes) < _LARGE_BYTES:
        return 0
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    return (address_of(memoryview(pieces[largest])) - before - sum(sizes[:largest])) % _BLOCK_BYTES


def write(descriptor: int, pieces: Iterable[Buffer], size: int, *, cached: bool = False) -> None:
    """Write the pieces, `size` bytes in all, to a file that is empty; past the cache unless `cached` or not worth it."""
    if cached or size < _LARGE_BYTES or not _past_cache(descriptor, True):
        for piece in pieces:
            _write_all(descriptor, piece)
        return
    file = _Blocks(descriptor)
    for run in _runs(pieces):
        file.add(address_of(memoryview(run[0])), sum(map(len, run)))
    file.finish()


def _runs(pieces: Iterable[Buffer]) -> Iterator[list[Buffer]]:
    """The pieces, those together that follow one another in memory: what a capture copies does."""
    run: list[Buffer] = []
    end = -1
    for piece in pieces:
        if not piece:
            continue
        start = address_of(memoryview(piece))
        if run and start != end:
            yield run
            run = []
        run.append(piece)
        end = start + len(piece)
    if run:
        yield run


class _Blocks:
    """Writes whole blocks, which the system wants in memory where they are in the file: at a block's border.

    Where memory and file are at the same place of a block, from where memory lies; the rest by way of memory that is.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._place = memoryview(mmap.mmap(-1, _PIECE_BYTES))
        self._to = address_of(self._place)
        self._used = 0

    def add(self, start: int, length: int) -> None:
        """Write so many bytes at that address, which the caller keeps."""
        at, end = start, start + length
        while at < end:
            ahead = -at % _BLOCK_BYTES
            alike = (self._used + ahead) % _BLOCK_BYTES == 0 and end - at - ahead >= _WORTH_BYTES
            if alike and not ahead:
                self._flush()
                part = min((end - at) // _BLOCK_BYTES * _BLOCK_BYTES, _WRITE_BYTES)
                _write_block(self._descriptor, raw_view(at, part))
            else:
                part = min(ahead if alike else end - at, _PIECE_BYTES - self._used)
                ctypes.memmove(self._to + self._used, at, part)
                self._used += part
                if self._used == _PIECE_BYTES:
                    self._flush()
            at += part

    def _flush(self) -> None:
        if self._used:
            _write_block(self._descriptor, self._place[: self._used])
            self._used = 0

    def finish(self) -> None:
        """Write what is left over."""
        _past_cache(self._descriptor, False)
        _write_all(self._descriptor, self._place[: self._used])


def _write_block(descriptor: int, block: memoryview) -> None:
    try:
        done = os.write(descriptor, block)
    except OSError as error:
        if error.errno not in _NOT_LIKE_THIS:
            raise
        done = 0
    if done < len(block):  # a file system that takes other blocks, or a disk that is nearly full: in the usual way
        _past_cache(descriptor, False)
        _write_all(descriptor, block[done:])


def _past_cache(descriptor: int, wanted: bool) -> bool:
    """Whether what is written next goes past the cache, as wanted where the system can."""
    if not _DIRECT:
        return False
    import fcntl

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _DIRECT if wanted else flags & ~_DIRECT)
    except OSError:  # a file system without it
        return False
    return wanted


_WRITE_BYTES = 8 << 20


def _write_all(descriptor: int, data: Buffer) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[:_WRITE_BYTES]) :]
