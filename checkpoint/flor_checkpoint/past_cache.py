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
from collections.abc import Iterable

from flor_checkpoint.digest import Buffer
from flor_checkpoint.memory import address_of

_LARGE_BYTES = 16 << 20
"""What is smaller stays in the cache: it does no harm there."""

_PIECE_BYTES = 4 << 20  # a multiple of what any disk has for a block

_NOT_LIKE_THIS = (errno.EINVAL, errno.EOPNOTSUPP)

_DIRECT = getattr(os, "O_DIRECT", 0) if sys.platform == "linux" else 0


def write(descriptor: int, pieces: Iterable[Buffer], size: int, *, cached: bool = False) -> None:
    """Write the pieces, `size` bytes in all, to a file that is empty; past the cache unless `cached` or not worth it."""
    if cached or size < _LARGE_BYTES or not _past_cache(descriptor, True):
        for piece in pieces:
            _write_all(descriptor, piece)
        return
    place = memoryview(mmap.mmap(-1, _PIECE_BYTES))  # the system wants blocks of the disk, in memory as in the file
    to, used = address_of(place), 0
    for piece in pieces:
        start, length, done = address_of(memoryview(piece)), len(piece), 0
        while done < length:
            part = min(length - done, _PIECE_BYTES - used)
            ctypes.memmove(to + used, start + done, part)
            done += part
            used += part
            if used == _PIECE_BYTES:
                _write_block(descriptor, place)
                used = 0
    _past_cache(descriptor, False)
    _write_all(descriptor, place[:used])


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
