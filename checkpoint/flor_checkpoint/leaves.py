"""Immutable values without identity: kept by value, inside their holder.

An encoded value is one of
 - an atom (None, bool, int, float, complex, str, bytes, Ellipsis, NotImplemented) as itself;
 - ``(node number,)``: something with an identity, described in the graph's list of nodes;
 - ``("t", tuple)``: a tuple of atoms;
 - ``("e", tag, payload)``: a leaf, written by this module;
 - ``("empty", "dict" | "odict")``: an empty dict of an nn.Module.
"""

from __future__ import annotations

import datetime
import enum
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

from flor_checkpoint.project import find, spec_of

SMALL_ATOMS: frozenset[type] = frozenset({type(None), bool, int, float, complex, type(Ellipsis), type(NotImplemented)})
TEXT_ATOMS: frozenset[type] = frozenset({str, bytes})
ATOMS = SMALL_ATOMS | TEXT_ATOMS

Encoder = Callable[[Any], object]

_UNFIT = object()


def _enum(value: enum.Enum) -> object:
    spec = spec_of(type(value))
    plain = value._value_
    if spec is None or (type(plain) not in ATOMS and not isinstance(value._name_, str)):
        return _UNFIT
    return spec, value._name_, plain if type(plain) in ATOMS else None


def _zone(value: Any) -> object:
    if value is None:
        return None
    if type(value) is datetime.timezone:
        delta = value.utcoffset(None)
        return delta.days, delta.seconds, delta.microseconds
    key = getattr(value, "key", None)
    return key if isinstance(key, str) else _UNFIT


def _moment(value: Any) -> object:
    zone = _zone(value.tzinfo)
    parts = value.__reduce_ex__(4)[1][0]
    return _UNFIT if zone is _UNFIT else (parts, zone)


def _slice(value: slice) -> object:
    parts = (value.start, value.stop, value.step)
    return parts if all(type(part) in ATOMS for part in parts) else _UNFIT


def _numpy_scalar(value: Any) -> object:
    if value.dtype.kind in "OVT":
        return _UNFIT
    return value.dtype.str, value.tobytes()


def _numpy_dtype(value: Any) -> object:
    numpy: Any = sys.modules["numpy"]
    return _UNFIT if value.hasobject else repr_of_dtype(numpy.lib.format.dtype_to_descr(value))


def repr_of_dtype(descr: object) -> object:
    """A dtype description with its lists as tuples, so that it can be hashed."""
    if isinstance(descr, list):
        return ("list", *(repr_of_dtype(part) for part in descr))
    if isinstance(descr, tuple):
        return ("tuple", *(repr_of_dtype(part) for part in descr))
    return descr


def dtype_of_repr(written: object) -> Any:
    """The inverse of `repr_of_dtype`, as a numpy dtype."""
    numpy: Any = sys.modules["numpy"]
    return numpy.lib.format.descr_to_dtype(_descr(written))


def _descr(written: object) -> object:
    if isinstance(written, tuple) and written:
        parts = [_descr(part) for part in written[1:]]
        return parts if written[0] == "list" else tuple(parts)
    return written


_EXACT: dict[type, tuple[str, Encoder]] = {
    datetime.date: ("date", lambda v: v.isoformat()),
    datetime.datetime: ("datetime", _moment),
    datetime.time: ("time", _moment),
    datetime.timedelta: ("timedelta", lambda v: (v.days, v.seconds, v.microseconds)),
    datetime.timezone: ("timezone", _zone),
    range: ("range", lambda v: (v.start, v.stop, v.step)),
    slice: ("slice", _slice),
    re.Pattern: ("pattern", lambda v: (v.pattern, v.flags)),
}

# The same of modules that a script need not have imported: by the type's name.
_NAMED: dict[tuple[str, str], tuple[str, Encoder]] = {
    ("decimal", "Decimal"): ("decimal", str),
    ("fractions", "Fraction"): ("fraction", lambda v: (v.numerator, v.denominator)),
    ("uuid", "UUID"): ("uuid", lambda v: v.int),
}


