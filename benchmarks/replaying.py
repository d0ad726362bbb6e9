"""The wait between the question and the values: ``add-log`` beside running the scripts again, and beside the floor."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, compared, environment, git, python
from benchmarks.recording import NOTHING

ACTIVATIONS = (
    "relu", "tanh", "sigmoid", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign",
)  # fmt: skip
PREFIX = """
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
"""
LOOP = """\
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
NORM = "sum(float(p.{what}.pow(2).sum()) for p in parameters) ** 0.5"
NESTED = '\n        flor.log("{name}", ' + NORM.format(what="grad") + ")"
BOTTOM = '\n    flor.log("{name}", ' + NORM.format(what="detach()") + ")"
STATEMENTS = {
    "statement in an iteration, after the nested loop": ("bottom", BOTTOM),
    "statement in the nested loop": ("nested", NESTED),
}
# The least that must happen: the libraries once, each version's setup, each state put back, the statement.
FLOOR = """
import json, sys
from pathlib import Path
from typing import Any
import torch
from flor_checkpoint import Restorer, load, manifests

for prefix, checkpoints in json.load(open(sys.argv[1])):
    space = {}
    exec(prefix, space)
    names = lambda: {k: v for k, v in space.items() if not k.startswith("__") and type(v) is not type(sys)}
    restorer = Restorer(Path(sys.argv[2]))
    restorer.baseline({"module:__main__": names()})
    for manifest in manifests(Path(checkpoints))[0]:
        if manifest.point["at"] == "exit":
            snapshot = load(manifest, Path(sys.argv[3]), trust=True)
            restored = restorer.restore(snapshot, {"module:__main__": names()})
            space.update(restored.bindings.get("module:__main__", {}))
            exec(sys.argv[4], space)
"""


def run(quick: bool) -> list[Row]:
    versions, epochs, steps, runs = (4, 6, 100, 1) if quick else (12, 8, 800, 3)
    runs = int(os.environ.get("FLOR_BENCH_ROUNDS", runs))
    activations = ACTIVATIONS[:versions]
    # A run that fills the processors by itself has nothing that two workers could share out.
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        project = base / "project"
        project.mkdir()
        git(project, "init", "-q")
        for activation in activations:
            write(project, activation, epochs, steps)
            git(project, "add", "-A")
            git(project, "commit", "-q", "-m", activation)
            python(["train.py"], project)
        write(project, activations[-1], epochs, steps, bottom=BOTTOM.format(name="warm"))
        backfill(project, "--dry-run")  # the command's own code is compiled, as it is where it was installed
        write(project, activations[-1], epochs, steps)
        again: dict[str, list[float]] = {what: [] for what in STATEMENTS}
        seconds: dict[str, list[float]] = {what: [] for what in STATEMENTS}
        least: list[float] = []
        at_once: list[float] = []
        for turn in range(runs):
            for what, (place, statement) in STATEMENTS.items():
                options = {place: statement.format(name=f"norm_{place}_{turn}")}
                # The scripts take minutes: they are run again once.
                again[what].append(again[what][0] if turn else rerun(base, activations, epochs, steps, options))
                write(project, activations[-1], epochs, steps, **options)
                seconds[what].append(backfill(project))
                write(project, activations[-1], epochs, steps)
                if place == "nested":
                    at_once.append(at_once[0] if turn else rerun(base, activations, epochs, steps, options, at_once=2))
            least.append(floor(base, project))
        rows = [
            compared(f"{what}, {versions} versions", taken, again[what], "running the scripts again")
            for what, taken in seconds.items()
        ]
        after, nested = seconds.values()
        rows.append(
            compared("after the nested loop, to its floor", after, least, "start-up once, restores, statements")
        )
        ideal = [divided(project)] * runs
        flordb = os.environ.get("FLOR_BENCH_FLORDB")
        if flordb:
            theirs, share = flordb_replay(base, activations, epochs, steps, flordb)
            rows.append(compared("after the nested loop", after, [theirs] * runs, "FlorDB 4.0.1, its replay"))
            rows.append(Row("  values that it filled", 1.0, share, "FlorDB 4.0.1", 1.0 / max(share, 1e-9), 1, "%"))
        rows.append(
            compared("in the nested loop, to its ideal", nested, ideal, "recorded time of iterations / jobs + start-up")
        )
        rows.append(compared("in the nested loop", nested, at_once, "running the scripts again, two at a time"))
        return [*rows, *estimates(project)]


