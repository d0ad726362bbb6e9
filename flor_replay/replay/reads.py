"""What a replay reads must be what the recorded run read: this looks at every file that Python code opens.

The files of the version are right by themselves. Files that the recorded run found beside it are right where their content
is the same (`history.inputs`), others where they have not changed since it began, and what this process wrote itself is its
own. Anything else is not what the run read: a part of a run gives up, and the whole run is tried, in whose sandbox the
ignored files stand as they were; a whole run goes on and is judged by it. Files that C code opens are not seen.
"""

from __future__ import annotations

import json
import os
import site
import sys
import sysconfig
import time

from flor_replay.errors import ReplayMismatch
from flor_replay.replay.sandbox import CHANGING
from flor_replay.replay.task import Task
from flor_replay.store import layout

_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/var/cache", "/var/run", "/run", "/lib", "/lib64", "/bin")
_OWN = ("flor", "flor_replay", "flor_checkpoint", "flor_instrument")


def changed(folder: layout.RunFolder) -> tuple[str, ...]:
    """What the whole run in `folder` read although it is not as it was: a sentence for each file."""
    try:
        with open(folder.changed, encoding="utf-8") as file:
            return tuple(dict.fromkeys(str(json.loads(line)) for line in file))
    except OSError:
        return ()


class ReadWatch:
    """Judges opened files.

    `refused` says why a part of a run has no result. What a whole run read although it is not as it was is noted in the
    replay's folder, also by processes that were forked.
    """

    def __init__(self, task: Task, root: str) -> None:
        import flor_checkpoint  # noqa: F401  (known by place before it is needed)

        self._whole = task.segment.kind == "whole"
        self._started = task.started
        self._scratch = os.path.realpath(task.scratch) + os.sep
        self._base = os.path.realpath(root) + os.sep
        self._upper = os.path.join(task.scratch, "root.upper")
        self._states = task.states
        self._process_started = time.time()
        self._written: set[str] = set()
        self._foreign: dict[str, str] = {}  # written to on top of what the recorded run did not find there: why
        self._told: set[str] = set()
        self._notes = layout.RunFolder(task.store, task.replay).changed
        self.refused: str | None = None
        own = [os.path.dirname(str(sys.modules[name].__file__)) for name in _OWN if name in sys.modules]
        # Installed packages are not inputs: what pip did since is the matter of the recorded package versions. A virtual
        # environment may be reached through a link, and its packages may lie elsewhere (user site, Debian).
        packages = [*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()]
        passed = [task.store, sys.prefix, sys.base_prefix, sys.exec_prefix, *packages, *own]
        found = {os.path.realpath(path) + os.sep for path in passed}
        # An environment that was made in the project's own folder has the inputs below it too.
        self._passed = tuple(path for path in found if not self._base.startswith(path))
        home = os.path.expanduser("~")
        self._elsewhere = (*(path + os.sep for path in _SYSTEM), os.path.join(home, "."))  # caches, settings

    def install(self) -> None:
        """From now on every open of this process is judged."""

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open":
                path, _, flags = arguments
                if isinstance(path, (str, bytes)):
                    self.opened(os.path.realpath(os.fsdecode(path)), flags if isinstance(flags, int) else 0)

        sys.addaudithook(hook)

    def opened(self, path: str, flags: int) -> None:
        """`path` (real) is about to be opened. Raises ReplayMismatch where a part of a run must not go on."""
        if path in self._written or self._passes(path):
            return
        if flags & CHANGING:
            if flags & (os.O_TRUNC | os.O_EXCL) or not os.path.exists(path):
                self._written.add(path)
                return
            if flags & os.O_WRONLY:  # appended to unread: what stands before it counts once it is read
                why = self._foreign.get(path) or self._differs(path)
                if why is None:
                    self._written.add(path)
                else:
                    self._foreign[path] = why
                return
        why = self._foreign.get(path) or self._differs(path)
        if why is None:
            if flags & CHANGING:
                self._written.add(path)
            return
        name = os.path.relpath(path, self._base) if path.startswith(self._base) else path
        if not self._whole:
            self.refused = f"{name} {why}"
            raise ReplayMismatch(self.refused)
        if name not in self._told:
            self._told.add(name)
            file = os.open(self._notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(file, (json.dumps(f"{name} {why}") + "\n").encode())
            finally:
                os.close(file)

    def _passes(self, path: str) -> bool:
        if path.startswith(self._base):
            return path.startswith(self._passed) or "__pycache__" in path
        return path.startswith((*self._passed, self._scratch, *self._elsewhere)) or "__pycache__" in path

    def _differs(self, path: str) -> str | None:
        """Why the content is not what the recorded run found; None if it is."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        if not os.path.isfile(path):
            return None
        name = path[len(self._base) :] if path.startswith(self._base) else None
        if name is not None:
            if name in self._states.same or (self._whole and name in self._states.grown):
                return None
            if self._own(name):
                return None
            if name in self._states.new:
                return "was not there when the recorded run began"
            if name in self._states.changed:
                return "has changed since the recorded run began"
        if status.st_mtime <= self._started or (name is None and status.st_mtime >= self._process_started):
            return None
        return "was written after the recorded run began"

    def _own(self, name: str) -> bool:
        """Written by this process through C code, which no hook sees."""
        if os.path.isdir(self._upper):
            return os.path.lexists(os.path.join(self._upper, name))
        full = self._base + name
        return not os.path.islink(full) and os.stat(full).st_mtime >= self._process_started
