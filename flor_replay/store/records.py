"""Log records of many runs as one table, read by DuckDB: sealed Parquet and live JSONL together."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from flor_replay.errors import StoreError
from flor_replay.store import database, index, layout, schema, sealing
from flor_replay.store.runs import Run, all_runs

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")
_number = itertools.count()
_ATTEMPTS = 20  # to read while folders vanish: each one is another that has gone


class Tables:
    """The records of some runs, in one connection: sealed and live, of every form, as if they were one table."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, runs: Sequence[Run]) -> None:
        self._connection = connection
        self._runs = list(runs)
        self._name = f"runs_{next(_number)}"

    def log(self) -> tuple[str, int]:
        """SQL of the log records, and for how many levels it has columns.

        Columns: those of `schema.LOG_COLUMNS`, of the levels, and ``place``, the run's place in `runs`. Rows come by run, then by name,
        then in the order they were made, where a query does not change that.
        """
        selects = [f"select {schema_columns(schema.LOG_COLUMNS)}, null::INTEGER as place where false"]
        depths = [0]
        for select, depth in self._sources(loops=False):
            selects.append(select)
            depths.append(depth)
        return " union all by name ".join(f"({select})" for select in selects), max(depths)

    def with_lists(self) -> str:
        """SQL of the log records with ``run`` and the lists of `schema.PLACE_COLUMNS`."""
        source, depth = self.log()
        return self._named(schema.with_lists(source, depth))

    def loops(self) -> str:
        """SQL of what loops did: ``run`` and the columns of `schema.LOOP_COLUMNS`."""
        selects = [f"select {schema_columns(schema.LOOP_COLUMNS)}, null::INTEGER as place where false"]
        selects += [select for select, _ in self._sources(loops=True)]
        return self._named(" union all by name ".join(f"({select})" for select in selects))

    def _named(self, source: str) -> str:
        name = f"{self._name}_ids"
        self._connection.execute(f"set variable {name} = ?", [[run.run for run in self._runs]])
        return f"select getvariable('{name}')[place + 1] as run, * exclude (place) from ({source})"

    def _sources(self, *, loops: bool) -> Iterator[tuple[str, int]]:
        """A select for each form, and each live log, with its levels. Neighbours of one form are read together."""
        group: list[tuple[int, str]] = []
        form: int | str = layout.FORMAT
        older = self._sealed_in_form_1()
        for place, run, path, of in self._placed(loops, older):
            if group and of != form:
                yield self._sealed(group, form, loops)
                group = []
            if of == "live":
                try:
                    found = self._live(place, run, path, loops)
                except FileNotFoundError:
                    path, of = (run.folder.loops if loops else run.folder.log), layout.FORMAT
                    if not os.path.exists(path):
                        raise  # the run is gone; else it was sealed meanwhile, and is whole there
                else:
                    yield found
            form = of
            if of != "live":
                group.append((place, path))
        if group:
            yield self._sealed(group, form, loops)

    def _placed(self, loops: bool, older: set[str]) -> Iterator[tuple[int, Run, str, int | str]]:
        """Each run's place, the file that has its records, and the form of that."""
        merged = None
        checked: set[str] = set()
        if not loops and len(self._runs) >= index.MANY:
            merged = self._merged(older)
        for place, run in enumerate(self._runs):
            found = merged.find(run.run, run.folder.log) if merged is not None else None
            if merged is not None and found is not None:
                if found not in checked:
                    checked.add(found)
                    merged.check(found)
                yield place, run, found, "merged"
                continue
            path = run.folder.loops if loops else run.folder.log
            live = [path for path in (run.folder.live, run.folder.live_1) if os.path.exists(path)]
            if live:
                yield place, run, live[0], "live"
            elif os.path.exists(path):
                sealing.check(path, run.info.get("sealed", {}).get(os.path.basename(path)))
                yield place, run, path, 1 if run.run in older else layout.FORMAT

    def _merged(self, older: set[str]) -> index.Merged:
        """The merged files, with what is new merged too."""
        merged = index.Merged(self._runs[0].folder.store)
        new = {
            run.run: run.folder.log
            for run in self._runs
            if run.status != "running"
            and run.run not in older
            and merged.find(run.run, run.folder.log) is None
            and os.path.exists(run.folder.log)
            and not os.path.exists(run.folder.live)
        }
        if len(new) >= index.MANY:
            of = {run.run: run.info.get("sealed", {}).get("log.parquet") for run in self._runs}
            merged.extend(self._connection, new, of)
        return merged

    def _sealed_in_form_1(self) -> set[str]:
        """A run of form 1 may have been sealed by a later version."""
        candidates = {
            run.folder.log: run.run
            for run in self._runs
            if run.info.get("format") == 1 and os.path.exists(run.folder.log)
        }
        if not candidates:
            return set()
        files = ", ".join(map(schema.quote, candidates))
        newer = fetch(
            self._connection,
            f"select file_name from parquet_kv_metadata([{files}]) where key = 'flor_format' and value <> '1'",
        )
        return set(candidates.values()) - {candidates[str(path)] for (path,) in newer}

    def _live(self, place: int, run: Run, path: str, loops: bool) -> tuple[str, int]:
        if path == run.folder.live_1:
            if loops:
                return f"select {place} as place, * from ({schema.live_1(path, loops=True)})", 0
            source = f"{schema.live_1(path)} order by n, s"
            return self._from_1(source, f"{place} as place")
        from flor_replay.store import live, livetables

        found = live.read(path)
        if found.problems and not loops:
            print(f"flor: a part of the log of run {run.run} is lost: {'; '.join(found.problems)}", file=sys.stderr)
        if loops:
            return f"select {place} as place, * from ({livetables.loops(self._connection, found)})", 0
        return f"select {place} as place, * from ({livetables.log(self._connection, found.log)})", found.log.depth

    def _sealed(self, found: Sequence[tuple[int, str]], form: int | str, loops: bool) -> tuple[str, int]:
        if form == "merged":
            return self._of_merged(found)
        files = ", ".join(schema.quote(path) for _, path in found)
        table = f"read_parquet([{files}], filename = true, union_by_name = true)"
        if len(found) == 1:
            place = str(found[0][0])
        else:
            name = f"{self._name}_files_{next(_number)}"
            self._connection.execute(f"create temp type {name} as enum ({files})")
            self._connection.execute(f"set variable {name} = ?", [[place for place, _ in found]])
            place = f"getvariable('{name}')[enum_code(filename::{name})::BIGINT + 1]"
        place = f"{place}::INTEGER as place"
        if loops:
            return f"select {place}, * exclude (filename) from {table}", 0
        if form == 1:
            return self._from_1(f"select * from {table}", place)
        columns = {str(row[0]) for row in fetch(self._connection, f"describe select * from {table}")}
        depth = sum(f"i{d}" in columns for d in range(1, len(columns) + 1))
        wanted = ", ".join([*schema.LOG_COLUMNS, *schema.level_columns(depth)])
        return f"select {place}, {wanted} from {table}", depth

    def _of_merged(self, found: Sequence[tuple[int, str]]) -> tuple[str, int]:
        """Runs in files that may hold others too."""
        name = f"{self._name}_merged_{next(_number)}"
        runs = ", ".join(schema.quote(self._runs[place].run) for place, _ in found)
        self._connection.execute(f"create temp type {name} as enum ({runs})")
        self._connection.execute(f"set variable {name} = ?", [[place for place, _ in found]])
        files = ", ".join(map(schema.quote, dict.fromkeys(path for _, path in found)))
        table = f"read_parquet([{files}], union_by_name = true)"
        columns = {str(row[0]) for row in fetch(self._connection, f"describe select * from {table}")}
        depth = sum(f"i{d}" in columns for d in range(1, len(columns) + 1))
        wanted = ", ".join([*schema.LOG_COLUMNS, *schema.level_columns(depth)])
        place = f"getvariable('{name}')[enum_code(try_cast(run as {name}))::BIGINT + 1]::INTEGER as place"
        return f"select * from (select {place}, {wanted} from {table}) where place is not null", depth

    def _from_1(self, source: str, place: str) -> tuple[str, int]:
        ((depth,),) = fetch(self._connection, f"select coalesce(max(len(indices)), 0) from ({source})")
        return schema.from_1(source, int(depth), place), int(depth)  # type: ignore[call-overload]


