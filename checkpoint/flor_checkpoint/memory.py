"""The raw bytes under tensors and arrays, read and written where they lie."""

from __future__ import annotations

import ctypes
import sys
from typing import Any


def raw_view(address: int, nbytes: int) -> memoryview:
    """The bytes at an address. The caller keeps their owner alive."""
    if nbytes == 0:
        return memoryview(b"")
    return memoryview((ctypes.c_char * nbytes).from_address(address)).cast("B")


def storage_bytes(storage: Any) -> memoryview:
    """A torch storage's bytes: in place on the CPU, else a copy from the device."""
    nbytes = storage.nbytes()
    if storage.device.type == "cpu":
        return raw_view(storage.data_ptr(), nbytes)
    torch: Any = sys.modules["torch"]
    flat = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage, 0, (nbytes,), (1,))
    return memoryview(flat.cpu().numpy())


def fill_storage(storage: Any, content: memoryview | bytes) -> None:
    """Write a torch storage's bytes."""
    nbytes = storage.nbytes()
    if nbytes == 0:
        return
    if storage.device.type == "cpu":
        raw_view(storage.data_ptr(), nbytes)[:] = content
        return
    torch: Any = sys.modules["torch"]
    flat = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage, 0, (nbytes,), (1,))
    flat.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))


def owner_of(array: Any) -> Any:
    """The array at the end of the chain of views."""
    numpy: Any = sys.modules["numpy"]
    owner = array
    while isinstance(owner.base, numpy.ndarray):
        owner = owner.base
    return owner


def is_dense(array: Any) -> bool:
    """Whether the array's elements fill one stretch of memory, in whatever order of its axes."""
    if array.flags.forc:
        return True
    return bool(array.transpose(memory_order(array)).flags.c_contiguous)


def memory_order(array: Any) -> list[int]:
    """The axes from the slowest to the fastest in memory."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def array_address(array: Any) -> int:
    """Where the array's first element lies."""
    return int(array.__array_interface__["data"][0])


def array_bytes(array: Any) -> memoryview:
    """A dense array's bytes, in memory order."""
    return raw_view(array_address(array), array.nbytes)


def fill_array(array: Any, content: memoryview | bytes) -> None:
    """Write a dense array's bytes; it must be writeable or own its memory."""
    if array.nbytes:
        raw_view(array_address(array), array.nbytes)[:] = content


def new_dense_array(shape: Any, dtype: Any, order: list[int]) -> Any:
    """A new array of that shape whose axes lie in memory in that order."""
    numpy: Any = sys.modules["numpy"]
    if order == list(range(len(shape))):
        return numpy.empty(shape, dtype)
    if order == list(range(len(shape)))[::-1]:
        return numpy.empty(shape, dtype, order="F")
    stored = numpy.empty([shape[axis] for axis in order], dtype)
    return stored.transpose([order.index(axis) for axis in range(len(shape))])
