"""``flor-replay runs``: the recorded runs."""

from __future__ import annotations

import json
import os

import click
from rich.console import Console
from rich.text import Text

from flor_replay.cli.common import duration, find_project, table_of
from flor_replay.cli.shell import DONE
from flor_replay.errors import UsageError


@click.command("runs", short_help="List the recorded runs.")
@click.option("--last", type=int, metavar="N", help="Only the newest N.")
@click.option("--where", metavar="SQL", help='Only runs for which this holds, e.g. "lr < 0.01".')
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(last: int | None, where: str | None, as_json: bool) -> int:
    """List the runs of this project, newest last. --json has their whole ids, reasons and numbers of replays."""
    from flor_replay.store.runs import all_runs

    _, store = find_project()
    everything = all_runs(store)
    runs = [run for run in everything if not run.replay_of]
    if where is not None:
        from flor_replay.store.filters import runs_where

        matching = runs_where(store, where)
        runs = [run for run in runs if run.run in matching]
    if last is not None:
        if last < 1:
            raise UsageError(f"--last {last}: at least 1")
        runs = runs[-last:]
    replays: dict[str, int] = {}
    for run in everything:
        if run.replay_of and run.fidelity.get("verdict") in ("exact", "close", "unchecked"):
            replays[run.replay_of] = replays.get(run.replay_of, 0) + 1
    rows = [
        {
            "run": run.run, "tstamp": run.started.isoformat(sep=" ", timespec="seconds"), "filename": run.filename,
            "status": run.status, "reason": run.info.get("reason"), "version": run.commit, "seconds": run.info.get("seconds"),
            "args": run.args, "argv": run.info.get("entry", {}).get("argv", []), "output": run.folder.output if os.path.exists(run.folder.output) else None, "checkpoints": _checkpoints(run.folder.checkpoints), "replays": replays.get(run.run, 0),
        }
        for run in runs
    ]  # fmt: skip
    if as_json:
        print(json.dumps(rows, indent=1, default=str))
        return DONE
    if not rows:
        click.echo("no runs yet", err=True)
        return DONE
    columns = ("run", "started", "status", "version", "took", "check-\npoints", "script and arguments")
    table = table_of(*columns, wrapped=columns[-1:])
    colours = {"finished": "green", "running": "cyan", "failed": "red", "crashed": "red", "stopped": "yellow"}
    for run, row in zip(runs, rows, strict=True):
        took = duration(float(run.info["seconds"])) if run.info.get("seconds") is not None else ""
        table.add_row(
            run.run[-8:], f"{run.started:%Y-%m-%d %H:%M}", Text(run.status, style=colours.get(run.status, "")),
            str(run.commit or "none")[:8], took, str(row["checkpoints"]), f"{run.filename} {run.told}",
        )  # fmt: skip
    screen = Console(highlight=False)
    if not screen.is_terminal:
        screen = Console(highlight=False, width=200)
    screen.print(table)
    return DONE


def _checkpoints(folder: str) -> int:
    try:
        return sum(name.endswith(".json") for name in os.listdir(folder))
    except OSError:
        return 0
