"""``flor.dataframe``: from log records to one row a loop path.

Rules (DESIGN 8): rows stand for the deepest loop paths at which the names were logged; values of outer levels repeat on
them; nothing is dropped and nothing is aggregated. A name logged several times in one iteration gets a row each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flor_replay import values
from flor_replay.errors import QueryError
from flor_replay.store import columns, contexts, database, pivot, records
from flor_replay.store.filters import matching
from flor_replay.store.gather import Gathered, gather
from flor_replay.store.overview import overview
from flor_replay.store.paths import Ints, as_slice
from flor_replay.store.pivot import Rows, Shape
from flor_replay.store.runs import Run, open_store

TRUSTED = ("exact", "close", "unchecked")


def build(
    names: Sequence[str],
    root: str | None = None,
    *,
    last: int | None = None,
    runs: Sequence[str] | None = None,
    filename: str | None = None,
    source: str | None = None,
    diverged: bool = False,
    fidelity: bool = False,
    context: bool = False,
    where: str | None = None,
    live: bool | None = None,
    read_by: Callable[[Sequence[str], Sequence[str]], None] | None = None,
) -> pd.DataFrame:
    """See `flor_replay.record.api.dataframe`. `read_by` is told the names, and the runs that rows come from."""
    if source not in (None, "recorded", "backfilled"):
        raise QueryError(f"source={source!r}: it is 'recorded' or 'backfilled'")
    for name in names:
        if not isinstance(name, str):
            raise QueryError(f"a name is text, not {name!r}")
    _, store = open_store(root)
    found = records.reading(
        store,
        lambda everything: _build(everything, names, last, runs, filename, source, diverged, fidelity, where, live),
    )
    if read_by is not None and names:
        read_by(names, [found.runs[place].run for place in np.unique(found.places)])
    return _with_context(found, store) if context else found.frame


@dataclass(frozen=True)
class Found:
    """A frame, and the run of each of its rows: `places` are indices into `runs`."""

    frame: pd.DataFrame
    runs: Sequence[Run]
    places: Ints


def _with_context(found: Found, store: str) -> pd.DataFrame:
    """The frame with the columns of each row's run's build context behind its own."""
    frame = found.frame
    rows = {
        place: contexts.row(found.runs[place], contexts.read(store, found.runs[place])) for place in set(found.places)
    }
    added = {}
    for name, kind in contexts.COLUMNS.items():
        column = pd.Series([rows[place][name] for place in found.places], dtype=object)
        if kind == "TIMESTAMP":
            column = pd.to_datetime(column)
        elif kind == "BIGINT":
            column = column.astype("Int64")
        added[f"{name}_context" if name in frame.columns else name] = column.set_axis(frame.index)
    return frame.assign(**added)


def _build(
    everything: Sequence[Run],
    names: Sequence[str],
    last: int | None,
    runs: Sequence[str] | None,
    filename: str | None,
    source: str | None,
    diverged: bool,
    fidelity: bool,
    where: str | None,
    live: bool | None,
) -> Found:
    recorded = [run for run in everything if not run.replay_of and run.rank == 0]
    if filename is not None:
        recorded = [run for run in recorded if run.filename == filename or os.path.basename(run.filename) == filename]
    if runs is not None:
        unknown = set(runs) - {run.run for run in recorded}
        if unknown:
            raise QueryError(f"no run is called {sorted(unknown)[0]!r}")
        recorded = [run for run in recorded if run.run in set(runs)]
    if live is not None:
        recorded = [run for run in recorded if (run.status == "running") == live]
    if where is not None:
        held = matching(recorded, where)
        recorded = [run for run in recorded if run.run in held]
    if last is not None:
        recorded = recorded[-last:] if last > 0 else []
    if not names:
        return Found(overview(recorded), recorded, np.arange(len(recorded)))
    replays = [] if source == "recorded" else accepted_replays(everything, diverged)
    stored = list(dict.fromkeys(values.clean_name(name) for name in names))
    shown = {run.run for run in recorded}
    replays = [run for run in replays if run.replay_of in shown]
    with database.connect() as connection:
        wanted = [] if source == "backfilled" else recorded
        # Nothing here holds what is gathered: it goes while the frame is made.
        frame, places = _frame(
            gather(connection, wanted, recorded, replays, stored), recorded, replays, stored, fidelity
        )
    if source != "backfilled" and any("options" in run.info for run in recorded):
        frame, places = _with_options(frame, places, recorded, stored)
    return Found(frame, recorded, places)


def _with_options(
    frame: pd.DataFrame, places: Ints, recorded: Sequence[Run], names: Sequence[str]
) -> tuple[pd.DataFrame, Ints]:
    """The rows of a run that logged nothing as a name have what argparse gave its script under that name."""
    if not len(frame):  # no run logged any of them: a row for each that was given one
        places = np.array([at for at, run in enumerate(recorded) if not run.options.keys().isdisjoint(names)], np.int64)
        frame = frame.reindex(range(len(places)))
        frame["projid"] = [recorded[at].projid for at in places]
        frame["tstamp"] = pd.DatetimeIndex([recorded[at].started for at in places])
        frame["filename"] = [recorded[at].filename for at in places]
    all_given = {at: recorded[at].options for at in np.unique(places).tolist()}
    for name in names:
        there = frame[name].notna().to_numpy()
        logged = set(np.unique(places[there]).tolist())
        given = {at: options for at, options in all_given.items() if at not in logged and name in options}
        has = np.zeros(len(recorded), dtype=bool)
        has[list(given)] = True
        mine = has[places]
        if mine.any():
            rows = np.flatnonzero(mine | there)
            cells = [given[places[row]][name] if mine[row] else frame[name].iloc[row] for row in rows]
            column = columns.column(cells).set_axis(rows).reindex(range(len(frame)))
            frame[name] = columns.shown(column, pd.Series(mine | there))
    return frame, places


def accepted_replays(everything: Sequence[Run], diverged: bool = False) -> list[Run]:
    """Replays whose values may be shown, oldest first."""
    trusted = (*TRUSTED, "diverged") if diverged else TRUSTED
    return [run for run in everything if run.replay_of and run.fidelity.get("verdict") in trusted]


def _frame(
    found: Gathered | None, recorded: Sequence[Run], replays: Sequence[Run], names: Sequence[str], fidelity: bool
) -> tuple[pd.DataFrame, Ints]:
    """The frame, and the places of its rows' runs in `recorded`."""
    if found is None:
        wanted = ["projid", "tstamp", "filename"]
        for name in names:
            wanted += [name, f"{name}_fidelity", f"{name}_placed_by"] if fidelity else [name]
        return pd.DataFrame(columns=wanted), np.empty(0, np.int64)
    parts = pivot.rows(found.paths, found.cells, found.ordinal, range(len(names)))
    order, rows = _together(parts, range(len(names)))
    counts = {shape: len(part.keys) for shape, part in parts.items()}
    parts.clear()
    # In this order, as what each column is made of is gone before the next take their memory.
    of_names: dict[str, Any] = {}
    for number, name in enumerate(names):
        numbers = rows.shown.pop(number)
        of_names[name] = columns.placed(found.values(number), found.within(number, numbers))
        if fidelity:
            verdict, placed_by = _provenance(found, recorded, replays, name)
            of_names[f"{name}_fidelity"] = _told(verdict, found.rank, numbers)
            of_names[f"{name}_placed_by"] = _told(placed_by, found.rank, numbers)
        del numbers
    if rows.keys.base is not None and rows.keys.base.size > rows.keys.size:
        rows.keys = rows.keys.copy()  # of one name's: the others' need not stay for it
    found.names_are_placed()
    place = found.paths.place(rows.keys)
    result: dict[str, Any] = dict.fromkeys(("projid", "tstamp", "filename"))
    loops = _loop_columns(found, counts, order, rows, result, names)
    del rows, found
    result["projid"] = pd.Index([run.projid for run in recorded]).take(place)
    result["tstamp"] = pd.DatetimeIndex([run.started for run in recorded]).take(place)
    result["filename"] = pd.Index([run.filename for run in recorded]).take(place)
    result.update(of_names)
    frame = pd.DataFrame(result, copy=False)
    frame.attrs["loops"] = loops
    return frame, place


