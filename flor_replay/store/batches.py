"""The form of the live log, and how it is written: batches of columns, each in a frame with its checksum.

    file   = "FLORLOG" and the version of this form, one byte; then frames
    frame  = mark (4 bytes), length of the payload and its crc32 (uint32, little-endian), payload
    payload = length of the head (uint32), head (JSON), the columns' bytes one after the other

The head has ``form``, ``columns`` ([name, numpy's dtype, items] each, in their order) and what is said once for all
rows. A frame stands alone: one that is lost takes only its own rows along. A torn last frame is one that was being
written. Where ``form`` is

``log``        ``rows`` log records. ``first``: the number of the first (from 1), the others follow, unless there is a column
               ``seq``. ``time``: unix seconds at which they were written down. ``names``, and a column ``name`` of places
               in it where there are several; ``entries`` and ``entry`` the same for the loop entries that the records were
               made in, ``index`` their iterations (none where all are outside of loops). ``values`` says what the column ``value``
               points to: [kind, slot], slot being ``f`` (column ``floats``), ``i`` (``ints``), ``x`` (``text_bytes``, the
               lengths in UTF-8; ``text``) or ``-``; the next item of that column is meant each time. Columns ``ordinal`` and ``hindsight``
               where a replay said them; else ordinals are counted when the log is read.
``durations``  iterations of main loops: ``entries``, ``entry``, ``index``, ``seconds``, ``began`` (seconds after the run's start)
``events``     ``events``: ["begin" or "end", seq, names, places, kind, iterations, seconds, ended_by] or
               ["value", names, places, kind, number, text]

A loop entry is [place in ``shapes``, occurrence and index of each loop around it …, occurrence]: ``shapes`` are the names of
nested loops, outermost first. Light: the standard library only, most of it in calls that run in C.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from array import array

from flor_replay.values import clean_name, encode_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from flor_replay.values import Fields

MAGIC = b"FLORLOG\x02"
MARK = b"\xf1\x02Lg"
HEAD = struct.Struct("<4sII")
SIZE = struct.Struct("<I")
_ORDER = "<" if sys.byteorder == "little" else ">"
_DTYPE = {"d": "f8", "q": "i8", "B": "u1", "H": "u2", "I": "u4"}

_PLAIN = frozenset((int, bool, str, type(None)))

Entry = tuple["tuple[str, ...]", "tuple[int, ...]"]  # names of the loops; occurrence, index, …, occurrence


def frame(head: dict[str, Any], columns: Sequence[tuple[str, array[Any] | bytes]]) -> bytes:
    """One frame."""
    described = []
    parts = [b""]
    for name, column in columns:
        if isinstance(column, bytes):
            described.append([name, "|u1", len(column)])
            parts.append(column)
        else:
            described.append([name, f"{_ORDER}{_DTYPE[column.typecode]}", len(column)])
            parts.append(column.tobytes())
    head["columns"] = described
    text = json.dumps(head, separators=(",", ":")).encode()
    parts[0] = SIZE.pack(len(text)) + text
    payload = b"".join(parts)
    return HEAD.pack(MARK, len(payload), zlib.crc32(payload)) + payload


def log(
    names: list[str],
    values: list[Any],
    entries: list[Any],
    indices: list[int],
    *,
    describe: Callable[[Any], Entry],
    first: int,
    moment: float,
    seqs: list[int] | None = None,
    ordinals: list[int] | None = None,
    hindsight: list[int] | None = None,
) -> bytes:
    """A frame of log records. A value is a float, int, bool, str or None as it is, stored fields already, or what has them
    when its method ``fields`` is called."""
    head: dict[str, Any] = {"form": "log", "rows": len(names), "first": first, "time": moment}
    columns: list[tuple[str, array[Any] | bytes]] = []
    found, codes = _codes(names)
    head["names"] = [clean_name(name) for name in found]
    _add(columns, "name", codes)
    _entries(head, columns, entries, describe)
    if head["shapes"] != [[]]:
        columns.append(("index", array("q", indices)))
    _values(head, columns, values)
    if seqs is not None:
        columns.append(("seq", array("q", seqs)))
    if ordinals is not None:
        columns.append(("ordinal", array("q", ordinals)))
    if hindsight is not None:
        columns.append(("hindsight", bytes(hindsight)))
    return frame(head, columns)


def durations(
    entries: list[Any], indices: list[int], seconds: list[float], began: list[float], describe: Callable[[Any], Entry]
) -> bytes:
    """A frame of the durations of iterations."""
    head: dict[str, Any] = {"form": "durations", "rows": len(indices)}
    columns: list[tuple[str, array[Any] | bytes]] = []
    _entries(head, columns, entries, describe)
    columns += [("index", array("q", indices)), ("seconds", array("d", seconds)), ("began", array("d", began))]
    return frame(head, columns)


def events(found: list[Any]) -> bytes:
    """A frame of what else loops did."""
    return frame({"form": "events", "rows": len(found), "events": found}, [])


def _codes(items: list[Any]) -> tuple[list[Any], array[Any] | None]:
    """The different items, and the place among them of each item; None where there is one."""
    if items.count(items[0]) == len(items):
        return items[:1], None
    found = list(dict.fromkeys(items))
    places = dict(zip(found, range(len(found)), strict=True))
    return found, array("H" if len(found) < 1 << 16 else "I", map(places.__getitem__, items))


def _add(columns: list[tuple[str, array[Any] | bytes]], name: str, column: array[Any] | None) -> None:
    if column is not None:
        columns.append((name, column))


def _entries(
    head: dict[str, Any],
    columns: list[tuple[str, array[Any] | bytes]],
    entries: list[Any],
    describe: Callable[[Any], Entry],
) -> None:
    found, codes = _codes(entries)
    shapes: dict[tuple[str, ...], int] = {}
    head["entries"] = [(shapes.setdefault(names, len(shapes)), *places) for names, places in map(describe, found)]
    head["shapes"] = list(shapes)
    _add(columns, "entry", codes)


def _values(head: dict[str, Any], columns: list[tuple[str, array[Any] | bytes]], values: list[Any]) -> None:
    kinds = set(map(type, values))
    if kinds == {float}:
        head["values"] = [("float", "f")]
        columns.append(("floats", array("d", values)))
        return
    places: dict[tuple[str, str], int] = {}
    codes, floats, ints, texts = bytearray(), array("d"), array("q"), []
    for value in values:
        kind, number, text = _fields(value)
        if text is not None:
            slot = "x"
            texts.append(text.encode())
        elif number is None:
            slot = "-"
        elif kind == "float":
            slot = "f"
            floats.append(number)
        else:
            slot = "i"
            ints.append(number)  # type: ignore[arg-type]
        codes.append(places.setdefault((kind, slot), len(places)))
    head["values"] = list(places)
    if len(places) > 1:
        columns.append(("value", bytes(codes)))
    if floats:
        columns.append(("floats", floats))
    if ints:
        columns.append(("ints", ints))
    if texts:
        columns += [("text_bytes", array("I", map(len, texts))), ("text", b"".join(texts))]


def _fields(value: Any) -> Fields:
    if type(value) is float:
        return "float", value, None  # nan and inf are numbers here, which JSON could not say
    kind = type(value)
    fields: Fields = value if kind is tuple else encode_plain(value) if kind in _PLAIN else value.fields()
    if fields[0] == "float" and fields[1] is None:
        return "float", float(fields[2] or "nan"), None
    return fields


class Torn(Exception):  # noqa: N818
    """The bytes are no whole frame."""


def _read(data: memoryview, at: int) -> tuple[dict[str, Any], memoryview, int]:
    """The frame at `at`: its head, its columns' bytes, and where the next one begins. Raises Torn."""
    if at + HEAD.size > len(data):
        raise Torn
    mark, length, checksum = HEAD.unpack_from(data, at)
    end = at + HEAD.size + length
    if mark != MARK or end > len(data) or length < SIZE.size:
        raise Torn
    payload = data[at + HEAD.size : end]
    if zlib.crc32(payload) != checksum:
        raise Torn
    (size,) = SIZE.unpack_from(payload)
    head = json.loads(bytes(payload[SIZE.size : SIZE.size + size]))
    return head, payload[SIZE.size + size :], end


