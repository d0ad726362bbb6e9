"""Memory that checkpoints are copied into, taken from the system once and used again for each of them."""

from __future__ import annotations

import contextlib
import ctypes
import mmap

_ALIGN = 64
_BLOCK_BYTES = 8 << 20


class Arena:
    """Hands out stretches of warm memory; `reset` takes all of them back."""

    def __init__(self) -> None:
        self._blocks: list[memoryview] = []
        self._block = 0
        self._used = 0

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return sum(len(block) for block in self._blocks)

    def copy(self, source: memoryview) -> memoryview:
        """A copy of `source`, valid until `reset`."""
        size = len(source)
        if size == 0:
            return source
        place = self._take(size)
        place[:] = source
        return place

    def _take(self, size: int) -> memoryview:
        while self._block < len(self._blocks):
            block = self._blocks[self._block]
            if self._used + size <= len(block):
                place = block[self._used : self._used + size]
                self._used += -(-size // _ALIGN) * _ALIGN
                return place
            if self._used == 0:  # a block that is too small even when empty: replaced
                del self._blocks[self._block]
                continue
            self._block += 1
            self._used = 0
        self._blocks.append(_new_block(max(size, _BLOCK_BYTES)))
        self._used = 0
        return self._take(size)

    def reserve(self, size: int) -> None:
        """Take and touch memory for a first checkpoint of that size; the interpreter lock is free."""
        missing = size - self.size_bytes
        if missing > 0:
            block = _new_block(missing)
            ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(block)), 0, missing)
            self._blocks.append(block)

    def reset(self) -> None:
        """Everything handed out is free again; blocks that were not used are given back."""
        del self._blocks[self._block + 1 :]
        self._block = 0
        self._used = 0


def _new_block(size: int) -> memoryview:
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)
