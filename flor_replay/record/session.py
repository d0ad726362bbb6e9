"""The run that this process records. The one place with global state: `current` and what it returns.

A run begins with the first call that records something, so a script that only queries leaves none. The version is taken
earlier, on ``import flor``, because people edit while training runs. Light: `flor_replay.record.run` comes with the run.
"""

from __future__ import annotations

import os
import sys

from flor_replay.project import is_library, main_file, project_root, store_path
from flor_replay.record.notices import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any

    from flor_replay.record.opened import Opened
    from flor_replay.record.rng import StartRng
    from flor_replay.record.run import Session
    from flor_replay.record.scopes import Scopes
    from flor_replay.record.versioning import VersionTaker


_FACES = ("flor", "flordb")  # the modules that scripts import

_current: Session | None = None
_child = 0  # the pid, in a child of multiprocessing that imported flor itself: it may turn out to be a rank
_silent = False  # True in loader workers, forked children, and where recording is switched off
_scopes: Scopes | None = None  # in a process that commits: who has which run; then `_current` stays None
_application: str | None = (
    None  # the project's file that imports flor, where the script is an installed command (gunicorn)
)
_opened: Opened | None = None  # the files that this process opens
_begun = False  # the run began with the process, not with the script's first record
_version: VersionTaker | None = None
_rng: StartRng | None = None
_finish_hooks = False
_left: tuple[str, int] | None = None  # the last sys.exit that tells of an error, and how many records there were


def _none() -> None:
    """The process does not commit."""


_mine: Callable[[], Session | None] = _none  # the run of the calling thread, where that is told at once


def current() -> Session | None:
    """The session, started by the first call; None where this process records nothing."""
    if _current is not None:
        return _current
    if _silent:
        return _begin_rank() if _child else None
    return (_scopes.current() if _scopes is not None else None) or _begin()


def running() -> Session | None:
    """The session if one has started."""
    if _scopes is not None:
        return _scopes.current()
    return _current


def install(session: Session) -> None:
    """Make `session` this process's own (a replay's worker does)."""
    global _current
    _current = session


def silence() -> None:
    """Record nothing in this process from now on."""
    global _silent, _current, _child
    _silent = True
    _child = 0
    if _opened is not None:
        _opened.in_child()
    for session in _sessions():
        session.abandon()
    _current = None


def _forking() -> None:
    if _scopes is not None and _version is not None:
        _version.shared = True


def _forked() -> None:
    """In a forked child. One of a process that commits, forked outside of all loops, is a worker of a server and has runs of
    its own; children of multiprocessing among them are found out when they record (`_begin`). Others record nothing."""
    global _current
    if _scopes is None or _silent or any(session.looping for session in _sessions()):
        silence()
        return
    for session in _sessions():
        session.abandon()
    _current = None
    _keep_apart()
    if _opened is not None:
        _opened.in_child()
    if _version is not None:
        _version.forked()


def _keep_apart() -> None:
    """From now on who commits has a run of its own."""
    global _scopes, _mine
    from flor_replay.record.scopes import Scopes

    _scopes = Scopes()
    _mine = _scopes.mine


def _sessions() -> list[Session]:
    """All that are open in this process."""
    return ([_current] if _current is not None else []) + (_scopes.sessions() if _scopes is not None else [])


def on_import() -> None:
    """What ``import flor`` does: see that loader workers stay silent, take the RNG state and the version."""
    global _silent, _version, _rng, _child, _application
    if _begun:
        return  # `flor-replay run` has done all this before the script started
    if os.environ.get("FLOR_REPLAY_TASK"):
        _silent = _current is None  # the replay's worker has a session of its own; processes it starts have none
        return
    if os.environ.get("FLOR", "").lower() in ("off", "0"):
        _silent = True
        return
    if _is_child():
        _silent = True
        _child = os.getpid()
        return
    from flor_replay.record.rng import StartRng

    _rng = StartRng()
    import atexit

    atexit.register(_at_exit)  # before the script registers its own: those may log
    try:
        script = main_file()
        importer = _importer()
        application = _hosted_application() if _is_hosted(script) else None
        if application is not None:
            script = _application = application
        if script is None or is_library(script) or not (_records(script) or _records(importer)):
            return
        root = project_root(script)
    except OSError:  # the working directory is gone
        return
    from flor_replay.record.versioning import VersionTaker

    _version = VersionTaker.start(root, store_path(root))
    _watch(root)


