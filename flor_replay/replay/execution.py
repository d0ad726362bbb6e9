"""Runs tasks: joblib hands them out, each is done by a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from flor_replay.replay import sandbox
from flor_replay.replay.task import Task
from flor_replay.replay.worker import MISMATCH
from flor_replay.store import layout

TRIES = 2  # a worker that dies costs its segment one more try


@dataclass(frozen=True)
class Outcome:
    """How a task ended: "done", "mismatch" (try the whole run), "failed" (the script), "died" (the worker), "stopped"."""

    task: Task
    status: str
    reason: str | None
    seconds: float


class Execution:
    """The workers of one backfill. `stop` ends them all."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, tasks: Sequence[Task], began: Callable[[Task], None]) -> Iterator[Outcome]:
        """Outcomes as they come, the longest tasks first. Ends the workers when the consumer stops listening."""
        from joblib import Parallel, delayed

        ordered = sorted(tasks, key=lambda task: task.segment.seconds, reverse=True)
        if not ordered:
            return
        # Threads only wait: the work is done in the processes that they start.
        parallel = Parallel(n_jobs=self._jobs, backend="threading", return_as="generator_unordered", pre_dispatch="all")
        try:
            yield from parallel(delayed(self._attempt)(task, began) for task in ordered)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill what is running; nothing new starts."""
        self._stopping.set()
        with self._lock:
            running = list(self._running.values())
        for process in running:
            _kill(process)

    def _attempt(self, task: Task, began: Callable[[Task], None]) -> Outcome:
        start = time.perf_counter()
        outcome = Outcome(task, "stopped", None, 0.0)
        for _ in range(TRIES):
            if self._stopping.is_set():
                return outcome
            began(task)
            outcome = self._once(task, start)
            if outcome.status != "died":
                break
        return outcome

    def _once(self, task: Task, start: float) -> Outcome:
        folder = layout.RunFolder(task.store, task.replay)
        sandbox.discard(folder.path)
        os.makedirs(folder.path)
        os.makedirs(task.scratch, exist_ok=True)
        path = os.path.join(task.scratch, "task.json")
        task.save(path)
        with open(folder.output, "wb") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    *task.entry.get("flags", ()),
                    "-m",
                    "flor_replay.replay.worker",
                    path,
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=task.scratch,  # nothing of the user's shadows a module of the worker's
                env=_environment(task),
                start_new_session=True,
            )
            with self._lock:
                self._running[task.replay] = process
            try:
                code = process.wait()
            finally:
                with self._lock:
                    self._running.pop(task.replay, None)
                _kill(process)  # children that the script left behind
        sandbox.discard(task.scratch)
        seconds = time.perf_counter() - start
        info = layout.read_json(folder.info) or {}
        reason = info.get("reason")
        if self._stopping.is_set() and code != 0:
            return Outcome(task, "stopped", None, seconds)
        if code == 0:
            return Outcome(task, "done", None, seconds)
        if code == MISMATCH:
            return Outcome(task, "mismatch", reason, seconds)
        if info.get("status") == "failed":
            return Outcome(task, "failed", reason, seconds)
        return Outcome(task, "died", f"the worker {_how(code)}: {_tail(folder.output)}", seconds)


def _environment(task: Task) -> dict[str, str]:
    """The caller's (credentials, paths), with what the recorded run had where it changes results."""
    from flor_replay.record.entry import ENVIRONMENT

    kept = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    kept.pop("FLOR", None)
    threads = {"OMP_NUM_THREADS": str(task.threads)} if task.threads else {}
    return {
        **kept,
        **threads,
        **task.environment,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Workers share the cores: threads that spin while they wait would take them from the others.
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    import contextlib
    import signal

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _how(code: int) -> str:
    import signal

    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            lines = [line for line in file.read()[-4000:].decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return "no output"
    return lines[-1].strip() if lines else "no output"
