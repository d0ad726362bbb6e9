"""Packs: content-addressed safetensors files, shared by all runs.

A pack holds blobs as one-dimensional U8 tensors, each under its digest: the digest of what it says, also where it is
stored compressed, which the pack's metadata tells (see `compression`). There is no index but the packs' own
headers. Packs are written under a name of their own and renamed when complete, so any number of processes write
at once. A manifest's word on where a blob lies is a hint: a pack may have been rewritten since (see `sweep`).
"""

from __future__ import annotations

import itertools
import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from flor_checkpoint import past_cache
from flor_checkpoint.compression import Compression
from flor_checkpoint.digest import Buffer
from flor_checkpoint.errors import BadCheckpoint

SUFFIX = ".safetensors"
CONDEMNED = f"{SUFFIX}.condemned"
"""A pack that is about to be deleted: nothing new may refer to it, what refers to it already still finds it."""
_MAX_HEADER_BYTES = 100 << 20


class Place(NamedTuple):
    """Where a blob lies in its pack."""

    first: int
    last: int
    compressed: Compression | None = None
    """How it is compressed, where it is."""


class PackIndex:
    """Which blob lies in which pack; looks at each pack once."""

    def __init__(self, packs: Path, suffixes: tuple[str, ...] = (SUFFIX,)) -> None:
        self._packs = packs
        self._suffixes = suffixes
        self._seen: set[str] = set()
        self._places: dict[str, str] = {}

    def find(self, blob: str) -> str | None:
        """The file name of a whole pack that has the blob, or None."""
        return self._places.get(blob)

    def refresh(self) -> None:
        """Look at the packs that have come since, and forget those that are gone."""
        try:
            names = {name for name in os.listdir(self._packs) if name.endswith(self._suffixes)}
        except OSError:
            names = set()
        if not self._seen <= names:
            self._places = {blob: name for blob, name in self._places.items() if name in names}
        for name in names - self._seen:
            try:
                header, _ = read_header(self._packs / name)
            except BadCheckpoint:
                continue
            self.add(name, list(header))
        self._seen = names

    def add(self, name: str, blobs: Sequence[str]) -> None:
        """A pack that has these blobs."""
        self._seen.add(name)
        for blob in blobs:
            self._places[blob] = name


def write_pack(
    packs: Path,
    blobs: Sequence[tuple[str, Sequence[Buffer]]],
    compressed: Mapping[str, Compression] | None = None,
    *,
    cached: bool = False,
) -> tuple[str, int]:
    """Write the blobs (digest and chunks of each) as one pack; its file name and size in bytes.

    `compressed`: the blobs whose chunks are compressed, and how. `cached`: even a large one stays in the page cache, which is
    sooner done.
    """
    header: dict[str, object] = {}
    if compressed:
        header["__metadata__"] = {name: str(form) for name, form in compressed.items()}
    offset = 0
    for name, chunks in blobs:
        size = sum(len(chunk) for chunk in chunks)
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if not cached:
        text += b" " * past_cache.padding(8 + len(text), [chunk for _, chunks in blobs for chunk in chunks])
    packs.mkdir(parents=True, exist_ok=True)
    file_name = f"{os.urandom(12).hex()}{SUFFIX}"
    temporary = packs / f"{file_name}.tmp"
    try:
        with open(temporary, "xb", buffering=0) as file:
            head = struct.pack("<Q", len(text)) + text
            pieces = itertools.chain([head], *(chunks for _, chunks in blobs))
            past_cache.write(file.fileno(), pieces, len(head) + offset, cached=cached)
        temporary.rename(packs / file_name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return file_name, 8 + len(text) + offset


def read_header(path: Path) -> tuple[dict[str, Place], int]:
    """Where each blob of a pack lies in the file, and the file's size. Raises BadCheckpoint."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _MAX_HEADER_BYTES):
                raise BadCheckpoint(f"{path}: the header is damaged")
            raw = json.loads(file.read(length))
        start = 8 + length
        header: dict[str, Place] = {}
        end = start
        forms = raw.get("__metadata__", {})
        for name, entry in raw.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            form = Compression.parse(forms[name]) if name in forms else None
            header[name] = Place(start + int(first), start + int(last), form)
            end = max(end, start + int(last))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise BadCheckpoint(f"{path}: cannot be read: {error}") from error
    if end != size:
        raise BadCheckpoint(f"{path}: {size} bytes long where {end} are expected")
    return header, size
