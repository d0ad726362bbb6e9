"""Packs: content-addressed safetensors files, shared by all runs.

A pack holds blobs as one-dimensional U8 tensors, each under its digest: the digest of what it says, also where it is
stored compressed, which the pack's metadata tells (see `compression`). There is no index but the packs' own
headers. Packs are written under a name of their own and renamed when complete, so any number of processes write
at once. A manifest's word on where a blob lies is a hint: a pack may have been rewritten since (see `sweep`).
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from flor_checkpoint.compression import Compression, decompress
from flor_checkpoint.digest import Buffer, Hasher, digest
from flor_checkpoint.errors import BadCheckpoint
from flor_checkpoint.memory import address_of

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
    packs: Path, blobs: Sequence[tuple[str, Sequence[Buffer]]], compressed: Mapping[str, Compression] | None = None
) -> tuple[str, int]:
    """Write the blobs (digest and chunks of each) as one pack; its file name and size in bytes.

    `compressed`: the blobs whose chunks are compressed, and how.
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
    packs.mkdir(parents=True, exist_ok=True)
    file_name = f"{os.urandom(12).hex()}{SUFFIX}"
    temporary = packs / f"{file_name}.tmp"
    try:
        with open(temporary, "xb", buffering=0) as file:
            _write_all(file.fileno(), struct.pack("<Q", len(text)) + text)
            for _, chunks in blobs:
                for chunk in chunks:
                    _write_all(file.fileno(), chunk)
        temporary.rename(packs / file_name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return file_name, 8 + len(text) + offset


_WRITE_BYTES = 8 << 20


def _write_all(descriptor: int, data: Buffer) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[:_WRITE_BYTES]) :]


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


_BIG_BYTES = 1 << 20
_VERIFIERS = 4


def _map(descriptor: int) -> mmap.mmap:
    """A file in memory, its pages made known all at once where the system can: each for itself costs more than its copy."""
    if hasattr(mmap, "MAP_POPULATE"):
        return mmap.mmap(descriptor, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Unverified(NamedTuple):
    """A blob where it lies: to be verified by who copies it, in one go."""

    data: memoryview
    digest: str
    path: Path

    def verified(self) -> memoryview:
        """Its bytes. Raises BadCheckpoint."""
        if digest(self.data) != self.digest:
            raise self.damaged()
        return self.data

    def damaged(self) -> BadCheckpoint:
        """What to raise when it is not what was written."""
        return BadCheckpoint(f"{self.path}: blob {self.digest} is damaged")


_CHUNK_BYTES = 4 << 20
"""What is copied at a time and verified while it is in the caches; to hand over the interpreter lock costs more for less."""


def copy_verified(pairs: Iterable[tuple[memoryview, Unverified]]) -> None:
    """Copy each blob over its target, of the same size, on several processors; what arrived is verified.

    Raises BadCheckpoint: what was overwritten by then is lost.
    """

    def copy(target: memoryview, blob: Unverified) -> None:
        hasher = Hasher()
        to, start = address_of(target), address_of(blob.data)
        for first in range(0, len(target), _CHUNK_BYTES):
            size = min(_CHUNK_BYTES, len(target) - first)
            ctypes.memmove(to + first, start + first, size)
            hasher.update(target[first : first + size])
        if hasher.hexdigest() != blob.digest:
            raise blob.damaged()

    _for_each(lambda pair: copy(*pair), list(pairs))


def _for_each(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """The results of `work`, in order; it is done on several processors."""
    with ThreadPoolExecutor(max(1, min(len(items), _VERIFIERS, os.cpu_count() or 1))) as pool:
        return list(pool.map(work, items))


class PackReader:
    """Reads blobs, each verified against its digest; packs stay mapped while their bytes are used."""

    def __init__(self, packs: Path) -> None:
        self._packs = packs
        self._open: dict[str, tuple[memoryview, dict[str, Place]]] = {}

    def read_all(self, blobs: Mapping[str, str], *, later: bool = False) -> dict[str, memoryview | Unverified]:
        """The verified bytes of the blobs; `blobs` names the pack of each. The big ones are verified side by side.

        A blob that is not where it was is looked for in the other packs: its name is its content. `later`: big ones that are
        stored as they are used are handed out unverified.
        """
        for left in (2, 1, 0):
            try:
                found = {blob: self._view(blob, pack) for blob, pack in blobs.items()}
                break
            except BadCheckpoint:
                if not left:
                    raise
                blobs = self._moved(blobs)
        read: dict[str, memoryview | Unverified] = {}
        big = []
        for blob, (data, compressed) in found.items():
            if len(data) < _BIG_BYTES:
                read[blob] = self._verified(blob, data, compressed, blobs[blob])
            elif later and compressed is None:
                read[blob] = Unverified(data, blob, self._packs / blobs[blob])
            else:
                big.append(blob)
        verified = _for_each(lambda blob: self._verified(blob, *found[blob], blobs[blob]), big)
        read |= zip(big, verified, strict=True)
        return read

    def _moved(self, blobs: Mapping[str, str]) -> dict[str, str]:
        index = PackIndex(self._packs, (SUFFIX, CONDEMNED))
        index.refresh()
        return {blob: index.find(blob) or pack for blob, pack in blobs.items()}

    def read(self, blob: str, pack: str) -> memoryview:
        """The verified bytes of a blob."""
        return self._verified(blob, *self._view(blob, pack), pack)

    def stored(self, blob: str, pack: str) -> tuple[memoryview, Compression | None]:
        """A blob as it lies in its pack, to be copied into another one; verified."""
        data, compressed = self._view(blob, pack)
        self._verified(blob, data, compressed, pack)
        return data, compressed

    def _verified(self, blob: str, data: memoryview, compressed: Compression | None, pack: str) -> memoryview:
        return Unverified(decompress(data, compressed) if compressed else data, blob, self._packs / pack).verified()

    def _view(self, blob: str, pack: str) -> tuple[memoryview, Compression | None]:
        path = self._packs / pack
        if Path(pack).name != pack:
            raise BadCheckpoint(f"{pack!r} is no pack's name")
        if pack not in self._open:
            header, _ = read_header(path)
            try:
                with path.open("rb") as file:
                    mapped = memoryview(_map(file.fileno()))
            except (OSError, ValueError) as error:
                raise BadCheckpoint(f"{path}: cannot be read: {error}") from error
            self._open[pack] = mapped, header
        mapped, header = self._open[pack]
        if blob not in header:
            raise BadCheckpoint(f"{path}: has no blob {blob}")
        first, last, compressed = header[blob]
        return mapped[first:last], compressed
