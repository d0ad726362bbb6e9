"""Pickles of plain built-in data, read back by an unpickler that can make nothing else."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any

_ALLOWED: dict[tuple[str, str], object] = {
    ("builtins", "complex"): complex,
    ("builtins", "Ellipsis"): ...,
    ("builtins", "NotImplemented"): NotImplemented,
    ("builtins", "bytearray"): bytearray,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not plain data") from None

    def persistent_load(self, pid: object) -> Any:
        raise pickle.UnpicklingError(f"a reference to {pid!r} is not plain data")


def dumps(data: object) -> bytes:
    """Pickle plain data."""
    return pickle.dumps(data, 5)


def loads(data: bytes | memoryview) -> Any:
    """Unpickle plain data."""
    return _PlainUnpickler(io.BytesIO(data)).load()


def loads_many(data: bytes | memoryview) -> Iterator[Any]:
    """Unpickle plain data that was written piece after piece."""
    file = io.BytesIO(data)
    while file.tell() < len(data):
        yield _PlainUnpickler(file).load()
