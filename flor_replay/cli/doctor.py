"""``flor-replay doctor``: is everything here that a replay needs, and is the store whole?"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from flor_replay.cli.common import find_project, find_run, plural
from flor_replay.cli.shell import DONE, ERROR

if TYPE_CHECKING:
    from flor_replay.plan.facts import MainLoop, RunFacts
    from flor_replay.store.runs import Run


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    state: str  # "good", "note", "bad"
    text: str


@click.command("doctor", short_help="Check this machine, this project and its store.")
@click.argument("run", required=False)
@click.option("--repair", "mend", is_flag=True, help="Repair what can be; broken files are set aside, none is deleted.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(run: str | None, mend: bool, as_json: bool) -> int:
    """Check this machine, this project and its store; with RUN, what of that run can be replayed and why not."""
    root, store = find_project()
    repaired = []
    if mend:
        from flor_replay.gc.repair import repair

        repaired = [Finding("good", sentence) for sentence in repair(store)] if os.path.isdir(store) else []
    findings = _run(root, store, run) if run else [*_machine(), *_project(root), *_store(store)]
    findings = [*repaired, *findings]
    if as_json:
        import json

        print(json.dumps([finding.__dict__ for finding in findings], indent=1))
    else:
        screen = Console(highlight=False, soft_wrap=True)
        marks = {"good": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("bad ", "red")}
        for finding in findings:
            mark, style = marks[finding.state]
            screen.print(Text(mark, style=style).append(f"  {finding.text}", style="default"))
    return ERROR if any(finding.state == "bad" for finding in findings) else DONE


def _machine() -> list[Finding]:
    from flor_replay.replay import sandbox

    found = [Finding("good", f"Python {sys.version.split()[0]} at {sys.executable}")]
    git = shutil.which("git")
    found.append(Finding("good", f"git at {git}") if git else Finding("bad", "git is not on PATH: install it"))
    if sandbox.available():
        found.append(
            Finding(
                "good",
                "overlays can be mounted: replays see the project at its own path and write to scratch",
            )
        )
    else:
        found.append(Finding("note", "overlays cannot be mounted here: replays work on linked copies of ignored files"))
    return found


def _project(root: str) -> list[Finding]:
    from flor_replay.errors import FlorError
    from flor_replay.history.versions import History

    try:
        with History(root) as history:
            files = len(history.visible_files())
    except FlorError as error:
        return [Finding("bad", str(error))]
    return [Finding("good", f"project {os.path.basename(root)} at {root}, {plural(files, 'file')}")]


def _store(store: str) -> list[Finding]:
    from pathlib import Path

    from flor_checkpoint import manifests

    from flor_replay.store import database, layout, records
    from flor_replay.store.runs import all_runs

    if not os.path.isdir(os.path.join(store, "runs")):
        return [Finding("note", "no runs yet: run a script that calls flor.log")]
    runs = all_runs(store)
    found = []
    states: dict[str, int] = {}
    with database.connect() as connection:
        for run in runs:
            if not run.replay_of:
                states[run.status] = states.get(run.status, 0) + 1
            if not run.replay_of and run.commit is None:
                found.append(
                    Finding(
                        "note",
                        f"{run.run} cannot be replayed: {run.version.get('error', 'it has no version')}",
                    )
                )
            for loops in (False, True):
                problem = records.broken(connection, run, loops=loops)
                if problem is not None:
                    found.append(Finding("bad", f"{run.run}: its log cannot be read ({problem})"))
            found += [Finding("note", f"{run.run}: of its live log {lost}") for lost in run.info.get("damaged", ())]
            found += [Finding("bad", f"{run.run}: {problem}") for problem in manifests(Path(run.folder.checkpoints))[1]]
    names = os.listdir(os.path.join(store, "runs"))
    broken = sorted(set(names) - {run.run for run in runs})
    found += [Finding("bad", f"runs/{name} has no readable run.json") for name in broken]
    told = ", ".join(f"{count} {status}" for status, count in sorted(states.items())) or "none"
    replays = sum(1 for run in runs if run.replay_of)
    size = sum(os.path.getsize(os.path.join(base, name)) for base, _, files in os.walk(store) for name in files)
    summary = (
        f"store {store}: runs: {told}; {plural(replays, 'replay')}; {size / 2**20:.1f} MB (format {layout.FORMAT})"
    )
    return [Finding("good", summary), *found]


def _hands_free(run: Run) -> list[Finding]:
    """What ``flor-replay run`` did for it."""
    found = []
    taken = run.info.get("hands_free")
    if taken is not None and taken["loops"]:
        told = ", ".join(f"{loop['name']} ({loop['path']}:{loop['line']})" for loop in taken["loops"])
        found.append(Finding("good", f"loops named in memory: {told}"))
    elif taken is not None:
        found.append(Finding("note", f"no loop was named: {taken['reason']}"))
    if os.path.exists(run.folder.output):
        size = os.path.getsize(run.folder.output)
        found.append(Finding("good", f"what it printed: {run.folder.output} ({plural(size, 'byte')})"))
    return found


def _run(root: str, store: str, name: str) -> list[Finding]:
    from flor_replay.plan.facts import gather

    run = find_run(store, name)
    if run is None:
        return [Finding("bad", f"no run is called {name!r}: flor-replay runs lists them")]
    reason = f" ({run.info['reason']})" if run.info.get("reason") else ""
    found = [Finding("good", f"{run.run}: {run.filename}, {run.status}{reason}")]
    if run.commit is None:
        found.append(Finding("note", str(run.version.get("error", "it has no version"))))
    else:
        found.append(Finding("good", f"version {run.commit}"))
    found += _hands_free(run)
    main = _known(root, run, gather([run])[run.run]).main
    if main is None:
        return [*found, Finding("note", "it has no flor.loop: a replay runs the whole script")]
    found.append(
        Finding(
            "good",
            f"main loop {main.name!r}: {plural(main.iterations, 'iteration')}, {plural(len(main.points), 'checkpoint')}",
        )
    )
    found += _cost(run, main)
    missing = sorted({path for point in main.points for path in point.missing})
    found += [Finding("note", f"not captured: {path}: replays do not start from its checkpoints") for path in missing]
    return found


_FAR = 0.1  # of the loop: an iteration's replay is expected to take no more


def _cost(run: Run, main: MainLoop) -> list[Finding]:
    """What the checkpoints cost the run; and why there are few where there are few."""
    cost, total = run.info.get("checkpoints_cost_seconds"), sum(main.seconds)
    if cost is None or not total:
        return []
    found = [Finding("good", f"checkpoints cost it {cost:.2g} s, {cost / total:.1%} of the loop")]
    starts = {0, *(point.index for point in main.points if point.at == "start")}
    waited = since = 0.0
    for index, seconds in enumerate(main.seconds):
        since = 0.0 if index in starts else since
        waited += since
        since += seconds
    if waited / len(main.seconds) > _FAR * total:
        each = float(run.info.get("checkpoint_seconds", 0.0))
        found.append(
            Finding(
                "note",
                f"replaying one iteration takes about {waited / len(main.seconds):.2g} s: a checkpoint costs about {each:.2g} s, "
                "and recording is kept to about 1 % of a run",
            )
        )
    return found


def _known(root: str, run: Run, facts: RunFacts) -> RunFacts:
    """The facts without what no checkpoint of the run needs, as far as its recorded source proves it."""
    from functools import cache, partial

    from flor_instrument import lost_but_dead

    from flor_replay.errors import FlorError
    from flor_replay.history.versions import History
    from flor_replay.plan.facts import without_dead
    from flor_replay.record.wrapping import from_data
    from flor_replay.replay.rewrapping import with_loops

    try:
        with History(root) as history:
            if run.commit is None or not history.has(run.commit):
                return facts
            sources = history.python_sources(run.commit)
            prefix = history.prefix(root)
    except FlorError:
        return facts
    sources = dict(with_loops(sources, from_data(run.info.get("hands_free", {}).get("loops", ())), prefix))
    return without_dead(facts, prefix + run.filename, prefix, cache(partial(lost_but_dead, sources)))
