"""A worker: one process, one task. ``python -m flor_replay.replay.worker TASK.json PARENT``

Exit codes: 0 the segment was replayed; 3 it cannot be replayed this way (the whole run is tried instead); 1 the script
failed; 4 it needs a process of its own, not one that was forked from a warm parent. What happened is in the replay's run.json.
"""

from __future__ import annotations

import builtins
import ctypes
import functools
import os
import runpy
import signal
import sys
import traceback
from types import ModuleType
from typing import NoReturn

from flor_replay.errors import ReplayMismatch
from flor_replay.record import rng, session
from flor_replay.record.run import Session
from flor_replay.record.wrapping import Wrapping
from flor_replay.replay import drawing, sandbox
from flor_replay.replay.libraries import SENSITIVE
from flor_replay.replay.observer import Replayer, ReplaySession
from flor_replay.replay.reads import ReadWatch
from flor_replay.replay.task import Task
from flor_replay.store import layout, records

MISMATCH = 3
UNFORKED = 4


def main(path: str, parent: int, *, drawn: dict[str, int] | None = None) -> int:
    """Do the task at `path`; returns the exit code.

    `drawn`: in a child of a warm parent (see `nursery`) the random numbers that the imports of libraries have drawn there.
    """
    task = Task.load(path)
    root = sandbox.enter(task)
    _end_with(parent)
    os.environ["FLOR_REPLAY_TASK"] = path
    os.environ["FLOR_PROJECT_ROOT"] = root
    os.environ["FLOR_STORE"] = task.store
    os.chdir(os.path.normpath(os.path.join(root, task.entry["cwd"])))
    _import_as_then(task, root)
    states = layout.read_json(layout.RunFolder(task.store, task.run).rng)
    if states:
        rng.restore(states)
        if not task.prove:  # they were taken when the script imported flor; hands-free, before it began
            rng.when_there("flor", lambda _: rng.restore(states))
    recording = ReplaySession(task, root, _finished)
    session.install(recording)
    records.look_back(task.started)
    os.register_at_fork(after_in_child=session.silence)
    if task.threads:
        rng.when_there("torch", lambda _: _limit_threads(task.threads or 1))
    watch = ReadWatch(task, root)
    watch.install()
    if drawn is not None:
        sys.addaudithook(functools.partial(_refuse_settings, os.getpid()))
        drawing.make_again(drawn)
    status, reason = _run(task, root)
    replayer: Replayer = recording.observer  # type: ignore[assignment]
    if replayer.complete and not task.segment.suffix:
        status, reason = "finished", None  # it was left by break; what came after is not asked for
    elif (task.segment.steps or task.segment.end) and status == "finished" and not replayer.complete:
        status, reason = "mismatch", "the script ended before the segment did"
    if watch.refused is not None:
        status, reason = "mismatch", watch.refused  # the script may have caught it
    if status == "failed" and task.failure is not None and reason is not None and reason.startswith(task.failure):
        status, reason = "finished", None  # the recorded run ended the same way
    recording.end(status, reason, seal=False)  # whoever gave the task seals: sealing needs a large library
    sys.stdout.flush()
    sys.stderr.flush()
    code = 0 if status == "finished" else MISMATCH if status == "mismatch" else 1
    # Straight out: the script's own exit handlers have had their turn in a run that was recorded, and threads that a
    # library left behind must not keep a worker alive.
    os._exit(code)


def _import_as_then(task: Task, root: str) -> None:
    """The PYTHONPATH of the recorded run, and the project's own folders where the sandbox shows them."""
    recorded = task.entry.get("paths")
    if recorded is not None:
        known = os.environ.pop("PYTHONPATH", "")
        today = {os.path.abspath(os.path.join(task.scratch, path)) for path in known.split(os.pathsep) if known}
        paths = [os.path.normpath(os.path.join(root, path)) for path in recorded]
        sys.path[1:] = paths + [path for path in sys.path[1:] if path not in today and path not in paths]
        if paths:
            os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    theirs = os.path.realpath(task.root) + os.sep
    if os.path.realpath(root) + os.sep != theirs:
        # An editable install of the project leads to what stands there today.
        for place, path in enumerate(sys.path):
            if f"{path}{os.sep}".startswith(theirs) and "site-packages" not in path:
                sys.path[place] = os.path.join(root, path[len(theirs) :])


def _end_with(parent: int) -> None:
    """A command that was killed must not leave its workers behind. After the sandbox: a new user namespace resets it."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)  # it was killed before


def _refuse_settings(process: int, event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: a setting that libraries read while they are imported comes too late in a child of a nursery."""
    if event in ("os.putenv", "os.unsetenv") and os.getpid() == process:
        name = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else ""
        if not name.startswith(SENSITIVE):
            return
        value = arguments[1] if event == "os.putenv" else None
        if os.environ.get(name) != (os.fsdecode(value) if isinstance(value, (str, bytes)) else value):
            os._exit(UNFORKED)


def _limit_threads(count: int) -> None:
    sys.modules["torch"].set_num_threads(count)


def _finished(recording: Session) -> NoReturn:
    """The segment is done in the middle of the script: nothing after it matters."""
    recording.end("finished", seal=False)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _run(task: Task, root: str) -> tuple[str, str | None]:
    try:
        _execute(task, root)
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            return "failed", f"the script left with {leaving.code!r}"
    except ReplayMismatch as mismatch:
        return "mismatch", str(mismatch)
    except BaseException as error:
        traceback.print_exc()
        cause: BaseException | None = error
        while cause is not None:  # a library may wrap what a restore point said
            if isinstance(cause, ReplayMismatch):
                return "mismatch", str(cause)
            cause = cause.__cause__ or cause.__context__
        return "failed", f"{type(error).__name__}: {error}{_line_of(error, root)}"
    return "finished", None


def _line_of(error: BaseException, root: str) -> str:
    """Where in the project's own code it went wrong."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        if os.path.realpath(path).startswith(os.path.realpath(root) + os.sep):
            place = f" ({os.path.relpath(os.path.realpath(path), os.path.realpath(root))} line {line})"
    return place


def _execute(task: Task, root: str) -> None:
    entry = task.entry
    wrapper = Wrapping(root, task.wraps)
    wrapper.install()
    script = os.path.join(root, entry["path"])
    if entry["kind"] == "module":
        sys.argv = [script, *entry["argv"]]
        sys.path[0] = os.getcwd()
        runpy.run_module(entry["module"], run_name="__main__", alter_sys=True)
        return
    sys.argv = [os.path.relpath(script), *entry["argv"]]
    sys.path[0] = os.path.dirname(script)
    module = ModuleType("__main__")
    module.__file__ = script
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    with open(script, "rb") as file:
        code = wrapper.code(file.read(), script)
    exec(code, module.__dict__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
