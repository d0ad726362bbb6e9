"""Who shares a run in a process that calls ``flor.commit``: each thread and each asyncio task has one of its own.

A web application commits after each request, and requests run beside each other: what one of them logged must not become
visible by the commit of another. So in such a process a run belongs to the asyncio task that began it, or, outside of tasks,
to the thread. Two things are shared all the same: a thread that a task waits for (``asyncio.to_thread``) records for the
task, and threads that help a training loop of the main thread record for that loop's run.
"""

from __future__ import annotations

import re
import threading
from contextvars import ContextVar
from sys import modules
from threading import get_ident
from weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from flor_replay.record.run import Session

_IMPORTS = rb"\bimport[ \t]+(?:[\w., \t]*,[ \t]*)?(flor|flordb)\b(?:[ \t]+as[ \t]+(\w+))?"
_FROM = rb"\bfrom[ \t]+(?:flor|flordb)[ \t]+import\b[^\n;]*?(?:\([^)]*?)?\bcommit\b"
_MAX_BYTES = 2_000_000


def commits(paths: Iterable[str]) -> bool:
    """Whether one of these sources calls ``flor.commit``, by whatever name it imports flor."""
    for path in paths:
        try:
            with open(path, "rb") as file:
                text = file.read(_MAX_BYTES)
        except OSError:
            continue
        if b"commit" not in text or b"flor" not in text:
            continue
        if re.search(_FROM, text):
            return True
        names = {match[2] or match[1] for match in re.finditer(_IMPORTS, text)}
        if any(re.search(rb"\b" + name + rb"[ \t]*\.[ \t]*commit[ \t]*\(", text) for name in names):
            return True
    return False


class _Scope:
    """One run while it is open, with the thread and the task that it belongs to."""

    __slots__ = ("of_thread", "parent", "request", "session", "task", "thread")

    def __init__(self, session: Session, parent: _Scope | None) -> None:
        self.session = session
        task = _task()
        self.task = None if task is None else ref(task)
        self.thread = threading.current_thread()
        self.request = _request()
        self.parent = parent
        self.of_thread = self.thread.ident if task is None and self.request is None else None

    def over(self) -> bool:
        """Whether nobody can record for it any more."""
        if self.task is not None:
            task = self.task()
            return task is None or task.done()
        return not self.thread.is_alive()


def _task() -> Any:
    """The asyncio task that this thread is running."""
    asyncio = modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None


def _request() -> object:
    """What tells one request of a Flask application from the next one on the same thread; None elsewhere."""
    flask = modules.get("flask")
    try:
        return flask.g._get_current_object() if flask is not None and flask.has_app_context() else None
    except (AttributeError, RuntimeError):
        return None


class Scopes:
    """The open runs of this process."""

    def __init__(self) -> None:
        self._mine: ContextVar[_Scope | None] = ContextVar("flor_scope", default=None)
        self._open: list[_Scope] = []
        self._lock = threading.Lock()
        self._main: Session | None = None  # of the main thread, outside of tasks

    def mine(self) -> Session | None:
        """What `current` returns, for a script's own loop that logs every microsecond; None where that must look closer."""
        scope = self._mine.get()
        if scope is not None and scope.of_thread == get_ident() and not scope.session.closed and "flask" not in modules:
            events = modules.get("asyncio.events")
            if events is None or events._get_running_loop() is None:
                return scope.session
        return None

    def current(self) -> Session | None:
        """The run that the caller records for; None where it has none yet."""
        scope = self._mine.get()
        task = _task()
        if scope is not None and not scope.session.closed:
            owner = None if scope.task is None else scope.task()
            if owner is not None and (owner is task or (task is None and not owner.done())):
                return scope.session
            if scope.task is None and task is None and scope.thread is threading.current_thread():
                if scope.request is _request():
                    return scope.session
                # A new request on a thread of a pool: the one before it never committed.
                status = ("finished",) if scope.request is None else ("failed", "its request ended without flor.commit")
                self._end(scope, *status)
                return None
        main = self._main
        if main is not None and main.looping and not main.closed and task is None:
            return main
        return None

    def begun(self, session: Session) -> None:
        """`session` belongs to the calling thread or task from now on."""
        self._sweep()
        scope = _Scope(session, self._mine.get())
        self._mine.set(scope)
        if scope.task is None and scope.thread is threading.main_thread():
            self._main = session
        with self._lock:
            self._open.append(scope)

    def is_request(self) -> bool:
        """Whether what the caller begins now is one of many in this process, not the script's own run."""
        return (
            _task() is not None or threading.current_thread() is not threading.main_thread() or _request() is not None
        )

    def committed(self, session: Session) -> None:
        """`session` has ended: so do the runs of tasks that it began and that are over."""
        with self._lock:
            mine = next((scope for scope in self._open if scope.session is session), None)
            inside = [scope for scope in self._open if scope.parent is mine and mine is not None and scope.over()]
        for scope in inside:
            self._end(scope, "finished")
        self._sweep()

    def sessions(self) -> list[Session]:
        """All that are open, the oldest first."""
        with self._lock:
            return [scope.session for scope in self._open if not scope.session.closed]

    def _sweep(self) -> None:
        """End the runs of threads and tasks that are over: nobody will commit them."""
        with self._lock:
            over = [scope for scope in self._open if scope.over()]
        for scope in over:
            self._end(scope, "finished")
        with self._lock:
            self._open = [scope for scope in self._open if not scope.session.closed]

    def _end(self, scope: _Scope, status: str, reason: str | None = None) -> None:
        scope.session.end(status, reason)
        with self._lock:
            if scope in self._open:
                self._open.remove(scope)