def _watch(root: str) -> None:
    """From now on the files that this process opens are noted, for its lineage."""
    global _opened
    if _opened is None and os.environ.get("FLOR_LINEAGE", "").lower() not in ("off", "0"):
        from flor_replay.record.opened import Opened

        _opened = Opened(root, store_path(root))
        _opened.install()


def note_values(names: Sequence[str], runs: Sequence[str]) -> None:
    """The script reads what these runs logged."""
    if _opened is not None:
        _opened.values(names, runs)


def begin(info: dict[str, Any]) -> Session | None:
    """Begin the run before the script does; ``__main__`` and the arguments must be the script's by now.

    For scripts that do not ask for it. `info`: what else run.json is to say. None where nothing is recorded.
    """
    global _silent, _rng, _begun
    _begun = True
    if os.environ.get("FLOR", "").lower() in ("off", "0") or os.environ.get("FLOR_REPLAY_TASK"):
        _silent = True
        return None
    from flor_replay.record.rng import StartRng

    _rng = StartRng()
    import atexit

    atexit.register(_at_exit)  # before the script registers its own: those may log
    return _begin(info)


def _importer() -> str:
    """The file that says ``import flor``: helpers of a project log for its scripts."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        path = frame.f_code.co_filename
        if not path.startswith("<") and frame.f_globals.get("__name__") not in (*_FACES, __name__):
            return path
        frame = frame.f_back
    return ""


def _hosted_application() -> str | None:
    """The project's file that an installed program is importing, and that (by way of others) imports flor."""
    found = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if (
            not path.startswith("<")
            and not is_library(path)
            and frame.f_globals.get("__name__") not in (*_FACES, __name__)
        ):
            found = os.path.abspath(path)
        frame = frame.f_back
    return found


def _is_hosted(script: str | None) -> bool:
    """Whether an installed program runs the project's code: gunicorn, flask, uvicorn."""
    return "uwsgi" in sys.modules if script is None else is_library(script) and "ipykernel" not in sys.modules


def _is_child() -> bool:
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is None:
        return False
    # A spawned child imports the script before it knows its parent.
    return multiprocessing.parent_process() is not None or hasattr(multiprocessing.current_process(), "_inheriting")


def _records(script: str) -> bool:
    """Whether a script's text calls what records (a script that only queries gets no version and no run)."""
    try:
        with open(script, "rb") as file:
            text = file.read(2_000_000)
    except OSError:
        return False
    import re

    return re.search(rb"\b(log|arg|loop|iteration|checkpointing)(\s*\(|\s+as\b)", text) is not None


def _commits(root: str, script: str | None) -> bool:
    """Whether the project's code that is loaded by now calls ``flor.commit``."""
    from flor_replay.record.frames import project_modules
    from flor_replay.record.scopes import commits

    loaded = [getattr(module, "__file__", None) for _, module in project_modules(root)]
    return commits(dict.fromkeys(path for path in (script, *loaded) if path and not is_library(path)))


def _begin_rank() -> Session | None:
    """In a child of multiprocessing: it records if it is one of several that train together (``torch.multiprocessing.spawn``).

    Loader workers are none: spawned ones have no process group, and forked ones did not import flor themselves.
    """
    global _silent
    from flor_replay.record.entry import world

    if _child != os.getpid() or world()[1] < 2:
        return None
    import atexit

    atexit.register(_at_exit)
    _silent = False
    return _begin()