def scan(data: bytes) -> Iterator[tuple[dict[str, Any], memoryview] | str]:
    """Each frame's head and columns; where bytes are damaged, a sentence that says so. A torn end is no damage."""
    view = memoryview(data)
    at = len(MAGIC)
    if data[:at] != MAGIC:
        if MAGIC.startswith(data[:at]):
            return  # it was just being made
        yield "its beginning is not that of a log"
        at = 0
    while at < len(data):
        try:
            head, columns, end = _read(view, at)
        except Torn:
            following = _next(view, data, at + 1)
            if following is None:
                if not _unfinished(data, at):
                    yield f"its last {len(data) - at} bytes are damaged"
                return
            yield f"{following - at} bytes from byte {at} on are damaged"
            at = following
            continue
        yield head, columns
        at = end


def _unfinished(data: bytes, at: int) -> bool:
    """Whether what begins at `at` is the beginning of a frame that goes on after the end."""
    if len(data) - at < HEAD.size:
        return data.startswith(MARK, at) or MARK.startswith(data[at:])
    mark, length, _ = HEAD.unpack_from(data, at)
    return bool(mark == MARK and at + HEAD.size + length > len(data))


def _next(view: memoryview, data: bytes, start: int) -> int | None:
    """Where the next whole frame begins."""
    at = data.find(MARK, start)
    while at >= 0:
        try:
            _read(view, at)
        except Torn:
            at = data.find(MARK, at + 1)
            continue
        return at
    return None
