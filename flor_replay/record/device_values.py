"""Logged values that still lie on a CUDA device: copied beside training, read by the journal's thread when they have come.

``loss.item()`` makes the training thread wait until the device has done all that was queued. Here the copy is queued behind the
step that makes the value, and what is logged is what the tensor held at that moment, whatever becomes of it later.
"""

from __future__ import annotations

import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flor_replay.values import Fields

_LARGEST_BYTES = 1 << 20
"""A larger tensor is copied at once: page-locked memory is scarce."""
_TOGETHER = 1024  # scalars of one type and one stream that come together


class Late:
    """A value on its way from a device."""

    __slots__ = ("_batch", "_encode", "_host")

    def __init__(self, host: Any, batch: _Batch, encode: Callable[[object], Fields]) -> None:
        self._host = host
        self._batch = batch
        self._encode = encode

    def fields(self) -> Fields:
        """The stored fields of the value, once it has come; of a text that says why where the device has failed."""
        try:
            self._batch.wait()
        except RuntimeError as error:
            first = str(error).partition("\n")[0]
            return self._encode(f"<a value on {self._batch.device} that could not be read: {first}>")
        return self._encode(self._host)


_lock = threading.Lock()  # between taking a value and waiting for it


class _Batch:
    """Values of one stream; one event for all that are read together."""

    __slots__ = ("_stream", "device", "host", "used", "waited")

    def __init__(self, stream: Any, host: Any) -> None:
        self._stream = stream
        self.device = stream.device
        self.host = host
        self.used = 0
        self.waited = 0  # how many of them are known to have come

    def wait(self) -> None:
        """Wait for all values that were taken by now."""
        torch: Any = sys.modules["torch"]
        if self.waited == self.used:
            return
        with torch.cuda.device(self.device):
            event = torch.cuda.Event()
            with _lock:
                used = self.used
                event.record(self._stream)
            event.synchronize()  # other threads run meanwhile
        self.waited = used


class DeviceValues:
    """Takes the values of tensors on devices. `encode` gives the stored fields of what has come."""

    def __init__(self, encode: Callable[[object], Fields]) -> None:
        self._encode = encode
        self._batches: dict[tuple[int, Any], _Batch] = {}

    def take(self, value: Any) -> Late | None:
        """The value of a CUDA tensor as it is now; None for what is read at once by others."""
        torch: Any = sys.modules.get("torch")
        if torch is None or not isinstance(value, torch.Tensor) or value.device.type != "cuda":
            return None
        if value.layout is not torch.strided or value.is_quantized or value.is_conj() or value.is_neg():
            return None
        if value.nbytes > _LARGEST_BYTES or torch.cuda.is_current_stream_capturing():
            return None
        stream = torch.cuda.current_stream(value.device)
        with torch.no_grad(), _lock:
            if value.dim():
                batch = _Batch(stream, torch.empty(value.shape, dtype=value.dtype, pin_memory=True))
                place = batch.host
            else:
                batch = self._batch(torch, stream, value.dtype)
                place = batch.host[batch.used]
            place.copy_(value.detach(), non_blocking=True)
            batch.used += 1
        return Late(place, batch, self._encode)

    def _batch(self, torch: Any, stream: Any, dtype: Any) -> _Batch:
        key = (stream.cuda_stream, dtype)
        batch = self._batches.get(key)
        if batch is None or batch.used == _TOGETHER or batch.device != stream.device:
            batch = self._batches[key] = _Batch(stream, torch.empty(_TOGETHER, dtype=dtype, pin_memory=True))
        return batch
