"""Pickles of plain built-in data, read back by an unpickler that can make nothing else."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Iterator, Mapping
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


_SLICE = 1000


def dumps_graph(graph: Mapping[str, Any]) -> Iterator[bytes]:
    """Pickles of a graph: first all of it but the lists of its nodes, then these piece after piece.

    One pickle holds the interpreter lock from its beginning to its end, and a training thread would wait for it.
    """
    nodes, origins = graph["nodes"], graph["origins"]
    yield dumps({**graph, "nodes": [], "origins": []})
    for start in range(0, len(nodes), _SLICE):
        yield dumps((nodes[start : start + _SLICE], origins[start : start + _SLICE]))
        time.sleep(0)


def loads_graph(data: bytes) -> dict[str, Any]:
    """The graph whose `dumps_graph` these are, one after another."""
    pieces = loads_many(data)
    graph: dict[str, Any] = next(pieces)
    for nodes, origins in pieces:
        graph["nodes"].extend(nodes)
        graph["origins"].extend(origins)
    return graph


def loads(data: bytes | memoryview) -> Any:
    """Unpickle plain data."""
    return _PlainUnpickler(io.BytesIO(data)).load()


def loads_many(data: bytes | memoryview) -> Iterator[Any]:
    """Unpickle plain data that was written piece after piece."""
    file = io.BytesIO(data)
    while file.tell() < len(data):
        yield _PlainUnpickler(file).load()
