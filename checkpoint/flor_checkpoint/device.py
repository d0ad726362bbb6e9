"""Copies from CUDA devices that training does not wait for.

Everything here is queued on a side stream. Where the device has memory to spare, the state is gathered there first (at the
speed of its own memory) and goes on to the host while training runs; else training's stream, not its thread, waits until the
host has it. The writer waits for an event. Host memory is page-locked once and used again.

Memory that was the same at loop entry is not copied but fingerprinted where it lies; the writer compares.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from flor_checkpoint.arena import Arena
from flor_checkpoint.digest import digest_of_chunks
from flor_checkpoint.memory import address_of

_ALIGN = 64
_WORD = 8
_CHUNK_BYTES = 64 << 20
_RESERVED_BESIDE = 1 << 20
_SPARE_SHARE = 0.5
"""Of the device's free memory: so much may be used to gather the state."""


def on_device(storage: Any) -> bool:
    """Whether a piece of memory lies where only `DeviceCopies` reads it without making training wait."""
    device = getattr(storage, "device", None)
    return device is not None and getattr(device, "type", None) == "cuda"


def flat_view(storage: Any, dtype: Any) -> Any:
    """A torch storage as one tensor of that type (the bytes that do not fill an element are left out)."""
    torch: Any = sys.modules["torch"]
    return torch.empty(0, dtype=dtype, device=storage.device).set_(
        storage, 0, (storage.nbytes() // dtype.itemsize,), (1,)
    )


def device_digest(storage: Any) -> str:
    """The digest of a storage's bytes, read through a small part of the host's memory. Waits for the device."""
    torch: Any = sys.modules["torch"]
    flat = flat_view(storage, torch.uint8)
    return digest_of_chunks(memoryview(part.cpu().numpy()) for part in flat.split(_CHUNK_BYTES))


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


_STEP, _MIX = _signed(0x9E3779B97F4A7C15), (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))


def fingerprint(storage: Any) -> Any:
    """64 bits that tell whether a storage has changed, as a tensor on its device; nothing is waited for.

    The sum of its words, each mixed with its place as in SplitMix64 (Steele, Lea and Flood, 2014). It tells chance from
    change, not one file from another.
    """
    torch: Any = sys.modules["torch"]
    words, rest = flat_view(storage, torch.int64), storage.nbytes() % _WORD
    total = torch.zeros((), dtype=torch.int64, device=storage.device)
    per_chunk = _CHUNK_BYTES // _WORD
    for start in range(0, words.numel(), per_chunk):
        part = words[start : start + per_chunk]
        total += _mixed(torch, part, start).sum()
    if rest:
        tail = torch.zeros(_WORD, dtype=torch.uint8, device=storage.device)
        tail[:rest] = flat_view(storage, torch.uint8)[-rest:]
        total += _mixed(torch, tail.view(torch.int64), words.numel()).sum()
    return total


def _mixed(torch: Any, words: Any, start: int) -> Any:
    scratch = torch.arange(start + 1, start + 1 + words.numel(), dtype=torch.int64, device=words.device).mul_(_STEP)
    mixed = words.bitwise_xor(scratch)
    for shift, factor in ((30, _MIX[0]), (27, _MIX[1]), (31, 1)):
        torch.bitwise_right_shift(mixed, shift, out=scratch)
        mixed.bitwise_xor_(scratch)
        if factor != 1:
            mixed.mul_(factor)
    return mixed


class Piece:
    """A piece of device memory on its way to the host."""

    __slots__ = ("_batch", "_size", "_start")

    def __init__(self, batch: _Batch, start: int, size: int) -> None:
        self._batch = batch
        self._start = start
        self._size = size

    def data(self) -> memoryview:
        """Its bytes as they were at the capture, once they have come. Waits; not for the training thread."""
        self._batch.wait()
        return self._batch.place[self._start : self._start + self._size]


class Print:
    """A fingerprint on its way to the host."""

    __slots__ = ("_batch", "_index")

    def __init__(self, batch: _Batch, index: int) -> None:
        self._batch = batch
        self._index = index

    def value(self) -> int:
        """The fingerprint, once it has come. Waits; not for the training thread."""
        self._batch.wait()
        return int(self._batch.prints_host[self._index])


