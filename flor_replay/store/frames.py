"""``flor.dataframe``: from log records to one row a loop path.

Rules (DESIGN 8): rows stand for the deepest loop paths at which the names were logged; values of outer levels repeat on
them; nothing is dropped and nothing is aggregated. A name logged several times in one iteration gets a row each time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from flor_replay import values
from flor_replay.errors import QueryError
from flor_replay.store import records
from flor_replay.store.runs import Run, all_runs, open_store

if TYPE_CHECKING:
    import duckdb

Shape = tuple[str, ...]  # names of the loops around a record, outermost first
TRUSTED = ("exact", "close", "unchecked")
_KEY = "\x1f"  # no log name holds it: columns of our own begin with it


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
) -> pd.DataFrame:
    """See `flor_replay.record.api.dataframe`."""
    if source not in (None, "recorded", "backfilled"):
        raise QueryError(f"source={source!r}: it is 'recorded' or 'backfilled'")
    for name in names:
        if not isinstance(name, str):
            raise QueryError(f"a name is text, not {name!r}")
    _, store = open_store(root)
    everything = all_runs(store)
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
        return overview(recorded)
    replays = [] if source == "recorded" else accepted_replays(everything, diverged)
    return Pivot(recorded, replays, list(dict.fromkeys(names)), source, fidelity).frame()


def accepted_replays(everything: Sequence[Run], diverged: bool = False) -> list[Run]:
    """Replays whose values may be shown, oldest first."""
    trusted = (*TRUSTED, "diverged") if diverged else TRUSTED
    return [run for run in everything if run.replay_of and run.fidelity.get("verdict") in trusted]


def overview(recorded: Sequence[Run]) -> pd.DataFrame:
    """One row a run with its arguments."""
    rows = [
        {
            "projid": r.projid,
            "tstamp": r.started,
            "filename": r.filename,
            "run": r.run,
            "status": r.status,
            **r.args,
        }
        for r in recorded
    ]
    columns = ["projid", "tstamp", "filename", "run", "status"]
    return pd.DataFrame(rows, columns=None if rows else columns)


class Pivot:
    """One dataframe being made."""

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
        self._folders = {run.run: run.folder.files for run in (*recorded, *self._replays)}

    def frame(self) -> pd.DataFrame:
        with records.connect() as connection:
            table = self._records(connection)
            if table.empty:
                return self._empty()
            shapes = [tuple(shape.split(_KEY)) if shape else () for shape in table["shape"].unique()]
            self._depth = max(len(shape) for shape in shapes)
            parts = self._parts(table, shapes)
            loop_values = self._loop_values(connection, shapes)
        return self._finish(parts, shapes, loop_values)

    # -- reading ------------------------------------------------------------------------------------------------

    def _records(self, connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
        """Records of the names, one row each, with integer columns ``c0 i0 c1 i1 …`` for the path."""
        wanted = [] if self._source == "backfilled" else self._recorded
        recorded = self._read(connection, wanted, "name in (select unnest(?))")
        recorded["rank"] = -1
        filled = self._read(connection, self._replays, "name in (select unnest(?)) and hindsight > 0")
        if not filled.empty:
            order = {run.run: place for place, run in enumerate(self._replays)}
            target = {run.run: self._runs[str(run.replay_of)] for run in self._replays}
            verdict = {run.run: run.fidelity.get("verdict") for run in self._replays}
            filled["rank"] = filled["run"].map(order)
            filled["verdict"] = filled["run"].map(verdict)
            filled["place"] = filled["run"].map(target)
        recorded["place"] = recorded["run"].map(self._runs)
        recorded["verdict"] = "recorded"
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
        return connection.execute(
            f"select run, name, kind, int_value, float_value, text_value, array_to_string(loops, '{_KEY}') as shape, "
            f"ordinal, hindsight, seq {levels} from ({source}) where {where} order by run, seq",
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

    # -- pivoting -----------------------------------------------------------------------------------------------

    def _parts(self, table: pd.DataFrame, shapes: Sequence[Shape]) -> list[pd.DataFrame]:
        """A table for each loop nest: its own names, with the values of outer levels repeated on its rows."""
        wide = {shape: self._wide(table[table["shape"] == _KEY.join(shape)], shape) for shape in shapes}
        parts = []
        spread: dict[Shape, list[pd.DataFrame]] = {shape: [] for shape in shapes}  # rows of outer levels already shown
        for shape in sorted(shapes, key=len, reverse=True):
            part = wide[shape]
            leaf = not any(len(other) > len(shape) and other[: len(shape)] == shape for other in shapes)
            if not leaf:
                part = self._not_shown(part, spread[shape], shape)
            for outer in shapes:
                if len(outer) < len(shape) and shape[: len(outer)] == outer:
                    part, shown = self._spread(part, wide[outer], outer)
                    spread[outer].append(shown)
            if not part.empty:
                parts.append(part.assign(**{f"{_KEY}shape": _KEY.join(shape)}))
        return parts

    def _levels(self, shape: Shape) -> list[str]:
        return [column for depth in range(len(shape)) for column in (f"c{depth}", f"i{depth}")]

    def _wide(self, part: pd.DataFrame, shape: Shape) -> pd.DataFrame:
        """One row a (path, ordinal), a column a name. A name logged once in an iteration stands on all its rows."""
        path = ["place", *self._levels(shape)]
        key = [*path, "ordinal"]
        rows = part[key].drop_duplicates(ignore_index=True)
        repeated = bool((rows["ordinal"] > 0).any())
        for name in self._names:
            mine = part[part["name"] == name]
            if mine.empty:
                continue
            column = mine[key].assign(
                **{f"{_KEY}v{name}": self._decode(mine), f"{_KEY}f{name}": mine["verdict"].to_numpy()}
            )
            if not repeated:
                rows = rows.merge(column, on=key, how="left")
                continue
            single = column.groupby(path, sort=False)["ordinal"].transform("size") == 1
            once = column[single].drop(columns="ordinal")
            rows = rows.merge(once, on=path, how="left")
            several = column[~single]
            if not several.empty:
                rows = rows.merge(several, on=key, how="left", suffixes=("", _KEY))
                for kind in "vf":
                    first, second = f"{_KEY}{kind}{name}", f"{_KEY}{kind}{name}{_KEY}"
                    rows[first] = rows[first].where(rows[first].notna(), rows.pop(second))
        return rows

    def _spread(self, part: pd.DataFrame, outer: pd.DataFrame, shape: Shape) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Put the values of an outer level onto the rows inside it; where it has several rows itself, they stay apart."""
        path = ["place", *self._levels(shape)]
        single = outer.groupby(path, sort=False)["ordinal"].transform("size") == 1
        once = outer[single].drop(columns="ordinal")
        columns = [column for column in once.columns if column not in path and column not in part.columns]
        joined = part.merge(once[[*path, *columns]], on=path, how="left")
        clashing = [c for c in once.columns if c not in path and c in part.columns]
        shown = part[path].drop_duplicates()
        if clashing:  # a name logged at both levels: the outer value has its own row
            values_here = once[[*path, *[c for c in clashing if c.startswith(f"{_KEY}v")]]].dropna(
                how="all", subset=[c for c in clashing if c.startswith(f"{_KEY}v")]
            )
            shown = shown.merge(values_here[path].drop_duplicates().assign(own=True), on=path, how="left")
            shown = shown[shown["own"].isna()].drop(columns="own")
        return joined, shown.merge(once[path], on=path)

    @staticmethod
    def _not_shown(part: pd.DataFrame, spread: list[pd.DataFrame], shape: Shape) -> pd.DataFrame:
        """Rows of an outer level that have nothing inside them to be repeated on."""
        if not spread:
            return part
        path = [column for column in spread[0].columns]
        shown = pd.concat(spread).drop_duplicates().assign(shown=True)
        part = part.merge(shown, on=path, how="left")
        return part[part["shown"].isna()].drop(columns="shown")

    def _decode(self, part: pd.DataFrame) -> Any:
        kinds = set(part["kind"])
        if kinds == {"float"} and part["text_value"].isna().all():
            return part["float_value"].to_numpy()
        if kinds == {"int"} and part["text_value"].isna().all():
            return part["int_value"].to_numpy(dtype="int64")
        if kinds == {"bool"}:
            return part["int_value"].to_numpy(dtype="int64").astype(bool)
        found = np.empty(len(part), dtype=object)
        columns = zip(
            part["run"], part["kind"], part["int_value"], part["float_value"], part["text_value"], strict=True
        )
        for place, (run, kind, whole, real, text) in enumerate(columns):
            if kind in ("int", "bool"):
                number = None if pd.isna(whole) else int(whole)
            else:
                number = None if kind != "float" or pd.isna(real) else real
            found[place] = values.decode(kind, number, None if pd.isna(text) else text, self._folders[run])
        if kinds == {"float"}:
            return found.astype(float)
        return found

    # -- loop values ----------------------------------------------------------------------------------------------

    def _loop_values(self, connection: duckdb.DuckDBPyConnection, shapes: Sequence[Shape]) -> dict[Shape, pd.DataFrame]:
        """For each loop nest (and each part of it) the values of its innermost loop that differ from the index."""
        prefixes = {shape[: depth + 1] for shape in shapes for depth in range(len(shape))}
        if not prefixes:
            return {}
        source = records.table(self._recorded, loops=True)
        found = {}
        for prefix in sorted(prefixes, key=len):
            levels = "".join(f", occurrences[{d + 1}] as c{d}, indices[{d + 1}] as i{d}" for d in range(len(prefix)))
            frame = connection.execute(
                f"select run, kind, int_value, float_value, text_value {levels} from ({source}) "
                "where event = 'value' and array_to_string(loops, ?) = ?",
                [_KEY, _KEY.join(prefix)],
            ).df()
            if not frame.empty:
                frame["place"] = frame["run"].map(self._runs)
                frame[f"{_KEY}loop"] = self._decode(frame)
                keys = ["place", *self._levels(prefix)]
                found[prefix] = frame[[*keys, f"{_KEY}loop"]].drop_duplicates(keys, keep="last")
        return found

    # -- the result -------------------------------------------------------------------------------------------------

    def _finish(
        self, parts: list[pd.DataFrame], shapes: Sequence[Shape], loop_values: dict[Shape, pd.DataFrame]
    ) -> pd.DataFrame:
        loop_names = list(dict.fromkeys(name for shape in sorted(shapes, key=len, reverse=True) for name in shape))
        loop_names.sort(key=lambda name: min(shape.index(name) for shape in shapes if name in shape))
        frames = []
        for part in parts:
            shape_key = part[f"{_KEY}shape"].iloc[0]
            shape = tuple(shape_key.split(_KEY)) if shape_key else ()
            out = part
            for depth, name in enumerate(shape):
                prefix = shape[: depth + 1]
                if prefix in loop_values:
                    keys = ["place", *self._levels(prefix)]
                    out = out.merge(
                        loop_values[prefix].rename(columns={f"{_KEY}loop": f"{_KEY}w{name}"}),
                        on=keys,
                        how="left",
                    )
            for depth, name in enumerate(shape):
                out[f"{_KEY}l{name}"] = out[f"i{depth}"]
            frames.append(out)
        whole = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
        order = ["place"] + [c for d in range(self._depth) for c in (f"c{d}", f"i{d}") if c in whole.columns]
        whole = whole.sort_values([*order, "ordinal"], kind="stable", na_position="last", ignore_index=True)
        result: dict[str, Any] = {
            "projid": [self._recorded[place].projid for place in whole["place"]],
            "tstamp": pd.to_datetime([self._recorded[place].started for place in whole["place"]]),
            "filename": [self._recorded[place].filename for place in whole["place"]],
        }
        result_frame = pd.DataFrame(result)
        for name in loop_names:
            column = whole.get(f"{_KEY}l{name}")
            if column is not None:
                result_frame[_free(name, result_frame, self._names)] = _integers(column)
            value = whole.get(f"{_KEY}w{name}")
            if value is not None:
                result_frame[f"{name}_value"] = _typed(value)
        for name in self._names:
            column = whole.get(f"{_KEY}v{name}")
            result_frame[name] = _typed(column) if column is not None else _nothing(len(whole))
            if self._fidelity:
                verdict = whole.get(f"{_KEY}f{name}")
                result_frame[f"{name}_fidelity"] = verdict if verdict is not None else _nothing(len(whole))
        result_frame.attrs["loops"] = tuple(loop_names)
        return result_frame

    def _empty(self) -> pd.DataFrame:
        columns = ["projid", "tstamp", "filename"]
        for name in self._names:
            columns += [name, f"{name}_fidelity"] if self._fidelity else [name]
        return pd.DataFrame(columns=columns)


def _free(name: str, frame: pd.DataFrame, names: Sequence[str]) -> str:
    """A loop may be called like a logged name: then its column is ``<name>_index``."""
    return f"{name}_index" if name in names or name in frame.columns else name


def _nothing(length: int) -> pd.Series:
    return pd.Series([None] * length, dtype=object)


def _integers(column: pd.Series) -> pd.Series:
    return column.astype("Int64") if column.isna().any() else column.astype("int64")


def _typed(column: pd.Series) -> pd.Series:
    """The values' own type: whole numbers stay whole beside missing ones."""
    if column.dtype != object:
        return column
    present = column[column.notna()]
    kinds = {type(value) for value in present}
    if not kinds:
        return column
    if kinds == {bool}:
        return column.astype("boolean") if len(present) < len(column) else column.astype(bool)
    if kinds == {int}:
        try:
            return column.astype("Int64") if len(present) < len(column) else column.astype("int64")
        except (OverflowError, TypeError):
            return column
    if kinds == {float}:
        return column.astype(float)
    return column
