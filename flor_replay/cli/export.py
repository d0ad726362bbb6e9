"""``flor-replay export RUN… FILE``: runs in one file for somebody else."""

from __future__ import annotations

import os

import click

from flor_replay.cli.common import find_project, plural
from flor_replay.cli.moving import groups
from flor_replay.cli.shell import DONE, PARTLY, say


@click.command("export", short_help="Put runs into one file for somebody else.")
@click.argument("runs", nargs=-1, metavar="[RUN…]")
@click.argument("file")
@click.option("--all", "every", is_flag=True, help="All runs that have ended.")
@click.option("--checkpoints", is_flag=True, help="With their checkpoints: replays elsewhere start from them.")
def command(runs: tuple[str, ...], file: str, every: bool, checkpoints: bool) -> int:
    """Put runs with their logs, their backfilled values and their versions (a git bundle) into FILE, a zip.

    It holds the source of every version and its history: give it to whom you would give the repository.
    """
    from flor_replay.moving import archive

    root, store = find_project()
    chosen = groups(store, runs, every)
    notes = archive.write(root, [run for group in chosen for run in group], file, checkpoints=checkpoints)
    for note in notes:
        say(f"flor-replay: {note}")
    say(f"{plural(len(chosen), 'run')} in {file} ({os.path.getsize(file):,} bytes)")
    return PARTLY if notes else DONE
