"""What several verbs share: options, the project, consoles, times in words."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from flor_replay import project
from flor_replay.errors import NotAProject, UsageError
from flor_replay.processes import cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from flor_replay.replay.proposal import Selection
    from flor_replay.store.runs import Run


def console() -> Console:
    """For people: on stderr, plain where it is no terminal or NO_COLOR is set."""
    wide = None if sys.stderr.isatty() else 120
    return Console(stderr=True, highlight=False, width=wide, soft_wrap=wide is not None)


def table_of(*columns: str, wrapped: Sequence[str]) -> Table:
    """Columns as wide as they need to be; those in `wrapped` share what is left."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in wrapped)
    return table


def find_project(start: str | None = None) -> tuple[str, str]:
    """The git repository around `start` (the working directory) and its store's path. Raises NotAProject."""
    place = os.path.abspath(start or os.getcwd())
    root = project.repository_root(place)
    if root is None:
        raise NotAProject(f"{place} is not in a git repository: versions are kept in git (git init makes one)")
    return root, project.store_path(root)


def find_run(store: str, name: str) -> Run | None:
    """The recorded run of this id, or the only one whose id ends so: lists show the last eight characters."""
    from flor_replay.store.runs import all_runs

    runs = [run for run in all_runs(store) if not run.replay_of]
    found = [run for run in runs if run.run == name] or [run for run in runs if run.run.endswith(name)]
    return found[0] if len(found) == 1 else None


def run_id(store: str, name: str) -> str:
    """The whole id of the run that is called `name`. Raises UsageError."""
    run = find_run(store, name)
    if run is None:
        raise UsageError(f"no run is called {name!r}: flor-replay runs lists them")
    return run.run


def jobs_or_default(jobs: int | None) -> int:
    if jobs is not None:
        if jobs < 1:
            raise UsageError(f"--jobs {jobs}: at least 1")
        return jobs
    return cpus()


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that narrow what is replayed."""
    for option in (
        click.option("--last", type=int, metavar="N", help="Only the newest N runs."),
        click.option("--runs", "only", multiple=True, metavar="RUN", help="Only this run (may be repeated)."),
        click.option("--since", metavar="WHEN", help="Only runs started since: 2026-05-01, 2026-05-01T14:30, 12h, 7d."),
        click.option("--where", metavar="SQL", help='Only runs for which this holds, e.g. "lr < 0.01".'),
        click.option(
            "--iters", metavar="LOOP=A:B:C", help="Only these iterations of the main loop, e.g. epoch=0:10:5."
        ),
        click.option(
            "--name",
            "names",
            multiple=True,
            metavar="NAME",
            help="Only the new statements that log NAME (may be repeated).",
        ),
        click.option(
            "--max-time", metavar="TIME", help="As many versions, newest first, as this allows: 90s, 10m, 2h."
        ),
        click.option("--jobs", "-j", type=int, metavar="N", help="Workers at a time [default: one a CPU]."),
        click.option("--again", is_flag=True, help="Also what was replayed before and diverged."),
    ):
        function = option(function)
    return function


def commit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that add versions which were never recorded."""
    for option in (
        click.option(
            "--args",
            "arguments",
            metavar="WORDS",
            help='With --all-commits: what those are started with, e.g. "--epochs 3" [default: as the newest run].',
        ),
        click.option(
            "--all-commits", is_flag=True, help="Also commits that changed FILE and were never run: as a whole."
        ),
    ):
        function = option(function)
    return function


def arguments_of(arguments: str | None, all_commits: bool) -> list[str] | None:
    """The words of --args, as a shell would split them; None where it was not given. Raises UsageError."""
    if arguments is None:
        return None
    if not all_commits:
        raise UsageError("--args is for versions that were never run: add --all-commits")
    try:
        return shlex.split(arguments)
    except ValueError as error:
        raise UsageError(f"--args {arguments}: {error}") from None


def selection(
    store: str,
    *,
    last: int | None,
    only: tuple[str, ...],
    since: str | None,
    where: str | None,
    iters: str | None,
    names: tuple[str, ...],
    max_time: str | None,
    again: bool,
) -> Selection:
    """The options as a Selection. Raises UsageError or QueryError where one is wrong."""
    from flor_replay.plan.planner import parse_iterations
    from flor_replay.replay.proposal import Selection

    if last is not None and last < 1:
        raise UsageError(f"--last {last}: at least 1")
    runs = frozenset(run_id(store, name) for name in only) if only else None
    if where is not None:
        from flor_replay.store.filters import runs_where

        matching = runs_where(store, where)
        runs = matching if runs is None else runs & matching
    iterations = None
    if iters is not None:
        try:
            iterations = parse_iterations(iters)
        except ValueError as error:
            raise UsageError(str(error)) from None
    return Selection(
        last,
        runs,
        where,
        iterations,
        frozenset(names) or None,
        again,
        _moment(since) if since is not None else None,
        seconds_of(max_time, "--max-time") if max_time is not None else None,
    )


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str, option: str) -> float:
    """``90s``, ``10m``, ``2h``, ``7d`` as seconds. Raises UsageError."""
    try:
        seconds = float(text[:-1]) * _UNITS[text[-1:]]
    except (KeyError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{option} {text}: a number with s, m, h or d, such as 10m")
    return seconds


def _moment(text: str) -> float:
    """A day, a time, or how long ago, as unix seconds."""
    if text[-1:] in _UNITS and text[:-1].replace(".", "", 1).isdigit():
        return time.time() - seconds_of(text, "--since")
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(f"--since {text}: a day (2026-05-01), a time (2026-05-01T14:30), or 12h, 7d") from None


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 1:
        return f"{max(0.1, seconds):.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
