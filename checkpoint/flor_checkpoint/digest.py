"""The name of a piece of content: xxh3-128 of its bytes, as 32 hexadecimal digits."""

from __future__ import annotations

from collections.abc import Iterable

import xxhash

Buffer = bytes | bytearray | memoryview
Hasher = xxhash.xxh3_128
"""The digest of what its `update` is given, as its `hexdigest` says."""


def digest(data: Buffer) -> str:
    """The digest of one buffer, read where it lies; the interpreter lock is free meanwhile."""
    return xxhash.xxh3_128_hexdigest(data)


def digest_of_chunks(chunks: Iterable[Buffer]) -> str:
    """The digest of the chunks' concatenation."""
    hasher = Hasher()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()
