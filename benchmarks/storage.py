"""What checkpoints take: bytes on the disk as a model's trained part, and other runs of the same base, grow; memory.

- a frozen backbone: bytes stored, beside the backbone once and the trained part for each checkpoint (at most 1.1 x);
- ten runs that fine-tune the same base, all of whose weights are in the state: beside the base once and each run's own;
- peak memory of a recorded run beside the plain run: how much more, beside the state once and 64 MiB (at most 1 x).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Row, git

SETTING = {"OMP_NUM_THREADS": "1", "GIT_CONFIG_GLOBAL": os.devnull}

TUNING = """
import sys, torch, flor
size, epochs = int(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
backbone = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(size)))
torch.manual_seed(int(sys.argv[3]))
head = torch.nn.Linear(512, 64)
model = torch.nn.Sequential(backbone, head)
for parameter in backbone.parameters():
    parameter.requires_grad_(False)
optimizer = torch.optim.Adam(head.parameters())
for epoch in flor.loop("epoch", range(epochs)):
    for step in flor.loop("step", range(2)):
        loss = model(torch.randn(4, 512)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    flor.log("loss", loss)
trained = sum(p.nbytes for p in head.parameters())
print(sum(p.nbytes for p in backbone.parameters()), 3 * trained)
"""

MEMORY = """
import resource, sys, time, torch, flor
weights = [torch.randn(2**18) for _ in range(int(sys.argv[1]))]  # a MiB each
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        for weight in weights:
            weight.mul_(0.99)
        time.sleep(0.02)
    flor.log("w", weights[0][0])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def run(*, quick: bool) -> list[Row]:
    """The rows of the table."""
    sizes = (50,) if quick else (50, 200, 1000)
    return [frozen_backbone(4 if quick else 20), ten_runs(3 if quick else 10), *(memory(size) for size in sizes)]


def frozen_backbone(epochs: int) -> Row:
    """Bytes stored for a run with `epochs` checkpoints and a few."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = record(Path(folder), TUNING, 40, epochs, 1)
        different = epochs + 1  # the exits of the nested loops; the last one's content is the end's, too
        ideal = numbers[0] + different * numbers[1]
        return _bytes("frozen backbone", stored(Path(folder)), ideal, "backbone once + trained part each", 1)


def ten_runs(count: int) -> Row:
    """Bytes stored for `count` runs that fine-tune one base."""
    with tempfile.TemporaryDirectory() as folder:
        ideal = 0
        for seed in range(count):
            base, trained = record(Path(folder), TUNING, 40, 2, seed)
            ideal += 3 * trained + (base if seed == 0 else 0)
        return _bytes(f"{count} runs of one base", stored(Path(folder)), ideal, "base once + trained parts", count)


def memory(megabytes: int) -> Row:
    """How much more memory a recorded run takes than the plain one, at its peak."""
    with tempfile.TemporaryDirectory() as folder:
        (plain,) = record(Path(folder), MEMORY, megabytes, plain=True)
        (recorded,) = record(Path(folder), MEMORY, megabytes)
    allowed = (megabytes + 64) << 20
    return _bytes(f"memory, state {megabytes} MiB", recorded - plain, allowed, "state once more + 64 MiB", 1)


def _bytes(what: str, ours: float, beside: float, against: str, runs: int) -> Row:
    return Row(what, ours, beside, against, ours / beside, runs, "B")


def record(folder: Path, script: str, *words: int, plain: bool = False) -> list[int]:
    """Run the script in a project; the numbers that it prints."""
    import subprocess

    if not (folder / ".git").exists():
        git(folder, "init", "-q")
    (folder / "train.py").write_text(script)
    setting = {"FLOR": "off"} if plain else {"FLOR_CHECKPOINTS": "all"}
    done = subprocess.run(
        [sys.executable, "train.py", *map(str, words)],
        cwd=folder,
        env={**os.environ, **SETTING, **setting},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


def stored(folder: Path) -> int:
    """Bytes of packs, graphs and manifests."""
    store = folder / ".flor"
    return sum(path.stat().st_size for path in [*store.glob("packs/*"), *store.glob("runs/*/checkpoints/*")])
