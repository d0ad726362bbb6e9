"""What processes that were killed left in a store, and what nobody refers to any more, apart from packs.

Everything here is judged by two things: nothing refers to it, and it has lain untouched long enough that no process can
be in the middle of making it.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flor_checkpoint.sweep import unfinished

from flor_replay.processes import start_time
from flor_replay.store import layout
from flor_replay.store.runs import SILENT_SECONDS, Run

YOUNG_SECONDS = 3600.0  # nothing takes so long between a file and the one that refers to it


@dataclass(frozen=True)
class Leftover:
    """A file or a folder that can go."""

    path: Path
    kind: str  # in words, for the report
    bytes: int

    def remove(self) -> None:
        """Idempotent; what cannot be removed stays."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder. What vanishes meanwhile counts nothing."""
    try:
        if not path.is_dir():
            return path.lstat().st_size
        return sum(size_of(Path(entry.path)) for entry in os.scandir(path))
    except OSError:
        return 0


def find(store: str, runs: Sequence[Run]) -> list[Leftover]:
    """All of them, in a store with these runs and replays."""
    return [Leftover(path, kind, size_of(path)) for path, kind in _find(Path(store), runs)]


def unsealed(runs: Sequence[Run], silent_seconds: float = SILENT_SECONDS) -> list[Run]:
    """Runs that ended without sealing their log (killed, interrupted), whose process is certainly gone."""
    return [
        run
        for run in runs
        if run.status != "running"
        and _gone(run)
        and any(_is_old(path, silent_seconds) for path in (run.folder.live, run.folder.live_1))
    ]


def _gone(run: Run) -> bool:
    process = run.info.get("process", {})
    if process.get("host") != socket.gethostname():
        return run.info.get("ended") is not None
    started = start_time(int(process.get("pid", -1)))
    return started is None or started != process.get("start")


def _is_old(path: Path | str, seconds: float = YOUNG_SECONDS) -> bool:
    try:
        return time.time() - os.lstat(path).st_mtime > seconds
    except OSError:
        return False


def _find(store: Path, runs: Sequence[Run]) -> Iterator[tuple[Path, str]]:
    for path in unfinished(store / "packs"):
        if _is_old(path):
            yield path, "unfinished files"
    known = {run.run for run in runs}
    abandoned = set()
    for run in runs:
        if run.status == "running":
            continue
        if run.replay_of and not run.fidelity and _is_old(run.folder.info):
            abandoned.add(run.run)
            yield Path(run.folder.path), "replays that were cut off"
    for folder in sorted((store / "runs").glob("*")):
        if folder.name in abandoned:
            continue
        yield from ((path, "unfinished files") for path in _unfinished_in(folder) if _is_old(path))
        if folder.name in known:
            yield from ((path, "unfinished files") for path in _graphs_alone(folder / "checkpoints"))
        elif _is_old(folder) and not any(
            (folder / name).exists() for name in ("log.live", "log.jsonl", "log.parquet", "run.json")
        ):
            yield folder, "runs that never began"
    yield from _versions(store, [run for run in runs if run.run not in abandoned])
    yield from _contexts(store, runs)


def _unfinished_in(folder: Path) -> Iterator[Path]:
    for at, _, names in os.walk(folder):  # unlike rglob it goes on where a folder vanishes
        yield from (Path(at, name) for name in names if name.endswith(".tmp"))


def _graphs_alone(checkpoints: Path) -> list[Path]:
    """Graphs without a manifest: their checkpoint was never finished, or is removed."""
    return [path for path in checkpoints.glob("*.graph") if not path.with_suffix(".json").exists() and _is_old(path)]


def _contexts(store: Path, runs: Sequence[Run]) -> Iterator[tuple[Path, str]]:
    """Build contexts of processes that left no run (any more), and listings of packages that no context has."""
    named = {str(run.info.get("context")) for run in runs}
    packages = set()
    for path in sorted((store / "contexts").glob("*.json")):  # the listings come last
        if path.stem.startswith("packages-"):
            if path.stem.removeprefix("packages-") not in packages and _is_old(path):
                yield path, "listings of packages that no run had"
        elif path.stem not in named and _is_old(path):
            yield path, "contexts that no run has"
        else:
            context = layout.read_json(str(path))
            packages.add(str(context.get("packages")) if isinstance(context, dict) else "")


def _versions(store: Path, runs: Sequence[Run]) -> Iterator[tuple[Path, str]]:
    """Results of version takers that no run waits for, and listings of ignored files that no run found."""
    awaited = set()
    for run in runs:
        raw = layout.read_json(run.folder.version)
        if isinstance(raw, dict) and "pending" in raw:
            awaited.add(str(raw["pending"]))
    found = {str(run.version.get("inputs")) for run in runs}
    for path in (store / "pending").glob("*"):
        if path.name not in awaited and _is_old(path):
            yield path, "versions that no run has"
        else:
            taken = layout.read_json(str(path))
            found.add(str(taken.get("inputs")) if isinstance(taken, dict) else "")
    for path in (store / "inputs").glob("*.json"):
        if path.stem not in found and _is_old(path):
            yield path, "listings of ignored files that no run found"
