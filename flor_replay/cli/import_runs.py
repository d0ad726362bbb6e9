"""``flor-replay import FILE``: the runs of somebody else's file."""

from __future__ import annotations

import click

from flor_replay.cli.common import find_project
from flor_replay.cli.moving import told

TRUST = "Their checkpoints may be unpickled: that can run code of whoever wrote them."


@click.command("import", short_help="Take over the runs in a file of `export`.")
@click.argument("file")
@click.option("--trust", is_flag=True, help=TRUST)
def command(file: str, trust: bool) -> int:
    """Take over the runs in FILE, a file that `flor-replay export` made. Runs that are here already stay as they are."""
    from flor_replay.moving import unpack

    root, store = find_project()
    return told(unpack.read(root, store, file, trust=trust))
