"""What recording costs a training run: six workloads with flor and without, with FlorDB, with torch.save after each epoch.

The scripts are those in `workloads/`; `flor` is this project's, or one of three stand-ins: nothing at all, FlorDB (where
FLOR_BENCH_FLORDB names the interpreter of an environment that has it), hand-written saves. What a training loop takes is told in
what the same steps take a twin that nobody records and that takes turns with it (`workloads/clock.py`): machines that others use are
a half slower in one second than in the next. The noise is what two runs without flor differ by.

Of the recorded runs also: what the recorder counted against its budget; processor seconds of threads other than the one that trains,
beyond those without flor (where the training is one thread's); checkpoints, and the expected replay of one iteration as a share of
the loop.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, compared, environment, git

# A flor that does nothing: the script "without flor" is the same text.
NOTHING = """
from contextlib import contextmanager
def log(name, value): return value
def arg(name, default): return default
def loop(name, iterable): return iterable
@contextmanager
def checkpointing(**objects): yield
"""
FLORDB = "from flordb import arg, checkpointing, log, loop\n"
# What people write by hand: the model and the optimizer after each epoch; of a loop of steps, ten times in the run.
SAVES = """
import pickle, sys
from contextlib import contextmanager
def log(name, value): return value
def arg(name, default): return default
held = {}
depth = 0
def loop(name, iterable):
    global depth
    count = len(iterable)
    every = 1 if count <= 100 else count // 10
    depth += 1
    try:
        for index, item in enumerate(iterable):
            yield item
            if depth == 1 and (index + 1) % every == 0:
                save(f"checkpoint{index}.pt")
    finally:
        depth -= 1
def save(path):
    state = {name: each.state_dict() if hasattr(each, "state_dict") else each for name, each in held.items()}
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.save(state, path)
    else:
        with open(path, "wb") as file:
            pickle.dump(state, file, 5)
@contextmanager
def checkpointing(**objects):
    held.update(objects)
    yield
"""
SCRIPTS = Path(__file__).parent / "workloads"
WORKLOADS = ("digits_cnn", "character_gpt", "frozen_resnet", "lstm", "partial_fit", "numpy_steps")
SIDES = ("without flor", "recorded", "torch.save", "FlorDB 4.0.1")
SELDOM = {"torch.save": 3, "FlorDB 4.0.1": 3}
"""Which sides take part in every so manieth round only: those beside ours, whose costs no noise can hide."""

MORE_ROUNDS = {"numpy_steps": 3, "partial_fit": 2}
"""How many times the rounds. Where the system puts a process is drawn by lot: one in six runs such a loop a tenth slower or quicker
than its twin from begin to end, and a median of five says little."""

# At one thread the machine's second core is free for what flor does beside the training; at torch's default it is not.
THREADS = {"one thread": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, "all threads": {}}


@dataclass(frozen=True)
class Taken:
    """What one training loop took."""

    stretches: float  # as many stretches of the twin's
    twin: float  # seconds of one of those
    others: float  # processor seconds of threads other than the one that trains, as a share of the loop's wall seconds


def _taken(told: dict[str, Any]) -> Taken:
    """From what `workloads/clock.py` says. A stretch is told in the twin's turns before and after it."""
    stretches, twins = zip(*told["turns"], strict=True)
    before, after = [None, *_last(twins)], _last(twins[::-1])[::-1]
    around = [[twin for twin in pair if twin is not None] for pair in zip(before, after, strict=False)]
    return Taken(
        sum(seconds / statistics.mean(turns) for seconds, turns in zip(stretches, around, strict=True)),
        statistics.median(twin for twin in twins if twin is not None),
        told["others"] / sum(stretches),
    )


def _last(twins: Sequence[float | None]) -> list[float | None]:
    """At each place the last turn that was taken so far."""
    found: list[float | None] = []
    last = None
    for twin in twins:
        last = last if twin is None else twin
        found.append(last)
    return found


def run(quick: bool) -> list[Row]:
    """The rows of the table. FLOR_BENCH_ROUNDS and FLOR_BENCH_WORKLOADS (names, by comma) say how many and which."""
    rounds = int(os.environ.get("FLOR_BENCH_ROUNDS", "1" if quick else "5"))
    names = os.environ.get("FLOR_BENCH_WORKLOADS", "").split(",")
    chosen = [name for name in WORKLOADS if name in names or names == [""]]
    rows: list[Row] = []
    for threads, variables in list(THREADS.items())[: 1 if quick else 2]:
        more: dict[str, list[float]] = {"wall": [], "account": [], "others": []}
        for name in chosen:
            enough = rounds * MORE_ROUNDS.get(name, 1) if rounds > 1 else 1
            found, shares = workload(name, threads, variables, enough)
            rows += found
            for of, share in shares.items():
                more[of].append(share)
        whats = {"wall": "seconds more", "account": "cost by its own account"}
        if variables:
            whats["others"] = "processor seconds of its own threads"
        for of, what in whats.items():
            if more[of]:
                mean, worst = statistics.mean(more[of]), max(more[of])
                rows.append(Row(f"{what}, mean, {threads}", mean, 0.01, "allowed", mean / 0.01, rounds, "%"))
                rows.append(Row(f"  the worst workload, {threads}", worst, 0.03, "allowed", worst / 0.03, rounds, "%"))
    return rows


