"""Notes which files this process opens: an audit hook, as cheap as can be, and a file of the run that it is drained to.

The hook appends to a queue; the journal's thread writes down what lies in the project or in the declared data folders
(``FLOR_DATA``, or ``data = [...]`` in ``[tool.flor]`` of pyproject.toml). What that means is worked out later
(`flor_replay.lineage.settling`). Loader workers, which are forked, write their own notes: they are who reads the data.

A line of ``opened.txt`` is flags, a tab and a path as it was given; ``cwd`` and a path: relative ones stand there from now
on; ``values`` and JSON: what was read through ``flor.dataframe``.
"""

from __future__ import annotations

import os
import sys
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MAX_PATHS = 100_000  # a run notes no more: a data set of a million files is known by the folders that are noted
_FULL = 1 << 14  # opens that wait in the process itself
_FULL_IN_CHILD = 64
_CHANGES = os.O_WRONLY | os.O_RDWR
_CODE = (".py", ".pyc", ".pyd", ".so")  # the version has them


class Opened:
    """What one process opens. `install` once; `attach` to the run that is noted for."""

    def __init__(self, root: str, store: str) -> None:
        inside = [root, os.path.realpath(root), *_declared(root)]
        self._inside = tuple(dict.fromkeys(folder.rstrip(os.sep) + os.sep for folder in inside))
        self._outside = tuple(
            dict.fromkeys(
                os.path.join(folder, "")
                for folder in (store, os.path.realpath(store), os.path.join(root, ".git"), sys.prefix)
            )
        )
        self._waiting: deque[Any] = deque()  # a path that was opened for reading, or a tuple: path, mode and flags
        self._known: set[str] = set()  # what was written down, or need not be
        self._seen: set[Any] = set()  # what waited before, since the last chdir
        self._file: str | None = None
        self._full = _FULL
        self._cwd = ""
        self._busy = False

    def install(self) -> None:
        """From now on every open is noted."""
        waiting = self._waiting
        append = waiting.append

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open":
                # Of a reading only the path is kept: a tuple more is a step towards a collection of garbage, of all there is.
                try:
                    append(arguments if arguments[2] & _CHANGES else arguments[0])
                except (IndexError, TypeError):  # an event of somebody else's making
                    return
                if len(waiting) >= self._full:
                    self.drain()
            elif event == "os.chdir":
                self.drain()  # what was opened before was relative to where we still are
                self._seen.clear()

        sys.addaudithook(hook)

    def attach(self, file: str) -> None:
        """Note for the run that has this file."""
        self._file = file
        self._known = set()
        self._seen = set()
        self._cwd = ""

    def in_child(self) -> None:
        """In a forked child: what waits is the parent's, and there is no thread to write it down."""
        self._waiting.clear()
        self._full = _FULL_IN_CHILD
        self._busy = False

    def values(self, names: Sequence[str], runs: Sequence[str]) -> None:
        """The values of these names, logged by these runs, were read."""
        self._waiting.append((None, tuple(names), tuple(runs)))

    def drain(self) -> None:
        """Write down what waits. Never raises: it may run inside any ``open``."""
        if self._busy:
            return
        if self._file is None:
            while len(self._waiting) > _FULL:
                self._waiting.popleft()
            return
        self._busy = True
        try:
            lines = self._lines()
            if lines:
                descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
                try:
                    os.write(descriptor, "".join(lines).encode("utf-8", "surrogateescape"))
                finally:
                    os.close(descriptor)
        except Exception:  # a full disk, a folder that is gone: lineage is worth no one's training
            self._file = None
        finally:
            self._busy = False

    def _lines(self) -> list[str]:
        waiting, known, inside, outside = self._waiting, self._known, self._inside, self._outside
        lines = []
        for one in self._new([waiting.popleft() for _ in range(len(waiting))]):
            path, mode, flags = one if type(one) is tuple else (one, None, os.O_RDONLY)
            if type(one) is tuple and path is None:
                import json

                lines.append(f"values\t{json.dumps([list(mode), list(flags)])}\n")
                continue
            if type(path) is not str:
                if isinstance(path, int):
                    continue
                path = os.fsdecode(path)
            if path[:1] == os.sep:
                if not path.startswith(inside) or path.startswith(outside):
                    continue
                where = ""
            else:
                if not lines or self._cwd == "":
                    cwd = os.getcwd()
                    if cwd != self._cwd:
                        self._cwd = cwd
                        lines.append(f"cwd\t{cwd}\n")
                where = self._cwd
            key = f"{flags & _CHANGES}{where}\n{path}"
            if key in known or path.endswith(_CODE) or len(known) >= MAX_PATHS or "\n" in path:
                continue
            known.add(key)
            lines.append(f"{flags}\t{path}\n")
        return lines

    def _new(self, opens: list[Any]) -> list[Any]:
        """Those that were not seen before. A loader opens the same files in each epoch: they cost next to nothing here."""
        seen = self._seen
        try:
            new = [one for one in dict.fromkeys(opens) if one not in seen]
        except TypeError:  # a path of a type that has no hash
            return opens
        if len(seen) < MAX_PATHS:
            seen.update(new)
        return new


def _declared(root: str) -> list[str]:
    """Data folders outside of the project whose files are noted too."""
    told = os.environ.get("FLOR_DATA", "")
    folders = [folder for folder in told.split(os.pathsep) if folder]
    path = os.path.join(root, "pyproject.toml")
    if not folders and os.path.isfile(path):
        with open(path, "rb") as file:
            text = file.read(1 << 20)
        if b"[tool.flor]" in text:
            import tomllib

            try:
                found = tomllib.loads(text.decode()).get("tool", {}).get("flor", {}).get("data", [])
                folders = [folder for folder in found if isinstance(folder, str)]
            except (ValueError, AttributeError):
                folders = []
    return [os.path.realpath(os.path.join(root, os.path.expanduser(folder))) for folder in folders]
