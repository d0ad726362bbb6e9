"""The records that a frame is made of, read as whole columns: only the runs, the names and the fields that are needed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from flor_replay.store import columns, records
from flor_replay.store.paths import Ints, Level, Paths, as_slice
from flor_replay.store.pivot import Shape
from flor_replay.store.records import Tables
from flor_replay.store.runs import Run
from flor_replay.store.schema import quote

if TYPE_CHECKING:
    import duckdb

_number = itertools.count()
_UNSIGNED = ((8, "UTINYINT"), (16, "USMALLINT"), (32, "UINTEGER"), (63, "BIGINT"))
_MANY = 200_000  # records of a name
_PLACE = 1 << 40  # more records than a run has


@dataclass
class Batch:
    """Columns of some records, which lie by their names. Columns that say the same of all are left out.

    They are as narrow as what they hold: a frame of millions of rows must not need several times its own memory.
    """

    rows: int
    columns: dict[str, Ints]
    shapes: list[Shape]
    kinds: list[str]
    depth: int
    counts: Sequence[int] = ()  # by name: how many of the records are of it

    def get(self, name: str, default: int = 0) -> Ints:
        found = self.columns.get(name)
        return np.broadcast_to(np.int64(default), self.rows) if found is None else found

    def names(self) -> Ints:
        """Of each record the place of its name."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


@dataclass
class Known:
    """The values of the iterations of one loop: their paths, in order, and their places among all such values."""

    keys: Ints
    numbers: Ints


@dataclass
class Gathered:
    """Records, by their numbers."""

    paths: Paths
    cells: dict[tuple[int, Shape], Ints]
    ordinal: Ints | None  # None where all are 0
    rank: Ints | None  # the replay that a record is from, -1 for the run itself; None where all are
    shapes: list[Shape]  # in the order in which they first come
    index: list[Ints]  # by level: the iteration
    loop_values: dict[Shape, Known]
    _batch: Batch
    _files: Sequence[str]
    _values: Batch | None
    _of_name: dict[int, Ints] = field(default_factory=dict)

    def names_are_placed(self) -> None:
        """Let go of what only the rows and the names' columns are made of."""
        self.paths.keys = np.empty(0, np.int64)
        self.cells.clear()
        self._of_name.clear()

    def of_name(self, name: int) -> Ints:
        """The numbers of a name's records, rising."""
        if not self._of_name:
            parts: dict[int, list[Ints]] = {}
            for (of, _), numbers in self.cells.items():
                parts.setdefault(of, []).append(numbers)
            for of, several in parts.items():
                self._of_name[of] = several[0] if len(several) == 1 else np.sort(np.concatenate(several))
        return self._of_name.get(name, np.zeros(0, np.int64))

    def values(self, name: int) -> pd.Series:
        """The values of a name's records."""
        return _decoded(self._batch, as_slice(self.of_name(name)), self._files)

    def within(self, name: int, numbers: Ints) -> Ints:
        """The numbers of records as places among those of their name; -1 stays."""
        own = self.of_name(name)
        if len(own) == self._batch.rows:
            return numbers
        if len(own) and own[-1] - own[0] == len(own) - 1:
            return numbers if own[0] == 0 else np.where(numbers < 0, numbers, numbers - own[0])
        local = np.full(self._batch.rows + 1, -1, numbers.dtype)  # the last is for -1
        local[own] = np.arange(len(own))
        return local[numbers]

    def loop_column(self, numbers: Ints) -> pd.Series:
        """The values of iterations, by their places among all; nothing for -1."""
        assert self._values is not None
        used = np.unique(numbers[numbers >= 0])
        local = np.where(numbers < 0, -1, np.searchsorted(used, numbers))
        return columns.placed(_decoded(self._values, used, self._files), local)


