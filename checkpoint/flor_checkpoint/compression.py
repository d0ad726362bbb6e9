"""Lossless compression of what lies in packs: bytes grouped by their place in the number, then zstd.

The exponents of a tensor's floats are much alike and their mantissas are noise; apart from each other the former shrink
and the latter cost nothing but their copy (Hershcovitch et al., "ZipNN: Lossless Compression for AI Models", 2024).
What width the numbers have is tried on a sample, so nothing needs to be known about the content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from flor_checkpoint.digest import Buffer
from flor_checkpoint.errors import BadCheckpoint

if TYPE_CHECKING:
    import numpy as np

PAYS = 0.92  # what does not shrink to this part of itself stays as it is: it is read faster so
_LEVEL = 3
_WIDTHS = (1, 2, 4, 8)  # bytes of a number
_LEAST_BYTES = 4 << 10
_SAMPLE_BYTES = 256 << 10
_CHUNK_BYTES = 8 << 20  # compressed at a time: a bound on the memory that it takes
_LENGTH = struct.Struct("<Q")


class Compression(NamedTuple):
    """How a blob is stored that is compressed."""

    width: int  # bytes of a number
    bytes: int  # of the blob, as it is used

    def __str__(self) -> str:
        return f"zstd {self.width} {self.bytes}"

    @classmethod
    def parse(cls, text: str) -> Compression:
        """Raises BadCheckpoint where it is not a form that this version knows."""
        kind, *numbers = text.split() or [""]
        if kind != "zstd" or len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise BadCheckpoint(f"a blob is stored as {text!r}, which this version does not know")
        return cls(int(numbers[0]), int(numbers[1]))


def sample_of(size: int) -> slice:
    """Which part of a blob of so many bytes stands for all of it; it begins where a number does."""
    middle = max(0, (size - _SAMPLE_BYTES) // 16 * 8)  # a multiple of every width
    return slice(middle, min(size, middle + _SAMPLE_BYTES))


def estimate(sample: Buffer) -> tuple[int, float]:
    """The width that fits the content best, and the part of its size that it would come to; 1.0 where it does not pay."""
    sample = memoryview(sample)
    if len(sample) < _LEAST_BYTES:
        return 1, 1.0
    pack = _compressor()
    found = min((len(pack.compress(_grouped(sample, width))) / len(sample), width) for width in _WIDTHS)
    return (found[1], found[0]) if found[0] <= PAYS else (1, 1.0)


def compress(data: Buffer) -> tuple[list[bytes], Compression] | None:
    """The blob compressed, in chunks, and how; None where it does not pay."""
    view = memoryview(data)
    width, part = estimate(view[sample_of(len(view))])
    if part > PAYS:
        return None
    chunks: list[bytes] = []
    pack = _compressor()
    for first in range(0, len(view), _CHUNK_BYTES):
        chunk = pack.compress(_grouped(view[first : first + _CHUNK_BYTES], width))
        chunks += [_LENGTH.pack(len(chunk)), chunk]
    if sum(map(len, chunks)) > PAYS * len(view):
        return None
    return chunks, Compression(width, len(view))


def decompress(stored: Buffer, form: Compression) -> memoryview:
    """The blob again. Raises BadCheckpoint where the content is damaged."""
    import numpy as np
    import zstandard

    if form.width not in _WIDTHS:
        raise BadCheckpoint(f"numbers of {form.width} bytes: this version does not know them")
    try:
        found = np.empty(form.bytes, np.uint8)
    except (MemoryError, ValueError) as error:
        raise BadCheckpoint(f"a compressed blob of {form.bytes} bytes does not fit into memory") from error
    unpack = zstandard.ZstdDecompressor()
    done = 0
    try:
        for chunk in _chunks(memoryview(stored)):
            size = min(_CHUNK_BYTES, form.bytes - done)
            if not size or zstandard.frame_content_size(chunk) != size:  # before anything is allocated for it
                raise BadCheckpoint("a compressed blob is damaged: its size is another one")
            plain = unpack.decompress(chunk, allow_extra_data=False)
            _ungroup(plain, form.width, found[done : done + size])
            done += size
    except (zstandard.ZstdError, struct.error) as error:
        raise BadCheckpoint(f"a compressed blob is damaged: {error}") from error
    if done != form.bytes:
        raise BadCheckpoint("a compressed blob is damaged: its end is missing")
    return found.data.toreadonly()


def _chunks(stored: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(stored):
        (length,) = _LENGTH.unpack_from(stored, at)
        at += _LENGTH.size
        if at + length > len(stored):
            raise BadCheckpoint("a compressed blob is damaged: its end is missing")
        yield stored[at : at + length]
        at += length


def _grouped(data: memoryview, width: int) -> bytes | memoryview:
    """First the first byte of every number, then the second of every one …; what is left over at the end as it is."""
    import numpy as np

    if width == 1:
        return data
    whole = len(data) // width * width
    numbers = np.frombuffer(data, np.uint8, whole).reshape(-1, width)
    return np.ascontiguousarray(numbers.T).tobytes() + bytes(data[whole:])


def _ungroup(grouped: bytes, width: int, into: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    import numpy as np

    whole = len(grouped) // width * width
    flat = np.frombuffer(grouped, np.uint8)
    into[:whole].reshape(-1, width)[:] = flat[:whole].reshape(width, -1).T
    into[whole:] = flat[whole:]


def _compressor() -> Any:
    import zstandard

    return zstandard.ZstdCompressor(level=_LEVEL)
