"""The wait between the question and the values: ``add-log`` beside running the scripts again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Row, compared, python
from benchmarks.recording import NOTHING

VERSIONS = ("relu", "tanh", "sigmoid", "relu6")
SCRIPT = """
import torch
import flor

torch.manual_seed(0)
activation = torch.nn.functional.{activation}
first = torch.nn.Linear(64, {width})
second = torch.nn.Linear({width}, 10)
parameters = [*first.parameters(), *second.parameters()]
optimizer = torch.optim.Adam(parameters, lr=1e-3)
data = torch.randn(4096, 64)
labels = torch.randint(0, 10, (4096,))
for epoch in flor.loop("epoch", range({epochs})):
    for step in flor.loop("step", range({steps})):
        pick = torch.randint(0, 4096, (256,))
        loss = torch.nn.functional.cross_entropy(second(activation(first(data[pick]))), labels[pick])
        optimizer.zero_grad()
        loss.backward(){nested}
        optimizer.step()
        flor.log("loss", loss.item())
    accuracy = (second(activation(first(data))).argmax(1) == labels).float().mean()
    flor.log("accuracy", accuracy.item()){bottom}
"""
NESTED = '\n        flor.log("{name}", sum(float(p.grad.pow(2).sum()) for p in parameters) ** 0.5)'
BOTTOM = '\n    flor.log("{name}", sum(float(p.detach().pow(2).sum()) for p in parameters) ** 0.5)'
STATEMENTS = {
    "statement in an iteration, after the nested loop": ("bottom", BOTTOM),
    "statement in the nested loop": ("nested", NESTED),
}


def run(quick: bool) -> list[Row]:
    epochs, steps, runs = (6, 100, 1) if quick else (8, 2000, 3)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        project = base / "project"
        project.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
        for activation in VERSIONS:
            write(project, activation, epochs, steps)
            git(project, "add", "-A")
            git(project, "commit", "-q", "-m", activation)
            python(["train.py"], project)
        again: dict[str, list[float]] = {what: [] for what in STATEMENTS}
        seconds: dict[str, list[float]] = {what: [] for what in STATEMENTS}
        for turn in range(runs):
            for what, (place, statement) in STATEMENTS.items():
                options = {place: statement.format(name=f"norm_{place}_{turn}")}
                again[what].append(rerun(base, epochs, steps, options))
                write(project, VERSIONS[-1], epochs, steps, **options)
                seconds[what].append(backfill(project))
                write(project, VERSIONS[-1], epochs, steps)
    return [
        compared(f"{what}, {len(VERSIONS)} versions", taken, again[what], "running the scripts again")
        for what, taken in seconds.items()
    ]


def backfill(project: Path) -> float:
    """Seconds of the command."""
    began = time.perf_counter()
    words = [str(Path(sys.executable).parent / "flor-replay"), "add-log", "train.py", "--yes"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - began


def rerun(base: Path, epochs: int, steps: int, statement: dict[str, str]) -> float:
    """Seconds of running every version again with the statement, one after another, without recording."""
    folder = base / "again"
    folder.mkdir()
    (folder / "flor.py").write_text(NOTHING)
    began = time.perf_counter()
    for activation in VERSIONS:
        write(folder, activation, epochs, steps, **statement)
        python(["train.py"], folder)
    seconds = time.perf_counter() - began
    shutil.rmtree(folder)
    return seconds


def write(folder: Path, activation: str, epochs: int, steps: int, nested: str = "", bottom: str = "") -> None:
    text = SCRIPT.format(activation=activation, width=256, epochs=epochs, steps=steps, nested=nested, bottom=bottom)
    (folder / "train.py").write_text(text)


def git(project: Path, *words: str) -> None:
    who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    subprocess.run(["git", *who, *words], cwd=project, check=True)
