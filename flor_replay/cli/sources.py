"""The project's own sources that a script imports, found without importing anything."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence

from flor_replay import project

MANY_FILES = 2000


def module_file(name: str, places: Sequence[str]) -> str | None:
    """The file that ``python -m name`` runs, looked for in folders; None where it is in none of them."""
    parts = name.split(".")
    for place in places:
        base = os.path.join(place, *parts)
        for path in (os.path.join(base, "__main__.py"), f"{base}.py"):
            if os.path.isfile(path):
                return os.path.abspath(path)
    return None


def imported_sources(root: str, script: str) -> dict[str, bytes]:
    """The script and all files of the project that it may import, directly or not, by path relative to `root`."""
    found: dict[str, bytes] = {}
    waiting = [os.path.realpath(script)]
    bases = list(dict.fromkeys(map(os.path.realpath, (os.path.dirname(waiting[0]), os.getcwd(), root, f"{root}/src"))))
    while waiting and len(found) < MANY_FILES:
        path = waiting.pop()
        name = project.relative(path, root)
        if name in found or project.is_library(path):
            continue
        try:
            with open(path, "rb") as file:
                source = found[name] = file.read()
            tree = ast.parse(source)
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        waiting += (one for one in _imported(tree, path, bases) if one == root or one.startswith(root + os.sep))
    return found


def _imported(tree: ast.Module, path: str, bases: Sequence[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name, bases)
        elif isinstance(node, ast.ImportFrom):
            places, base = bases, node.module or ""
            if node.level:
                folder = os.path.dirname(path)
                for _ in range(node.level - 1):
                    folder = os.path.dirname(folder)
                places = [folder]
            for alias in node.names:
                yield from _files(f"{base}.{alias.name}".strip("."), places)


def _files(name: str, bases: Sequence[str]) -> Iterator[str]:
    """The files of a module and of the packages that it is in; a last part that is no module is passed over."""
    parts = name.split(".")
    for base in bases:
        for end in range(1, len(parts) + 1):
            place = os.path.join(base, *parts[:end])
            for path in (f"{place}.py", os.path.join(place, "__init__.py")):
                if os.path.isfile(path):
                    yield os.path.realpath(path)
