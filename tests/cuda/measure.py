"""What recording costs on a CUDA device: a checkpoint's stall and its bytes, a step's time with recording and without.

python tests/cuda/measure.py            a table
python tests/cuda/measure.py --json     the numbers, a line of JSON for each
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [str(ROOT), str(ROOT / "instrument"), str(ROOT / "checkpoint")]

# A flor that does nothing.
NOTHING = """
def log(name, value): return value
def loop(name, iterable): return iterable
"""
TRAIN = """
import sys, time, torch, flor
width, steps, every = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
layers = [torch.nn.TransformerEncoderLayer(width, 8, 4 * width, batch_first=True) for _ in range(12)]
model = torch.nn.Sequential(*layers, torch.nn.Linear(width, 256)).cuda()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
data = torch.randn(8, 256, width, device="cuda")

def step():
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(data).float().square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()

for _ in range(10):
    step()
torch.cuda.synchronize()
began = time.perf_counter()
if every:  # one long loop of steps
    for i in flor.loop("step", range(steps)):
        loss = step()
        flor.log("loss", loss)
        if i % every == 0:
            flor.log("item", loss.item())
else:
    for epoch in flor.loop("epoch", range(10)):
        for i in flor.loop("step", range(steps // 10)):
            loss = step()
            flor.log("loss", loss)
        flor.log("epoch_loss", loss.item())
torch.cuda.synchronize()
print((time.perf_counter() - began) / steps)
"""


def stalls(megabytes: int, runs: int = 7) -> dict[str, float]:
    """Seconds that the training thread and the device lose to one checkpoint, and that torch.save takes."""
    import flor_checkpoint as fc
    import torch

    count = max(1, megabytes // 48)
    model = torch.nn.ModuleList([torch.nn.Linear(2048, 2048, bias=False) for _ in range(count)]).cuda()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def train() -> None:
        optimizer.zero_grad()
        sum(layer.weight.pow(2).sum() for layer in model).backward()
        optimizer.step()
        optimizer.zero_grad()

    train()
    names = {"frame:0": {"model": model, "optimizer": optimizer}}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        capturer = fc.Capturer(root / "packs", root / "checkpoints", project_root=None, on_warning=print)
        capturer.baseline(names)
        found: dict[str, list[float]] = {
            "stall": [],
            "stall with the device": [],
            "torch.save": [],
            "written after": [],
        }
        for index in range(runs + 2):
            train()
            torch.cuda.synchronize()
            began = time.perf_counter()
            taken = capturer.capture(names, {"index": index})
            stall = time.perf_counter() - began
            torch.cuda.current_stream().synchronize()
            device = time.perf_counter() - began
            assert taken is not None
            capturer.wait(120)
            written = time.perf_counter() - began
            began = time.perf_counter()
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, root / "state.pt")
            if index >= 2:
                found["torch.save"].append(time.perf_counter() - began)
                found["stall"].append(stall)
                found["stall with the device"].append(device)
                found["written after"].append(written)
        capturer.close()
        restorer = fc.Restorer(None)
        restorer.baseline(names)
        manifest = fc.manifests(root / "checkpoints")[0][-1]
        restores = []
        for _ in range(3):
            began = time.perf_counter()
            restorer.restore(fc.load(manifest, root / "packs", trust=False), names)
            torch.cuda.synchronize()
            restores.append(time.perf_counter() - began)
        found["restore"] = restores
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def step_seconds(width: int, steps: int, every: int, runs: int) -> dict[str, float]:
    """Medians of a step's seconds, with recording and without, in turn."""
    seconds: dict[str, list[float]] = {"recorded": [], "without flor": []}
    with tempfile.TemporaryDirectory() as folder:
        project, stub = Path(folder) / "project", Path(folder) / "stub"
        project.mkdir()
        stub.mkdir()
        (project / "train.py").write_text(TRAIN)
        (stub / "flor.py").write_text(NOTHING)
        for _ in range(runs):
            for name, first in (("recorded", []), ("without flor", [str(stub)])):
                done = subprocess.run(
                    [sys.executable, "train.py", str(width), str(steps), str(every)],
                    cwd=project,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join([*first, *SOURCES])},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                seconds[name].append(float(done.stdout))
        checkpoints = len(list(project.glob(".flor/runs/*/checkpoints/*.graph"))) / runs
    found = {name: statistics.median(values) for name, values in seconds.items()}
    return {**found, "ratio": found["recorded"] / found["without flor"], "checkpoints a run": checkpoints}


def measure(quick: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """One after another, as they are found."""
    for size in (100, 1000) if quick else (100, 1000, 8000):
        yield f"checkpoint of {size} MB", stalls(size)
    runs = 2 if quick else 5
    yield "step, one long loop", step_seconds(512, 800, 50, runs)
    yield "step, ten epochs", step_seconds(512, 800, 0, runs)


def main() -> None:
    sys.path += SOURCES
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    for what, numbers in measure(options.quick):
        if options.json:
            print(json.dumps({what: numbers}), flush=True)
            continue
        print(what)
        for name, value in numbers.items():
            print(f"    {name:24s} {value:10.4g}", flush=True)
        if "stall" in numbers:
            print(f"    {'stall / torch.save':24s} {numbers['stall'] / numbers['torch.save']:10.4g}", flush=True)


if __name__ == "__main__":
    main()
