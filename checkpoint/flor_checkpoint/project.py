"""Which modules are the user's own, and how a class or function is named so that another process finds it."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

_LIBRARY_PARTS = ("site-packages", "dist-packages")


class Project:
    """Answers about modules, remembered per module name."""

    def __init__(self, root: Path | None) -> None:
        self._root = str(root.resolve()) + "/" if root is not None else None
        self._stdlib = os.path.dirname(os.__file__) + "/"
        self._known: dict[str, bool] = {"__main__": True}

    def owns(self, module: object) -> bool:
        """Whether the module of that name is a file of the project (without a root: of no library)."""
        if not isinstance(module, str):
            return False
        known = self._known.get(module)
        if known is None:
            known = self._known[module] = self._looks_owned(module)
        return known

    def _looks_owned(self, module: str) -> bool:
        file = getattr(sys.modules.get(module), "__file__", None)
        if not isinstance(file, str):
            return False
        file = str(Path(file).resolve())
        if any(part in file for part in _LIBRARY_PARTS) or file.startswith(self._stdlib):
            return False
        return self._root is None or file.startswith(self._root)


def spec_of(thing: object) -> str | None:
    """``module:qualname`` if that finds this very class or function again, else None."""
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    return f"{module}:{name}" if _find(module, name, load=False) is thing else None


def find(spec: str, *, load: bool) -> object | None:
    """What `spec` names, or None; modules that are not loaded yet are imported only if `load`."""
    module, _, name = spec.partition(":")
    return _find(module, name, load=load)


def _find(module: str, name: str, *, load: bool) -> object | None:
    found: object | None = sys.modules.get(module)
    if found is None and load:
        try:
            found = importlib.import_module(module)
        except Exception:  # whatever a module does when it is imported
            return None
    for part in name.split("."):
        if found is None:
            return None
        found = getattr(found, part, None)
    return found
