"""Runs tasks: joblib hands them out, each is done by a process of its own (see `starting`)."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flor_replay.replay import sandbox
from flor_replay.replay.libraries import of_run
from flor_replay.replay.starting import Fresh, Kind, Nurseries, Worker, environment, kill
from flor_replay.replay.task import Task
from flor_replay.replay.worker import MISMATCH, UNFORKED
from flor_replay.store import layout
from flor_replay.store.runs import Run

TRIES = 2  # a worker that dies costs its segment one more try
PATIENCE_SECONDS = 120.0
PATIENCE = 10.0  # times the estimate


@dataclass(frozen=True)
class Outcome:
    """How a task ended: "done", "mismatch" (try the whole run), "failed" (the script), "died" (the worker), "stopped".

    "unforked": it needs a fresh process. `seconds` count from the start of the last worker that tried.
    """

    task: Task
    status: str
    reason: str | None
    seconds: float


class Execution:
    """The workers of one backfill. `close` ends them all."""

    def __init__(self, jobs: int, python: str | None = None) -> None:
        """`jobs` at a time, by the interpreter `python`; None: by the running one."""
        self._jobs = self._most = jobs
        self._python = os.path.abspath(python) if python else sys.executable
        self._callers = dict(os.environ)  # now: libraries of ours add to it
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[str, Worker] = {}
        self._nurseries = Nurseries()
        self.outputs: str | None = None  # a folder for what scripts write
        self._unforked: set[str] = set()  # patched versions whose scripts need a process of their own

    def prepare(self, runs: Sequence[Run]) -> None:
        """Let the libraries of the newest of the runs be imported while the versions are still looked at."""
        for run in reversed(runs):
            if not run.replay_of and run.status == "finished":
                threads = run.info.get("compute", {}).get("torch_threads")
                variables = self._environment(run.info.get("environment", {}), threads)
                flags = run.info.get("entry", {}).get("flags", ())
                self._nurseries.prepare(Kind.of(self._python, flags, variables, of_run(run)))
                return

    def limit(self, jobs: int) -> None:
        """Have no more workers at a time than this."""
        self._jobs = min(self._jobs, jobs)

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
            self.close()
            raise

    def close(self) -> None:
        """End all workers, running or warm; nothing new starts."""
        self._stopping.set()
        with self._lock:
            running = list(self._running.values())
        for worker in running:
            kill(worker)
        self._nurseries.stop()

    def _attempt(self, task: Task, began: Callable[[Task], None]) -> Outcome:
        outcome = Outcome(task, "stopped", None, 0.0)
        limit = patience(task.segment.seconds) if task.recorded else None
        for _ in range(TRIES):
            if self._stopping.is_set():
                return outcome
            began(task)
            outcome = self._once(task, limit)
            if outcome.status == "unforked":
                self._unforked.add(task.patched)
                outcome = self._once(task, limit)
            if outcome.status != "died":
                break
            limit = None if limit is None else 2 * limit
        return outcome

    def _once(self, task: Task, limit: float | None) -> Outcome:
        """`limit`: seconds until it counts as hung; None where nobody knows how long the script takes."""
        folder = layout.RunFolder(task.store, task.replay)
        sandbox.discard(folder.path)
        os.makedirs(folder.path)
        os.makedirs(task.scratch, exist_ok=True)
        path = os.path.join(task.scratch, "task.json")
        task.save(path)
        started = time.time()
        worker = self._start(task, path, folder.output)
        start = time.perf_counter()  # a warm parent may have had imports to finish first
        with self._lock:
            self._running[task.replay] = worker
        if self._stopping.is_set():
            kill(worker)
        try:
            code = worker.wait(limit)
        finally:
            with self._lock:
                self._running.pop(task.replay, None)
            kill(worker)  # and children that the script left behind
        hung = code is None
        if code is None:
            code = worker.wait(PATIENCE_SECONDS)
        if self.outputs is not None and code == 0:
            _keep(task, os.path.join(self.outputs, f"{task.patched[:8]}-{task.run[-8:]}"), started)
        sandbox.discard(task.scratch)
        seconds = time.perf_counter() - start
        info = layout.read_json(folder.info) or {}
        reason = info.get("reason")
        if self._stopping.is_set() and code != 0:
            return Outcome(task, "stopped", None, seconds)
        if hung:
            return Outcome(task, "died", f"the worker was not done after {limit:.0f} s and was ended", seconds)
        if code == 0:
            return Outcome(task, "done", None, seconds)
        if code == MISMATCH:
            return Outcome(task, "mismatch", reason, seconds)
        if code == UNFORKED:
            return Outcome(task, "unforked", None, seconds)
        if info.get("status") == "failed":
            return Outcome(task, "failed", reason, seconds)
        return Outcome(task, "died", f"the worker {_how(code)}: {_tail(folder.output)}", seconds)

    def _start(self, task: Task, path: str, output: str) -> Worker:
        python = task.python or self._python
        variables = self._environment(task.environment, task.threads)
        with open(output, "wb") as file:
            if task.patched not in self._unforked and not task.alone:
                kind = Kind.of(python, task.entry.get("flags", ()), variables, task.modules)
                nursery = self._nurseries.prepare(kind)
                worker = nursery.fork(path, output, task.scratch) if nursery is not None else None
                if worker is not None:
                    return worker
            return Fresh(python, task, path, file, variables)

    def _environment(self, recorded: Mapping[str, str], threads: int | None) -> dict[str, str]:
        return environment(self._callers, recorded, threads, self._most)


def _keep(task: Task, target: str, since: float) -> None:
    """Copy what the script wrote to `target`. Parts of a run write into one folder; a file that is there is replaced."""
    for path, source in sandbox.written(task, since).items():
        full = os.path.join(target, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        shutil.copy2(source, full)


def patience(seconds: float) -> float:
    """How long a worker may take for a task of `seconds` by the recorded durations before it counts as hung.

    Generous: the machine may be slower than the one that recorded, and busy. FLOR_TASK_SECONDS sets it.
    """
    given = os.environ.get("FLOR_TASK_SECONDS", "")
    try:
        return float(given)
    except ValueError:
        return PATIENCE_SECONDS + PATIENCE * seconds


def _how(code: int | None) -> str:
    if code is None:
        return "does not end"
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
