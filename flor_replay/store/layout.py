"""Where things lie in a store, and how files in it are replaced.

    .flor/runs/<run>/run.json       who, what, when, with what
    .flor/runs/<run>/version.json   the version, written by the process that takes it
    .flor/runs/<run>/log.live       live records (log.jsonl in form 1)
    .flor/runs/<run>/log.parquet    sealed records
    .flor/runs/<run>/loops.parquet  iterations and loops with their durations
    .flor/runs/<run>/files/         values too large for a record
    .flor/runs/<run>/checkpoints/   manifests and state graphs
    .flor/packs/                    tensors, content-addressed, of all runs
    .flor/inputs/                   listings of the ignored files that runs found, named by content
    .flor/choices/                  what a person decided about statements that were refused
    .flor/index/                    derived: can be deleted at any time

Light: imported by every script that records.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 2  # of run.json, the live log, log.parquet and loops.parquet together; docs/store.md has the history


class RunFolder:
    """The paths of one run."""

    __slots__ = ("path", "run", "store")

    def __init__(self, store: str, run: str) -> None:
        self.store = store
        self.run = run
        self.path = os.path.join(store, "runs", run)

    @property
    def info(self) -> str:
        return os.path.join(self.path, "run.json")

    @property
    def version(self) -> str:
        return os.path.join(self.path, "version.json")

    @property
    def live(self) -> str:
        return os.path.join(self.path, "log.live")

    @property
    def live_1(self) -> str:
        """The live log of form 1."""
        return os.path.join(self.path, "log.jsonl")

    @property
    def log(self) -> str:
        return os.path.join(self.path, "log.parquet")

    @property
    def loops(self) -> str:
        return os.path.join(self.path, "loops.parquet")

    @property
    def files(self) -> str:
        return os.path.join(self.path, "files")

    @property
    def checkpoints(self) -> str:
        return os.path.join(self.path, "checkpoints")

    @property
    def rng(self) -> str:
        return os.path.join(self.path, "rng.json")

    @property
    def changed(self) -> str:
        return os.path.join(self.path, "changed.jsonl")

    @property
    def output(self) -> str:
        return os.path.join(self.path, "output.txt")


def packs(store: str) -> str:
    """The folder of tensors that all runs share."""
    return os.path.join(store, "packs")


def inputs(store: str, name: str) -> str:
    """A listing of files (see `flor_replay.history.inputs`)."""
    return os.path.join(store, "inputs", f"{name}.json")


def choice(store: str, name: str) -> str:
    """What a person decided about a refused statement (see `flor_replay.replay.choices`)."""
    return os.path.join(store, "choices", f"{name}.json")


def digests(store: str) -> str:
    """Digests of ignored files by path, size and time: derived."""
    return os.path.join(store, "index", "digests.json")


def new_run_id() -> str:
    """An id that sorts by time and is unique without leaning on the clock alone."""
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    return f"{stamp}.{int(now % 1 * 1e6):06d}-{os.urandom(4).hex()}"


def prepare(store: str) -> None:
    """Make the store's folders. A store ignores itself, so git never shows it."""
    os.makedirs(os.path.join(store, "runs"), exist_ok=True)
    ignore = os.path.join(store, ".gitignore")
    if not os.path.exists(ignore):
        with contextlib.suppress(OSError), open(ignore, "w", encoding="utf-8") as file:
            file.write("# written by flor-replay: the store is not part of the project's history\n*\n")


def replace_json(path: str, data: Any, indent: int | None = 1) -> None:
    """Write `data` so that a reader sees the old file or the new one, never half of one.

    `indent`: spaces; None is for what nobody reads: to indent thousands of numbers takes milliseconds.
    """
    replace_bytes(path, json.dumps(data, ensure_ascii=True, indent=indent).encode())


def replace_bytes(path: str, data: bytes) -> None:
    """As `replace_json`, with bytes."""
    temporary = f"{path}.{os.getpid()}.{get_ident()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_json(path: str) -> Any:
    """The JSON in `path`; None where there is none or it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def trusted(store: str, run: str) -> bool:
    """Whether checkpoints of a run may be unpickled: those of one that was imported only if the user said so."""
    info = read_json(RunFolder(store, run).info)
    imported = info.get("imported") if isinstance(info, dict) else {}
    return imported is None or (isinstance(imported, dict) and bool(imported.get("trusted")))
