"""Where a project is: its repository's root, its name, its store.

Plain path arithmetic, no git: it runs on every ``import flor``.
"""

from __future__ import annotations

import os
import sys

STORE = ".flor"

PACKAGES = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))
"""Where packages are installed: what stands in a path to one of their files."""

_STDLIB = os.path.dirname(os.__file__) + os.sep


def repository_root(start: str) -> str | None:
    """The nearest folder at or above `start` that holds a ``.git`` (folder, or file in a worktree)."""
    folder = os.path.abspath(start)
    while True:
        if os.path.exists(os.path.join(folder, ".git")):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def store_root(start: str) -> str | None:
    """The nearest folder at or above `start`, below home and temporary folders, that holds a store."""
    folder = os.path.abspath(start)
    home = os.path.expanduser("~")  # other tools keep a ~/.flor
    while True:
        parent = os.path.dirname(folder)
        if parent == folder or folder in (home, os.environ.get("TMPDIR", "/tmp")):
            return None
        if os.path.isdir(os.path.join(folder, STORE, "runs")):
            return folder
        folder = parent


def main_file() -> str | None:
    """The file of the script that this process runs; None in a shell, a notebook, or under ``-c``."""
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if not isinstance(path, str) or not os.path.isfile(path):
        return None
    return os.path.abspath(path)


def is_library(path: str) -> bool:
    """Whether `path` is installed code rather than somebody's project."""
    if path.startswith(_STDLIB) or any(folder in path for folder in PACKAGES):
        return True
    return os.path.dirname(path) == os.path.dirname(sys.executable)  # a command that a package has installed


def project_root(script: str | None = None) -> str:
    """The project's root: the script's repository, else the working directory's, else a plain folder.

    A script that is installed code (``pytest``, ``torchrun``) says nothing about the project: the working directory does.
    """
    places = [os.path.dirname(script)] if script and not is_library(script) else []
    places.append(os.getcwd())
    # A replay's worker stands in a laid-out tree without a repository; it says where the root is.
    told = os.environ.get("FLOR_PROJECT_ROOT")
    if told:
        return told
    for place in places:
        found = repository_root(place)
        if found:
            return found
    for place in places:
        found = store_root(place)
        if found:
            return found
    return places[0]


def store_path(root: str) -> str:
    """The store of the project at `root`; ``FLOR_STORE`` moves it (an absolute path)."""
    return os.environ.get("FLOR_STORE") or os.path.join(root, STORE)


def relative(path: str, root: str) -> str:
    """`path` as the project names it: relative to `root` with forward slashes, absolute if it is elsewhere."""
    real, base = os.path.realpath(path), os.path.realpath(root)
    if real == base:
        return "."
    if real.startswith(base + os.sep):
        return real[len(base) + 1 :].replace(os.sep, "/")
    return real
