"""Memory that checkpoints are copied into, taken from the system once and used again for each of them."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys

from flor_checkpoint.free import free_bytes
from flor_checkpoint.memory import address_of, copy_bytes

_BLOCK_BYTES = 8 << 20
_SLACK_BYTES = 48 << 20
"""What a second capture beside the first may need more; with the blocks' own slack it stays under 64 MiB."""


_LARGEST_PART = 0.5
"""Of the memory that is free; the rest is the training's, which may grow."""


class NoRoom(Exception):  # noqa: N818
    """A capture would need more memory than the state's size and a little, or than the machine can spare."""


class Arena:
    """Hands out stretches of warm memory; `reset` takes all of them back."""

    def __init__(self) -> None:
        self._blocks: list[memoryview] = []
        self._block = 0
        self._used = 0
        self._limit_bytes: int | None = None

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return sum(len(block) for block in self._blocks)

    def copy(self, source: memoryview) -> memoryview:
        """A copy of `source`, valid until `reset`. Raises NoRoom past the limit."""
        size = len(source)
        if size == 0:
            return source
        place = self.take(size)
        copy_bytes(place, source)
        return place

    def take(self, size: int) -> memoryview:
        """A stretch of that many bytes, valid until `reset`. Raises NoRoom past the limit."""
        while self._block < len(self._blocks):
            block = self._blocks[self._block]
            if self._used + size <= len(block):
                place = block[self._used : self._used + size]
                self._used += size  # close together: they are written in one go
                return place
            if self._used == 0:  # a block that is too small even when empty: replaced
                self._removed(self._blocks.pop(self._block))
                continue
            self._block += 1
            self._used = 0
        wanted = max(size, _BLOCK_BYTES)
        if self._limit_bytes is not None and self.size_bytes + wanted > self._limit_bytes:
            raise NoRoom
        if not _spare(wanted):
            raise NoRoom
        self._add(_new_block(wanted))
        self._used = 0
        return self.take(size)

    def _add(self, block: memoryview) -> None:
        self._blocks.append(block)
        self._added(block)

    def _added(self, block: memoryview) -> None:
        """A block has come, its memory touched or not."""

    def _removed(self, block: memoryview) -> None:
        """A block goes."""

    def reserve(self, size: int) -> None:
        """Take and touch memory for a first checkpoint of that size; the interpreter lock is free."""
        missing = size - self.size_bytes
        if missing > 0 and _spare(missing):
            block = _new_block(missing)
            ctypes.memset(address_of(block), 0, missing)
            self._add(block)

    def keep(self) -> None:
        """What was handed out stays; only a little more is given beside it."""
        if self._limit_bytes is None:
            self._limit_bytes = self.size_bytes + _SLACK_BYTES

    def reset(self) -> None:
        """Everything handed out is free again; blocks that were not used are given back."""
        for block in self._blocks[self._block + 1 :]:
            self._removed(block)
        del self._blocks[self._block + 1 :]
        self._block = 0
        self._used = 0
        self._limit_bytes = None

    def close(self) -> None:
        """Nothing is handed out any more."""
        for block in self._blocks:
            self._removed(block)
        self._blocks = []
        self._block = self._used = 0


def _spare(size: int) -> bool:
    free = free_bytes()
    return free is None or size <= free * _LARGEST_PART


_WIPE_ON_FORK = 18  # MADV_WIPEONFORK, which mmap has no name for


def _new_block(size: int) -> memoryview:
    """Memory of this process alone: a child that is forked finds it empty, and does not make the next copy dearer."""
    if sys.platform != "linux":
        return memoryview(mmap.mmap(-1, size))
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for advice in (mmap.MADV_HUGEPAGE, _WIPE_ON_FORK):
        with contextlib.suppress(OSError):  # a system without huge pages, or an old one
            memory.madvise(advice)
    return memoryview(memory)
