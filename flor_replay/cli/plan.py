"""``flor-replay plan FILE…``: what ``add-log`` would execute, without the diffs."""

from __future__ import annotations

import json
from typing import Any

import click

from flor_replay.cli import present
from flor_replay.cli.common import (
    arguments_of,
    commit_options,
    console,
    find_project,
    jobs_or_default,
    selection,
    selection_options,
)
from flor_replay.cli.data import proposal_data
from flor_replay.cli.shell import DONE


@click.command("plan", short_help="Show what add-log would execute, and for how long.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@selection_options
@commit_options
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON on stdout.")
def command(
    files: tuple[str, ...],
    jobs: int | None,
    all_commits: bool,
    arguments: str | None,
    as_json: bool,
    **narrowing: Any,
) -> int:
    """Show, for each version and run, what add-log would execute, from which checkpoints, and for how long."""
    from flor_replay.history.versions import History
    from flor_replay.replay.proposing import propose
    from flor_replay.store.runs import all_runs

    root, store = find_project()
    chosen = selection(store, **narrowing)
    argv = arguments_of(arguments, all_commits)
    with History(root) as history:
        proposal = propose(
            history,
            root,
            store,
            files,
            all_runs(store),
            chosen,
            jobs_or_default(jobs),
            all_commits=all_commits,
            argv=argv,
        )
    if as_json:
        print(json.dumps(proposal_data(proposal), indent=1))
    else:
        present.show_proposal(proposal, console(), every_run=True)
    return DONE
