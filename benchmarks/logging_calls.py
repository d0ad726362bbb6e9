"""What a ``flor.log`` call costs the thread that trains, and until it is on the disk, beside appending to a list and other trackers.

FLOR_BENCH_PEERS names a Python that has FlorDB, tensorboard, mlflow and trackio; without it they are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Row, compared, git, python

SCRIPT = """
import json, sys, time
import flor
from flor_replay.record import session

N, inner = int(sys.argv[1]), int(sys.argv[2])

def ours():
    began = time.perf_counter()
    if inner:
        for epoch in flor.loop("epoch", range(N // inner)):
            for step in flor.loop("step", range(inner)):
                flor.log("loss", step * 0.5)
    else:
        for step in flor.loop("step", range(N)):
            flor.log("loss", step * 0.5)
    called = time.perf_counter() - began
    session.running().flush()
    stored = time.perf_counter() - began
    session.running().end("finished")  # as when the process ends
    return called, stored, time.perf_counter() - began

def plain():
    records = []
    began = time.perf_counter()
    if inner:
        for epoch in range(N // inner):
            for step in range(inner):
                records.append(("loss", step, step * 0.5))
    else:
        for step in range(N):
            records.append(("loss", step, step * 0.5))
    return time.perf_counter() - began

flor.log("warm", 0.0)
plain()
print(json.dumps([*(seconds / N for seconds in ours()), plain() / N]))
"""

PEERS = {
    "FlorDB": """
import flordb as flor
def run(N):
    began = time.perf_counter()
    for step in flor.loop("step", range(N)):
        flor.log("loss", step * 0.5)
    called = time.perf_counter() - began
    flor.commit()
    return called, time.perf_counter() - began
""",
    "TensorBoard": """
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
def run(N):
    writer = EventFileWriter("tb")
    began = time.perf_counter()
    for step in range(N):
        summary = Summary(value=[Summary.Value(tag="loss", simple_value=step * 0.5)])
        writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
    called = time.perf_counter() - began
    writer.close()
    return called, time.perf_counter() - began
""",
    "MLflow": """
import mlflow
mlflow.set_tracking_uri("file:mlruns")
def run(N):
    with mlflow.start_run():
        began = time.perf_counter()
        for step in range(N):
            mlflow.log_metric("loss", step * 0.5, step=step)
        called = time.perf_counter() - began
    return called, time.perf_counter() - began
""",
    "Trackio": """
import trackio
def run(N):
    trackio.init(project="bench", embed=False)
    began = time.perf_counter()
    for step in range(N):
        trackio.log({"loss": step * 0.5}, step=step)
    called = time.perf_counter() - began
    trackio.finish()
    return called, time.perf_counter() - began
""",
}
PEER_COUNT = {"FlorDB": 20_000, "TensorBoard": 20_000, "MLflow": 500, "Trackio": 5_000}


def run(quick: bool) -> list[Row]:
    rows = []
    counts = ((20_000, 0),) if quick else ((20_000, 0), (200_000, 0), (1_000_000, 0), (1_000_000, 1000))
    for count, inner in counts:
        rows += _compare(count, inner, 3 if quick else 7)
    return rows + _peers(quick)


def _ours(count: int, inner: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        git(here, "init", "-q")
        (here / "script.py").write_text(SCRIPT)
        output = python(["script.py", str(count), str(inner)], here, {"FLOR_CHECKPOINTS": "off"}).stdout
        found: list[float] = json.loads(output)
        return found


def _compare(count: int, inner: int, runs: int) -> list[Row]:
    measured = [_ours(count, inner) for _ in range(runs)]
    plain = [found[-1] for found in measured]
    where = f"two loops, {count:,} times" if inner else f"a flor.loop of {count:,}"
    named = ("on the calling thread", "until it is on the disk", "until it is sealed too")
    return [
        compared(f"flor.log in {where}: {what}", [found[at] for found in measured], plain, "list.append of a tuple")
        for at, what in enumerate(named)
    ]


def _peers(quick: bool) -> list[Row]:
    interpreter = os.environ.get("FLOR_BENCH_PEERS")
    if not interpreter:
        print("log: peers are left out; FLOR_BENCH_PEERS names no Python that has them", file=sys.stderr)
        return []
    rows = []
    for name, code in PEERS.items():
        count = PEER_COUNT[name] // (10 if quick else 1)
        ours, theirs = [], []
        for _ in range(1 if quick else 3):
            seconds = _peer(interpreter, code, count)
            if seconds is None:
                break
            theirs.append([second / count for second in seconds])
            ours.append(_ours(max(count, 20_000), 0))
        if not theirs:
            print(f"log: {name} is left out; it does not run in {interpreter}", file=sys.stderr)
            continue
        for at, what in enumerate(("on the calling thread", "until it is stored")):
            beside = [found[at] for found in theirs]
            rows.append(compared(f"a record {what}", [found[at] for found in ours], beside, name))
    return rows


def _peer(interpreter: str, code: str, count: int) -> list[float] | None:
    with tempfile.TemporaryDirectory() as folder:
        git(Path(folder), "init", "-q")
        git(Path(folder), "commit", "-q", "--allow-empty", "-m", "a")
        script = f"import json, sys, time\n{code}\nprint('RESULT', json.dumps(run({count})))\n"
        (Path(folder) / "script.py").write_text(script)
        env = {**os.environ, "HOME": folder, "TRACKIO_DIR": f"{folder}/trackio", "MLFLOW_ALLOW_FILE_STORE": "true"}
        done = subprocess.run(
            [interpreter, "script.py"], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if done.returncode or not lines:
            return None
        found: list[float] = json.loads(lines[-1].removeprefix("RESULT "))
        return found