def _decoded(batch: Batch, numbers: Ints | slice, files: Sequence[str]) -> pd.Series:
    def of(name: str) -> Ints | None:
        found = batch.columns.get(name)
        return None if found is None else found[numbers]

    whole, real, text = of("int_value"), of("float_value"), of("text")
    if text is None and batch.kinds == ["float"]:
        return pd.Series(real, copy=False)
    kind = batch.get("kind")[numbers]
    places: Sequence[str] = () if text is None else _Files(files, batch.get("source")[numbers])
    zeros = np.broadcast_to(np.int64(0), len(kind))
    return columns.decoded(
        batch.kinds, kind, zeros if whole is None else whole, zeros if real is None else real, text, places
    )


class _Files(Sequence[str]):
    """For each record the folder of its run's files."""

    def __init__(self, folders: Sequence[str], place: Ints) -> None:
        self._folders = folders
        self._place = place

    def __getitem__(self, at: Any) -> Any:
        return self._folders[int(self._place[at])]

    def __len__(self) -> int:
        return len(self._place)


def gather(
    connection: duckdb.DuckDBPyConnection,
    wanted: Sequence[Run],
    recorded: Sequence[Run],
    replays: Sequence[Run],
    names: Sequence[str],
) -> Gathered | None:
    """The records of `names`; None where there are none.

    Recorded values of the runs `wanted`, which are `recorded` or none, and backfilled ones of `replays`; runs are told apart by
    their places in `recorded`.
    """
    own = _read(connection, wanted, names, replayed=False)
    filled = _read(connection, replays, names, replayed=True)
    if own is None and filled is None:
        return None
    rank: Ints | None = None
    if own is not None and filled is None:
        batch = own
        if "text" in batch.columns:
            batch.columns["source"] = batch.get("place")
    else:
        assert filled is not None
        batch, rank = _both(own, filled, recorded, replays)
    files = [run.folder.files for run in (*recorded, *replays)]
    known = _loop_values(connection, recorded, batch.shapes, batch.depth)
    paths = _paths(batch, known)
    batch.columns.pop("place", None)
    whole = paths.keys
    if known is not None:
        paths.keys = whole[: batch.rows]
    kept, ordinal = _counted(batch, paths.keys, rank)
    cells = _cells(batch, kept)
    loop_values = _by_prefix(known, whole[batch.rows :]) if known is not None else {}
    index = [batch.get(f"i{d + 1}") for d in range(batch.depth)]
    return Gathered(paths, cells, ordinal, rank, batch.shapes, index, loop_values, batch, files, known)


def _read(
    connection: duckdb.DuckDBPyConnection, runs: Sequence[Run], names: Sequence[str], *, replayed: bool
) -> Batch | None:
    if not runs:
        return None
    source, levels = Tables(connection, runs).log()
    literals = ", ".join(map(quote, names))
    where = f"name in ({literals})" + (" and hindsight > 0" if replayed else "")
    asked = ", ".join(f"coalesce(max(o{d}), 0), coalesce(min(i{d}), 0), coalesce(max(i{d}), 0)" for d in _upto(levels))
    summary = records.fetch(
        connection,
        "select name, kind, loops, count(*), coalesce(max(ordinal), 0), count(text_value), "
        f"min(place::BIGINT * {_PLACE} + seq){', ' if asked else ''}{asked} from ({source}) where {where} "
        "group by name, kind, loops",
    )
    if not summary:
        return None
    place_of = {name: at for at, name in enumerate(names)}
    summary.sort(key=lambda row: (place_of[str(row[0])], row[6]))
    counts = [0] * len(names)
    for name, _, _, count, *_ in summary:
        counts[place_of[str(name)]] += int(count)  # type: ignore[call-overload]
    said = list(dict.fromkeys(str(row[2]) for row in summary))
    kinds = list(dict.fromkeys(str(row[1]) for row in summary))
    shapes = [tuple(json.loads(text)) for text in said]
    depth = max(len(shape) for shape in shapes)
    wanted = [f"place::{_narrow(0, len(runs))} as place"] if len(runs) > 1 else []
    for column, labels in (("loops", said), ("kind", kinds)):
        if len(labels) > 1:
            wanted.append(_code(connection, column, labels))
    for d in _upto(depth):
        occurrence, low, high = ([int(row[4 + 3 * d + of]) for row in summary] for of in range(3))  # type: ignore[call-overload]
        if any(occurrence):
            wanted.append(f"coalesce(o{d}, 0)::{_narrow(0, max(occurrence))} as o{d}")
        wanted.append(f"coalesce(i{d}, 0)::{_narrow(min(low), max(high))} as i{d}")
    if any(row[4] for row in summary):
        wanted.append("ordinal")
    if {"int", "bool"} & set(kinds):
        wanted.append("coalesce(int_value, 0) as int_value")
    if "float" in kinds:
        wanted.append("coalesce(float_value, 'nan'::DOUBLE) as float_value")
    if any(row[5] for row in summary):
        wanted.append("text_value as text")
    if replayed:
        wanted += ["hindsight", "seq"]
    arrays = _columns(connection, source, wanted, names, counts, "hindsight > 0" if replayed else "true")
    if "loops" in arrays:
        arrays["shape"] = arrays.pop("loops")
    whole, distinct = _distinct(shapes)
    if len(distinct) < len(shapes):  # one shape, said in two ways by two forms
        arrays["shape"] = whole[arrays["shape"]]
    return Batch(sum(counts), arrays, distinct, kinds, depth, counts)


