"""What a ``flor.log`` call costs the thread that trains, beside appending to a list."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from benchmarks.measure import Row, compared, python

SCRIPT = """
import json, sys, time
import flor

N = int(sys.argv[1])
flor.log("warm", 0.0)

def ours():
    began = time.perf_counter()
    for step in flor.loop("step", range(N)):
        flor.log("loss", step * 0.5)
    return time.perf_counter() - began

def plain():
    records = []
    began = time.perf_counter()
    for step in range(N):
        records.append(("loss", step, step * 0.5))
    return time.perf_counter() - began

print(json.dumps([ours() / N, plain() / N]))
"""


def run(quick: bool) -> list[Row]:
    # Up to `journal.FULL` waiting entries another thread writes them down; in a longer burst the calling thread helps.
    counts = (20_000,) if quick else (20_000, 200_000)
    return [_compare(count, 3 if quick else 9) for count in counts]


def _compare(count: int, runs: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        subprocess.run(["git", "init", "-q"], cwd=here, check=True)
        (here / "script.py").write_text(SCRIPT)
        ours, plain = [], []
        for _ in range(runs):
            output = python(["script.py", str(count)], here, {"FLOR_CHECKPOINTS": "off"}).stdout
            both = json.loads(output)
            ours.append(both[0])
            plain.append(both[1])
        return compared(f"flor.log in a flor.loop of {count:,}", ours, plain, "list.append of a tuple")