def workload(name: str, threads: str, variables: dict[str, str], rounds: int) -> tuple[list[Row], dict[str, float]]:
    """One workload's rows, and the shares that recording adds: wall seconds, by its own account, of other threads."""
    flordb = os.environ.get("FLOR_BENCH_FLORDB")
    sides = [side for side in SIDES if flordb or "FlorDB" not in side]
    taken: dict[str, list[Taken]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        projects = {side: _project(Path(folder) / side.replace(" ", "-"), name, side) for side in sides}
        points: list[tuple[int, float, float]] = []
        for side in ("recorded", "FlorDB 4.0.1"):  # once before it counts: compiled code is kept
            if side in sides:
                _train(projects[side], side, variables, flordb)
        for turn in range(rounds):
            now = [side for side in sides if turn % SELDOM.get(side, 1) == 0]
            for place in range(len(now)):
                side = now[(turn + place) % len(now)]
                taken[side].append(_train(projects[side], side, variables, flordb))
                if side == "recorded":
                    points.append(replay_share(projects[side]))
    second = statistics.median(t.twin for of_side in taken.values() for t in of_side)
    plain, recorded = taken["without flor"], taken["recorded"]
    rows = []
    for side in sides[1:]:
        shown = f"{name}, {threads}: recorded" if side == "recorded" else f"  {side}"
        in_those = plain[:: SELDOM.get(side, 1)]
        ours, beside = ([t.stretches * second for t in times] for times in (taken[side], in_those))
        rows.append(compared(shown, ours, beside, "without flor"))
    noise = [abs(a.stretches / b.stretches - 1.0) for a, b in combinations(plain, 2)]
    if noise:
        differ = statistics.median(noise)
        rows.append(Row("  the noise: two runs without flor", differ, 0.01, "allowed more", differ / 0.01, rounds, "%"))
    counts, shares, costs = zip(*points, strict=True)
    least, account = min(counts), statistics.median(costs)
    rows.append(
        Row("  what checkpoints cost by its own account", account, 0.05, "allowed", account / 0.05, rounds, "%")
    )
    rows.append(Row("  checkpoints, fewest", least, 1, "at least", float(least), rounds, ""))
    rows.append(Row("  expected replay of an iteration", max(shares), 0.1, "at most", max(shares) / 0.1, rounds, "%"))
    wall = statistics.median(t.stretches for t in recorded) / statistics.median(t.stretches for t in plain) - 1.0
    others = statistics.median(t.others for t in recorded) - statistics.median(t.others for t in plain)
    return rows, {"wall": wall, "account": account, "others": others}


def _project(folder: Path, name: str, side: str) -> Path:
    project = folder / "project"
    project.mkdir(parents=True)
    (folder / "beside").mkdir()
    shutil.copy(SCRIPTS / f"{name}.py", project / "train.py")
    shutil.copy(SCRIPTS / "clock.py", folder / "beside")
    (project / ".gitignore").write_text("__pycache__\n*.pt\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a workload"]):
        git(project, *words)
    stub = {"recorded": None, "FlorDB 4.0.1": FLORDB, "torch.save": SAVES}.get(side, NOTHING)
    if stub is not None:
        (folder / "beside" / "flor.py").write_text(stub)
    return project


def _train(project: Path, side: str, variables: dict[str, str], flordb: str | None) -> Taken:
    shutil.rmtree(project / ".flor", ignore_errors=True)
    result = project.parent / "result.json"
    env = {**environment(), **variables, "RESULT": str(result), "PYTHONPATH": str(project.parent / "beside")}
    python = flordb if flordb and "FlorDB" in side else sys.executable
    done = subprocess.run([python, "train.py"], cwd=project, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{project}: {side} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return _taken(json.loads(result.read_text()))


def replay_share(project: Path) -> tuple[int, float, float]:
    """How many checkpoints the run has; the expected seconds to replay one iteration up to its own begin; their cost.

    From the nearest restore point before it, as a share of the loop's; each iteration is asked for as often as any other.
    The cost is what the recorder counted against its budget, as a share of the loop's.
    """
    from flor_replay.plan.facts import gather
    from flor_replay.store.runs import all_runs

    [recorded] = all_runs(str(project / ".flor"))
    main = gather([recorded])[recorded.run].main
    assert main is not None
    starts = {point.index for point in main.points if point.at == "start"}
    waited = since = 0.0
    for index, seconds in enumerate(main.seconds):
        since = 0.0 if index in starts else since
        waited += since
        since += seconds
    total = sum(main.seconds)
    return len(main.points), waited / len(main.seconds) / total, recorded.info["checkpoints_cost_seconds"] / total
