"""Runs a script that has no flor in it, recorded: what ``flor-replay run`` becomes.

The command has looked at the source and replaced itself by a fresh interpreter that comes here (`launch.py`). The script
then runs as under ``python train.py``: its own ``__main__``, arguments, path, exit code and tracebacks.
"""

from __future__ import annotations

import builtins
import json
import os
import runpy
import sys
import time
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType

from flor_replay.record import output, session, wrapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Any

VARIABLE = "FLOR_HANDS_FREE"  # carries what the command has decided; gone before the script starts
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def told_of(
    root: str,
    path: str | None,
    module: str | None,
    wraps: Sequence[tuple[str, int, str, int]],
    reason: str,
    digests: Mapping[str, str],
) -> str:
    """What `main` is told through the variable. `digests`: SHA-256 of the files that `wraps` are about."""
    told = {
        "root": root,
        "path": path,
        "module": module,
        "wraps": list(wraps),
        "reason": reason,
        "digests": dict(digests),
    }
    return json.dumps({**told, "began": time.time()})


def main() -> None:
    """``launch.py`` SCRIPT ARGS…, or ``launch.py`` -m MODULE ARGS…"""
    told: dict[str, Any] = json.loads(os.environ.pop(VARIABLE))
    wraps = tuple(wrapping.Wrap(*one) for one in told["wraps"])
    wraps, note = _as_they_were(told, wraps)
    wrapper = wrapping.Wrapping(told["root"], wraps)
    info = {
        "hands_free": {"reason": note or told["reason"], "loops": wrapping.as_data(wraps)},
        "start_up_seconds": max(0.0, time.time() - float(told["began"])),
    }
    try:
        if told["module"] is not None:
            _run_module(told, wrapper, info)
        else:
            _run_script(told, wrapper, info)
    except BaseException:
        # The interpreter shows it, and ends as it does for any script; only our own frames are taken out.
        _without_own_frames()
        raise


def _as_they_were(
    told: dict[str, Any], wraps: tuple[wrapping.Wrap, ...]
) -> tuple[tuple[wrapping.Wrap, ...], str | None]:
    """No loop is wrapped in files that were edited between the look at them and now."""
    import hashlib

    for path, digest in told["digests"].items():
        with open(os.path.join(told["root"], path), "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != digest:
                return (), f"{path} was edited while the run began"
    return wraps, None


def _begin(wrapper: wrapping.Wrapping, info: dict[str, Any]) -> None:
    running = session.begin(info)
    wrapper.install()
    if running is not None:
        output.keep(running.folder.output)


def _run_script(told: dict[str, Any], wrapper: wrapping.Wrapping, info: dict[str, Any]) -> None:
    given = sys.argv[1]
    path = os.path.abspath(given)
    sys.argv = sys.argv[1:]
    if not sys.flags.safe_path:
        sys.path.insert(0, os.path.dirname(os.path.realpath(given)))
    module = ModuleType("__main__")
    variables = module.__dict__
    variables.update(
        __builtins__=builtins,
        __file__=path,
        __cached__=None,
        __loader__=SourceFileLoader("__main__", path),
        __annotations__={},
    )
    sys.modules["__main__"] = module
    with open(path, "rb") as file:
        source = file.read()
    code = wrapper.code(source, path)  # a script that cannot be compiled leaves no run
    _begin(wrapper, info)
    del told, source
    exec(code, variables)


def _run_module(told: dict[str, Any], wrapper: wrapping.Wrapping, info: dict[str, Any]) -> None:
    name = sys.argv[2]
    sys.argv = ["-m", *sys.argv[3:]]
    if not sys.flags.safe_path:
        sys.path.insert(0, os.getcwd())
    module = ModuleType("__main__")
    module.__dict__.update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = module
    if told["path"] is not None:  # until runpy says it: what is asked of the main file now is where the project is
        module.__file__ = told["path"]
        module.__spec__ = ModuleSpec(name, None)
        sys.argv[0] = told["path"]
    _begin(wrapper, info)
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _without_own_frames() -> None:
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        seen: set[int] = set()
        one: BaseException | None = error
        waiting = [error]
        while waiting:
            one = waiting.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            one.__traceback__ = _stripped(one.__traceback__)
            waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
        shown(kind, error, error.__traceback__)

    sys.excepthook = hook


def _stripped(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package."""
    kept = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_OWN):
            kept.append(trace)
        trace = trace.tb_next
    for place, one in enumerate(kept):
        one.tb_next = kept[place + 1] if place + 1 < len(kept) else None
    return kept[0] if kept else None
