"""``flor.dataframe``: from log records to one row a loop path.

Rules (DESIGN 8): rows stand for the deepest loop paths at which the names were logged; values of outer levels repeat on
them; nothing is dropped and nothing is aggregated. A name logged several times in one iteration gets a row each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from flor_replay import values
from flor_replay.errors import QueryError
from flor_replay.store import contexts, records
from flor_replay.store.runs import Run, open_store

if TYPE_CHECKING:
    import duckdb

Shape = tuple[str, ...]  # names of the loops around a record, outermost first
TRUSTED = ("exact", "close", "unchecked")
_KEY = "\x1f"  # no stored name holds it: columns of our own begin with it
_LOOP = f"{_KEY}loop"
# A shape in one text; the run's own level is '', a loop without a name is not.
_SHAPE = f"case when len(loops) = 0 then '' else '{_KEY}' || array_to_string(loops, '{_KEY}') end"


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
        store, lambda everything: _build(everything, names, last, runs, filename, source, diverged, fidelity)
    )
    if read_by is not None and names:
        read_by(names, [found.runs[place].run for place in np.unique(found.places)])
    return _with_context(found, store) if context else found.frame


@dataclass(frozen=True)
class Found:
    """A frame, and the run of each of its rows: `places` are indices into `runs`."""

    frame: pd.DataFrame
    runs: Sequence[Run]
    places: np.ndarray[Any, np.dtype[np.int64]]


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
) -> Found:
    recorded = [run for run in everything if not run.replay_of and run.rank == 0]
    if filename is not None:
        recorded = [run for run in recorded if run.filename == filename or os.path.basename(run.filename) == filename]
    if runs is not None:
        unknown = set(runs) - {run.run for run in recorded}
        if unknown:
            raise QueryError(f"no run is called {sorted(unknown)[0]!r}")
        recorded = [run for run in recorded if run.run in set(runs)]
    if last is not None:
        recorded = recorded[-last:] if last > 0 else []
    if not names:
        return Found(overview(recorded), recorded, np.arange(len(recorded)))
    replays = [] if source == "recorded" else accepted_replays(everything, diverged)
    stored = list(dict.fromkeys(values.clean_name(name) for name in names))
    pivot = Pivot(recorded, replays, stored, source, fidelity)
    return Found(pivot.frame(), recorded, pivot.places)


def accepted_replays(everything: Sequence[Run], diverged: bool = False) -> list[Run]:
    """Replays whose values may be shown, oldest first."""
    trusted = (*TRUSTED, "diverged") if diverged else TRUSTED
    return [run for run in everything if run.replay_of and run.fidelity.get("verdict") in trusted]


def overview(recorded: Sequence[Run]) -> pd.DataFrame:
    """One row a run with its arguments. An argument called like a column of the run stands under ``<name>_arg``."""
    columns: dict[str, list[Any]] = {
        "projid": [run.projid for run in recorded],
        "tstamp": [run.started for run in recorded],
        "filename": [run.filename for run in recorded],
        "run": [run.run for run in recorded],
        "status": [run.status for run in recorded],
    }
    fixed = frozenset(columns)
    frame = pd.DataFrame(columns)
    given = [run.args for run in recorded]
    for name in dict.fromkeys(name for args in given for name in args):
        present = np.array([name in args for args in given], dtype=bool)
        column = _column([args[name] for args in given if name in args]).set_axis(np.flatnonzero(present))
        column = column.reindex(range(len(recorded)))
        frame[f"{name}_arg" if name in fixed else name] = _shown(column, pd.Series(present))
    return frame


class Pivot:
    """One dataframe being made.

    The records are cut by *shape*, the names of the loops around them. A shape's records become a table with a column a
    name; the tables of outer shapes are spread onto those of the shapes inside them.
    """

    def __init__(
        self,
        recorded: Sequence[Run],
        replays: Sequence[Run],
        names: list[str],
        source: str | None,
        fidelity: bool,
    ) -> None:
        self._names = names
        self._source = source
        self._fidelity = fidelity
        self._runs = {run.run: place for place, run in enumerate(recorded)}
        self._recorded = list(recorded)
        self._replays = [run for run in replays if run.replay_of in self._runs]
        self.places = np.empty(0, dtype=np.int64)  # of the frame's rows among the runs, once it is made
        self._folders = {run.run: run.folder.files for run in (*recorded, *self._replays)}

    def frame(self) -> pd.DataFrame:
        with records.connect() as connection:
            table = self._records(connection)
            if table.empty:
                return self._empty()
            self._values = {name: self._decode(table[table["name"] == name]) for name in self._names}
            keys = dict.fromkeys(
                key for name in self._names for key in table.loc[table["name"] == name, "shape"].unique()
            )
            shapes = {_shape(key): table[table["shape"] == key] for key in keys}
            loop_values = self._loop_values(connection, shapes)
        return self._finish(self._parts(shapes), list(shapes), loop_values)

    # -- reading ------------------------------------------------------------------------------------------------

    def _records(self, connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
        """Records of the names, one row each, with integer columns ``c0 i0 c1 i1 …`` for the path."""
        wanted = [] if self._source == "backfilled" else self._recorded
        recorded = self._read(connection, wanted, "name in (select unnest(?))")
        recorded["rank"] = -1
        recorded["place"] = recorded["run"].map(self._runs)
        recorded["verdict"] = "recorded"
        recorded["placed_by"] = "recorded"
        filled = self._read(connection, self._replays, "name in (select unnest(?)) and hindsight > 0")
        if not filled.empty:
            order = {run.run: place for place, run in enumerate(self._replays)}
            target = {run.run: self._runs[str(run.replay_of)] for run in self._replays}
            verdict = {run.run: run.fidelity.get("verdict") for run in self._replays}
            filled["rank"] = filled["run"].map(order)
            filled["verdict"] = filled["run"].map(verdict)
            person = {run.run: run.placed_by for run in self._replays}
            filled["placed_by"] = [
                person[run].get(name, "tool") for run, name in zip(filled["run"], filled["name"], strict=True)
            ]
            filled["place"] = filled["run"].map(target)
        return self._merge(recorded, filled)

    def _read(self, connection: duckdb.DuckDBPyConnection, runs: Sequence[Run], where: str) -> pd.DataFrame:
        source = records.table(runs)
        (depth,) = records.fetch(
            connection, f"select coalesce(max(len(indices)), 0) from ({source}) where {where}", [self._names]
        )[0]
        levels = "".join(
            f", coalesce(occurrences[{d + 1}], -1) as c{d}, coalesce(indices[{d + 1}], -1) as i{d}"
            for d in range(int(depth))  # type: ignore[call-overload]
        )
        # int_value is coalesced: a column with gaps would come as float64, and lose the digits of large numbers.
        return connection.execute(
            "select run, name, kind, coalesce(int_value, 0) as int_value, float_value, text_value, "
            f"{_SHAPE} as shape, ordinal, hindsight, seq {levels} from ({source}) where {where} order by run, seq",
            [self._names],
        ).df()

    @staticmethod
    def _merge(recorded: pd.DataFrame, filled: pd.DataFrame) -> pd.DataFrame:
        """Backfilled values beside the recorded ones: the newest replay of a value counts, a replacing one wins."""
        if filled.empty:
            return recorded
        both = pd.concat([recorded, filled], ignore_index=True)
        levels = [column for column in both.columns if column[0] in "ci" and column[1:].isdigit()]
        both[levels] = both[levels].fillna(-1).astype("int64")
        key = ["place", "name", "shape", *levels, "ordinal"]
        ours = both[both["rank"] >= 0].sort_values(["rank", "seq"], kind="stable").drop_duplicates(key, keep="last")
        theirs = both[both["rank"] < 0]
        replaced = ours.loc[ours["hindsight"] == 2, key].assign(gone=True)
        if not replaced.empty:
            theirs = theirs.merge(replaced, on=key, how="left")
            theirs = theirs[theirs["gone"].isna()].drop(columns="gone")
        both = pd.concat([theirs, ours], ignore_index=True)
        # An added statement may log a name that the version logs already in the same iteration: both stay.
        both["ordinal"] = both.groupby(key[:-1], sort=False).cumcount()
        return both

    def _decode(self, part: pd.DataFrame) -> pd.Series:
        """The values of some records, with one type for all where they have one; by the index of `part`."""
        kinds = set(part["kind"].unique())
        plain = bool(part["text_value"].isna().all())
        if kinds == {"float"} and plain:
            return part["float_value"]
        if kinds == {"int"} and plain:
            return part["int_value"].astype("Int64")
        if kinds == {"bool"}:
            return part["int_value"].astype("boolean")
        texts = part["text_value"].astype(object).where(part["text_value"].notna(), None)
        columns = zip(part["run"], part["kind"], part["int_value"], part["float_value"], texts, strict=True)
        found = []
        for run, kind, whole, real, text in columns:
            number = None if text is not None else real if kind == "float" else whole
            found.append(values.decode(kind, number, text, self._folders[run]))
        return _column(found).set_axis(part.index)

    # -- pivoting -----------------------------------------------------------------------------------------------

    def _parts(self, shapes: dict[Shape, pd.DataFrame]) -> dict[Shape, pd.DataFrame]:
        """The rows of each shape, with the values of outer levels repeated on them.

        Rows of an outer level have a place of their own only where something of theirs is on no row inside them.
        """
        parts = {}
        shown: dict[Shape, list[pd.DataFrame]] = {shape: [] for shape in shapes}
        once = {shape: self._once(table, shape) for shape, table in shapes.items()}
        for shape in sorted(shapes, key=len, reverse=True):
            part, several = self._wide(shapes[shape], shape, once[shape])
            if shown[shape]:
                path = _path(shape)
                everywhere = pd.concat(shown[shape]).drop_duplicates()
                apart = ~_among(part[path], everywhere) | _among(part[path], several[path])
                part = part[apart]
            if part.empty:
                continue
            outers = [outer for outer in shapes if len(outer) < len(shape) and shape[: len(outer)] == outer]
            for outer in sorted(outers, key=len, reverse=True):
                part, paths = self._spread(part, once[outer], outer)
                shown[outer].append(paths)
            parts[shape] = part
        return parts

    def _once(self, table: pd.DataFrame, shape: Shape) -> pd.DataFrame:
        """One row a path, with the names that were logged once in it."""
        path = _path(shape)
        if (table["ordinal"] > 0).any():
            table = table[table.groupby([*path, "name"], sort=False)["seq"].transform("size") == 1]
        rows = table[path].drop_duplicates(ignore_index=True)
        for name in self._names:
            cells = self._cells(table, name, path)
            if not cells.empty:
                rows = rows.merge(cells, on=path, how="left")
        return rows

    def _wide(self, table: pd.DataFrame, shape: Shape, once: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """One row a (path, ordinal), and the records of names logged several times in one iteration.

        A name logged once in an iteration stands on all its rows.
        """
        path = _path(shape)
        sizes = (
            table.groupby([*path, "name"], sort=False)["seq"].transform("size") if (table["ordinal"] > 0).any() else 1
        )
        several = table[(sizes > 1) & pd.Series(True, index=table.index)]
        if several.empty:
            return once.assign(ordinal=0), several
        key = [*path, "ordinal"]
        rows = pd.concat([several[key], once[path].assign(ordinal=0)]).drop_duplicates(ignore_index=True)
        rows = rows.merge(once, on=path, how="left")
        for name in self._names:
            cells = self._cells(several, name, key)
            if not cells.empty:
                joined = rows[key].merge(cells, on=key, how="left")
                rows = _fill(rows, joined, name, joined[_f(name)].notna())
        return rows, several

    def _cells(self, table: pd.DataFrame, name: str, key: list[str]) -> pd.DataFrame:
        mine = table[table["name"] == name]
        return mine[key].assign(
            **{_v(name): self._values[name].loc[mine.index], _f(name): mine["verdict"], _p(name): mine["placed_by"]}
        )

    def _spread(self, part: pd.DataFrame, outer: pd.DataFrame, shape: Shape) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Put the values of an outer level onto the rows inside it; also the paths of which nothing is left to show.

        A name that a run logs at both levels keeps its inner values.
        """
        path = _path(shape)
        joined = part[path].merge(outer, on=path, how="left")
        hidden = pd.Series(False, index=outer.index)
        for name in self._names:
            if _v(name) not in outer.columns:
                continue
            free = pd.Series(True, index=joined.index)
            if _v(name) in part.columns:
                taken = part["place"][part[_f(name)].notna()].unique()
                free = ~joined["place"].isin(taken)
                hidden |= outer["place"].isin(taken) & outer[_f(name)].notna()
            part = _fill(part.reset_index(drop=True), joined, name, free)
        paths = part[path].drop_duplicates()
        return part, paths[_among(paths, outer.loc[~hidden, path])]

    # -- loop values ----------------------------------------------------------------------------------------------

    def _loop_values(self, connection: duckdb.DuckDBPyConnection, shapes: Iterable[Shape]) -> dict[Shape, pd.DataFrame]:
        """For each loop nest (and each part of it) the values of its innermost loop that differ from the index."""
        prefixes = {shape[: depth + 1] for shape in shapes for depth in range(len(shape))}
        if not prefixes:
            return {}
        source = records.table(self._recorded, loops=True)
        found = {}
        for prefix in sorted(prefixes, key=len):
            levels = "".join(f", occurrences[{d + 1}] as c{d}, indices[{d + 1}] as i{d}" for d in range(len(prefix)))
            frame = connection.execute(
                f"select run, kind, coalesce(int_value, 0) as int_value, float_value, text_value {levels} "
                f"from ({source}) where event = 'value' and {_SHAPE} = ?",
                ["".join(_KEY + name for name in prefix)],
            ).df()
            if not frame.empty:
                frame["place"] = frame["run"].map(self._runs)
                frame[_LOOP] = self._decode(frame)
                found[prefix] = frame[[*_path(prefix), _LOOP]].drop_duplicates(_path(prefix), keep="last")
        return found

    # -- the result -------------------------------------------------------------------------------------------------

    def _finish(
        self, parts: dict[Shape, pd.DataFrame], shapes: list[Shape], loop_values: dict[Shape, pd.DataFrame]
    ) -> pd.DataFrame:
        labels = {shape: _labels(shape) for shape in shapes}
        columns = list(
            dict.fromkeys(label for shape in sorted(shapes, key=len, reverse=True) for label in labels[shape])
        )
        columns.sort(key=lambda label: min(found.index(label) for found in labels.values() if label in found))
        first = {name: place for place, name in enumerate(dict.fromkeys(name for shape in shapes for name in shape))}
        frames = []
        for shape, part in parts.items():
            out = part
            for depth, label in enumerate(labels[shape]):
                found = loop_values.get(shape[: depth + 1])
                if found is not None:
                    out = out.merge(
                        found.rename(columns={_LOOP: f"{_KEY}w{label}"}), on=_path(shape[: depth + 1]), how="left"
                    )
                rank = pd.Series(first[shape[depth]], index=out.index)
                out = out.assign(**{f"{_KEY}l{label}": out[f"i{depth}"], f"n{depth}": rank})
            frames.append(out)
        whole = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
        depths = range(max(len(shape) for shape in parts))
        order = ["place", *(f"{kind}{depth}" for depth in depths for kind in "nci"), "ordinal"]
        whole = whole.sort_values(order, kind="stable", na_position="last", ignore_index=True)
        place = self.places = whole["place"].to_numpy().astype(np.int64)
        result = pd.DataFrame(
            {
                "projid": np.array([run.projid for run in self._recorded], dtype=object)[place],
                "tstamp": pd.to_datetime([run.started for run in self._recorded]).to_numpy()[place],
                "filename": np.array([run.filename for run in self._recorded], dtype=object)[place],
            }
        )
        for label in columns:
            column = whole.get(f"{_KEY}l{label}")
            if column is not None:
                result[_free(label, result, self._names)] = _integers(column)
            value = whole.get(f"{_KEY}w{label}")
            if value is not None:
                result[f"{label}_value"] = _shown(value, value.notna())
        for name in self._names:
            verdict = whole.get(_f(name), _nothing(len(whole)))
            result[name] = _shown(whole.get(_v(name), _nothing(len(whole))), verdict.notna())
            if self._fidelity:
                result[f"{name}_fidelity"] = verdict.astype(object).where(verdict.notna(), None)
                placed = whole.get(_p(name), _nothing(len(whole)))
                result[f"{name}_placed_by"] = placed.astype(object).where(placed.notna(), None)
        result.attrs["loops"] = tuple(columns)
        return result

    def _empty(self) -> pd.DataFrame:
        columns = ["projid", "tstamp", "filename"]
        for name in self._names:
            columns += [name, f"{name}_fidelity", f"{name}_placed_by"] if self._fidelity else [name]
        return pd.DataFrame(columns=columns)


