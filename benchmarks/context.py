"""What capturing build context adds to a script's critical path: with it and without it (``FLOR_CONTEXT=off``), in turn."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.measure import Row, compared, git, in_turn, python

# The script's own work is longer than what goes on beside it, as training is; the times are its own.
SCRIPT = """\
import time
began = time.perf_counter()
import flor
flor.log("x", 1)
recording = time.perf_counter() - began
time.sleep({work})
began = time.perf_counter()
import atexit
print(recording)
"""


def run(quick: bool) -> list[Row]:
    rounds = 5 if quick else 21
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        git(here, "init", "-q")
        rows = []
        for what, work in (("import flor and the first record", 0.0), ("a script of one second, whole", 1.0)):
            (here / "train.py").write_text(SCRIPT.format(work=work))

            def whole(state: str) -> float:
                began = time.perf_counter()
                out = python(["train.py"], here, {"FLOR_CONTEXT": state}).stdout
                return time.perf_counter() - began if work else float(out)  # noqa: B023

            ours, beside = in_turn([lambda: whole("on"), lambda: whole("off")], rounds)
            rows.append(compared(what, ours, beside, "without context"))
            if not work:
                ours, beside = in_turn([lambda: timed_whole(here, "on"), lambda: timed_whole(here, "off")], rounds)
                rows.append(compared("a script that does nothing, whole", ours, beside, "without context"))
        return rows


def timed_whole(here: Path, state: str) -> float:
    began = time.perf_counter()
    python(["train.py"], here, {"FLOR_CONTEXT": state})
    return time.perf_counter() - began
