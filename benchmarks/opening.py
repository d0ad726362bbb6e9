"""What noting opened files adds to a loader that opens 10,000 of them: with it and without it (``FLOR_LINEAGE=off``), in turn."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import Row, fastest, git, in_turn, python

FILES = 10_000
# The rounds are timed inside of the process. The first one meets every file for the first time.
SCRIPT = """\
import sys, time
import numpy as np
import flor
flor.log("x", 1)
names = [f"data/{i:05}.npy" for i in range(int(sys.argv[1]))]

def load(name):
    sample = np.load(name)
    return (sample - sample.mean()) / (sample.std() + 1e-6)

def read(name):
    with open(name, "rb") as file:
        return len(file.read())

took = {load: [], read: []}
for turn in range(3):
    for what in (load, read):
        began = time.perf_counter()
        for name in names:
            what(name)
        took[what].append(time.perf_counter() - began)
print(*(sum(found) for found in took.values()))
"""


def run(quick: bool) -> list[Row]:
    rounds, files = (3, 1000) if quick else (11, FILES)
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        git(here, "init", "-q")
        (here / ".gitignore").write_text("data\n")
        (here / "train.py").write_text(SCRIPT)
        (here / "data").mkdir()
        for number in range(files):
            np.save(here / "data" / f"{number:05}.npy", np.full((3, 64, 64), number % 255, dtype=np.float32))
        seconds: dict[str, list[list[float]]] = {"on": [], "off": []}

        def measure(state: str) -> float:
            env = {"FLOR_LINEAGE": state, "FLOR_CHECKPOINTS": "off", "FLOR_CONTEXT": "off"}
            out = python(["train.py", str(files)], here, env).stdout
            seconds[state].append([float(word) for word in out.split()])
            return seconds[state][-1][0]

        in_turn([lambda: measure("on"), lambda: measure("off")], rounds)
        on, off = seconds["on"][1:], seconds["off"][1:]
        return [
            fastest(
                f"a loader of {files} arrays of 48 kB, normalised",
                [s[0] for s in on],
                [s[0] for s in off],
                "without notes",
            ),
            fastest(
                f"{files} files opened and read, nothing else", [s[1] for s in on], [s[1] for s in off], "without notes"
            ),
        ]
