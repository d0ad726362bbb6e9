"""Reading a live log: its frames (see `flor_replay.store.batches`) as columns, for DuckDB."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from flor_replay.store import batches

Column = npt.NDArray[Any]


@dataclass
class Log:
    """The log records of one live log, by name and then in the order they were made.

    `depth`: loops around the deepest record. `columns`: seq, name, kind, shape (places in `names`, `kinds`, `shapes`),
    int_value, float_value (masked where there is none), ordinal, time, hindsight, and o1, i1, o2, i2, … (-1: no such loop).
    `texts`: the text of those rows that have one, with their places.
    """

    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    shapes: list[tuple[str, ...]] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    text_rows: Column = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def depth(self) -> int:
        return max((len(shape) for shape in self.shapes), default=0)


@dataclass
class Live:
    """What one live log holds."""

    log: Log
    loops: list[tuple[Any, ...]]  # rows of the columns `LOOP_ROW`
    durations: dict[str, Column]  # columns as in `Log`: shape, o1, i1, …; seconds, began
    duration_shapes: list[tuple[str, ...]]
    problems: list[str]  # what is damaged, in words


LOOP_ROW = (
    "seq", "event", "loops", "occurrences", "indices", "kind", "int_value", "float_value", "text_value", "iterations",
    "seconds", "ended_by",
)  # fmt: skip


def read(path: str) -> Live:
    """All of a live log that can be read. Raises OSError."""
    with open(path, "rb") as file:
        data = file.read()
    problems: list[str] = []
    logs: list[tuple[dict[str, Any], dict[str, Column]]] = []
    durations: list[tuple[dict[str, Any], dict[str, Column]]] = []
    loops: list[tuple[Any, ...]] = []
    for found in batches.scan(data):
        if isinstance(found, str):
            problems.append(found)
            continue
        head, raw = found
        if head["form"] == "log":
            logs.append((head, _columns(head, raw)))
        elif head["form"] == "durations":
            durations.append((head, _columns(head, raw)))
        elif head["form"] == "events":
            loops += [_loop_row(event) for event in head["events"]]
    shapes: dict[tuple[str, ...], int] = {}
    ended = _joined([_placed(head, columns, shapes) for head, columns in durations])
    return Live(_log(logs), loops, ended, list(shapes), problems)


def _columns(head: dict[str, Any], raw: memoryview) -> dict[str, Column]:
    found = {}
    at = 0
    for name, kind, items in head["columns"]:
        found[name] = np.frombuffer(raw, kind, items, at)
        at += found[name].nbytes
    return found


def _loop_row(event: list[Any]) -> tuple[Any, ...]:
    if event[0] == "value":
        _, names, places, kind, number, text = event
        whole, real = (None, number) if kind == "float" else (number, None)
        return (None, "value", names, places[::2], places[1::2], kind, whole, real, text, None, None, None)
    told, seq, names, places, kind, iterations, seconds, ended_by = event
    if told == "begin":
        iterations = seconds = ended_by = None
    return (
        seq, told, names, places[::2], places[1::2], kind, None, None, None, iterations, seconds, ended_by
    )  # fmt: skip


def _placed(head: dict[str, Any], columns: dict[str, Column], shapes: dict[tuple[str, ...], int]) -> dict[str, Column]:
    """The columns with the loop paths in place of entries. `shapes` is added to."""
    rows = head["rows"]
    entry = columns.pop("entry", None)
    index = columns.pop("index", None)
    own = [shapes.setdefault(tuple(names), len(shapes)) for names in head["shapes"]]
    depth = max(len(names) for names in head["shapes"])
    places = np.full((len(head["entries"]), 2 * depth), -1, np.int64)
    shape = np.empty(len(head["entries"]), np.int32)
    levels = np.empty(len(head["entries"]), np.int32)
    for row, (kind, *numbers) in enumerate(head["entries"]):
        shape[row], levels[row] = own[kind], (len(numbers) + 1) // 2
        places[row, : len(numbers)] = numbers
    at = np.zeros(rows, np.intp) if entry is None else entry.astype(np.intp)
    columns["shape"] = shape[at]
    for level in range(depth):
        columns[f"o{level + 1}"] = places[at, 2 * level].astype(np.int32)
        inner = places[at, 2 * level + 1]
        if index is not None:
            last = levels[at] == level + 1
            inner[last] = index[last]
        columns[f"i{level + 1}"] = inner
    return columns


def _joined(parts: Sequence[dict[str, Column]]) -> dict[str, Column]:
    """The parts' rows one after the other; a column that a part lacks is -1 there."""
    names = dict.fromkeys(name for part in parts for name in part)
    found = {}
    for name in names:
        kinds = [part[name].dtype for part in parts if name in part]
        rows = [part[name] if name in part else np.full(len(part["shape"]), -1, kinds[0]) for part in parts]
        found[name] = np.concatenate(rows)
    return found


