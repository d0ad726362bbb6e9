"""Backfills whose workers are killed at random moments: each must finish, with every value there once, and right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.measure import Row, environment, git, python

VERSIONS, EPOCHS, STEPS = 4, 6, 3
LONGEST_SECONDS = 1.5  # after the first worker is seen: by then most are done
SCRIPT = """\
import os, random, time
import flor

rng = random.Random({version})
w = 0.0
for epoch in flor.loop("epoch", range({epochs})):
    for step in flor.loop("step", range({steps})):
        w += rng.gauss(0, 1)
        time.sleep(float(os.environ.get("PAUSE", 0.002)))
        flor.log("w", w){statement}
"""
STATEMENT = '\n        flor.log("{name}", 2 * w)'


def run(quick: bool) -> list[Row]:
    trials = 5 if quick else 100
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        record(project)
        kills = wrong = 0
        for trial in range(trials):
            name = f"twice{trial}"
            kills += killed(project, name, random.Random(trial))
            wrong += len(differences(project, name))
    return [
        Row(
            f"values missing, doubled or wrong after {trials} backfills",
            wrong,
            kills,
            "workers killed",
            0.0,
            trials,
            "",
        )
    ]


def record(project: Path) -> None:
    """A git repository with recorded versions of a script."""
    git(project, "init", "-q")
    (project / ".gitignore").write_text(".flor\n")
    for version in range(VERSIONS):
        write(project, version)
        git(project, "add", "-A")
        git(project, "commit", "-q", "-m", str(version))
        python(["train.py"], project, {"FLOR_CHECKPOINTS": "all"})


def write(project: Path, version: int, statement: str = "") -> None:
    text = SCRIPT.format(version=version, epochs=EPOCHS, steps=STEPS, statement=statement)
    (project / "train.py").write_text(text)


def killed(project: Path, name: str, rng: random.Random) -> int:
    """Backfill a statement and kill one or two workers meanwhile; how many there were to kill. Fails where it does not finish."""
    write(project, VERSIONS - 1, STATEMENT.format(name=name))
    command = [str(Path(sys.executable).parent / "flor-replay"), "add-log", "train.py", "--yes"]
    with tempfile.TemporaryFile("w+") as said:
        env = {**environment(), "PAUSE": "0.02"}
        process = subprocess.Popen(command, cwd=project, env=env, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        while process.poll() is None and not workers(process.pid):
            time.sleep(0.005)
        began = time.perf_counter()
        kills = 0
        for moment in sorted(rng.uniform(0, LONGEST_SECONDS) for _ in range(rng.choice((1, 2)))):
            time.sleep(max(0.0, began + moment - time.perf_counter()))
            found = workers(process.pid)
            if found and process.poll() is None:
                os.kill(rng.choice(found), signal.SIGKILL)
                kills += 1
        if process.wait(120):
            said.seek(0)
            raise SystemExit(f"add-log ended with {process.returncode} after {kills} kills:\n{said.read()}")
    return kills


def differences(project: Path, name: str) -> Counter[tuple[str, int, int, float]]:
    """Rows of the frame that are there too often, and those that are missing, with how many."""
    from flor_replay.store.frames import build

    def rows(of: str, factor: int) -> Counter[tuple[str, int, int, float]]:
        frame = build([of], str(project))
        places = zip(frame["tstamp"], frame["epoch"], frame["step"], frame[of], strict=True)
        return Counter(
            (str(tstamp), int(epoch), int(step), factor * float(value)) for tstamp, epoch, step, value in places
        )

    there, expected = rows(name, 1), rows("w", 2)
    assert expected.total() == VERSIONS * EPOCHS * STEPS
    return (there - expected) + (expected - there)


def workers(command: int) -> list[int]:
    """The processes that replay for a running command, forked from a warm parent or by themselves."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    parents[int(entry)] = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):  # it has ended meanwhile
                continue
    warm = [pid for pid, parent in parents.items() if parent == command and b"nursery" in _words(pid)]
    alone = [pid for pid, parent in parents.items() if parent == command and b"replay.worker" in _words(pid)]
    return [pid for pid, parent in parents.items() if parent in warm] + alone


def _words(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""
