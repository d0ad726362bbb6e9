"""``flor-replay show NAMES``: columns of the dataframe."""

from __future__ import annotations

import sys

import click

from flor_replay.cli.common import find_project, run_id
from flor_replay.cli.shell import DONE, ERROR, say
from flor_replay.errors import UsageError


@click.command("show", short_help="Print columns of the dataframe.")
@click.argument("names", nargs=-1)
@click.option("--last", type=int, metavar="N", help="Only the newest N runs.")
@click.option("--runs", "only", multiple=True, metavar="RUN", help="Only this run (may be repeated).")
@click.option("--where", metavar="SQL", help='Only runs for which this holds, e.g. "lr < 0.01".')
@click.option("--filename", metavar="FILE", help="Only runs of this script.")
@click.option("--source", type=click.Choice(["recorded", "backfilled"]), help="Only values of this source.")
@click.option("--fidelity", is_flag=True, help="With the verdict on each value, and who placed its statement.")
@click.option("--diverged", is_flag=True, help="Also values of replays that diverged.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV.")
@click.option("--json", "as_json", is_flag=True, help="As JSON records.")
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
    as_csv: bool,
    as_json: bool,
    rows: int,
) -> int:
    """Print the columns NAMES, one row for each loop path, as flor.dataframe gives them. Without names: the runs."""
    import pandas as pd

    from flor_replay.store import frames
    from flor_replay.store.filters import runs_where

    root, store = find_project()
    if last is not None and last < 1:
        raise UsageError(f"--last {last}: at least 1")
    runs: list[str] | None = [run_id(store, name) for name in only] or None
    if where is not None:
        matching = runs_where(store, where)
        runs = [run for run in (runs or sorted(matching)) if run in matching]
    frame = frames.build(
        names,
        root,
        last=last,
        runs=runs,
        filename=filename,
        source=source,
        diverged=diverged,
        fidelity=fidelity,
    )
    unknown = [name for name in names if frame[name].isna().all()]
    if as_csv:
        frame.to_csv(sys.stdout, index=False)
    elif as_json:
        print(frame.to_json(orient="records", date_format="iso", date_unit="us", default_handler=str, indent=1))
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


def _close(name: str, store: str) -> str:
    """Names like a mistyped one."""
    import difflib

    from flor_replay.store import records
    from flor_replay.store.runs import all_runs

    with records.connect() as connection:
        rows = records.fetch(
            connection, f"select distinct name from ({records.table(connection, all_runs(store))}) limit 10000"
        )
    found = difflib.get_close_matches(name, [str(row[0]) for row in rows if row[0]], n=3)
    return f" (there is {', '.join(found)})" if found else ""
