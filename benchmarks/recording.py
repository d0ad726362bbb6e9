"""What recording costs a training run: the same script with flor and without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.measure import Row, compared, fastest, in_turn, python

# A flor that does nothing: the script "without flor" is the same text.
NOTHING = """
from contextlib import contextmanager
def log(name, value): return value
def arg(name, default): return default
def loop(name, iterable): return iterable
@contextmanager
def checkpointing(**objects): yield
"""
SCRIPT = """
import time
import torch
import flor

torch.manual_seed(0)
width = {width}
model = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
data = torch.randn(4096, 64)
labels = torch.randint(0, 10, (4096,))
began = time.perf_counter()
for epoch in flor.loop("epoch", range({epochs})):
    for step in flor.loop("step", range({steps})):
        pick = torch.randint(0, 4096, (256,))
        loss = torch.nn.functional.cross_entropy(model(data[pick]), labels[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        flor.log("loss", loss.item())
    flor.log("epoch_loss", loss.item())
print(time.perf_counter() - began)
"""


# At one thread the machine's second core is free for what flor does beside the training; at torch's default it is not,
# and identical runs differ more.
THREADS = {"one thread": {"OMP_NUM_THREADS": "1"}, "torch's threads": {}}


def run(quick: bool) -> list[Row]:
    runs = 3 if quick else 9
    shapes = [
        ("steps of about 1.5 ms", 128, 10, 100 if quick else 200),
        ("steps of about 10 ms", 1024, 6, 15 if quick else 30),
    ]
    rows = []
    for shape, width, epochs, steps in shapes:
        for threads, variables in THREADS.items():
            rows += _compare(f"{shape}, {threads}", width, epochs, steps, variables, runs)
    return rows


def _compare(name: str, width: int, epochs: int, steps: int, variables: dict[str, str], runs: int) -> list[Row]:
    """The training loop's seconds with flor over those without; and those without over themselves: the noise."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        project, stub = base / "project", base / "stub"
        for path in (project, stub):
            path.mkdir()
        (project / "train.py").write_text(SCRIPT.format(width=width, epochs=epochs, steps=steps))
        (stub / "flor.py").write_text(NOTHING)
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
        found = os.pathsep.join([str(stub), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)

        def ours() -> float:
            shutil.rmtree(project / ".flor", ignore_errors=True)
            return float(python(["train.py"], project, variables).stdout)

        def without() -> float:
            return float(python(["train.py"], project, {**variables, "PYTHONPATH": found}).stdout)

        seconds = in_turn([ours, without, without], runs)
        return [
            compared(f"training loop, {name}", seconds[0], seconds[1], "without flor"),
            fastest(f"  fastest of {runs}", seconds[0], seconds[1] + seconds[2], "without flor"),
            compared("  the noise: without flor", seconds[2], seconds[1], "the same again"),
        ]
