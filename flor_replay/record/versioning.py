"""Starts the process that takes the version, and hands its result to the run.

Apart because git and GitPython cost a tenth of a second that the user's script should not wait for, and because the
version must be taken even when the script dies at once.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

from flor_replay import processes
from flor_replay.project import repository_root
from flor_replay.store import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flor_replay.store.layout import RunFolder

WAIT_SECONDS = 60.0


def _environment() -> dict[str, str]:
    """This process's, silenced, with the place of this package (and not the script's folder) to import from."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "FLOR": "off", "PYTHONPATH": f"{known}{os.pathsep}{here}" if known else here}


class VersionTaker:
    """A version being taken in another process; its result is written into the run's folder."""

    def __init__(self, process: subprocess.Popen[bytes] | None, result: str, problem: str | None) -> None:
        self._process = process
        self._result = result
        self._problem = problem
        self._folder: RunFolder | None = None
        self._taken: dict[str, Any] | None = None

    @classmethod
    def start(cls, root: str, store: str, interactive: bool = False) -> VersionTaker:
        """`interactive`: a shell, a notebook or standard input, whose code is in no file."""
        if interactive:
            return cls(None, "", "there is no script file: this run is logged but cannot be replayed")
        if repository_root(root) is None:
            return cls(None, "", f"{root} is not in a git repository: this run is logged but cannot be replayed")
        pending = os.path.join(store, "pending")
        result = os.path.join(pending, f"{layout.new_run_id()}.json")
        # Nothing of the script runs in the first hundredth of a second, and clocks tick no finer.
        started_ns = 10_000_000 + time.time_ns() - int((processes.age_seconds() or 0.0) * 1e9)
        try:
            layout.prepare(store)
            os.makedirs(pending, exist_ok=True)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flor_replay.history.snapshot", root, store, str(started_ns), result],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                close_fds=True,
                start_new_session=True,  # Ctrl-C in the training's terminal does not stop it
                env=_environment(),
            )
        except OSError as error:
            return cls(None, "", f"the version cannot be taken ({error.strerror}): this run cannot be replayed")
        return cls(process, result, None)

    def belongs_to(self, folder: RunFolder) -> None:
        """Name the run: its folder gets the result, however this process ends. A later run of this process gets it too."""
        self._folder = folder
        if self._process is None:
            layout.replace_json(folder.version, {"error": self._problem})
        elif self._taken is not None:
            layout.replace_json(folder.version, self._taken)
        else:
            # The taker may be done already or take long: it leaves a file, and readers follow this pointer to it.
            layout.replace_json(folder.version, {"pending": os.path.basename(self._result)})

    def wait(self) -> str | None:
        """Wait for the version; a sentence if there is none."""
        if self._process is None:
            return self._problem
        if self._taken is not None:
            return None  # said already
        try:
            self._process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            return "the version is still being taken: a very large tree? This run can be replayed once it is done"
        data = layout.read_json(self._result)
        if data is None:
            return "the version could not be taken: this run is logged but cannot be replayed"
        self._taken = data
        if self._folder is not None:
            with contextlib.suppress(OSError):  # the run points to the result where it is
                layout.replace_json(self._folder.version, data)
                os.unlink(self._result)
        warning = data.get("error") or data.get("warning")
        return str(warning) if warning else None