def leaf_encoder(cls: type) -> tuple[str, Encoder] | None:
    """How values of that very type are written, or None if they are no leaves."""
    exact = _EXACT.get(cls)
    if exact is not None:
        return exact
    named = _NAMED.get((cls.__module__, cls.__qualname__))
    if named is not None and getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls:
        return named
    if issubclass(cls, enum.Enum):
        return "enum", _enum
    if issubclass(cls, pathlib.PurePath) and cls.__module__.split(".")[0] == "pathlib":
        return "path", lambda v: (type(v).__name__, str(v))
    torch = sys.modules.get("torch")
    if cls.__module__ == "torch" and torch is not None and cls.__name__ in _TORCH:
        return f"torch.{cls.__name__}", tuple if cls.__name__ == "Size" else str
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "generic"):
        if issubclass(cls, numpy.generic) and cls.__module__ == "numpy":
            return "numpy.scalar", _numpy_scalar
        if issubclass(cls, numpy.dtype):
            return "numpy.dtype", _numpy_dtype
    return None


_TORCH = frozenset({"dtype", "device", "layout", "memory_format", "Size"})


def encode_leaf(encoder: tuple[str, Encoder], value: object) -> tuple[str, str, object] | None:
    """The written form of a leaf, or None if this one cannot be written by value."""
    tag, encode = encoder
    payload = encode(value)
    return None if payload is _UNFIT else ("e", tag, payload)


def _decode_zone(written: Any) -> datetime.tzinfo | None:
    if written is None:
        return None
    if isinstance(written, str):
        import zoneinfo

        return zoneinfo.ZoneInfo(written)
    days, seconds, micros = written
    return datetime.timezone(datetime.timedelta(days, seconds, micros))


def _decode_moment(cls: Any, payload: Any) -> object:
    parts, zone = payload
    return cls(parts) if zone is None else cls(parts, _decode_zone(zone))


def _decode_enum(payload: Any) -> object:
    spec, name, plain = payload
    cls: Any = find(spec, load=False)
    if cls is None:
        raise LookupError(f"no enum {spec}")
    return cls[name] if isinstance(name, str) and name in cls.__members__ else cls(plain)


def _decode_scalar(payload: Any) -> object:
    numpy: Any = sys.modules["numpy"]
    return numpy.frombuffer(payload[1], dtype=payload[0])[0]


def _decode_decimal(payload: Any) -> object:
    from decimal import Decimal

    return Decimal(payload)


def _decode_fraction(payload: Any) -> object:
    from fractions import Fraction

    return Fraction(*payload)


def _decode_uuid(payload: Any) -> object:
    from uuid import UUID

    return UUID(int=payload)


def _decode_path(payload: Any) -> object:
    cls: Any = getattr(pathlib, payload[0])
    return cls(payload[1])


_DECODE: dict[str, Callable[[Any], object]] = {
    "date": datetime.date.fromisoformat,
    "datetime": lambda p: _decode_moment(datetime.datetime, p),
    "time": lambda p: _decode_moment(datetime.time, p),
    "timedelta": lambda p: datetime.timedelta(*p),
    "timezone": _decode_zone,
    "decimal": _decode_decimal,
    "fraction": _decode_fraction,
    "uuid": _decode_uuid,
    "range": lambda p: range(*p),
    "slice": lambda p: slice(*p),
    "pattern": lambda p: re.compile(*p),
    "enum": _decode_enum,
    "path": _decode_path,
    "numpy.scalar": _decode_scalar,
    "numpy.dtype": dtype_of_repr,
}


def decode_leaf(tag: str, payload: Any) -> object:
    """The value of a written leaf."""
    if tag.startswith("torch."):
        torch: Any = sys.modules["torch"]
        name = tag[6:]
        if name in ("dtype", "layout", "memory_format"):
            return getattr(torch, payload.removeprefix("torch."))
        return getattr(torch, name)(payload)
    return _DECODE[tag](payload)
