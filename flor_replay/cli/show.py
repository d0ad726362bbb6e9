"""``flor-replay show NAMES``: columns of the dataframe."""

from __future__ import annotations

import json
import math
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from flor_replay.cli.common import find_project, plural, run_id
from flor_replay.cli.shell import DONE, ERROR, say
from flor_replay.errors import StoreError, UsageError

if TYPE_CHECKING:
    import pandas as pd


@click.command("show", short_help="Print columns of the dataframe.")
@click.argument("names", nargs=-1)
@click.option("--last", type=int, metavar="N", help="Only the newest N runs.")
@click.option("--runs", "only", multiple=True, metavar="RUN", help="Only this run (may be repeated).")
@click.option("--where", metavar="SQL", help='Only runs for which this holds, e.g. "lr < 0.01".')
@click.option("--filename", metavar="FILE", help="Only runs of this script.")
@click.option("--source", type=click.Choice(["recorded", "backfilled"]), help="Only values of this source.")
@click.option("--fidelity", is_flag=True, help="With the verdict on each value, and who placed its statement.")
@click.option("--diverged", is_flag=True, help="Also values of replays that diverged.")
@click.option("--live", is_flag=True, help="Only runs that are under way.")
@click.option(
    "--sort", multiple=True, metavar="COLUMN", help="Sort by this column, -COLUMN from high to low (may be repeated)."
)
@click.option("--csv", "as_csv", is_flag=True, help="As CSV.")
@click.option("--json", "as_json", is_flag=True, help="As JSON records.")
@click.option("--md", "as_md", is_flag=True, help="As a Markdown table.")
@click.option("--parquet", metavar="FILE", help="Into this Parquet file.")
@click.option(
    "--rows", type=int, default=60, metavar="N", help="At most N rows on a terminal, 0 for all. [default: 60]"
)
def command(
    names: tuple[str, ...],
    last: int | None,
    only: tuple[str, ...],
    where: str | None,
    filename: str | None,
    source: str | None,
    fidelity: bool,
    diverged: bool,
    live: bool,
    sort: tuple[str, ...],
    as_csv: bool,
    as_json: bool,
    as_md: bool,
    parquet: str | None,
    rows: int,
) -> int:
    """Print the columns NAMES, one row for each loop path, as flor.dataframe gives them. Without names: the runs."""
    import pandas as pd

    from flor_replay.store import frames
    from flor_replay.store.runs import has_runs

    if sum((as_csv, as_json, as_md, parquet is not None)) > 1:
        raise UsageError("--csv, --json, --md and --parquet: one of them")
    root, store = find_project()
    if not has_runs(store):
        raise StoreError(f"no runs are recorded in {root}: run a script that calls flor.log there first")
    if last is not None and last < 1:
        raise UsageError(f"--last {last}: at least 1")
    runs: list[str] | None = [run_id(store, name) for name in only] or None
    frame = frames.build(
        names,
        root,
        last=last,
        runs=runs,
        filename=filename,
        source=source,
        diverged=diverged,
        fidelity=fidelity,
        where=where,
        live=True if live else None,
    )
    frame = _sorted(frame, sort)
    unknown = [name for name in names if frame[name].isna().all()]
    if as_csv:
        frame.to_csv(sys.stdout, index=False)
    elif as_json:
        rows_of = (dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None))
        print(json.dumps([_plain(row) for row in rows_of], indent=1))
    elif as_md:
        print(_markdown(frame))
    elif parquet is not None:
        _write_parquet(frame, parquet)
        say(f"{plural(len(frame), 'row')} in {parquet}")
    elif frame.empty:
        say("no rows")
    else:
        limit = None if rows == 0 or not sys.stdout.isatty() else rows
        with pd.option_context("display.width", None, "display.max_columns", None, "display.max_colwidth", 60):
            shown = {"tstamp": "{:%Y-%m-%d %H:%M:%S}".format}
            print(frame.to_string(index=False, max_rows=limit, na_rep="", formatters=shown))
    for name in unknown:
        say(f"flor-replay: nothing was logged as {name!r}{_close(name, store)}")
    return ERROR if names and len(unknown) == len(names) else DONE


def _sorted(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    names = [column.removeprefix("-") if column not in frame.columns else column for column in columns]
    for name in names:
        if name not in frame.columns:
            raise UsageError(f"--sort {name}: no such column; there are {', '.join(map(str, frame.columns))}")
    if not names:
        return frame
    rising = [column in frame.columns for column in columns]
    try:
        return frame.sort_values(names, ascending=rising, kind="stable", ignore_index=True)
    except TypeError:  # numbers beside text have no order
        return frame.sort_values(
            names, ascending=rising, kind="stable", ignore_index=True, key=lambda column: column.map(str)
        )


def _plain(value: Any) -> Any:
    """A value as JSON has it: numbers with all their digits, null for what is no number or missing."""
    import numpy as np
    import pandas as pd

    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, datetime):
        return None if pd.isna(value) else value.isoformat(timespec="microseconds")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or value is pd.NA:
        return None
    return value if isinstance(value, (bool, int, str)) else str(value)


def _markdown(frame: pd.DataFrame) -> str:
    """A table as Markdown has it. Bars and line breaks inside cells are escaped."""

    def cell(value: object) -> str:
        import pandas as pd

        if pd.api.types.is_scalar(value) and pd.isna(value):  # type: ignore[call-overload]
            return ""
        return str(value).replace("|", "\\|").replace("\n", "<br>")

    lines = [[str(column) for column in frame.columns], ["---"] * len(frame.columns)]
    lines += [[cell(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write_parquet(frame: pd.DataFrame, path: str) -> None:
    """A column of one type keeps it; one of several, or of lists and dicts, is JSON text."""
    import duckdb

    from flor_replay.store import database
    from flor_replay.store.schema import quote

    plain = frame.copy()
    for column in plain.columns:
        kinds = {type(value) for value in plain[column] if value is not None}
        if plain[column].dtype == object and not kinds <= {str}:
            plain[column] = [None if value is None else json.dumps(value, default=str) for value in plain[column]]
    with database.connect() as connection:
        connection.register("frame", plain)
        try:
            connection.execute(f"copy (select * from frame) to {quote(path)} (format parquet)")
        except duckdb.IOException as error:
            raise StoreError(f"{path} cannot be written: {str(error).splitlines()[0]}") from None


def _close(name: str, store: str) -> str:
    """Names like a mistyped one."""
    import difflib

    from flor_replay.store import database, records
    from flor_replay.store.runs import all_runs

    with database.connect() as connection:
        rows = records.fetch(
            connection, f"select distinct name from ({records.table(connection, all_runs(store))}) limit 10000"
        )
    found = difflib.get_close_matches(name, [str(row[0]) for row in rows if row[0]], n=3)
    return f" (there is {', '.join(found)})" if found else ""
