"""``flor-replay add-log FILE…``: carry today's new statements into the older versions and fill their columns."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console

from flor_replay.cli.common import (
    arguments_of,
    commit_options,
    console,
    duration,
    find_project,
    jobs_or_default,
    plural,
    selection,
    selection_options,
)
from flor_replay.cli.shell import DONE, ERROR, PARTLY, say
from flor_replay.errors import UsageError


@click.command("add-log", short_help="Fill today's new statements for the older versions.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@selection_options
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="VERSION",
    help="Take the unsure places that --dry-run shows for VERSION (may be repeated).",
)
@click.option(
    "--edit",
    "edited",
    multiple=True,
    metavar="VERSION",
    help="Place refused statements in VERSION's file yourself, in $VISUAL or $EDITOR (may be repeated).",
)
@commit_options
@click.option("--python", metavar="PATH", help="Replay with this interpreter, of an environment as the runs had it.")
@click.option(
    "--env",
    "environment",
    type=click.Choice(["uv"]),
    help="Replay each run in an environment as it had, built by uv from the registry and kept.",
)
@click.option(
    "--keep-outputs",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Keep what the scripts write, in a folder of DIR for each run.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", "-n", is_flag=True, help="Show each version's diff and the plan; execute nothing.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def command(
    files: tuple[str, ...],
    jobs: int | None,
    accepted: tuple[str, ...],
    edited: tuple[str, ...],
    all_commits: bool,
    arguments: str | None,
    python: str | None,
    environment: str | None,
    keep_outputs: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **narrowing: Any,
) -> int:
    """Carry the flor.log statements that FILE has today and the recorded versions lack into those versions, run the
    versions again from their checkpoints, only where needed, and fill the columns.

    Nothing of yours is touched: not the branch, the index, or a file. Each value is checked by what the old run did log.
    A statement without a sure place in a version is refused there. What you decide for it with --accept or --edit is kept
    and used again. Exit code 3: done in part (a version refused, failed or diverged).
    """
    from flor_replay.replay.execution import Execution
    from flor_replay.replay.turns import turn
    from flor_replay.store.runs import all_runs

    asked = dict(click.get_current_context().params)
    root, store = find_project()
    chosen = selection(store, **narrowing)
    argv = arguments_of(arguments, all_commits)
    screen = console()
    if edited and dry_run:
        raise UsageError("--edit keeps what you write: leave out --dry-run")
    if environment is not None and python is not None:
        raise UsageError("--env and --python: one of them")
    workers = jobs_or_default(jobs)
    with contextlib.ExitStack() as stack:
        if not dry_run:
            stack.enter_context(turn(store, lambda words: say(f"flor-replay: {words}")))
        execution = stack.enter_context(contextlib.closing(Execution(workers, python)))
        everything = all_runs(store)
        if not dry_run and environment is None:
            execution.prepare(everything)  # before what follows is imported: that takes a while itself
        from flor_replay.cli import choosing, data, explain, present, resuming
        from flor_replay.history.versions import History
        from flor_replay.replay import environments
        from flor_replay.replay.backfill import Backfill
        from flor_replay.replay.choices import Choices
        from flor_replay.replay.proposal import VersionProposal
        from flor_replay.replay.proposing import propose
        from flor_replay.replay.since import differences, installed

        command = choosing.editor() if edited else []

        def decide(versions: Sequence[VersionProposal], choices: Choices) -> None:
            for option, words in (("--accept", accepted), ("--edit", edited)):
                for word in words:
                    choosing.find(versions, word, option)  # a wrong word decides nothing
            for word in accepted:
                choosing.accept(versions, word, choices, keep=not dry_run)
            for word in edited:
                choosing.edit(versions, word, choices, command)

        if environment is not None:
            environments.tool()
        now = installed(python)
        history = stack.enter_context(History(root))
        if keep_outputs is not None:
            execution.outputs = _empty_folder(keep_outputs)
        # An editor needs the terminal for itself.
        with screen.status("looking at the versions…") if screen.is_terminal and not edited else _silent():
            proposal = propose(
                history,
                root,
                store,
                files,
                everything,
                chosen,
                workers,
                decide=decide if accepted or edited else None,
                all_commits=all_commits,
                argv=argv,
            )
        replayed = [run for version in proposal.to_replay for run in version.runs if run.run in version.needs]
        by_python = {"": replayed}
        if environment is not None:
            by_python = environments.give(
                proposal, store, only_look=dry_run, say=lambda words: say(f"flor-replay: {words}")
            )
        told = [differences(runs, installed(path) if path else now, history, store) for path, runs in by_python.items()]
        for sentences in told:
            for sentence, runs in sentences.items():
                proposal.since[sentence] = [*proposal.since.get(sentence, ()), *runs]
        if dry_run:
            if as_json:
                print(json.dumps(data.proposal_data(proposal), indent=1))
            else:
                explain.explain(proposal, Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
                sys.stdout.flush()
                present.show_proposal(proposal, screen, brief=True)
            problems = any(v.problem or v.refused for v in proposal.versions)
            return PARTLY if problems or proposal.missed else DONE
        present.show_proposal(proposal, screen)
        began = time.perf_counter()
        reports = []
        if proposal.to_replay:
            if not _agreed(yes, len(proposal.to_replay), proposal.estimate()):
                say("flor-replay: nothing was replayed")
                return ERROR
            resuming.begin(store, {name: value for name, value in asked.items() if name not in ("accepted", "edited")})
            with present.Progress(proposal, screen) as progress:
                backfill = Backfill(proposal, history, progress.began, progress.ended, execution)
                progress.watch(backfill.reports)
                reports = backfill.run()
            resuming.end(store)
        seconds = time.perf_counter() - began
    if as_json:
        print(json.dumps(data.result_data(proposal, reports, seconds), indent=1))
    present.show_reports(proposal, reports, seconds, screen)
    return _exit_code(proposal, reports)


def _empty_folder(folder: str) -> str:
    """The folder for outputs, as an absolute path. Raises UsageError where something is in it."""
    full = os.path.abspath(folder)
    if os.path.isdir(full) and os.listdir(full):
        raise UsageError(f"--keep-outputs {folder}: it is not empty, and files in it would be replaced")
    return full


def _agreed(yes: bool, versions: int, estimate: float) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on: add --yes to go on, or --dry-run to only look")
    return click.confirm(f"Replay {plural(versions, 'version')}, about {duration(estimate)}?", default=True, err=True)


def _exit_code(proposal: Any, reports: list[Any]) -> int:
    good = [r for r in reports if r.filled] + [run for v in proposal.versions for run in v.filled]
    bad = [r for r in reports if not r.filled]
    refused = [v for v in proposal.versions if v.problem or v.refused]
    known = [v for v in proposal.versions if any(verdict == "diverged" for verdict in v.filled.values())]
    if not bad and not refused and not known and not proposal.missed:
        return DONE
    done = good or any(v.already for v in proposal.versions)
    if not done:
        say("flor-replay: nothing could be filled")
        return PARTLY if proposal.versions else ERROR
    return PARTLY


class _silent:  # noqa: N801
    def __enter__(self) -> None: ...
    def __exit__(self, *exc: object) -> None: ...
