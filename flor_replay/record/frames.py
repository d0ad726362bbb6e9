"""The user's frames and modules, as the namespaces whose state a checkpoint holds.

Names: ``frame:0:<qualname>`` is the outermost function frame of project code, counting inwards; ``module:<name>`` the
globals of a project module; ``explicit`` what ``flor.checkpointing`` was given.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from itertools import islice

from flor_replay.project import PACKAGES, is_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import FrameType, ModuleType
    from typing import Any

_OWN = ("flor", "flor_replay", "flor_checkpoint", "flor_instrument")
_known: dict[str, dict[str, bool]] = {}  # root -> file -> whether it is the project's
_links: dict[str, bool] = {}
_found: dict[str, _Look] = {}  # by root


class _Look:
    """The modules as they were when they were last looked at."""

    __slots__ = ("count", "installed", "last", "members")

    def __init__(self, count: int, last: str, members: list[tuple[str, ModuleType]], installed: dict[str, str]) -> None:
        self.count = count
        self.last = last  # what is new stands after it
        self.members = members  # the project's
        self.installed = installed  # package -> its folder, of installed ones: nothing in there is the project's


def _is_own(module: str) -> bool:
    return module.partition(".")[0] in _OWN


def in_project(path: str | None, root: str) -> bool:
    """Whether the code in file `path` belongs to the project at `root` (installed packages inside it do not)."""
    if not path:
        return False
    known = _known.setdefault(root, {})
    found = known.get(path)
    if found is None:
        found = known[path] = _looks_inside(path, root)
    return found


def _looks_inside(path: str, root: str) -> bool:
    # Thousands of library files: the paths of most say it, without asking the file system about each of their folders.
    if is_library(path) and not _is_linked(path):
        return False
    if not os.path.isabs(path) and not os.path.exists(path):
        return False  # `torch.ops` says that it is `_ops.py`
    full = os.path.realpath(path)
    top = os.path.realpath(root) + os.sep
    environment = os.path.realpath(sys.prefix) + os.sep
    installed = full.startswith(environment) and not top.startswith(environment)  # it may be the project's own folder
    return full.startswith(top) and not is_library(full) and not installed


def _is_linked(path: str) -> bool:
    """Whether an installed package is a link to a folder elsewhere: somebody works on it."""
    top = _package_folder(path)
    if top and top not in _links:
        _links[top] = os.path.islink(top)
    return bool(top) and _links[top]


def _package_folder(path: str) -> str:
    """Where the installed package stands (or, of one file, that file) to which `path` belongs; empty if it is none."""
    for folder in PACKAGES:
        head, found, tail = path.rpartition(folder)
        if found:
            return f"{head}{found}{tail.partition(os.sep)[0]}"
    return ""


def project_frames(root: str) -> tuple[list[FrameType], list[str]]:
    """Function and module frames of project code on this thread's stack, outermost first.

    The second part names installed code that stands between them: its local state is not captured.
    """
    frames: list[FrameType] = []
    between: list[str] = []
    strangers: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if not _is_own(module):
            if in_project(frame.f_globals.get("__file__"), root):
                if frames:
                    between += strangers
                strangers = []
                frames.append(frame)
            elif not module.startswith(("importlib", "runpy", "tqdm")) and frames:
                strangers.append(f"{module}.{frame.f_code.co_name}")
        frame = frame.f_back
    frames.reverse()
    return frames, between


def other_threads(root: str) -> list[str]:
    """The project's functions that run in other threads now: where they stand, no checkpoint can say."""
    running = []
    frames = sys._current_frames()
    # A frame that refers to itself keeps its callers' locals, a loop among them, and the end of a loop is how ``break`` is seen.
    del frames[threading.get_ident()]
    for innermost in frames.values():
        frame: FrameType | None = innermost
        outermost = None
        while frame is not None:
            if in_project(frame.f_code.co_filename, root) and not _is_own(str(frame.f_globals.get("__name__", ""))):
                outermost = frame.f_code.co_qualname
            frame = frame.f_back
        if outermost is not None:
            running.append(outermost)
    return running


def _locals(frame: FrameType) -> dict[str, Any]:
    return {name: value for name, value in frame.f_locals.items() if name != "__class__" and not name.startswith(".")}


