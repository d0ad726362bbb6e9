"""Runs under FlorDB's interpreter: a question a line on stdin, an answer a line on stdout, both JSON."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import signal
import sys
import time
from types import FrameType, ModuleType

LIMIT = 60.0  # seconds of processor time for one case; beyond it counts as an error


def load() -> ModuleType:
    """FlorDB's propagation without its `__init__`, which opens databases and looks for git repositories."""
    from importlib.util import find_spec

    spec = find_spec("flordb")
    assert spec is not None and spec.submodule_search_locations is not None
    package = ModuleType("flordb")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["flordb"] = package
    return importlib.import_module("flordb.hlast.gtpropagate")


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"no answer after {LIMIT:.0f} seconds of processor time")


def main() -> None:
    module = load()
    signal.signal(signal.SIGPROF, _too_long)
    for line in sys.stdin:
        case = json.loads(line)
        out: str | None = None
        error = ""
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                tree, target = ast.parse(case["today"]), ast.parse(case["target"])
                module.replicate(tree, module.find(tree, lineno=case["line"]), target)
                out = ast.unparse(target)
        except FileExistsError:
            out = case["target"] + "\n# said to stand there already\n"
        except ValueError as caught:
            if "Unable to map context" not in str(caught):
                error = repr(caught)
        except Exception as caught:  # its errors are a result here
            error = repr(caught)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        spent = (time.process_time() - began) * 1000
        print(json.dumps({"out": out, "error": error, "ms": spent}), flush=True)


if __name__ == "__main__":
    main()