def _together(parts: dict[Shape, Rows], names: Sequence[int]) -> tuple[Ints | None, Rows]:
    """All rows in their order, and by which order the parts' rows came into it (None: as they are)."""
    several = list(parts.values())
    keys = np.concatenate([part.keys for part in several]) if len(several) > 1 else several[0].keys
    some = np.concatenate([part.some for part in several]) if len(several) > 1 else several[0].some
    shown = {}
    for name in names:
        columns_of = [part.shown.get(name, np.full(len(part.keys), -1, some.dtype)) for part in several]
        shown[name] = np.concatenate(columns_of) if len(columns_of) > 1 else columns_of[0]
    if len(several) == 1:
        return None, Rows(keys, shown, some, several[0].ordinal)
    ordinal = np.concatenate(
        [np.zeros(len(part.keys), np.int64) if part.ordinal is None else part.ordinal for part in several]
    )
    order = np.lexsort((ordinal, keys))
    return order, Rows(keys, shown, some, ordinal).take(order)


def _loop_columns(
    found: Gathered,
    counts: dict[Shape, int],
    order: Ints | None,
    rows: Rows,
    result: dict[str, Any],
    names: Sequence[str],
) -> tuple[str, ...]:
    """Put the loops' columns into `result`: the index of each, and its value where that says more. Returns their labels."""
    labels = {shape: _labels(shape) for shape in found.shapes}
    deepest_first = sorted(found.shapes, key=len, reverse=True)
    wanted = list(dict.fromkeys(label for shape in deepest_first for label in labels[shape]))
    wanted.sort(key=lambda label: min(of.index(label) for of in labels.values() if label in of))
    for label in wanted:
        if not any(label in labels[shape] for shape in counts):
            continue
        index, there, value = _loop_column(found, counts, labels, label, order, rows)
        result[f"{label}_index" if label in names or label in result else label] = columns.integers(index, there)
        if value is not None and (value >= 0).any():
            result[f"{label}_value"] = found.loop_column(value)
    return tuple(wanted)


