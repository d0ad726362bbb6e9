"""Freeing what packs hold and no manifest refers to, beside processes that go on writing and reading.

Nobody is asked to wait. A pack is *condemned* first: renamed, so that no writer shares its content from then on. Then
the manifests are looked at once more; a writer that did share it has its manifest there by now, or will find the pack
gone when it looks after writing the manifest (`Writer._settled`). Only then the pack is deleted. A sweep that is killed
leaves condemned packs, which readers still find, and which the next one takes up again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flor_checkpoint.compression import PAYS, Compression, compress, estimate, sample_of
from flor_checkpoint.digest import Buffer
from flor_checkpoint.errors import BadCheckpoint
from flor_checkpoint.pack_reader import PackReader
from flor_checkpoint.packs import CONDEMNED, SUFFIX, Place, read_header, write_pack


@dataclass(frozen=True)
class PackUse:
    """A pack and what of it is needed."""

    name: str
    bytes: int
    modified: float
    """Unix seconds."""
    blobs: Mapping[str, int]
    """Every blob in it, with its size in bytes as it is stored."""
    live: frozenset[str] = frozenset()
    """Those that are needed and that no other pack is to keep."""
    compressed: bool = False
    """Something in it is compressed."""
    saved_bytes: int = 0
    """What compressing the live ones would save, as far as samples tell; with this it is to be done."""

    @property
    def dead_bytes(self) -> int:
        """What would be freed if only the needed blobs were kept."""
        return self.bytes if not self.live else sum(size for blob, size in self.blobs.items() if blob not in self.live)


def look(packs: Path) -> tuple[list[PackUse], list[str]]:
    """Every readable pack, and a message for each that is not."""
    found: list[PackUse] = []
    bad: list[str] = []
    for path in sorted(packs.glob(f"*{SUFFIX}")):
        try:
            header, size = read_header(path)
            modified = path.stat().st_mtime
        except (BadCheckpoint, OSError) as error:
            bad.append(str(error))
            continue
        blobs = {blob: place.last - place.first for blob, place in header.items()}
        compressed = any(place.compressed for place in header.values())
        found.append(PackUse(path.name, size, modified, blobs, compressed=compressed))
    return found, bad


def used(packs: Iterable[PackUse], needed: Collection[str]) -> list[PackUse]:
    """The packs with their needed blobs. A blob that lies in several (two processes wrote it at once) is kept in one."""

    def weight(pack: PackUse) -> tuple[int, str]:
        return sum(size for blob, size in pack.blobs.items() if blob in needed), pack.name

    found: list[PackUse] = []
    taken: set[str] = set()
    for pack in sorted(packs, key=weight, reverse=True):
        live = frozenset(blob for blob in pack.blobs if blob in needed and blob not in taken)
        taken |= live
        found.append(replace(pack, live=live))
    return found


def compressible(packs: Path, several: Iterable[PackUse]) -> list[PackUse]:
    """Of the packs in which nothing is compressed yet, those of which it pays, with what it would save."""
    found = []
    for pack in several:
        if pack.compressed or not pack.live:
            continue
        try:
            places, _ = read_header(packs / pack.name)
            with (packs / pack.name).open("rb") as file:
                saved = sum(_saved(file.fileno(), places[blob]) for blob in pack.live)
        except (BadCheckpoint, OSError):
            continue  # whoever reads it is told
        if saved > pack.bytes * (1 - PAYS):
            found.append(replace(pack, saved_bytes=int(saved)))
    return found


def _saved(descriptor: int, place: Place) -> float:
    size = place.last - place.first
    part = sample_of(size)
    return size * (1 - estimate(os.pread(descriptor, part.stop - part.start, place.first + part.start))[1])


def recover(packs: Path) -> None:
    """Take back what a sweep that was killed had condemned: it is looked at anew."""
    for path in packs.glob(f"*{CONDEMNED}"):
        path.rename(packs / (path.name.removesuffix(CONDEMNED) + SUFFIX))


def sweep(packs: Path, doomed: Iterable[PackUse], needed_now: Callable[[], Collection[str]]) -> tuple[int, list[str]]:
    """Delete the packs, or rewrite those that hold something live; bytes freed, and messages on what was left as it is.

    `needed_now` reads all manifests: it is asked after the packs were condemned.
    """
    condemned: list[PackUse] = []
    copied: dict[str, int] = {}
    notes: list[str] = []
    for pack in doomed:
        path = packs / pack.name
        try:
            if pack.live:
                copied[pack.name] = _rewrite(packs, pack)
            path.rename(_condemned(path))
            condemned.append(pack)
        except (BadCheckpoint, OSError) as error:
            notes.append(f"{path} stays as it is: {error}")
    if not condemned:
        return 0, notes
    needed = needed_now()
    elsewhere = {blob for pack in look(packs)[0] for blob in pack.blobs}
    freed = 0
    for pack in condemned:
        path = packs / pack.name
        if any(blob in needed and blob not in elsewhere for blob in pack.blobs):
            _condemned(path).rename(path)  # a run that is under way has come to need it
            freed -= copied.get(pack.name, 0)
        else:
            _condemned(path).unlink()
            freed += pack.bytes - copied.get(pack.name, 0)
    return freed, notes


_HELD_BYTES = 256 << 20


def _rewrite(packs: Path, pack: PackUse) -> int:
    """New packs with what is live in this one; their size in bytes. Several, where the compressed would fill the memory."""
    reader = PackReader(packs)
    written = held = 0
    blobs: list[tuple[str, Sequence[Buffer]]] = []
    forms: dict[str, Compression] = {}
    for blob in (blob for blob in pack.blobs if blob in pack.live):
        data, form = reader.stored(blob, pack.name)
        smaller = compress(data) if pack.saved_bytes and form is None else None
        if smaller:
            blobs.append((blob, smaller[0]))
            form = smaller[1]
            held += sum(map(len, smaller[0]))
        else:
            blobs.append((blob, [data]))
        if form:
            forms[blob] = form
        if held > _HELD_BYTES:
            written += write_pack(packs, blobs, forms)[1]
            blobs, forms, held = [], {}, 0
    return written + (write_pack(packs, blobs, forms)[1] if blobs else 0)


def unfinished(packs: Path) -> list[Path]:
    """What writers that were killed left behind, or what others are writing right now: their age tells."""
    try:
        return [packs / name for name in os.listdir(packs) if name.endswith(".tmp")]
    except OSError:
        return []


def _condemned(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(SUFFIX) + CONDEMNED)
