"""Log records of many runs as one table, read by DuckDB: sealed Parquet and live JSONL together."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from flor_replay.errors import StoreError
from flor_replay.store import schema
from flor_replay.store.runs import Run, all_runs

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")


def log_tables(runs: Iterable[Run], *, loops: bool = False) -> list[str]:
    """SQL selects, one a form, of the log records (or the loop events) of `runs`; each has a column ``run``."""
    sealed: list[str] = []
    selects: list[str] = []
    select = schema.SELECT_LOOPS if loops else schema.SELECT_LOG
    for run in runs:
        path = run.folder.loops if loops else run.folder.log
        if os.path.exists(path) and not os.path.exists(run.folder.live):
            sealed.append(path)
        elif os.path.exists(run.folder.live):
            live = schema.live_table(run.folder.live)
            selects.append(f"select {schema.quote(run.run)} as run, * from ({select.format(live=live)})")
        elif os.path.exists(path):
            sealed.append(path)
    if sealed:
        files = ", ".join(schema.quote(path) for path in sealed)
        selects.insert(
            0,
            "select regexp_extract(filename, '([^/\\\\]+)[/\\\\][^/\\\\]+$', 1) as run, * exclude (filename) "
            f"from read_parquet([{files}], filename=true, union_by_name=true)",
        )
    return selects


def table(runs: Sequence[Run], *, loops: bool = False) -> str:
    """SQL of one select over all of `runs`."""
    selects = log_tables(runs, loops=loops)
    if not selects:
        columns = schema.LOOP_COLUMNS if loops else schema.LOG_COLUMNS
        empty = ", ".join(f"null::{kind} as {name}" for name, kind in columns.items())
        return f"select null::VARCHAR as run, {empty} where false"
    return " union all by name ".join(f"({select})" for select in selects)


def connect() -> duckdb.DuckDBPyConnection:
    """A private in-memory DuckDB."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("set enable_progress_bar = false")
    return connection


def reading(store: str, answer: Callable[[list[Run]], T]) -> T:
    """What `answer` makes of the store's runs.

    A run may be sealed while its live log is read: then it is read again. One whose files are broken is left out, with a
    line on stderr.
    """
    import duckdb

    try:
        return answer(shown(store))
    except (duckdb.Error, StoreError) as error:
        runs = shown(store)
        problems = {run.run: problem for run in runs if (problem := _broken(run)) is not None}
        if not problems and isinstance(error, duckdb.Error) and not isinstance(error, duckdb.IOException):
            raise  # the question was wrong
        for run, problem in problems.items():
            print(f"flor: run {run} is left out, its log cannot be read: {problem}", file=sys.stderr)
        return answer([run for run in runs if run.run not in problems])


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
    """Why a run's log cannot be read, if so."""
    import duckdb

    with connect() as connection:
        try:
            for loops in (False, True):
                # every column, every row: a flipped byte shows only where it is
                connection.execute(f"select sum(hash(columns(*))) from ({table([run], loops=loops)})").fetchall()
        except duckdb.Error as error:
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
