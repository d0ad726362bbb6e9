"""Versions that were never recorded, as runs without records: what ``add-log --all-commits`` replays besides the recorded.

Such a run has a folder like any other, with status ``unrecorded``: when its commit was made, its script, and the arguments
it is given. Every value of it comes from replays, and nothing it logged itself can prove them.
"""

from __future__ import annotations

import ast
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from flor_instrument import find_loops

from flor_replay.errors import UsageError
from flor_replay.history.imported import imported_among
from flor_replay.history.versions import History
from flor_replay.record import wrapping
from flor_replay.record.wrapping import Wrap
from flor_replay.store import layout
from flor_replay.store.runs import UNRECORDED, Run

if TYPE_CHECKING:
    from flor_replay.plan.facts import RunFacts

REPLAYABLE = ("script", "module")


def unrecorded(
    history: History, root: str, store: str, paths: Sequence[str], recorded: Sequence[Run], argv: Sequence[str] | None
) -> list[Run]:
    """A run for each commit that changed one of `paths` and whose script none in `recorded` ran, oldest first.

    The script is that of the newest recorded run, one of `paths` if there is such a run; so are its arguments, unless `argv`
    says others. Nothing is written. Raises UsageError where no script can be told.
    """
    prefix = history.prefix(root)
    names = [os.path.relpath(os.path.realpath(path), os.path.realpath(root)).replace(os.sep, "/") for path in paths]
    times = history.touching(prefix + name for name in names)
    newest_first = sorted(times, key=lambda commit: times[commit], reverse=True)
    known = [(run.commit, run.filename) for run in recorded if run.commit is not None]
    trees = history.trees([*newest_first, *(commit for commit, _ in known)])
    have = {(trees.get(commit), filename) for commit, filename in known}
    like = _newest(recorded, names)
    if like is None and not any(name.endswith(".py") for name in names):
        raise UsageError("--all-commits: no run tells which script to run, and none of the files is one")
    script = like.info["entry"]["path"] if like is not None else next(name for name in names if name.endswith(".py"))
    titles = _titles(os.path.join(root, script))
    found = []
    for commit, there in zip(newest_first, history.followed(prefix + script, newest_first), strict=True):
        if there is None or not there[0].startswith(prefix):
            continue
        path = there[0][len(prefix) :]
        if (trees.get(commit), path) not in have:
            entry = _entry(like, path, moved=path != script, argv=argv)
            found.append(_made(history, root, store, commit, times[commit], entry, like, titles))
    return found[::-1]


def keep(run: Run) -> None:
    """Write an unrecorded run down, that its replays have something to belong to."""
    if not os.path.exists(run.folder.info):
        layout.prepare(run.folder.store)
        os.makedirs(run.folder.path, exist_ok=True)
        layout.replace_json(run.folder.version, dict(run.version))
        layout.replace_json(run.folder.info, dict(run.info))


def as_long_as_others(known: Mapping[str, RunFacts], everything: Sequence[Run]) -> dict[str, RunFacts]:
    """The facts, with an estimate of what takes how long where no run says so: as earlier replays of it, or as the others."""
    took: dict[str, float] = {}
    for run in everything:
        if run.replay_of and run.info.get("segment", {}).get("kind") == "whole" and run.info.get("seconds"):
            took[run.replay_of] = float(run.info["seconds"])
    others = [facts.seconds for facts in known.values() if facts.status == "finished"]
    about = median(others) if others else 0.0
    return {
        name: replace(facts, seconds=took.get(name, about)) if facts.status == UNRECORDED else facts
        for name, facts in known.items()
    }


def _newest(recorded: Sequence[Run], names: Sequence[str]) -> Run | None:
    """The newest run of one of these scripts, or of any."""
    runs = [run for run in recorded if run.info.get("entry", {}).get("kind") in REPLAYABLE]
    runs.sort(key=lambda run: (run.filename in names, run.seconds_since_epoch))
    return runs[-1] if runs else None


def _entry(like: Run | None, path: str, *, moved: bool, argv: Sequence[str] | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"argv": [], "cwd": ".", "flags": [], "paths": None, "kind": "script"}
    if like is not None:
        entry.update(like.info["entry"])
    if moved:
        entry["kind"] = "script"  # the module had another name, too
    if argv is not None:
        entry["argv"] = list(argv)
    return {**entry, "path": path}


def _made(
    history: History,
    root: str,
    store: str,
    commit: str,
    seconds: float,
    entry: dict[str, Any],
    like: Run | None,
    titles: Mapping[str, str],
) -> Run:
    made_of = "\0".join([commit, entry["path"], *entry["argv"]])
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    name = (
        f"{stamp}.000000-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}"  # the same again, whenever it is asked for
    )
    info: dict[str, Any] = {
        "format": layout.FORMAT,
        "run": name,
        "projid": os.path.basename(os.path.realpath(root)),
        "filename": entry["path"],
        "tstamp": seconds,
        "status": UNRECORDED,
        "entry": entry,
        "environment": {},
        "args": {},
        "hands_free": {"loops": wrapping.as_data(_loops(history, root, commit, entry["path"], titles))},
    }
    if like is not None:
        info["environment"] = dict(like.info.get("environment", {}))
        info["compute"] = dict(like.info.get("compute", {}))
        info["libraries"] = list(like.info.get("libraries", ()))
    return Run(name, layout.RunFolder(store, name), info, {"commit": commit, "head": commit, "clean": True}, UNRECORDED)


def _loops(history: History, root: str, commit: str, script: str, titles: Mapping[str, str]) -> Iterator[Wrap]:
    """The loops of a script that names none itself, by the names that today's script gives to loops over the same variable."""
    prefix = history.prefix(root)
    sources = history.python_sources(commit)
    inside = {path[len(prefix) :]: source for path, source in sources.items() if path.startswith(prefix)}
    for loop in find_loops(imported_among(inside, script), script).loops:
        yield Wrap(loop.path, loop.line, titles.get(loop.name, loop.name), loop.inside)


def _titles(path: str) -> dict[str, str]:
    """The variable of each named loop of a script -> its name."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            for call in ast.walk(node.iter):
                if (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr == "loop"
                    and call.args
                    and isinstance(call.args[0], ast.Constant)
                    and isinstance(call.args[0].value, str)
                ):
                    found.setdefault(node.target.id, call.args[0].value)
    return found