def _log(frames: list[tuple[dict[str, Any], dict[str, Column]]]) -> Log:
    log = Log()
    names: dict[str, int] = {}
    kinds: dict[str, int] = {}
    shapes: dict[tuple[str, ...], int] = {}
    parts: list[dict[str, Column]] = []
    text_rows: list[Column] = []
    before = 0
    for head, columns in frames:
        rows = head["rows"]
        own = np.array([names.setdefault(name, len(names)) for name in head["names"]], np.int32)
        columns["name"] = own[columns["name"]] if "name" in columns else np.full(rows, own[0], np.int32)
        values = _values(head, columns, kinds, log.texts)
        if "texts" in values:
            text_rows.append(values.pop("texts") + before)
        columns |= values
        if "seq" not in columns:
            columns["seq"] = np.arange(head["first"], head["first"] + rows, dtype=np.int64)
        columns["time"] = np.full(rows, head["time"], np.float64)
        columns.setdefault("hindsight", np.zeros(rows, np.int8))
        columns.setdefault("ordinal", np.full(rows, -1, np.int64))
        parts.append(_placed(head, columns, shapes))
        before += rows
    log.names, log.kinds, log.shapes = list(names), list(kinds), list(shapes)
    if not parts:
        return log
    log.columns = _joined(parts)
    if text_rows:
        log.text_rows = np.concatenate(text_rows)
    _sort(log)
    _count(log)
    return log


def _values(
    head: dict[str, Any], columns: dict[str, Column], kinds: dict[str, int], texts: list[str]
) -> dict[str, Column]:
    """The columns kind, int_value, float_value, has_int, has_float; and the rows with text, whose text goes to `texts`."""
    rows = head["rows"]
    own = np.array([kinds.setdefault(kind, len(kinds)) for kind, _ in head["values"]], np.uint8)
    slots = np.array([ord(slot) for _, slot in head["values"]], np.uint8)
    code = columns.pop("value", None)
    floats, ints = columns.pop("floats", None), columns.pop("ints", None)
    lengths, text = columns.pop("text_bytes", None), columns.pop("text", None)
    at = np.zeros(rows, np.intp) if code is None else code.astype(np.intp)
    slot = slots[at]
    found: dict[str, Column] = {"kind": own[at], "has_int": slot == ord("i"), "has_float": slot == ord("f")}
    found["float_value"] = np.zeros(rows, np.float64)
    found["int_value"] = np.zeros(rows, np.int64)
    if floats is not None:
        found["float_value"][found["has_float"]] = floats
    if ints is not None:
        found["int_value"][found["has_int"]] = ints
    if lengths is not None:
        found["texts"] = np.flatnonzero(slot == ord("x"))
        whole = b"" if text is None else text.tobytes()
        start = 0
        for length in lengths.tolist():
            texts.append(whole[start : start + length].decode())
            start += length
    return found


def _sort(log: Log) -> None:
    """By name, then in the order they were made: a reader of some names reads a part of the file."""
    name = log.columns["name"]
    if len(log.names) == 1:
        return
    order = np.argsort(name.astype(np.uint16) if len(log.names) < 1 << 16 else name, kind="stable")
    log.columns = {key: column[order] for key, column in log.columns.items()}
    if len(log.text_rows):
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        moved = place[log.text_rows]
        back = np.argsort(moved, kind="stable")
        log.text_rows = moved[back]
        log.texts = [log.texts[at] for at in back.tolist()]


def _count(log: Log) -> None:
    """Ordinals: how many records of the name were made before in the same iteration, where no replay has said it."""
    columns = log.columns
    ordinal = columns["ordinal"]
    rows = len(ordinal)
    keys = [columns[key] for key in ("name", "shape", *(f"{k}{d + 1}" for d in range(log.depth) for k in "oi"))]
    same = np.ones(rows, bool)
    same[0] = False
    for key in keys:
        same[1:] &= key[1:] == key[:-1]
    order = None
    if _revisits(keys, same):
        order = np.lexsort((columns["seq"], *keys[::-1]))
        same[1:] = True
        for key in keys:
            key = key[order]
            same[1:] &= key[1:] == key[:-1]
    place = np.arange(rows)
    start = np.where(same, 0, place)
    counted = place - np.maximum.accumulate(start)
    if order is not None:
        there = np.empty_like(counted)
        there[order] = counted
        counted = there
    columns["ordinal"] = np.where(ordinal < 0, counted, ordinal).astype(np.int32)


def _revisits(keys: list[Column], same: Column) -> bool:
    """Whether an iteration may come again after another of the same name: paths that only ever grow do not."""
    grows = same.copy()
    undecided = ~same
    undecided[0] = False
    for key in keys:
        grows[1:] |= undecided[1:] & (key[1:] > key[:-1])
        undecided[1:] &= key[1:] == key[:-1]
    return not bool(grows[1:].all())


def json_of(shape: Sequence[str]) -> str:
    """Names of loops as the stored form has them."""
    return json.dumps(list(shape), ensure_ascii=False)
