"""``flor-replay replay --resume``: go on with the backfill that was interrupted."""

from __future__ import annotations

import os
from typing import Any

import click

from flor_replay.cli import add_log
from flor_replay.cli.common import find_project
from flor_replay.cli.resuming import pending
from flor_replay.cli.shell import DONE, say
from flor_replay.errors import UsageError
from flor_replay.store import layout


@click.command("replay", short_help="Go on with an interrupted backfill.")
@click.option("--resume", is_flag=True, help="Go on with the last add-log that did not come to its end.")
@click.option("--jobs", "-j", type=int, metavar="N", help="Workers at a time [default: as before].")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_context
def command(ctx: click.Context, resume: bool, jobs: int | None, yes: bool) -> int:
    """Go on with the last add-log that was interrupted, with its files and options. What it filled is not done again.

    The same as to type the add-log again, from the same folder.
    """
    if not resume:
        raise UsageError("--resume is what there is to do here; add-log begins a backfill")
    _, store = find_project()
    kept = layout.read_json(pending(store))
    if not isinstance(kept, dict):
        say("flor-replay: no backfill was interrupted")
        return DONE
    options: dict[str, Any] = dict(kept["options"])
    for name, value in options.items():
        if isinstance(value, list):
            options[name] = tuple(value)
    if jobs is not None:
        options["jobs"] = jobs
    os.chdir(kept["cwd"])
    say(f"flor-replay: going on with add-log {' '.join(options['files'])}")
    code: int = ctx.invoke(add_log.command, **{**options, "yes": yes or options["yes"], "dry_run": False})
    return code
