"""Long texts and big containers of atoms: kept by digest, told unchanged by their elements' identity."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Sequence
from operator import is_
from typing import Any

from flor_checkpoint.plain import loads_many

_SLICE = 10_000

Parts = tuple[Any, ...]
"""A text alone, or the list of a list's items, or the lists of a dict's keys and values."""


def unchanged(before: Parts, now: Parts) -> bool:
    """Whether both hold the very same immutable things."""
    for old, new in zip(before, now, strict=True):
        if old is new:
            continue
        if type(old) is not list or len(old) != len(new) or not all(map(is_, old, new)):
            return False
    return True


def chunks_of(parts: Parts) -> Iterator[bytes]:
    """The bytes of a big thing; equal values give equal bytes in every process."""
    first = parts[0]
    if isinstance(first, str):
        yield first.encode("utf-8", "surrogatepass")
    elif isinstance(first, bytes):
        yield first
    else:
        for part in parts:
            yield pickle.dumps(len(part), 5)
            for start in range(0, len(part), _SLICE):
                yield _dumps(part[start : start + _SLICE])


def _dumps(items: Sequence[object]) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 5)
    pickler.fast = True  # no memo: which equal strings are one object must not show
    pickler.dump(items)
    return file.getvalue()


def parts_from(data: memoryview, kind: str) -> Any:
    """The text, list or dict whose `chunks_of` these are."""
    if kind == "str":
        return str(data, "utf-8", "surrogatepass")
    if kind == "bytes":
        return bytes(data)
    parts: list[list[object]] = []
    waiting = 0
    for loaded in loads_many(data):
        if waiting == 0:
            parts.append([])
            waiting = loaded
        else:
            parts[-1].extend(loaded)
            waiting -= len(loaded)
    if kind == "list":
        return parts[0]
    return dict(zip(parts[0], parts[1], strict=True))


def parts_of(thing: Any) -> Parts:
    """The parts of a live text, list or dict."""
    if isinstance(thing, dict):
        return list(thing), list(thing.values())
    return (thing,)