def _upto(depth: int) -> range:
    return range(1, depth + 1)


def _narrow(low: int, high: int) -> str:
    """The smallest of DuckDB's types for whole numbers that holds these."""
    if low < 0:
        return "BIGINT"
    return next(kind for bits, kind in _UNSIGNED if high < 1 << bits)


def _code(connection: duckdb.DuckDBPyConnection, column: str, labels: Sequence[str]) -> str:
    kind = f"{column}_{next(_number)}"
    connection.execute(f"create temp type {kind} as enum ({', '.join(map(quote, labels))})")
    return f"enum_code({column}::{kind}) as {column}"


def _columns(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    wanted: Sequence[str],
    names: Sequence[str],
    counts: Sequence[int],
    where: str,
) -> dict[str, Ints]:
    """The columns of the records of `names`, by name; of many records a name at a time: DuckDB holds an answer twice."""
    there = [name for name, count in zip(names, counts, strict=True) if count]
    rows = sum(counts)
    if len(there) == 1 or rows < _MANY * len(there):
        listed = ", ".join(map(quote, there))
        code = [_code(connection, "name", there)] if len(there) > 1 else []
        chosen = [*wanted, *code] or ["0::TINYINT as nothing"]
        found = connection.execute(f"select {', '.join(chosen)} from ({source}) where name in ({listed}) and {where}")
        columns = {name: _unmasked(column) for name, column in found.fetchnumpy().items()}
        if code:
            of = columns.pop("name")
            if (of[1:] < of[:-1]).any():
                order = np.argsort(of, kind="stable")
                columns = {name: column[order] for name, column in columns.items()}
        return columns
    columns = {}
    at = 0
    for name, count in zip(names, counts, strict=True):
        if not count or not wanted:
            continue
        found = connection.execute(f"select {', '.join(wanted)} from ({source}) where name = {quote(name)} and {where}")
        for label, piece in found.fetchnumpy().items():
            if label not in columns:
                columns[label] = np.empty(rows, np.asarray(piece).dtype)
            columns[label][at : at + count] = _unmasked(piece)
        at += count
    return columns


def _unmasked(column: Any) -> Ints:
    """Of texts None where there is nothing."""
    if not isinstance(column, np.ma.MaskedArray) or column.dtype != object:
        return np.asarray(column)
    found = np.array(column.data, dtype=object)
    found[np.ma.getmaskarray(column)] = None
    return found


def _distinct(shapes: Sequence[Shape]) -> tuple[Ints, list[Shape]]:
    distinct = list(dict.fromkeys(shapes))
    return np.array([distinct.index(shape) for shape in shapes]), distinct


