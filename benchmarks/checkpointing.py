"""A checkpoint's stall on the training thread and its restore, beside torch.save and torch.load of the same state.

Both sides hold the parameters and the moments of Adam. The stall is that of a warm capture, as every one but a run's first is;
writing goes on beside training and is counted by the record benchmark. What a machine's memory can do at most stands beside the
restore: the same bytes copied by as many threads, without a look at them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.measure import Row, compared, python

SCRIPT = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from ctypes import memmove
from pathlib import Path
import torch
import flor_checkpoint as fc

root, megabytes, runs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
layers = max(1, megabytes // 12)
model = torch.nn.ModuleList([torch.nn.Linear(1024, 1024, bias=False) for _ in range(layers)])
optimizer = torch.optim.Adam(model.parameters())

def train():
    optimizer.zero_grad()
    sum(layer.weight.pow(2).sum() for layer in model).backward()
    optimizer.step()
    optimizer.zero_grad()

train()
names = {"frame:0": {"model": model, "optimizer": optimizer}}
capturer = fc.Capturer(root / "packs", root / "checkpoints", project_root=None, on_warning=print)
capturer.baseline(names)
stalls, saves = [], []
for index in range(runs + 3):
    train()
    began = time.perf_counter()
    taken = capturer.capture(names, {"index": index})
    stall = time.perf_counter() - began
    assert taken is not None
    capturer.wait(None)
    began = time.perf_counter()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, root / "state.pt")
    if index >= 3:
        stalls.append(stall)
        saves.append(time.perf_counter() - began)
capturer.close()
size = sum(p.nbytes for p in model.parameters()) * 3

restorer = fc.Restorer(None)
restorer.baseline(names)
restores, loads, copies = [], [], []
manifest = fc.manifests(root / "checkpoints")[0][-1]
expected = [p.detach().clone() for p in model.parameters()]
parts = [p.detach() for p in model.parameters()] * 3
beside = [p.clone() for p in parts]
for _ in range(runs):
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    began = time.perf_counter()
    snapshot = fc.load(manifest, root / "packs", trust=False, later=True)
    restorer.restore(snapshot, names)
    restores.append(time.perf_counter() - began)
    assert all(torch.equal(p, e) for p, e in zip(model.parameters(), expected))
    began = time.perf_counter()
    state = torch.load(root / "state.pt", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    loads.append(time.perf_counter() - began)
    with ThreadPoolExecutor() as pool:
        began = time.perf_counter()
        list(pool.map(lambda to, of: memmove(to.data_ptr(), of.data_ptr(), of.nbytes), beside, parts))
        copies.append(time.perf_counter() - began)
gigabytes = size / 1e9
print(json.dumps([[s / gigabytes for s in each] for each in (stalls, saves, restores, loads, copies)]))
"""


def run(quick: bool) -> list[Row]:
    runs, megabytes = (5, 120) if quick else (9, 480)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "script.py").write_text(SCRIPT)
        done = python(["script.py", str(here), str(megabytes), str(runs)], here)
        stalls, saves, restores, loads, copies = json.loads(done.stdout.splitlines()[-1])
    return [
        compared(f"stall for 1 GB, state of {megabytes} MB", stalls, saves, "torch.save"),
        compared(f"restore of 1 GB, state of {megabytes} MB", restores, loads, "torch.load and load_state_dict"),
        compared("  the same", restores, copies, "a plain copy in memory"),
    ]