def schema_columns(columns: Mapping[str, str]) -> str:
    """The columns, empty."""
    return ", ".join(f"null::{kind} as {name}" for name, kind in columns.items())


def table(connection: duckdb.DuckDBPyConnection, runs: Sequence[Run], *, loops: bool = False) -> str:
    """SQL of one select over all of `runs`: their log records with lists, or what loops did. It has a column ``run``."""
    tables = Tables(connection, runs)
    return tables.loops() if loops else tables.with_lists()


def reading(store: str, answer: Callable[[list[Run]], T]) -> T:
    """What `answer` makes of the store's runs.

    A run may be sealed while its live log is read: then it is read again. One whose files are broken is left out, with a
    line on stderr.
    """
    import duckdb

    for attempt in range(_ATTEMPTS):
        try:
            return answer(shown(store))
        except (duckdb.Error, StoreError, OSError) as error:
            index.discard(store)  # it is derived, and may be what is broken
            runs = shown(store)
            problems = {run.run: problem for run in runs if (problem := _broken(run)) is not None}
            if not problems and isinstance(error, duckdb.Error) and not isinstance(error, duckdb.IOException):
                raise  # the question was wrong
            whole = [run for run in runs if run.run not in problems]
            # Where none is broken, something has vanished or was sealed meanwhile: then it is looked at again.
            if problems or attempt == _ATTEMPTS - 1:
                for run, problem in problems.items():
                    print(f"flor: run {run} is left out, its log cannot be read: {problem}", file=sys.stderr)
                try:
                    return answer(whole)
                except (duckdb.IOException, StoreError, OSError):
                    if attempt == _ATTEMPTS - 1:
                        raise
    raise AssertionError("unreachable")


_as_of: float | None = None  # unix seconds


def look_back(moment: float) -> None:
    """Make this process read what had ended by then: a replay sees what the recorded run saw."""
    global _as_of
    _as_of = moment


def shown(store: str) -> list[Run]:
    """The runs and replays whose values are to be read."""
    runs = [run for run in all_runs(store) if not run.hidden]
    if _as_of is None:
        return runs
    return [run for run in runs if (run.info.get("ended") or float("inf")) <= _as_of]


def _broken(run: Run) -> str | None:
    with database.connect() as connection:
        return broken(connection, run, loops=False) or broken(connection, run, loops=True)


def broken(connection: duckdb.DuckDBPyConnection, run: Run, *, loops: bool) -> str | None:
    """Why a run's log (or what its loops did) cannot be read, if so."""
    import duckdb

    try:
        # every column, every row: a flipped byte shows only where it is
        connection.execute(f"select sum(hash(columns(*))) from ({table(connection, [run], loops=loops)})").fetchall()
    except (duckdb.Error, StoreError, OSError) as error:
        return str(error).splitlines()[0]
    return None


def fetch(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()
) -> list[tuple[object, ...]]:
    """All rows of a query over the store's files. Raises StoreError naming what cannot be read."""
    import duckdb

    try:
        return connection.execute(sql, list(parameters)).fetchall()
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise StoreError(f"the store cannot be read: {str(error).splitlines()[0]}") from error
