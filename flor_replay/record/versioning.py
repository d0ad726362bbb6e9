"""Starts the process that takes the version and the build context, and hands the version to the run.

Apart because git and GitPython cost a tenth of a second that the user's script should not wait for, and because the
version must be taken even when the script dies at once.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time

from flor_replay import processes
from flor_replay.project import repository_root
from flor_replay.store import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flor_replay.store.layout import RunFolder

WAIT_SECONDS = 60.0
CONTEXT_SECONDS = 5.0
_TAKER = "flor_replay.context.taking"


def _environment() -> dict[str, str]:
    """This process's, silenced, with the place of this package (and not the script's folder) to import from."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "FLOR": "off", "PYTHONPATH": f"{known}{os.pathsep}{here}" if known else here}


def _tell(process: subprocess.Popen[bytes], chain: bool) -> None:
    """Hand over what only this process can see: who is above it, now."""
    import json

    from flor_replay.context import marks, parents

    told = {"pid": os.getpid(), "chain": parents.chain(marks.MARKS)} if chain else {}
    if process.stdin is not None:
        with contextlib.suppress(OSError), process.stdin:
            process.stdin.write(json.dumps(told).encode())


class VersionTaker:
    """A version being taken in another process; its result is written into the run's folder.

    `context`: the name of the build context that the same process takes; None where none is wanted.
    """

    def __init__(
        self, process: subprocess.Popen[bytes] | None, result: str, problem: str | None, context: str | None = None
    ) -> None:
        self._process = process
        self._result = result
        self._problem = problem
        self._owner = os.getpid()
        self.shared = False  # with forked workers of a server: they read the result where it is
        self.context = context
        self._waiting: list[RunFolder] = []  # runs that point to the result
        self._lock = threading.Lock()  # requests of a server begin and end runs beside each other
        self._taken: dict[str, Any] | None = None

    @classmethod
    def start(cls, root: str, store: str, interactive: bool = False) -> VersionTaker:
        """`interactive`: a shell, a notebook or standard input, whose code is in no file."""
        problem = None
        if interactive:
            problem = "there is no script file: this run is logged but cannot be replayed"
        elif repository_root(root) is None:
            problem = f"{root} is not in a git repository: this run is logged but cannot be replayed"
        name = layout.new_run_id()
        context = None if os.environ.get("FLOR_CONTEXT", "").lower() in ("off", "0") else name
        if problem and context is None:
            return cls(None, "", problem)
        pending = os.path.join(store, "pending")
        result = "" if problem else os.path.join(pending, f"{name}.json")
        # Nothing of the script runs in the first hundredth of a second, and clocks tick no finer.
        started_ns = 10_000_000 + time.time_ns() - int((processes.age_seconds() or 0.0) * 1e9)
        try:
            layout.prepare(store)
            if result:
                os.makedirs(pending, exist_ok=True)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", _TAKER, root, store, str(started_ns), result, context or ""],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                close_fds=True,
                start_new_session=True,  # Ctrl-C in the training's terminal does not stop it
                env=_environment(),
            )
        except OSError as error:
            problem = problem or f"the version cannot be taken ({error.strerror}): this run cannot be replayed"
            return cls(None, "", problem)
        _tell(process, context is not None)
        return cls(process, result, problem, context)

    def forked(self) -> None:
        """In a forked child: the runs that wait are the parent's."""
        self._waiting = []
        self._lock = threading.Lock()

    def belongs_to(self, folder: RunFolder) -> None:
        """Name the run: its folder gets the result, however this process ends. A later run of this process gets it too."""
        with self._lock:
            if self._problem is not None:
                layout.replace_json(folder.version, {"error": self._problem})
            elif self._taken is not None:
                layout.replace_json(folder.version, self._taken)
            else:
                # The taker may be done already or take long: it leaves a file, and readers follow this pointer to it.
                layout.replace_json(folder.version, {"pending": os.path.basename(self._result)})
                self._waiting.append(folder)

    def wait(self) -> str | None:
        """Wait for the version; a sentence if there is none."""
        if self._process is not None and self._problem is not None:
            self._finish_process(CONTEXT_SECONDS)
        if self._problem is not None:
            return self._problem
        if self._taken is not None:
            return None  # said already
        if not self._finish_process(WAIT_SECONDS):
            return "the version is still being taken: a very large tree? This run can be replayed once it is done"
        with self._lock:
            data = self._taken or layout.read_json(self._result)
            if data is None:
                return "the version could not be taken: this run is logged but cannot be replayed"
            self._taken = data
            with contextlib.suppress(OSError):  # the runs point to the result where it is
                for folder in self._waiting:
                    layout.replace_json(folder.version, data)
                if self._waiting and os.getpid() == self._owner and not self.shared:
                    os.unlink(self._result)
            self._waiting = []
        warning = data.get("error") or data.get("warning")
        return str(warning) if warning else None

    def _finish_process(self, seconds: float) -> bool:
        """Wait for the process, or in a forked child of the one that started it for its result; whether it is done."""
        if self._process is None:
            return True
        if os.getpid() == self._owner:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
            return True
        end = time.monotonic() + seconds
        while self._result and not os.path.exists(self._result) and time.monotonic() < end:
            time.sleep(0.01)
        return not self._result or os.path.exists(self._result)
