"""Which runs a condition holds for: ``--where "lr < 0.01"``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flor_replay.errors import QueryError
from flor_replay.store import database, records
from flor_replay.store.overview import overview
from flor_replay.store.runs import Run, all_runs

_WORD = re.compile(r"[A-Za-z_]\w*")


def runs_where(store: str, condition: str) -> frozenset[str]:
    """As `matching`, of all recorded runs of a store."""
    return matching([run for run in all_runs(store) if not run.replay_of and run.rank == 0], condition)


def matching(runs: Sequence[Run], condition: str) -> frozenset[str]:
    """Ids of the runs for which an SQL condition holds.

    It may name run columns (projid, tstamp, filename, run, status), arguments, and names logged (their last value).
    Raises QueryError in DuckDB's words.
    """
    import duckdb
    import pandas as pd

    frame = overview(runs)
    wanted = [word for word in dict.fromkeys(_WORD.findall(condition)) if word not in frame.columns]
    with database.connect() as connection:
        if wanted and runs:
            logged = connection.execute(
                "select run, name, last(coalesce(float_value, int_value::double) order by seq) as number, "
                f"last(text_value order by seq) as text from ({records.table(connection, runs)}) "
                "where name in (select unnest(?)) group by run, name",
                [wanted],
            ).df()
            for name, part in logged.groupby("name"):
                column = part["number"] if part["number"].notna().any() else part["text"]
                frame = frame.merge(pd.DataFrame({"run": part["run"], str(name): column}), on="run", how="left")
        frame = frame.convert_dtypes()
        connection.register("candidates", frame)
        try:
            rows = connection.execute(f"select run from candidates where ({condition})").fetchall()
        except duckdb.Error as error:
            known = ", ".join(frame.columns)
            raise QueryError(f"--where {condition!r}: {str(error).splitlines()[0]} (columns: {known})") from None
    return frozenset(str(row[0]) for row in rows)
