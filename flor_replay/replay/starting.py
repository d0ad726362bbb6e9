"""How a worker's process comes to be: forked from a warm parent where that is safe, else by itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from flor_replay.processes import cpus
from flor_replay.record.entry import ENVIRONMENT
from flor_replay.replay.task import Task

NURSERIES = 4  # warm parents at a time; each holds its libraries in memory


class Worker(Protocol):
    """A worker that has been started."""

    @property
    def pid(self) -> int: ...

    def wait(self, seconds: float | None) -> int | None:
        """Its exit code (negative: a signal's number); None where it has not ended by then."""


def environment(
    callers: Mapping[str, str], recorded: Mapping[str, str], threads: int | None, jobs: int
) -> dict[str, str]:
    """The caller's (credentials, paths), with what the recorded run had where it changes results.

    `threads`: of the recorded run's torch; `jobs`: workers at a time.
    """
    kept = {name: value for name, value in callers.items() if name not in ENVIRONMENT}
    kept.pop("FLOR", None)
    fewer = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    # Threads that spin while they wait take the processors from other workers (seen: 20 times as long); where each has a
    # processor of its own, to sleep and be woken takes twice as long.
    crowded = jobs * (threads or cpus()) > cpus()
    sleep = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"} if crowded else {}
    return {
        **kept,
        **fewer,
        **recorded,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **sleep,
    }


def kill(worker: Worker) -> None:
    """End it, and the children that its script left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(worker.pid, signal.SIGKILL)  # it may not have its own group yet


# -- a process of its own ---------------------------------------------------------------------------------------------


class Fresh:
    """A new interpreter for one task."""

    def __init__(self, python: str, task: Task, path: str, output: IO[bytes], variables: Mapping[str, str]) -> None:
        command = [python, *task.entry.get("flags", ()), "-m", "flor_replay.replay.worker", path]
        self._process = subprocess.Popen(
            [*command, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=task.scratch,  # nothing of the user's shadows a module of the worker's
            env=dict(variables),
            start_new_session=True,
        )
        self.pid = self._process.pid

    def wait(self, seconds: float | None) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


# -- a child of a warm parent -----------------------------------------------------------------------------------------


class _Forked:
    def __init__(self) -> None:
        self.pid = 0
        self.code: int | None = None
        self.started = threading.Event()
        self.ended = threading.Event()

    def wait(self, seconds: float | None) -> int | None:
        return self.code if self.ended.wait(seconds) else None


@dataclass(frozen=True)
class Kind:
    """What tasks must have in common to be forked from one parent."""

    python: str
    flags: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    modules: tuple[str, ...]

    @staticmethod
    def of(python: str, flags: Sequence[str], variables: Mapping[str, str], modules: Sequence[str]) -> Kind:
        return Kind(python, tuple(flags), tuple(sorted(variables.items())), tuple(modules))


class Nursery:
    """One warm parent (see `flor_replay.replay.nursery`). Starting it does not wait for its imports."""

    def __init__(self, kind: Kind) -> None:
        call = f"from flor_replay.replay.nursery import serve; serve({list(kind.modules)!r})"
        self._folder = tempfile.TemporaryDirectory(prefix="flor-nursery-")
        self._process = subprocess.Popen(
            [kind.python, *kind.flags, "-c", call],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,  # nothing of the user's shadows a library
            env=dict(kind.environment),
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._known = threading.Event()  # whether forking is safe
        self._safe = False
        self._gone = False
        self._workers: dict[str, _Forked] = {}
        self._reader = threading.Thread(target=self._read, name="flor-nursery", daemon=True)
        self._reader.start()

    @property
    def gone(self) -> bool:
        """Whether it has ended (it was killed) after it had been of use."""
        return self._gone and self._safe

    @property
    def busy(self) -> bool:
        return bool(self._workers) or not self._known.is_set()

    def fork(self, path: str, output: str, cwd: str) -> _Forked | None:
        """A worker for the task at `path`; None where forking is not safe, or the parent is gone."""
        self._known.wait()
        if not self._safe:
            return None
        worker = _Forked()
        request = {"task": path, "output": output, "cwd": cwd}
        with self._lock:
            if self._gone:
                return None
            self._workers[path] = worker
            try:
                assert self._process.stdin is not None
                self._process.stdin.write((json.dumps(request) + "\n").encode())
                self._process.stdin.flush()
            except OSError:
                self._workers.pop(path, None)
                return None
        worker.started.wait()
        return worker if worker.pid else None

    def stop(self) -> None:
        """End it and its workers."""
        for worker in list(self._workers.values()):
            if worker.pid:
                kill(worker)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._reader.join()
        self._folder.cleanup()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as replies:
            for line in replies:
                reply = json.loads(line)
                if "task" not in reply:
                    self._safe = bool(reply.get("ready"))
                    self._known.set()
                elif "pid" in reply:
                    worker = self._workers[reply["task"]]
                    worker.pid = reply["pid"]
                    worker.started.set()
                else:
                    worker = self._workers.pop(reply["task"])
                    worker.code = reply["code"]
                    worker.ended.set()
        with self._lock:
            self._gone = True
            self._known.set()
            left = list(self._workers.values())
            self._workers.clear()
        for worker in left:  # its workers ended with it
            worker.code = -signal.SIGKILL
            worker.started.set()
            worker.ended.set()


class Nurseries:
    """The warm parents of one backfill."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[Kind, Nursery] = {}
        self._stopped = False

    @staticmethod
    def possible() -> bool:
        """Forking is safe on Linux only (macOS's own libraries have threads), and can be switched off."""
        return sys.platform.startswith("linux") and os.environ.get("FLOR_NURSERY", "on").lower() not in ("off", "0")

    def prepare(self, kind: Kind) -> Nursery | None:
        """The parent of this kind, started where there is none yet; None where it cannot be, or there are too many."""
        with self._lock:
            if self._stopped or not self.possible():
                return None
            found = self._all.get(kind)
            if found is not None and found.gone:
                self._all.pop(kind).stop()
                found = None
            if found is None:
                if len(self._all) >= NURSERIES:
                    idle = next((kind for kind, nursery in self._all.items() if not nursery.busy), None)
                    if idle is None:
                        return None
                    self._all.pop(idle).stop()
                try:
                    found = self._all[kind] = Nursery(kind)
                except OSError:  # no such interpreter, no memory for another process: the workers will tell
                    return None
            return found

    def stop(self) -> None:
        """End them all, with their workers."""
        with self._lock:
            self._stopped = True
            left = list(self._all.values())
            self._all.clear()
        for nursery in left:
            nursery.stop()