def namespaces(
    root: str, explicit: Mapping[str, object]
) -> tuple[dict[str, dict[str, object]], dict[str, FrameType], list[str]]:
    """The namespaces now, the function frames among them by name, and in words what could not be looked into."""
    frames, between = project_frames(root)
    unseen = [f"local state of {name}" for name in between]
    unseen += [f"what {name} does in another thread" for name in other_threads(root)]
    found: dict[str, dict[str, object]] = {}
    functions: dict[str, FrameType] = {}
    for frame in frames:
        if frame.f_locals is frame.f_globals or frame.f_code.co_name == "<module>":
            continue
        name = f"frame:{len(functions)}:{frame.f_code.co_qualname}"
        functions[name] = frame
        found[name] = _locals(frame)
    for module_name, module in project_modules(root):
        found[f"module:{module_name}"] = _globals(vars(module))
    if explicit:
        found["explicit"] = dict(explicit)
    return found, functions, unseen


def files_of(root: str, spaces: Iterable[str], functions: Mapping[str, FrameType]) -> dict[str, str]:
    """The file, relative to `root`, in which the code of each namespace stands."""
    found = {}
    for space in spaces:
        if space in functions:
            path: str | None = functions[space].f_globals.get("__file__")
        else:
            path = getattr(sys.modules.get(space.removeprefix("module:")), "__file__", None)
        if path:
            found[space] = _relative(path, root)
    return found


@functools.cache
def _relative(path: str, root: str) -> str:
    return os.path.relpath(os.path.realpath(path), os.path.realpath(root)).replace(os.sep, "/")


def project_modules(root: str) -> list[tuple[str, ModuleType]]:
    """The project's modules by name. Thousands are loaded: those that have come since the last look are looked at."""
    look = _found.get(root)
    if look is None or not _is_there(look):
        look = _Look(0, "", [], {})
    # All of them at once: other threads import, too.
    new = list(islice(sys.modules.items(), look.count, None)) if len(sys.modules) > look.count else []
    if new:
        members = [*look.members, *_members(new, root, look.installed)]
        look = _Look(look.count + len(new), new[-1][0], members, look.installed)
        _found[root] = look
    return look.members


def _is_there(look: _Look) -> bool:
    """Whether the modules of that look are all there, in the same places."""
    modules = sys.modules
    same = len(modules) == look.count
    last = next(reversed(modules)) if same else next(islice(modules, look.count - 1, None), None)
    return last == look.last and all(modules.get(name) is module for name, module in look.members)


def _members(
    modules: list[tuple[str, ModuleType]], root: str, installed: dict[str, str]
) -> list[tuple[str, ModuleType]]:
    """Those of the modules that are the project's own; `installed` is added to."""
    found = []
    plain = type(sys)
    for name, module in modules:
        # Modules that answer to any name run code for what they do not have.
        path = module.__dict__.get("__file__") if type(module) is plain else getattr(module, "__file__", None)
        if type(path) is not str:
            continue
        package = name.partition(".")[0]
        folder = installed.get(package)
        if (folder is not None and path.startswith(folder)) or package in _OWN:
            continue
        if in_project(path, root):
            if name != "__mp_main__":
                found.append((name, module))
            continue
        folder = _package_folder(path)
        if folder and not _is_linked(path):
            installed[package] = folder + os.sep
    return found


def _globals(variables: dict[str, Any]) -> dict[str, object]:
    module = type(sys)
    return {
        name: value
        for name, value in variables.items()
        if not (name.startswith("__") and name.endswith("__")) and not isinstance(value, module)
    }


def bind(
    functions: Mapping[str, FrameType],
    bindings: Mapping[str, Mapping[str, object]],
    unbind: Mapping[str, list[str]],
) -> None:
    """Write names back where a restore says so: into module globals and into the locals of live frames."""
    for space in {*bindings, *unbind}:
        values, gone = bindings.get(space, {}), unbind.get(space, [])
        if space.startswith("module:"):
            variables = vars(sys.modules[space[7:]])
            variables.update(values)
            for name in gone:
                variables.pop(name, None)
        elif space in functions:
            _write_locals(functions[space], values, gone)


if sys.version_info >= (3, 13):

    def _write_locals(frame: FrameType, values: Mapping[str, object], gone: list[str]) -> None:
        # PEP 667: f_locals writes through; a fast local cannot be unbound there, and an extra name does no harm.
        known = {*frame.f_code.co_varnames, *frame.f_code.co_cellvars, *frame.f_code.co_freevars}
        for name, value in values.items():
            if name in known:
                frame.f_locals[name] = value
        del gone

else:

    def _write_locals(frame: FrameType, values: Mapping[str, object], gone: list[str]) -> None:
        known = {*frame.f_code.co_varnames, *frame.f_code.co_cellvars, *frame.f_code.co_freevars}
        variables = frame.f_locals
        variables.update({name: value for name, value in values.items() if name in known})
        for name in gone:
            variables.pop(name, None)
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(1))
