"""``flor.query``: SQL over the store."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flor_replay.errors import QueryError
from flor_replay.store import contexts, database, layout, records
from flor_replay.store.runs import Run, open_store

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

RUN_COLUMNS = {
    "run": "VARCHAR", "projid": "VARCHAR", "tstamp": "TIMESTAMP", "filename": "VARCHAR", "status": "VARCHAR",
    "version": "VARCHAR", "args": "JSON", "entry": "JSON", "host": "VARCHAR", "python": "VARCHAR", "packages": "JSON",
    "seconds": "DOUBLE", "rank": "INTEGER",
}  # fmt: skip
REPLAY_COLUMNS = {
    "replay": "VARCHAR", "run": "VARCHAR", "tstamp": "TIMESTAMP", "status": "VARCHAR", "patched": "VARCHAR",
    "segment": "JSON", "verdict": "VARCHAR", "compared": "BIGINT", "first_difference": "JSON", "seconds": "DOUBLE",
    "placed_by": "JSON",
}  # fmt: skip
CHECKPOINT_COLUMNS = {
    "run": "VARCHAR", "checkpoint": "VARCHAR", "loop": "VARCHAR", "iteration": "BIGINT", "point": "VARCHAR",
    "stall_seconds": "DOUBLE", "bytes_logical": "BIGINT", "bytes_written": "BIGINT", "not_captured": "JSON",
}  # fmt: skip

CALLER_COLUMNS = {
    "run": "VARCHAR", "depth": "INTEGER", "kind": "VARCHAR", "workflow": "VARCHAR", "task": "VARCHAR", "execution": "VARCHAR",
    "prerequisites": "VARCHAR[]", "recipe": "VARCHAR", "details": "JSON",
}  # fmt: skip


def run_query(sql: str, root: str | None = None) -> pd.DataFrame:
    """See `flor_replay.record.api.query`."""
    import duckdb

    _, store = open_store(root)

    def answer(everything: Sequence[Run]) -> pd.DataFrame:
        with database.private() as connection:
            register(connection, everything)
            if re.search(r"\b(contexts|callers|packages)\b", sql, re.IGNORECASE):
                _register_contexts(connection, store, everything)
            return connection.execute(sql).df()

    try:
        return records.reading(store, answer)
    except duckdb.Error as error:
        raise QueryError(f"the query is wrong: {error}") from None


def register(connection: duckdb.DuckDBPyConnection, everything: Sequence[Run]) -> None:
    """Make the views ``runs``, ``logs``, ``loops``, ``checkpoints``, ``replays`` in `connection`."""
    recorded = [run for run in everything if not run.replay_of]
    replays = [run for run in everything if run.replay_of]
    _fill(connection, "runs", RUN_COLUMNS, [_run_row(run) for run in recorded])
    _fill(connection, "replays", REPLAY_COLUMNS, [_replay_row(run) for run in replays])
    _fill(
        connection,
        "checkpoints",
        CHECKPOINT_COLUMNS,
        [row for run in recorded for row in _checkpoint_rows(run)],
    )
    value = "coalesce(text_value, float_value::varchar, int_value::varchar)"
    connection.execute(
        "create temp view logs as select l.run as run, name, kind, int_value, float_value, text_value, "
        f"{value} as value, loops, occurrences, indices, ordinal, seq, to_timestamp(time) as time, "
        "'recorded' as source "
        f"from ({records.table(connection, recorded)}) l "
        "union all by name "
        "select r.run as run, name, kind, int_value, float_value, text_value, "
        f"{value} as value, loops, occurrences, indices, ordinal, seq, to_timestamp(time) as time, "
        "'backfilled' as source "
        f"from ({records.table(connection, replays)}) l join replays r on r.replay = l.run "
        "where l.hindsight > 0 and r.verdict in ('exact', 'close', 'unchecked')"
    )
    connection.execute(f"create temp view loops as {records.table(connection, recorded, loops=True)}")


def _register_contexts(connection: duckdb.DuckDBPyConnection, store: str, everything: Sequence[Run]) -> None:
    """Make the views ``contexts``, ``callers`` and ``packages``."""
    recorded = [run for run in everything if not run.replay_of]
    read = {run.run: contexts.read(store, run) for run in recorded}
    columns = {"run": "VARCHAR", "filename": "VARCHAR", **contexts.COLUMNS, "context": "JSON"}
    rows = [
        (run.run, run.filename, *contexts.row(run, read[run.run]).values(), _json(read[run.run])) for run in recorded
    ]
    _fill(connection, "contexts", columns, rows)
    callers = [
        (
            run, depth, caller.get("kind"), caller.get("workflow"), caller.get("task"), caller.get("id"),
            caller.get("details", {}).get("prerequisites"), caller.get("details", {}).get("recipe"),
            _json(caller.get("details")),
        )
        for run, context in read.items()
        for depth, caller in enumerate(context.get("callers", ()))
    ]  # fmt: skip
    _fill(connection, "callers", CALLER_COLUMNS, callers)
    # Runs share environments: one table an environment, joined.
    environments = {str(context.get("packages")): contexts.packages(store, context) for context in read.values()}
    _fill(
        connection,
        "environments",
        {"environment": "VARCHAR", "package": "VARCHAR", "version": "VARCHAR"},
        [(name, package, version) for name, found in environments.items() for package, version in found.items()],
    )
    used = [(run, str(context.get("packages"))) for run, context in read.items()]
    _fill(connection, "environment_of", {"run": "VARCHAR", "environment": "VARCHAR"}, used)
    connection.execute(
        "create view packages as select run, package, version from environment_of join environments using (environment)"
    )


def _fill(
    connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, str], rows: Sequence[Sequence[Any]]
) -> None:
    connection.execute(f"create table {name} ({', '.join(f'{column} {kind}' for column, kind in columns.items())})")
    if rows:
        marks = ", ".join("?" for _ in columns)
        connection.executemany(f"insert into {name} values ({marks})", [list(row) for row in rows])


def _json(value: object) -> str:
    return json.dumps(value, default=str)


def _run_row(run: Run) -> tuple[Any, ...]:
    machine = run.info.get("machine", {})
    return (
        run.run, run.projid, run.started, run.filename, run.status, run.commit, _json(run.args),
        _json(run.info.get("entry")), machine.get("host"), machine.get("python"), _json(run.info.get("packages")),
        run.info.get("seconds"), run.rank,
    )  # fmt: skip


def _replay_row(run: Run) -> tuple[Any, ...]:
    verdict = run.fidelity
    return (
        run.run, run.replay_of, run.started, run.status, run.info.get("patched"), _json(run.info.get("segment")),
        verdict.get("verdict"), verdict.get("compared"), _json(verdict.get("first")), run.info.get("seconds"),
        _json(run.placed_by),
    )  # fmt: skip


def _checkpoint_rows(run: Run) -> list[tuple[Any, ...]]:
    import os

    rows = []
    try:
        names = sorted(os.listdir(run.folder.checkpoints))
    except OSError:
        return []
    for name in names:
        manifest = layout.read_json(os.path.join(run.folder.checkpoints, name)) if name.endswith(".json") else None
        if isinstance(manifest, dict) and isinstance(manifest.get("point"), dict):
            point = manifest["point"]
            rows.append(
                (
                    run.run,
                    manifest.get("id"),
                    point.get("loop"),
                    point.get("index"),
                    point.get("at"),
                    manifest.get("stall_seconds"),
                    manifest.get("bytes_logical"),
                    manifest.get("bytes_written"),
                    _json(manifest.get("not_captured")),
                )
            )
    return rows
