"""Blobs out of packs, each verified against its digest."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flor_checkpoint.compression import Compression, decompress
from flor_checkpoint.digest import Hasher, digest
from flor_checkpoint.errors import BadCheckpoint
from flor_checkpoint.memory import address_of
from flor_checkpoint.packs import CONDEMNED, SUFFIX, PackIndex, Place, read_header
from flor_checkpoint.parallel import for_each

_BIG_BYTES = 1 << 20

_PIECE_BYTES = 4 << 20
"""What is copied at a time and verified while it is in the caches; to hand over the interpreter lock costs more for less."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """A blob where it lies: to be verified by who copies it, in one go."""

    data: memoryview
    digest: str
    path: Path

    def __len__(self) -> int:
        return len(self.data)

    def verified(self) -> memoryview:
        """Its bytes. Raises BadCheckpoint."""
        self._check(digest(self.data))
        return self.data

    def copy_to(self, target: memoryview) -> None:
        """Write it over memory of its size; what arrived is verified.

        Raises BadCheckpoint: what was overwritten by then is lost.
        """
        hasher = Hasher()
        to, start = address_of(target), address_of(self.data)
        for first in range(0, len(target), _PIECE_BYTES):
            size = min(_PIECE_BYTES, len(target) - first)
            ctypes.memmove(to + first, start + first, size)
            hasher.update(target[first : first + size])
        self._check(hasher.hexdigest())

    def _check(self, found: str) -> None:
        if found != self.digest:
            raise BadCheckpoint(f"{self.path}: blob {self.digest} is damaged")


class PackReader:
    """Reads blobs; packs stay mapped while their bytes are used, whoever deletes them."""

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
        verified = for_each(lambda blob: self._verified(blob, *found[blob], blobs[blob]), big)
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
                    mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except (OSError, ValueError) as error:
                raise BadCheckpoint(f"{path}: cannot be read: {error}") from error
            self._open[pack] = mapped, header
        mapped, header = self._open[pack]
        if blob not in header:
            raise BadCheckpoint(f"{path}: has no blob {blob}")
        first, last, compressed = header[blob]
        return mapped[first:last], compressed
