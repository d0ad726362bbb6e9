"""What becomes of the bytes of a walk: which are stored, which are known already, which are as at loop entry.

The bytes stand in a node as one of
 - bytes: small, kept in the graph itself;
 - a list of one digest: a blob in a pack (the digest is filled in by the writer);
 - ``("same", digest)`` or ``("same", list of one digest)``: nothing stored; it is what it was at loop entry.

Of device memory only the writer comes to know which of them it is: its list holds bytes, a digest, or "same" and a digest.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flor_checkpoint.arena import Arena
from flor_checkpoint.containers import Parts, chunks_of, unchanged
from flor_checkpoint.device import DeviceCopies, Print, device_digest, fingerprint, on_device
from flor_checkpoint.digest import Buffer, digest
from flor_checkpoint.errors import ContentGone
from flor_checkpoint.memory import array_bytes, same_bytes, storage_bytes
from flor_checkpoint.priority import step_back
from flor_checkpoint.walk import Memory, Node, Walker

INLINE_BYTES = 512
SAME_BYTES = 64 << 10
"""Memory smaller than this is always kept as content: it can be put back whatever the replay did."""

_HOT = 2
"""Memory that changed so many times in a row is copied without asking for its digest first."""

LARGE_BYTES = 256 << 20
"""Device memory larger than this is believed to be as at loop entry before it has been copied once."""

Cell = list[Any]


class Blob(NamedTuple):
    """A piece of content on its way to a pack."""

    cell: Cell
    chunks: Callable[[], Iterable[Buffer]]
    stored: bool
    """Else only the digest is wanted."""
    track: Track | None = None
    settle: Callable[[], bool] | None = None
    """For device memory, asked first by the writer: whether the cell says all and nothing is to be stored."""


class Track:
    """What is known of a piece of memory from the checkpoints before."""

    __slots__ = ("changes", "last")

    def __init__(self) -> None:
        self.last: str | None = None
        self.changes = 0

    def saw(self, found: str) -> None:
        """Its digest at a checkpoint."""
        self.changes = self.changes + 1 if found != self.last else 0
        self.last = found


class _Copy(NamedTuple):
    """Memory as the last capture had it, still in the arena."""

    data: memoryview
    cell: Cell
    track: Track | None


class _DeviceEntry:
    """Device memory as it was at loop entry."""

    __slots__ = ("believed", "digest", "print")

    def __init__(self, storage: Any) -> None:
        self.digest = device_digest(storage)
        self.print = int(fingerprint(storage))
        self.believed = storage.nbytes() > LARGE_BYTES
        """It is not copied but its fingerprint compared."""

    def same(self, cell: Cell, found: str) -> bool:
        """Told the digest by the writer; whether it is what it was."""
        same = self.believed = found == self.digest
        if same:
            cell[:] = ["same", found]
        return same

    def unchanged(self, taken: Print) -> bool:
        """Told the fingerprint by the writer; True, or ContentGone where it has changed: its content was not taken."""
        if taken.value() != self.print:
            self.believed = False
            raise ContentGone("device memory that was as at loop entry in all checkpoints before has changed")
        return True


class _Kept:
    __slots__ = ("at_entry", "cell", "parts")

    def __init__(self, parts: Parts, at_entry: bool) -> None:
        self.parts = parts
        self.at_entry = at_entry
        self.cell: Cell = [None]


def memory_bytes(memory: Any) -> memoryview:
    """The bytes of a torch storage or of an array that owns its elements."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(memory, torch.UntypedStorage):
        return storage_bytes(memory)
    return array_bytes(memory)


def memory_node(memory: Memory, content: object) -> Node:
    """The node of a piece of memory."""
    owner = memory.owner
    device = str(owner.device) if type(owner).__name__ == "UntypedStorage" else None
    return ("memory", device, owner.nbytes() if device is not None else owner.nbytes, content)


def _growth_bytes(walker: Walker) -> int:
    """What gradients and optimizers will add to the state in the first iteration, roughly."""
    total = 0
    for thing in walker.objects:
        if walker.book.kind(type(thing)) == "optimizer":
            optimizer: Any = thing
            defaults = optimizer.defaults
            moments = 2 if "betas" in defaults else 1 if defaults.get("momentum") or "alpha" in defaults else 0
            params = [param for group in optimizer.param_groups for param in group["params"]]
            total += sum(param.nbytes * (1 + moments) for param in params if param.requires_grad)
    return total


