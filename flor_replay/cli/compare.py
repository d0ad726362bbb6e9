"""``flor-replay compare NAME``: a regenerated column, old beside new."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from flor_replay.cli.common import find_project, plural, run_id
from flor_replay.cli.shell import DONE, ERROR, say


@click.command("compare", short_help="Show the old and the new values of a regenerated name.")
@click.argument("name")
@click.option("--runs", "only", multiple=True, metavar="RUN", help="Only this run (may be repeated).")
@click.option("--all", "everything", is_flag=True, help="Also values that came out the same.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def command(name: str, only: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Show for each run and loop path what NAME was before its newest statement was replayed, and what it is now.

    The first value is the recorded one, or that of the first backfill; each changed statement makes a generation.
    """
    from flor_replay.store.generations import generations
    from flor_replay.store.records import reading

    _, store = find_project()
    runs = frozenset(run_id(store, word) for word in only) or None
    found = reading(store, lambda all_runs: generations(all_runs, name, runs))
    several = [one for one in found if len(one.values) > 1]
    if not several:
        say(
            f"flor-replay: {name!r} has one generation of values"
            if found
            else f"flor-replay: nothing was logged as {name!r}"
        )
        return DONE if found else ERROR
    shown = several if everything else [one for one in several if one.differs]
    if as_json:
        print(json.dumps([one.as_data() for one in shown], indent=1, default=str))
        return DONE
    rows = [(one.run[-8:], one.place, _show(one.old), _show(one.new), _show(one.change)) for one in shown]
    if rows:
        _print([("run", "where", "old", "new", "new - old"), *rows])
    count = sum(one.differs for one in several)
    say(f"flor-replay: {count} of {plural(len(several), 'value')} of {name} changed")
    return DONE


def _show(value: Any) -> str:
    if value is None:
        return ""
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _print(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")
