"""The runs of a store, as they stand: read from their folders, with the state of their processes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flor_replay import project, values
from flor_replay.errors import StoreError
from flor_replay.processes import start_time
from flor_replay.store import layout
from flor_replay.store.index import MANY, Entry, RunIndex, Stamp, stamp

UNRECORDED = "unrecorded"  # the status of a version that was never run: all its values come from replays
SILENT_SECONDS = 300.0  # a run of another machine without a heartbeat for so long is taken for dead


@dataclass(frozen=True)
class Run:
    """One run folder."""

    run: str
    folder: layout.RunFolder
    info: Mapping[str, Any] = field(repr=False)
    version: Mapping[str, Any] = field(repr=False)
    status: str  # running, finished, failed, stopped (a signal), crashed; unrecorded

    @property
    def projid(self) -> str:
        return str(self.info.get("projid", ""))

    @property
    def filename(self) -> str:
        return str(self.info.get("filename", ""))

    @property
    def started(self) -> datetime:
        """Local time, without a zone."""
        return datetime.fromtimestamp(self.seconds_since_epoch)

    @property
    def seconds_since_epoch(self) -> float:
        return float(self.info.get("tstamp", 0.0))

    @property
    def began_seconds(self) -> float:
        """When its first record was made, unix seconds; its tstamp is when it was committed, if that is later."""
        return float(self.info.get("began", self.seconds_since_epoch))

    @property
    def hidden(self) -> bool:
        """Whether its records wait for ``flor.commit``. What a killed script logged since its last one is shown, of a request
        that failed or was cut off nothing is; a script sees its own."""
        waits = self.info.get("uncommitted")
        if not waits or (waits == "run" and self.info.get("process", {}).get("pid") == os.getpid()):
            return False
        return waits == "request" or self.status == "running"

    @property
    def commit(self) -> str | None:
        """The git commit of its version; None where there is none."""
        commit = self.version.get("commit")
        return str(commit) if commit else None

    @property
    def replay_of(self) -> str | None:
        replay = self.info.get("replay_of")
        return str(replay) if replay else None

    @property
    def rank(self) -> int:
        return int(self.info.get("rank", 0))

    @property
    def args(self) -> dict[str, Any]:
        found = {}
        for name, kept in self.info.get("args", {}).items():
            kind, number, text = kept["value"]
            found[name] = values.decode(kind, number, text, self.folder.files)
        return found

    @property
    def options(self) -> dict[str, Any]:
        """What argparse gave the script, by name; a name of ``flor.arg`` is not among them."""
        given = self.info.get("args", {})
        found = {}
        for name, (kind, number, text) in self.info.get("options", {}).items():
            if name not in given:
                found[name] = values.decode(kind, number, text, self.folder.files)
        return found

    @property
    def told(self) -> str:
        """Its arguments as a person reads them: those of ``flor.arg`` by name, then the command line's other words."""
        words = []
        kwargs = False
        for word in self.info.get("entry", {}).get("argv", ()):
            kwargs = word == "--kwargs" or (kwargs and "=" in word and not word.startswith("-"))
            if not kwargs:
                words.append(str(word))
        return " ".join([*(f"{name}={value}" for name, value in self.args.items()), *words])

    @property
    def fidelity(self) -> Mapping[str, Any]:
        """Of a replay: {"verdict", "compared", "first"}; empty before it was checked."""
        verdict = self.info.get("fidelity")
        return verdict if isinstance(verdict, dict) else {}

    @property
    def placed_by(self) -> Mapping[str, str]:
        """Of a replay: the logged names whose statement a person placed, with "accepted" or "edited"."""
        found = self.info.get("placed_by")
        return found if isinstance(found, dict) else {}


def _alive(info: Mapping[str, Any], folder: layout.RunFolder) -> bool:
    process = info.get("process", {})
    if process.get("host") == socket.gethostname():
        started = start_time(int(process.get("pid", -1)))
        if started is None and not os.path.exists("/proc/self/stat"):
            return _answers(int(process.get("pid", -1)))
        return started is not None and started == process.get("start")
    try:
        return time.time() - os.stat(folder.live).st_mtime < SILENT_SECONDS
    except OSError:
        return False


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def read_run(store: str, run: str) -> Run | None:
    """One run; None where its record is missing or broken."""
    folder = layout.RunFolder(store, run)
    info = layout.read_json(folder.info)
    if not isinstance(info, dict) or info.get("run") != run or not isinstance(info.get("args"), dict):
        return None
    version = layout.read_json(folder.version)
    if isinstance(version, dict) and "pending" in version:
        version = layout.read_json(os.path.join(store, "pending", str(version["pending"])))
    if not isinstance(version, dict):
        version = {"error": "the version was not taken"}
    return _run(folder, info, version)


def _run(folder: layout.RunFolder, info: Mapping[str, Any], version: Mapping[str, Any]) -> Run:
    status = str(info.get("status", "crashed"))
    if status == "running" and not _alive(info, folder):
        status = "crashed"
    return Run(folder.run, folder, info, version, status)


def all_runs(store: str) -> list[Run]:
    """Every readable run and replay, oldest first."""
    return sorted(_each(store), key=lambda run: (run.seconds_since_epoch, run.run))


def _each(store: str) -> Iterator[Run]:
    base = os.path.join(store, "runs")
    try:
        names = os.listdir(base)
    except OSError:
        return
    if len(names) < MANY:
        yield from (run for name in names if (run := read_run(store, name)) is not None)
        return
    index = RunIndex(store)
    ended: dict[str, tuple[Stamp, Entry]] = {}
    new = 0
    folder = os.open(base, os.O_RDONLY)
    try:
        for name in names:
            now = stamp(f"{name}/run.json", folder)
            known = index.get(name, now)
            if known is not None and now is not None:
                ended[name] = now, known
                yield _run(layout.RunFolder(store, name), *known)
                continue
            run = read_run(store, name)
            if run is None:
                continue
            final = run.info.get("status") != "running" and ("commit" in run.version or "error" in run.version)
            if final and now is not None and not _pending(run):
                ended[name] = now, (run.info, run.version)
                new += 1
            yield run
    finally:
        os.close(folder)
    if new >= MANY or len(index) > 2 * len(ended):
        index.write(ended)


def _pending(run: Run) -> bool:
    """Whether its version may still change."""
    raw = layout.read_json(run.folder.version)
    return not run.replay_of and (not isinstance(raw, dict) or "pending" in raw)


def has_runs(store: str) -> bool:
    """Whether anything was recorded; a store may have been made for other reasons."""
    try:
        with os.scandir(os.path.join(store, "runs")) as entries:
            return any(True for _ in entries)
    except OSError:
        return False


def open_store(root: str | None = None) -> tuple[str, str]:
    """The project's root and its store, for reading.

    Raises StoreError where there is no store yet.
    """
    base = os.path.abspath(root) if root else None
    found = base or project.project_root(project.main_file())
    store = project.store_path(found)
    if not os.path.isdir(os.path.join(store, "runs")):
        above = project.store_root(found)
        if above is None or base is not None:
            raise StoreError(f"no runs are recorded in {found}: run a script that calls flor.log there first")
        found, store = above, project.store_path(above)
    return found, store
