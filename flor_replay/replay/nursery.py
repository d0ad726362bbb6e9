"""A warm parent: a process that has imported what the scripts import, and forks a worker for each task.

``python -c "from flor_replay.replay.nursery import serve; …"``; it reads requests from stdin and writes replies to stdout,
a JSON object a line:

    {"task": PATH, "output": PATH, "cwd": PATH}   fork a worker for this task
    {"ready": true} or {"problem": "…"}           once, after the imports: whether forking is safe here
    {"task": PATH, "pid": 123}                    the worker has been started
    {"task": PATH, "code": 0}                     it has ended: exit code, or the negative number of a signal

Only libraries are imported here, never a module of a project, and only those that the recorded runs had imported. No
thread may be alive when a worker is forked, and no accelerator in use: a lock that another thread holds would stay
locked in the child for ever. (The pool of OpenBLAS ends itself before a fork, which a first, empty fork makes it do.)
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from flor_replay.replay.drawing import Draws


def serve(modules: Sequence[str]) -> NoReturn:
    """Import, then fork for each request until stdin ends. Workers end with this process."""
    replies = os.dup(1)
    os.dup2(2, 1)  # what an import prints is no reply
    for name in ("flor_replay.replay.worker", "flor_checkpoint.restore"):
        importlib.import_module(name)
    gc.disable()  # large libraries make objects by the hundred thousand: looking for garbage among them takes a quarter
    draws = Draws()
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
        draws.imported(name)
    problem = draws.problem or _problem()
    _tell(replies, {"problem": problem} if problem else {"ready": True})
    if problem:
        os._exit(1)
    _Nursery(replies, draws).run()


def _problem() -> str | None:
    """Why forking is not safe here; None if it is."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "an accelerator is in use"
    gc.freeze()  # what is here now stays as it is: the children share its memory
    gc.enable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    alive = len(os.listdir("/proc/self/task"))
    return f"{alive - 1} threads are alive after the imports" if alive > 1 else None


def _tell(replies: int, message: dict[str, Any]) -> None:
    os.write(replies, (json.dumps(message) + "\n").encode())


class _Nursery:
    def __init__(self, replies: int, draws: Draws) -> None:
        self._replies = replies
        self._draws = draws
        self._children: dict[int, str] = {}
        self._pending = b""

    def run(self) -> NoReturn:
        wake, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._inner = (wake, woken)
        while True:
            ready, _, _ = select.select([0, wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
                self._collect()
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    os._exit(0)  # and the kernel ends the workers
                *lines, self._pending = (self._pending + data).split(b"\n")
                for line in lines:
                    self._fork(json.loads(line))

    def _collect(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            task = self._children.pop(pid, None)
            if task is not None:
                _tell(self._replies, {"task": task, "code": os.waitstatus_to_exitcode(status)})

    def _fork(self, request: dict[str, str]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                self._become(request, parent)
            finally:
                os._exit(1)
        self._children[pid] = request["task"]
        _tell(self._replies, {"task": request["task"], "pid": pid})

    def _become(self, request: dict[str, str], parent: int) -> None:
        """In the child: a process as a fresh worker is one, then its work."""
        from flor_replay.replay import worker

        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (self._replies, *self._inner):
                os.close(descriptor)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.close(nothing)
            output = os.open(request["output"], os.O_WRONLY | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            os.chdir(request["cwd"])
            os._exit(worker.main(request["task"], parent, drawn=self._draws.by_library))
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