def backfill(project: Path, *options: str) -> float:
    """Seconds of the command."""
    began = time.perf_counter()
    words = [str(Path(sys.executable).parent / "flor-replay"), "add-log", "train.py", "--yes", *options]
    done = subprocess.run(words, cwd=project, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - began


def floor(base: Path, project: Path) -> float:
    """Seconds of one process that does the least."""
    task = []
    for info in recorded(project):
        source = git(project, "show", f"{info['commit']}:train.py")
        task.append((source.partition("for epoch in")[0].replace("import flor\n", ""), info["checkpoints"]))
    (base / "floor.json").write_text(json.dumps(task))
    statement = "norm = " + NORM.format(what="detach()")
    began = time.perf_counter()
    python(["-c", FLOOR, str(base / "floor.json"), str(project), str(project / ".flor" / "packs"), statement], base)
    return time.perf_counter() - began


def flordb_replay(
    base: Path, activations: tuple[str, ...], epochs: int, steps: int, interpreter: str
) -> tuple[float, float]:
    """Seconds of FlorDB's replay of the same statement, and which part of the values it filled.

    It stops at the second version where train.py differs, and without a value outside of all loops: so its versions differ in a
    file beside the script, and an argument is logged.
    """
    project = base / "flordb"
    project.mkdir()
    git(project, "init", "-q", "-b", "main")
    for name, value in (("user.name", "bench"), ("user.email", "bench@localhost")):
        git(project, "config", name, value)  # it commits itself
    (project / ".gitignore").write_text("__pycache__\n")
    environment = {**os.environ, "PATH": f"{Path(interpreter).parent}{os.pathsep}{os.environ['PATH']}"}

    def script(bottom: str = "") -> None:
        write(project, "relu", epochs, steps, bottom=bottom)
        text = (project / "train.py").read_text()
        text = text.replace("import flor\n", 'import flordb as flor\nseed = flor.arg("seed", 0)\n')
        text = text.replace("torch.nn.functional.relu", 'getattr(torch.nn.functional, open("activation.txt").read())')
        (project / "train.py").write_text(text)

    def call(*words: str) -> str:
        done = subprocess.run(
            ["python", *words],
            cwd=project,
            env=environment,
            input="y\n" * 9,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"FlorDB: {' '.join(words)}\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout

    for activation in activations:
        script()
        (project / "activation.txt").write_text(activation)
        git(project, "add", "-A")
        git(project, "commit", "-q", "--allow-empty", "-m", activation)
        call("train.py")
    script(BOTTOM.format(name="norm"))
    began = time.perf_counter()
    call("-m", "flordb", "replay", "norm")
    seconds = time.perf_counter() - began
    filled = call("-c", "import flordb; print(len(flordb.dataframe('norm')))").split()[-1]
    return seconds, int(filled) / (len(activations) * epochs)


def divided(project: Path) -> float:
    """The recorded time of all iterations shared out to the workers, and one start-up: what no replay can beat."""
    jobs = len(os.sched_getaffinity(0))
    infos = recorded(project)
    start = statistics.median(info["start_up_seconds"] for info in infos)
    work = sum(float(info["seconds"]) for info in infos)
    return work / jobs + float(start)


def estimates(project: Path) -> list[Row]:
    """How far the plans' seconds were from what the workers took."""
    errors = []
    for path in (project / ".flor" / "runs").glob("*/run.json"):
        info = json.loads(path.read_text())
        if "work_seconds" in info:
            taken = float(info["work_seconds"])
            errors.append(abs(float(info["segment"]["seconds"]) - taken) / taken)
    errors.sort()
    middle, most = statistics.median(errors), errors[int(0.9 * (len(errors) - 1))]
    return [
        Row("error of plan estimates, median", middle, 0.15, "bar", middle / 0.15, len(errors), "%"),
        Row("error of plan estimates, 90th percentile", most, 0.40, "bar", most / 0.40, len(errors), "%"),
    ]


def recorded(project: Path) -> list[dict[str, Any]]:
    """What is known of the recorded runs, oldest first."""
    found = []
    for path in sorted((project / ".flor" / "runs").glob("*/run.json")):
        info = json.loads(path.read_text())
        if "replay_of" not in info:
            version = json.loads((path.parent / "version.json").read_text())
            found.append({**info, "commit": version["commit"], "checkpoints": str(path.parent / "checkpoints")})
    return found


def rerun(
    base: Path, activations: tuple[str, ...], epochs: int, steps: int, statement: dict[str, str], at_once: int = 1
) -> float:
    """Seconds of running every version again with the statement, without recording, so many at a time."""
    folders = [base / f"again{number}" for number in range(at_once)]
    for folder in folders:
        folder.mkdir()
        (folder / "flor.py").write_text(NOTHING)

    def go_through(number: int) -> None:
        for activation in activations[number::at_once]:
            write(folders[number], activation, epochs, steps, **statement)
            python(["train.py"], folders[number])

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(go_through, range(at_once)))
    seconds = time.perf_counter() - began
    for folder in folders:
        shutil.rmtree(folder)
    return seconds


def write(folder: Path, activation: str, epochs: int, steps: int, nested: str = "", bottom: str = "") -> None:
    text = (PREFIX + LOOP).format(
        activation=activation, width=256, epochs=epochs, steps=steps, nested=nested, bottom=bottom
    )
    (folder / "train.py").write_text(text)