def _both(own: Batch | None, filled: Batch, recorded: Sequence[Run], replays: Sequence[Run]) -> tuple[Batch, Ints]:
    """The recorded records, then the backfilled ones at their runs' places; and the replay of each, or -1."""
    place = {run.run: at for at, run in enumerate(recorded)}
    target = np.array([place[str(run.replay_of)] for run in replays])
    of = filled.get("place").astype(np.int64)
    filled.columns["place"] = target[of]
    filled.columns["source"] = of + len(recorded)
    if own is None:
        return filled, of
    own.columns["source"] = own.get("place")
    own.columns["place"] = own.get("place")
    shapes = list(dict.fromkeys([*own.shapes, *filled.shapes]))
    kinds = list(dict.fromkeys([*own.kinds, *filled.kinds]))
    depth = max(own.depth, filled.depth)
    order = np.argsort(np.concatenate([own.names(), filled.names()]), kind="stable")
    joined = {}
    for name in dict.fromkeys([*own.columns, *filled.columns, "shape", "kind"]):
        parts = []
        for batch in (own, filled):
            column = batch.get(name)
            if name in ("shape", "kind"):
                labels: tuple[Sequence[Any], Sequence[Any]] = (
                    (batch.shapes, shapes) if name == "shape" else (batch.kinds, kinds)
                )
                column = np.array([labels[1].index(label) for label in labels[0]])[column]
            elif name == "text" and name not in batch.columns:
                column = np.full(batch.rows, None, dtype=object)
            parts.append(column)
        joined[name] = np.concatenate(parts)[order]
    rank = np.concatenate([np.full(own.rows, -1), of])[order]
    counts = [a + b for a, b in zip(own.counts, filled.counts, strict=True)]
    return Batch(own.rows + filled.rows, joined, shapes, kinds, depth, counts), rank


def _loop_values(
    connection: duckdb.DuckDBPyConnection, runs: Sequence[Run], shapes: Sequence[Shape], depth: int
) -> Batch | None:
    """Values of iterations that say more than the index, for the loops of `shapes`."""
    # A run that ended says whether it has any: then its file need not be opened.
    asked = [run for run in runs if run.info.get("loop_values", True)]
    prefixes = {shape[: level + 1] for shape in shapes for level in range(len(shape))}
    if not asked or not prefixes:
        return None
    levels = "".join(
        f", coalesce(occurrences[{d}], 0) as o{d}, coalesce(indices[{d}], 0) as i{d}" for d in range(1, depth + 1)
    )
    named = ", ".join(f"{d + 1}" for d in range(depth))
    where = f"event = 'value' and len(loops) in ({named})"
    places = {run.run: at for at, run in enumerate(runs)}
    found = connection.execute(
        f"select run, to_json(loops)::VARCHAR as loops, kind, coalesce(int_value, 0) as int_value, "
        f"coalesce(float_value, 0) as float_value, text_value as text{levels} "
        f"from ({records.table(connection, asked, loops=True)}) where {where}"
    ).fetchnumpy()
    if not len(found["run"]):
        return None
    said, shape = np.unique(np.asarray(found.pop("loops")).astype(str), return_inverse=True)
    kinds, kind = np.unique(np.asarray(found.pop("kind")).astype(str), return_inverse=True)
    found["text"] = _unmasked(found["text"])
    runs_found, run = np.unique(np.asarray(found.pop("run")).astype(str), return_inverse=True)
    arrays = {name: np.asarray(column) for name, column in found.items()}
    arrays |= {"shape": shape.reshape(-1), "kind": kind.reshape(-1)}
    arrays["place"] = np.array([places[str(name)] for name in runs_found])[run.reshape(-1)]
    arrays["source"] = arrays["place"]
    known = [tuple(json.loads(text)) for text in said.tolist()]
    wanted = np.array([of in prefixes for of in known])[arrays["shape"]]
    if not wanted.any():
        return None
    arrays = {name: column[wanted] for name, column in arrays.items()}
    return Batch(int(wanted.sum()), arrays, known, kinds.tolist(), depth)