def _begin(info: dict[str, Any] | None = None, follows: Session | None = None) -> Session | None:
    """`follows`: the run that a commit ended inside a loop, which the new one goes on in."""
    global _current, _silent, _version
    import threading

    from flor_replay.record.rng import StartRng

    lock = globals().setdefault("_starting", threading.Lock())
    with lock:
        found = _current if _scopes is None else _scopes.current()
        if found is not None or _silent:
            return found
        if _is_child() and not _child:
            _silent = True
            return None
        from flor_replay.record import entry
        from flor_replay.record.run import Session
        from flor_replay.record.versioning import VersionTaker

        store = "of this project"
        try:
            script = main_file()
            if script is not None and is_library(script):
                script = _application
            root = project_root(script)
            store = store_path(root)
            if _version is None:
                _version = VersionTaker.start(root, store, interactive=script is None)
            if _scopes is None and _commits(root, script):
                _keep_apart()
            told = {**(info or {}), "context": _version.context}
            if _application is not None:
                told["entry"] = entry.hosted(root, _application)
                told["filename"] = told["entry"]["path"]
            if _scopes is not None:
                request = _application is not None or _scopes.is_request()
                told["uncommitted"] = "request" if request else "run"
            session = Session(root, store, info=told, rng=_rng or StartRng(), version=_version, follows=follows)
            _version.belongs_to(session.folder)
            if "uncommitted" not in told or told["uncommitted"] == "run":
                _watch(root)
                _note_for(session)
        except OSError as error:
            warn(f"recording is off: the store {store} cannot be written ({error.strerror}); training goes on")
            _silent = True
            return None
        if _scopes is not None:
            _scopes.begun(session)
        else:
            _current = session
        _install_hooks()
        return session


def _note_for(session: Session) -> None:
    """Files that are opened are noted for `session`; requests that are served beside each other have no such notes."""
    if _opened is not None:
        _opened.attach(os.path.join(session.folder.path, "opened.txt"))
        session.journal.beside = _opened.drain


def commit() -> None:
    """End the caller's run, if there is one; the next record begins a run of the version that this process runs."""
    global _current
    session = running()
    if session is None or session.commits_itself():
        return
    if _opened is not None:
        _opened.drain()
    session.end("finished")
    _current = None
    if _scopes is None:
        _keep_apart()
    else:
        _scopes.committed(session)
    if len(session.stack.levels) > 1:
        _begin(follows=session)  # what the open loops do next belongs to it


def _install_hooks() -> None:
    global _finish_hooks
    if _finish_hooks:
        return
    _finish_hooks = True
    from flor_replay.record import guards

    guards.install(_emergency, _note_exit, _settle)
    os.register_at_fork(before=_forking, after_in_child=_forked)


def _note_exit(reason: str) -> None:
    global _left
    session = running()
    if session is not None:
        _left = reason, session.records()


def _at_exit() -> None:
    if _opened is not None:
        _opened.drain()
    sessions = _sessions()
    session = running() or (sessions[0] if sessions else None)
    if session is None or os.getpid() != session.pid:
        return
    from flor_replay.record import guards

    failure = None if session.interactive else guards.uncaught()
    if failure is None and _left is not None and session.records() == _left[1]:
        failure = _left[0]  # one that was caught is followed by other records
    # After Ctrl-C nothing large is imported: C code that runs Python code (as duckdb's import does) would make the
    # interpreter forget that it has to end by SIGINT, and a shell's loop around the script would go on.
    interrupted = isinstance(getattr(sys, "last_value", None), KeyboardInterrupt)
    session.end("failed" if failure else "finished", failure, seal=not interrupted)
    for other in _sessions():  # of threads and tasks that committed nothing
        other.end("finished", seal=not interrupted)


def _settle() -> None:
    """What checkpoints are being written of loops that are over is written to its end."""
    for session in _sessions():
        settle = getattr(session.observer, "settle", None)
        if settle is not None and os.getpid() == session.pid:
            settle()


def _emergency(reason: str, again: Callable[[], None]) -> bool:
    """A signal or os._exit is about to end the process: everything logged goes to disk first.

    False where this has come in the middle of writing: `again` is called after it.
    """
    if _opened is not None:
        _opened.drain()  # also of loader workers, which end by os._exit
    sessions = [session for session in _sessions() if os.getpid() == session.pid]
    if any(session.journal.postpone(again) for session in sessions):
        return False
    for session in sessions:
        session.stop(reason)
    return True