def _shape(key: str) -> Shape:
    return tuple(key.split(_KEY)[1:])


def _path(shape: Shape) -> list[str]:
    """The columns that tell the loop paths of a shape apart."""
    return ["place", *(f"{kind}{depth}" for depth in range(len(shape)) for kind in "ci")]


def _labels(shape: Shape) -> list[str]:
    """Column names for the loops of a nest; a loop inside one of its own name is told apart."""
    return [f"{name}_{shape[:d].count(name) + 1}" if name in shape[:d] else name for d, name in enumerate(shape)]


def _v(name: str) -> str:
    return f"{_KEY}v{name}"


def _f(name: str) -> str:
    return f"{_KEY}f{name}"


def _p(name: str) -> str:
    return f"{_KEY}p{name}"


def _among(paths: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
    """Which rows of `paths` are rows of `known`, by the index of `paths`."""
    marked = paths.merge(known.drop_duplicates().assign(known=True), how="left", on=list(paths.columns))
    return marked["known"].notna().set_axis(paths.index)


def _fill(rows: pd.DataFrame, cells: pd.DataFrame, name: str, where: pd.Series) -> pd.DataFrame:
    """`rows` with the values of `name` in `cells`, which has the same rows, at the places `where`."""
    for column in (_v(name), _f(name), _p(name)):
        new = cells[column].set_axis(rows.index)
        if column in rows.columns:
            new = new.where(where.set_axis(rows.index), rows[column])
        rows = rows.assign(**{column: new})
    return rows


def _free(name: str, frame: pd.DataFrame, names: Sequence[str]) -> str:
    """A loop may be called like a logged name: then its column is ``<name>_index``."""
    return f"{name}_index" if name in names or name in frame.columns else name


def _nothing(length: int) -> pd.Series:
    return pd.Series([None] * length, dtype=object)


def _integers(column: pd.Series) -> pd.Series:
    return column.astype("Int64") if column.isna().any() else column.astype("int64")


def _column(found: Sequence[object]) -> pd.Series:
    """Values as a column of their own type that can have gaps. Whole numbers among fractions become fractions where
    no digit is lost; what has no common type stays as it is."""
    kinds = {type(value) for value in found}
    if kinds == {bool}:
        return pd.Series(found, dtype="boolean")
    if kinds == {int} and all(-(1 << 63) <= value < 1 << 63 for value in found):  # type: ignore[operator]
        return pd.Series(found, dtype="Int64")
    if kinds == {float}:
        return pd.Series(found, dtype="float64")
    if kinds == {int, float} and all(type(value) is float or abs(value) <= 1 << 53 for value in found):  # type: ignore[arg-type]
        return pd.Series(found, dtype="float64")
    column = np.empty(len(found), dtype=object)
    for place, value in enumerate(found):  # one by one: an array among them stays one value
        column[place] = value
    return pd.Series(column, dtype=object)


def _shown(column: pd.Series, present: pd.Series) -> pd.Series:
    """A column as it is given out: numbers without gaps in numpy's own types, None where there is nothing."""
    if column.dtype == object:
        return column.where(present.set_axis(column.index), None)
    if column.isna().any():
        return column
    if column.dtype == "Int64":
        return column.astype("int64")
    return column.astype("bool") if column.dtype == "boolean" else column