def _paths(batch: Batch, known: Batch | None) -> Paths:
    """The paths of the records, then those of the iterations with values."""
    ranks = {name: at for at, name in enumerate(dict.fromkeys(name for shape in batch.shapes for name in shape))}
    parts = [batch] if known is None else [batch, known]

    def of(name: str, default: int = 0) -> Ints:
        found = [part.get(name, default) for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found)

    levels = []
    for d in range(batch.depth):
        rank = []
        for part in parts:
            table = np.array([ranks.get(shape[d], -1) if d < len(shape) else -1 for shape in part.shapes])
            shape = part.columns.get("shape")
            rank.append(np.broadcast_to(table[0], part.rows) if shape is None else table[shape])
        levels.append(Level(rank[0] if len(rank) == 1 else np.concatenate(rank), of(f"o{d + 1}"), of(f"i{d + 1}")))
    return Paths(of("place"), levels, len(ranks))


def _counted(batch: Batch, keys: Ints, rank: Ints | None) -> tuple[Ints | None, Ints | None]:
    """The numbers of the records that count (None: all), and their ordinals.

    Of a value that was backfilled several times the newest replay counts; one that replaces a recorded value wins. An added
    statement may log a name that the version logs already in the same iteration: both stay.
    """
    ordinal = batch.columns.get("ordinal")
    if rank is None:
        return None, ordinal
    name = batch.names()
    ordinal = batch.get("ordinal")
    seq = batch.get("seq")
    ours = np.flatnonzero(rank >= 0)
    order = ours[np.lexsort((seq[ours], rank[ours], ordinal[ours], keys[ours], name[ours]))]
    last = np.ones(len(order), bool)
    last[:-1] = ~_equal(order[:-1], order[1:], (name, keys, ordinal))
    ours = order[last]
    theirs = np.flatnonzero(rank < 0)
    replacing = ours[batch.get("hindsight")[ours] == 2]
    if len(replacing):
        both = np.concatenate([replacing, theirs])
        sort = both[np.lexsort((rank[both] < 0, ordinal[both], keys[both], name[both]))]
        gone = np.zeros(len(rank), bool)
        gone[sort[1:]] = _equal(sort[:-1], sort[1:], (name, keys, ordinal)) & (rank[sort[:-1]] >= 0)
        theirs = theirs[~gone[theirs]]
    kept = np.concatenate([theirs, ours])
    within = np.where(rank[kept] < 0, ordinal[kept], seq[kept])
    order = kept[np.lexsort((within, rank[kept], keys[kept], name[kept]))]
    begins = np.ones(len(order), bool)
    begins[1:] = ~_equal(order[:-1], order[1:], (name, keys))
    place = np.arange(len(order))
    counted = np.zeros(len(rank), np.int64)
    counted[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    return np.sort(kept), counted


def _equal(a: Ints, b: Ints, several: Sequence[Ints]) -> Ints:
    same = np.ones(len(a), bool)
    for column in several:
        same &= column[a] == column[b]
    return same


def _cells(batch: Batch, kept: Ints | None) -> dict[tuple[int, Shape], Ints]:
    """The numbers of the records of each name and shape."""
    shape = batch.columns.get("shape")
    found = {}
    stop = 0
    for name, count in enumerate(batch.counts):
        start, stop = stop, stop + count
        if kept is None:
            numbers = np.arange(start, stop, dtype=np.int32 if stop < 1 << 31 else np.int64)
        else:
            numbers = kept[slice(*np.searchsorted(kept, (start, stop)))]
        if not len(numbers):
            continue
        if shape is None:
            found[(name, batch.shapes[0])] = numbers
            continue
        of = shape[as_slice(numbers)]
        for number in np.flatnonzero(np.bincount(of)).tolist():
            found[(name, batch.shapes[number])] = numbers[of == number]
    return found


def _by_prefix(known: Batch, keys: Ints) -> dict[Shape, Known]:
    found: dict[Shape, Known] = {}
    shape = known.get("shape")
    for number, prefix in enumerate(known.shapes):
        own = np.flatnonzero(shape == number)
        order = own[np.argsort(keys[own], kind="stable")]
        of = keys[order]
        last = np.ones(len(order), bool)
        last[:-1] = of[1:] != of[:-1]
        if len(own):
            found[prefix] = Known(of[last], order[last])
    return found
