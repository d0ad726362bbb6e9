"""The project's own sources that a script imports, found without importing anything."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

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
    first = os.path.realpath(script)
    bases = list(dict.fromkeys(map(os.path.realpath, (os.path.dirname(first), os.getcwd(), root, f"{root}/src"))))

    def read(path: str) -> bytes | None:
        full = os.path.realpath(path)
        if project.is_library(full) or (not (full + os.sep).startswith(root + os.sep) and full != first):
            return None
        try:
            with open(full, "rb") as file:
                return file.read()
        except OSError:
            return None

    found = _closure(first, bases, read)
    return {project.relative(path, root): source for path, source in found.items()}


def imported_among(sources: Mapping[str, bytes], script: str) -> dict[str, bytes]:
    """As `imported_sources`, of a version whose files are `sources`, by path relative to its root."""
    bases = list(dict.fromkeys((os.path.dirname(script), "", "src")))
    return _closure(script, bases, lambda path: sources.get(path.replace(os.sep, "/")))


def _closure(first: str, bases: Sequence[str], read: Callable[[str], bytes | None]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    waiting = [first]
    while waiting and len(found) < MANY_FILES:
        path = waiting.pop()
        if path in found:
            continue
        source = read(path)
        if source is None:
            continue
        found[path] = source
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            continue
        waiting += _imported(tree, path, bases)
    return found


def _imported(tree: ast.Module, path: str, bases: Sequence[str]) -> Iterator[str]:
    """Files that the imports of the file at `path` may mean; not all of them are there."""
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
            yield from (f"{place}.py", os.path.join(place, "__init__.py"))
