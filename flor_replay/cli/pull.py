"""``flor-replay pull REMOTE``: the runs on a git remote or in a folder."""

from __future__ import annotations

import click

from flor_replay.cli.common import find_project
from flor_replay.cli.import_runs import TRUST
from flor_replay.cli.moving import told


@click.command("pull", short_help="Take over runs from a git remote or a folder.")
@click.argument("remote")
@click.option("--trust", is_flag=True, help=TRUST)
@click.option("--dry-run", is_flag=True, help="Only say which.")
def command(remote: str, trust: bool, dry_run: bool) -> int:
    """Take over the runs that `flor-replay push` sent to REMOTE, a git remote or a folder."""
    from flor_replay.moving import remote as moving

    root, store = find_project()
    return told(moving.pull(root, store, remote, trust=trust, dry_run=dry_run), dry_run=dry_run)
