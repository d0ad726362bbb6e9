"""``flor-replay push REMOTE``: runs to a git remote or a folder."""

from __future__ import annotations

import click

from flor_replay.cli.common import find_project, plural
from flor_replay.cli.moving import groups
from flor_replay.cli.shell import DONE, say


@click.command("push", short_help="Send runs to a git remote or a folder.")
@click.argument("remote")
@click.argument("runs", nargs=-1, metavar="[RUN…]")
@click.option("--all", "every", is_flag=True, help="All runs that have ended.")
@click.option("--checkpoints", is_flag=True, help="With their checkpoints.")
@click.option("--dry-run", is_flag=True, help="Only say which.")
def command(remote: str, runs: tuple[str, ...], every: bool, checkpoints: bool, dry_run: bool) -> int:
    """Send runs, with their versions and what was filled in since, to REMOTE, a git remote or a folder. What is there already
    is not sent again. In git they lie under refs/flor, in no branch."""
    from flor_replay.moving import remote as moving

    root, store = find_project()
    wanted = [run for group in groups(store, runs, every) for run in group]
    sent = moving.push(root, wanted, remote, checkpoints=checkpoints, dry_run=dry_run)
    recorded = [run.run for run in sent if not run.replay_of]
    for name in recorded:
        print(name)
    told = f"{plural(len(recorded), 'run')} and {plural(len(sent) - len(recorded), 'replay')}"
    say(f"{told} {'would be sent' if dry_run else 'sent'} to {remote}")
    return DONE