def _loop_column(
    found: Gathered,
    counts: dict[Shape, int],
    labels: dict[Shape, list[str]],
    label: str,
    order: Ints | None,
    rows: Rows,
) -> tuple[Ints, Ints, Ints | None]:
    """Of each row the index of one loop, whether it is in that loop, and the place of the iteration's value, where any has one."""
    count = len(rows.keys)
    shapes = list(counts)
    value: Ints | None = None
    if len(shapes) == 1:
        depth = labels[shapes[0]].index(label)
        index = found.index[depth][as_slice(rows.some)].astype(np.int64)
        where: list[tuple[Shape, int, Ints | slice]] = [(shapes[0], depth, slice(None))]
        there = np.broadcast_to(np.True_, count)
    else:
        index, there = np.zeros(count, np.int64), np.zeros(count, bool)
        shape_of = np.repeat(np.arange(len(shapes)), list(counts.values()))
        shape_of = shape_of if order is None else shape_of[order]
        where = [
            (shape, labels[shape].index(label), np.flatnonzero(shape_of == number))
            for number, shape in enumerate(shapes)
            if label in labels[shape]
        ]
        for _, depth, here in where:
            index[here] = found.index[depth][rows.some[here]]
            there[here] = True
    for shape, depth, here in where:
        known = found.loop_values.get(shape[: depth + 1])
        if known is not None:
            value = np.full(count, -1, np.int64) if value is None else value
            at, has = pivot.find(known.keys, found.paths.outer(rows.keys[here], depth + 1))
            value[here] = np.where(has, known.numbers[at], -1)
    return index, there, value


def _labels(shape: Shape) -> list[str]:
    """Column names for the loops of a nest; a loop inside one of its own name is told apart."""
    return [f"{name}_{shape[:d].count(name) + 1}" if name in shape[:d] else name for d, name in enumerate(shape)]


def _provenance(
    found: Gathered, recorded: Sequence[Run], replays: Sequence[Run], name: str
) -> tuple[list[Any], list[Any]]:
    """The verdict and the placer of a record, by the replay it is from; the last is what the run itself recorded."""
    verdict = [
        "unchecked" if name in run.fidelity.get("of_the_replay", ()) else run.fidelity.get("verdict") for run in replays
    ]
    return [*verdict, "recorded"], [*(run.placed_by.get(name, "tool") for run in replays), "recorded"]


def _told(words: Sequence[Any], rank: Ints | None, numbers: Ints) -> pd.Series:
    of = np.array([*words, None], dtype=object)
    which = (
        np.full(len(numbers), len(words) - 1)
        if rank is None
        else np.where(rank[numbers] < 0, len(words) - 1, rank[numbers])
    )
    return pd.Series(of[np.where(numbers < 0, len(words), which)], dtype=object)