def _frozen_bytes(walker: Walker) -> int:
    """The bytes of parameters that want no gradients."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "nn"):
        return 0
    frozen = (thing for thing in walker.objects if isinstance(thing, torch.nn.Parameter) and not thing.requires_grad)
    return sum(thing.nbytes for thing in frozen)


class RecordedContents:
    """The contents of one recording: what was there at loop entry, and what the last checkpoint had."""

    def __init__(self) -> None:
        self.arena = Arena()
        self.devices = DeviceCopies()
        self.blobs: list[Blob] = []
        self.logical_bytes = 0
        self.expected_bytes = 0
        """What a checkpoint will copy, as far as can be told at loop entry."""
        self.frozen_bytes = 0
        """What of that are weights that no optimizer is to change."""
        self._entering = True
        self._warming: threading.Thread | None = None
        self._entry_memory: dict[object, str] = {}
        self._entry_device: dict[object, _DeviceEntry] = {}
        self._entry_opaque: dict[int, str] = {}
        self._kept: dict[int, _Kept] = {}
        self._next_kept: dict[int, _Kept] = {}
        self._tracks: dict[object, Track] = {}
        self._copies: dict[object, _Copy] = {}

    def enter(self, walker: Walker) -> None:
        """The walk at loop entry is over."""
        stored = on_devices = 0
        for memory in walker.memories.values():
            size = memory.owner.nbytes() if callable(memory.owner.nbytes) else memory.owner.nbytes
            device = on_device(memory.owner)
            if memory.forced or size < SAME_BYTES:
                stored += size
                on_devices += size if device else 0
            elif device:
                self._entry_device[memory.key] = _DeviceEntry(memory.owner)
            else:
                self._entry_memory[memory.key] = digest(memory_bytes(memory.owner))
        growth = _growth_bytes(walker)
        self.frozen_bytes = _frozen_bytes(walker)
        self.expected_bytes = stored + growth
        on_devices += growth if on_devices else 0
        self._warming = threading.Thread(
            target=self._warm, args=(self.expected_bytes - on_devices, on_devices), daemon=True
        )
        self._warming.start()
        self._entering = False
        self._kept, self._next_kept = self._next_kept, {}

    def _warm(self, size: int, on_devices: int) -> None:
        step_back()
        self.arena.reserve(size)
        self.devices.reserve(on_devices)

    def begin(self, again: bool) -> None:
        """A checkpoint begins; `again`: beside the one before, whose copies stay and are shared where nothing changed."""
        if self._warming is not None:
            self._warming.join()
            self._warming = None
        if again:
            self.arena.keep()
        else:
            self.arena.reset()
            self._copies = {}
        self.devices.begin(again)
        self.blobs = []
        self.logical_bytes = 0
        self._next_kept = {}

    def finish(self, walker: Walker) -> None:
        """The walk of a checkpoint is over: see to its memory."""
        self._kept = self._next_kept
        tracks: dict[object, Track] = {}
        for memory in walker.memories.values():
            track = tracks[memory.key] = self._tracks.get(memory.key) or Track()
            content = self._device_memory if on_device(memory.owner) else self._memory
            walker.nodes[memory.nid] = memory_node(memory, content(memory, track))
        self._tracks = tracks
        self.devices.launch(walker.objects)

    def forget(self) -> None:
        """A checkpoint was not written: nothing may be taken for stored."""
        self._tracks = {}
        for kept in self._kept.values():
            kept.cell = [None]

    def container(self, thing: object, parts: Parts) -> object:
        """See `Contents`."""
        kept = self._kept.get(id(thing))
        if kept is None or not unchanged(kept.parts, parts):
            kept = _Kept(parts, self._entering)
        self._next_kept[id(thing)] = kept
        if self._entering:
            return None
        self.blobs.append(Blob(kept.cell, lambda: chunks_of(kept.parts), not kept.at_entry))
        return ("same", kept.cell) if kept.at_entry else kept.cell

    def opaque(self, thing: object, data: bytes) -> tuple[object, bool]:
        """See `Contents`."""
        found = digest(data)
        if self._entering:
            self._entry_opaque[id(thing)] = found
            return None, False
        same = self._entry_opaque.get(id(thing)) == found
        if len(data) <= INLINE_BYTES:
            return data, same
        cell: Cell = [found]
        self._store(cell, data)
        return cell, same

    def _store(self, cell: Cell, data: Buffer, track: Track | None = None) -> None:
        self.logical_bytes += len(data)
        self.blobs.append(Blob(cell, lambda: (data,), True, track))

    def _memory(self, memory: Memory, track: Track) -> object:
        view = memory_bytes(memory.owner)
        if len(view) <= INLINE_BYTES:
            return bytes(view)
        held = self._copies.get(memory.key)
        if held is not None and same_bytes(held.data, view):
            self._store(held.cell, held.data, held.track)
            return held.cell
        entry = None if memory.forced else self._entry_memory.get(memory.key)
        if entry is None and (track.last is None or track.changes >= _HOT):
            return self._copy(memory, view, [None], track)
        found = digest(view)
        if found == entry:
            return ("same", found)
        if found == track.last:
            track.saw(found)
            self.logical_bytes += len(view)
            cell: Cell = [found]
            self.blobs.append(Blob(cell, lambda: (), True))
            return cell
        track.saw(found)
        return self._copy(memory, view, [found], None)

    def _device_memory(self, memory: Memory, track: Track) -> Cell:
        """Its content is not known here: the cell is filled by the writer, when the copy has come."""
        size = memory.owner.nbytes()
        if size == 0:
            return [b""]
        self.logical_bytes += size
        entry = None if memory.forced else self._entry_device.get(memory.key)
        if entry is not None and entry.believed:
            taken = self.devices.check(memory.owner)
            cell: Cell = ["same", entry.digest]
            self.blobs.append(Blob(cell, lambda: (), False, None, lambda: entry.unchanged(taken)))
            return cell
        piece = self.devices.add(memory.owner)
        cell = [None]

        def settle() -> bool:
            data = piece.data()
            if size <= INLINE_BYTES:
                cell[0] = bytes(data)
                return True
            found = cell[0] = digest(data)
            track.saw(found)
            return entry is not None and entry.same(cell, found)

        self.blobs.append(Blob(cell, lambda: (piece.data(),), True, None, settle))
        return cell

    def _copy(self, memory: Memory, view: memoryview, cell: Cell, track: Track | None) -> Cell:
        """Copy it; where the digest is not known the writer finds it, and tells the track."""
        data = self.arena.copy(view)
        self._copies[memory.key] = _Copy(data, cell, track)
        self._store(cell, data, track)
        return cell


class NoContents:
    """For walks that want the graph's shape alone."""

    def container(self, _thing: object, _parts: Parts) -> object:
        """See `Contents`."""
        return None

    def opaque(self, _thing: object, _data: bytes) -> tuple[object, bool]:
        """See `Contents`."""
        return None, False
