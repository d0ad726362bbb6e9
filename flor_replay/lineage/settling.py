"""From what a run opened to what it read and made, with digests: done when it has ended, by whoever comes next.

The process that takes the version of the next run settles those before it, and so does ``flor-replay lineage``. Files that C
code wrote (``torch.save``, ``h5py``) are in no audit event: a file of the project that changed while the run went on and that
nobody opened for writing is taken to be its own, and marked ``seen``; where another run went on at the same time that is not
sure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from flor_replay.errors import FlorError
from flor_replay.history import inputs
from flor_replay.store import layout
from flor_replay.store.runs import Run

DIGEST_BYTES = 2**30  # read for digests of one run; larger files are told by size and time
_MARGIN_SECONDS = 0.05  # clocks of file systems tick no finer


def settle(root: str, store: str, runs: Iterable[Run]) -> None:
    """Write ``lineage.json`` of every run that has ended and lacks it."""
    waiting = [run for run in runs if run.status != "running" and not run.replay_of and not os.path.exists(_path(run))]
    if not any(os.path.exists(os.path.join(run.folder.path, "opened.txt")) for run in waiting):
        return
    present: dict[str, tuple[int, float]] | None = None
    for run in waiting:
        opened = os.path.join(run.folder.path, "opened.txt")
        if not os.path.exists(opened):
            continue
        if present is None:
            present = _untracked(root)
        try:
            layout.replace_json(_path(run), _settled(run, root, opened, present))
            os.unlink(opened)
        except OSError:
            continue  # a store that cannot be written: it is worked out each time


def read(root: str, run: Run) -> dict[str, Any]:
    """What a run read and made: {"read": {path: [bytes, time, digest]}, "written": {path: [bytes, time, digest, how]},
    "values": [[names, runs]]}. Paths are relative to the root, or absolute where they lie elsewhere."""
    found = layout.read_json(_path(run))
    if isinstance(found, dict):
        return found
    opened = os.path.join(run.folder.path, "opened.txt")
    return _settled(run, root, opened, {}) if os.path.exists(opened) else {"read": {}, "written": {}, "values": []}


def _path(run: Run) -> str:
    return os.path.join(run.folder.path, "lineage.json")


def _settled(run: Run, root: str, opened: str, present: dict[str, tuple[int, float]]) -> dict[str, Any]:
    read, written, values = _opened(opened, root)
    began = float(run.info.get("began", run.info.get("tstamp", 0.0))) - float(run.info.get("start_up_seconds") or 0.0)
    ended = float(run.info.get("ended") or 0.0) or _last_sign(run)
    for path, (_, changed) in present.items():
        if began - _MARGIN_SECONDS <= changed <= ended + _MARGIN_SECONDS and path not in written:
            written[path] = "seen"
    left = DIGEST_BYTES
    found: dict[str, Any] = {"format": layout.FORMAT, "read": {}, "written": {}, "values": values}
    for kind, paths in (("written", written), ("read", read)):
        for path in paths:
            state = _state(root, path)
            if state is None:
                found[kind][path] = [None, None, None]
            else:
                size, changed = state
                # What changed after the run is not what it read or wrote.
                known = changed <= ended + _MARGIN_SECONDS and size <= left
                digest = inputs.digest_of(os.path.join(root, path), size) if known else None
                left -= size if digest else 0
                found[kind][path] = [size, changed, digest]
            if kind == "written":
                found[kind][path].append(written[path])
    return found


def _opened(opened: str, root: str) -> tuple[dict[str, None], dict[str, str], list[Any]]:
    read: dict[str, None] = {}
    written: dict[str, str] = {}
    values = []
    cwd = root
    base = os.path.realpath(root)
    places: dict[str, str] = {}
    with open(opened, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            head, _, rest = line.rstrip("\n").partition("\t")
            if head == "cwd":
                cwd = rest
            elif head == "values":
                values.append(json.loads(rest))
            elif head.lstrip("-").isdigit():
                folder, name = os.path.split(os.path.join(cwd, rest))
                if folder not in places:
                    places[folder] = os.path.realpath(folder)
                full = os.path.join(places[folder], name)
                if os.path.isdir(full) or any(part in inputs.PASSED_OVER for part in full.split(os.sep)):
                    continue
                path = full[len(base) + 1 :] if full.startswith(base + os.sep) else full
                if not full.startswith(base + os.sep) and not os.path.isabs(rest):
                    continue  # a relative path that leads out of the project
                if int(head) & 3:
                    written[path] = "opened"
                elif path not in written:  # what it wrote itself before is no input
                    read[path] = None
    return read, written, values


def _state(root: str, path: str) -> tuple[int, float] | None:
    try:
        status = os.stat(os.path.join(root, path))
    except OSError:
        return None
    return status.st_size, status.st_mtime


def _last_sign(run: Run) -> float:
    for path in (run.folder.live, run.folder.info):
        try:
            return os.stat(path).st_mtime
        except OSError:
            continue
    return 0.0


def _untracked(root: str) -> dict[str, tuple[int, float]]:
    """Size and time of the files that are not as the last commit has them: what a run may have made."""
    from flor_replay.history.gitcmd import GitCommands

    found: dict[str, tuple[int, float]] = {}
    try:
        with GitCommands(root) as git:
            top = git.text("rev-parse", "--show-toplevel")
            paths = [
                *git.paths("-C", top, "ls-files", "-z", "--modified", "--others", "--exclude-standard"),
                *inputs.ignored(git, top),
            ]
    except (FlorError, OSError):
        return {}
    base = os.path.realpath(root)
    for path in paths:
        full = os.path.join(os.path.realpath(top), path)
        parts = path.split("/")
        if (
            path.endswith(("/", ".py", ".pyc"))
            or any(part in inputs.PASSED_OVER for part in parts)
            or not full.startswith(base + os.sep)
        ):
            continue
        state = _state(top, path)
        if state is not None and os.path.isfile(full):
            found[full[len(base) + 1 :]] = state
    return found