class _Batch:
    """What one checkpoint takes from one device."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.storages: list[Any] = []
        self.starts: list[int] = []
        self.size = 0
        self.place = memoryview(b"")
        self.checked: list[Any] = []
        self.prints_host: Any = None
        self._done: Any = None
        self._prints: Any = None

    def add(self, storage: Any) -> Piece:
        piece = Piece(self, self.size, storage.nbytes())
        self.storages.append(storage)
        self.starts.append(self.size)
        self.size += -(-storage.nbytes() // _ALIGN) * _ALIGN
        return piece

    def check(self, storage: Any) -> Print:
        self.checked.append(storage)
        return Print(self, len(self.checked) - 1)

    def wait(self) -> None:
        if self._done is not None:
            self._done.synchronize()

    def launch(self, torch: Any, side: Any, others: Sequence[Any], gather: bool) -> None:
        """Queue everything. What training's streams do from here on comes after the state has been read."""
        with torch.no_grad(), torch.cuda.device(self.device):
            current = torch.cuda.current_stream(self.device)
            streams = [current, *(stream for stream in others if stream.device == self.device)]
            for stream in streams:
                side.wait_stream(stream)
            with torch.cuda.stream(side):
                staging = self._gathered(torch) if gather and self.storages else None
                if staging is None and self.storages:
                    self._send(torch)
                if self.checked:
                    self._prints = torch.stack([fingerprint(storage) for storage in self.checked])
                read = torch.cuda.Event()
                read.record(side)
                for stream in streams:
                    stream.wait_event(read)
                if staging is not None:
                    torch.frombuffer(self.place, dtype=torch.uint8).copy_(staging, non_blocking=True)
                if self.checked:
                    self.prints_host = torch.empty(len(self.checked), dtype=torch.int64, pin_memory=True)
                    self.prints_host.copy_(self._prints, non_blocking=True)
                self._done = torch.cuda.Event()
                self._done.record(side)
        self.storages = self.checked = []

    def _gathered(self, torch: Any) -> Any:
        """The pieces in one tensor on the device; None where there is no memory for it."""
        try:
            staging = torch.empty(self.size, dtype=torch.uint8, device=self.device)
        except torch.cuda.OutOfMemoryError:
            return None
        ends = [*self.starts[1:], self.size]
        wholes = staging.view(torch.int64).split(
            [(end - start) // _WORD for start, end in zip(self.starts, ends, strict=True)]
        )
        targets, sources = [], []
        for storage, whole, start in zip(self.storages, wholes, self.starts, strict=True):
            words, rest = divmod(storage.nbytes(), _WORD)
            if words:
                targets.append(whole[:words])
                sources.append(flat_view(storage, torch.int64))
            if rest:
                first = start + words * _WORD
                staging[first : first + rest].copy_(flat_view(storage, torch.uint8)[-rest:])
        if targets:
            torch._foreach_copy_(targets, sources)
        return staging

    def _send(self, torch: Any) -> None:
        """The pieces to the host, each for itself."""
        target = torch.frombuffer(self.place, dtype=torch.uint8)
        for storage, start in zip(self.storages, self.starts, strict=True):
            part = target[start : start + storage.nbytes()]
            part.copy_(flat_view(storage, torch.uint8), non_blocking=True)


class DeviceCopies:
    """The device memory of one checkpoint after another: announced piece by piece, then sent off at once."""

    def __init__(self) -> None:
        self._arena = PinnedArena()
        self._sides: dict[Any, Any] = {}
        self._gathered: dict[Any, int] = {}
        self._batches: dict[Any, _Batch] = {}

    def begin(self, again: bool) -> None:
        """A checkpoint begins; `again`: what was taken for the one before is still needed."""
        self._batches = {}
        if again:
            self._arena.keep()
        else:
            self._arena.reset()

    def reserve(self, size: int) -> None:
        """Take host memory for a first checkpoint of about that size: between the pieces there is a little room."""
        if size:
            self._arena.reserve(size + size // 64 + _RESERVED_BESIDE)

    def add(self, storage: Any) -> Piece:
        """Take the bytes of `storage` as they are now."""
        return self._batch(storage.device).add(storage)

    def check(self, storage: Any) -> Print:
        """Take the fingerprint of `storage` as it is now."""
        return self._batch(storage.device).check(storage)

    def launch(self, things: Iterable[object]) -> None:
        """Send off what was announced. `things`: all that the state holds; streams among them are waited for, too.

        Raises NoRoom where the host has no memory for it.
        """
        if not self._batches:
            return
        torch: Any = sys.modules["torch"]
        streams = [thing for thing in things if type(thing) is torch.cuda.Stream]
        for batch in self._batches.values():
            if batch.size:
                batch.place = self._arena.take(batch.size)
        for device, batch in self._batches.items():
            if device not in self._sides:
                self._sides[device] = torch.cuda.Stream(device)
            batch.launch(torch, self._sides[device], streams, self._may_gather(torch, device, batch.size))

    def close(self) -> None:
        """The last checkpoint is written."""
        self._batches = {}
        self._arena.close()

    def _batch(self, device: Any) -> _Batch:
        if device not in self._batches:
            self._batches[device] = _Batch(device)
        return self._batches[device]

    def _may_gather(self, torch: Any, device: Any, size: int) -> bool:
        """Whether the device can spare so much. Torch keeps what training needed once, so free means never needed."""
        free, _ = torch.cuda.mem_get_info(device)
        held = self._gathered.get(device, 0)  # by the side stream; torch takes it back where training runs out
        if size > held and size > free * _SPARE_SHARE:
            return False
        self._gathered[device] = max(held, size)
        return True


class PinnedArena(Arena):
    """Memory that devices write to by themselves. Where it cannot be page-locked the copies are slower, and as right."""

    def _added(self, block: memoryview) -> None:
        torch: Any = sys.modules.get("torch")
        with contextlib.suppress(Exception):  # a driver that refuses
            torch.cuda.cudart().cudaHostRegister(address_of(block), len(block), 1)

    def _removed(self, block: memoryview) -> None:
        torch: Any = sys.modules.get("torch")
        with contextlib.suppress(Exception):
            torch.cuda.cudart().cudaHostUnregister(address_of(block))
