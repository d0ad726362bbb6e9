"""The raw bytes under tensors and arrays, read and written where they lie."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

_new_view = ctypes.pythonapi.PyMemoryView_FromMemory
_new_view.restype = ctypes.py_object
_new_view.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)
_WRITABLE = 0x200

_FREE_BYTES = 16 << 20
"""Longer copies let other threads run meanwhile. Shorter ones do not: to get the interpreter lock back can take longer."""


class _Buffer(ctypes.Structure):
    """The head of Python's Py_buffer."""

    _fields_ = (("address", ctypes.c_void_p), ("rest", ctypes.c_byte * 248))


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int)
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.POINTER(_Buffer),)


def raw_view(address: int, nbytes: int) -> memoryview:
    """The bytes at an address. The caller keeps their owner alive."""
    if nbytes == 0:
        return memoryview(b"")
    view: memoryview = _new_view(address, nbytes, _WRITABLE)
    return view


def address_of(buffer: memoryview | bytes) -> int:
    """Where the bytes lie, read-only ones too. The caller keeps their owner alive."""
    held = _Buffer()
    _get_buffer(buffer, ctypes.byref(held), 0)
    try:
        return int(held.address or 0)
    finally:
        _release_buffer(ctypes.byref(held))


def copy_bytes(target: memoryview, source: memoryview | bytes) -> None:
    """Copy one stretch of memory over another one of its size. Raises ValueError where the sizes differ."""
    nbytes = len(target)
    if len(source) != nbytes:
        raise ValueError(f"{len(source)} bytes for a place of {nbytes}")
    if nbytes > _FREE_BYTES:
        ctypes.memmove(address_of(target), address_of(source), nbytes)
    elif nbytes:
        target[:] = source


_HUGE_BYTES = 2 << 20


def in_huge_pages(target: memoryview) -> None:
    """Say that memory which nobody has touched yet is better had in large pages: it comes five times as fast.

    Only an advice, of which a system may know nothing.
    """
    if _advise is not None and len(target) >= 2 * _HUGE_BYTES:
        start = -(-address_of(target) // _HUGE_BYTES) * _HUGE_BYTES
        stop = (address_of(target) + len(target)) // _HUGE_BYTES * _HUGE_BYTES
        _advise(start, stop - start, mmap.MADV_HUGEPAGE)


def _find_advise() -> Any:
    if sys.platform != "linux":
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return advise


_advise = _find_advise()


_SMALL_BYTES = 16 << 10  # sooner copied than its address is asked for


def same_bytes(first: memoryview, second: memoryview) -> bool:
    """Whether two stretches of memory hold the same bytes."""
    if len(first) != len(second):
        return False
    if _compare is None or len(first) <= _SMALL_BYTES:
        return bytes(first) == bytes(second)
    return bool(_compare(address_of(first), address_of(second), len(first)) == 0)


def _find_compare() -> Any:
    try:
        compare = ctypes.CDLL(None).memcmp
    except (OSError, TypeError, AttributeError):  # Windows keeps its C library elsewhere
        return None
    compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    return compare


_compare = _find_compare()


def storage_bytes(storage: Any) -> memoryview:
    """A torch storage's bytes: in place on the CPU, else a copy from the device."""
    nbytes = storage.nbytes()
    if storage.device.type == "cpu":
        return raw_view(storage.data_ptr(), nbytes)
    torch: Any = sys.modules["torch"]
    flat = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage, 0, (nbytes,), (1,))
    return memoryview(flat.cpu().numpy())


def fill_storage(storage: Any, content: memoryview | bytes) -> None:
    """Write a torch storage's bytes. Raises ValueError where there are not as many."""
    nbytes = storage.nbytes()
    if len(content) != nbytes:
        raise ValueError(f"{len(content)} bytes for a storage of {nbytes}")
    if nbytes == 0:
        return
    if storage.device.type == "cpu":
        copy_bytes(raw_view(storage.data_ptr(), nbytes), content)
        return
    torch: Any = sys.modules["torch"]
    flat = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage, 0, (nbytes,), (1,))
    # Read where it lies: torch is not told that the bytes may be read-only.
    flat.copy_(torch.frombuffer(raw_view(address_of(content), nbytes), dtype=torch.uint8))


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
        copy_bytes(raw_view(array_address(array), array.nbytes), content)


def new_dense_array(shape: Any, dtype: Any, order: list[int]) -> Any:
    """A new array of that shape whose axes lie in memory in that order."""
    numpy: Any = sys.modules["numpy"]
    if order == list(range(len(shape))):
        return numpy.empty(shape, dtype)
    if order == list(range(len(shape)))[::-1]:
        return numpy.empty(shape, dtype, order="F")
    stored = numpy.empty([shape[axis] for axis in order], dtype)
    return stored.transpose([order.index(axis) for axis in range(len(shape))])
