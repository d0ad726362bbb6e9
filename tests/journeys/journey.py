"""What journeys share: a small training script, its truth, processes seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from flor_replay.cli.shell import run
from flor_replay.store.runs import Run
from tests.support import COMMAND, Project

# A perceptron in numpy: a main loop, a nested loop, something after it. "#nested", "#bottom", "#after" mark where statements go.
TRAIN = """\
import numpy as np
import flor

lr = flor.arg("lr", 0.1)
rng = np.random.default_rng(flor.arg("seed", 1))
x = rng.normal(size=(64, 4))
y = (x.sum(axis=1) > 0).astype(float)
w = np.zeros(4)
for epoch in flor.loop("epoch", range(flor.arg("epochs", 4))):
    for step in flor.loop("step", range(3)):
        picked = rng.integers(0, 64, size=16)
        error = x[picked] @ w - y[picked]
        grad = x[picked].T @ error / 16
        #nested
        w = w - lr * grad
        flor.log("loss", float((error**2).mean()))
    acc = float((((x @ w) > 0.5) == y).mean())
    flor.log("acc", acc)
    #bottom
flor.log("final", float(np.abs(w).sum()))
#after
"""
STATEMENTS = {
    "nested": 'flor.log("grad_norm", float(np.linalg.norm(grad)))',
    "bottom": 'flor.log("w_norm", float(np.linalg.norm(w)))',
    "after": 'flor.log("w_max", w.max())',
}


def with_statements(source: str, statements: Mapping[str, str] = STATEMENTS) -> str:
    """`source` with each statement in place of its mark."""
    for mark, statement in statements.items():
        assert f"#{mark}\n" in source, mark
        source = source.replace(f"#{mark}\n", f"{statement}\n")
    return source


def recorded(source: str) -> str:
    """The script as it was: without the lines marked ``#@``."""
    return "".join(line for line in textwrap.dedent(source).splitlines(keepends=True) if "#@ " not in line)


def today(source: str) -> str:
    """The script with the lines marked ``#@``."""
    return textwrap.dedent(source).replace("#@ ", "")


def journey(
    tmp_path: Path,
    source: str,
    *names: str,
    words: Sequence[str] = (),
    files: Mapping[str, str | bytes] | None = None,
    ignored: Mapping[str, str | bytes] | None = None,
    code: int = 0,
    again: bool = False,  # segments may turn out not to be enough
    **options: Any,
) -> Project:
    """Record train.py without the lines marked ``#@``, add them, fill; every value must be the truth run's, bit for bit."""
    project = Project(tmp_path / "project")
    ignore = {".gitignore": "".join(f"/{name}\n" for name in ignored)} if ignored else {}
    project.commit(files={"train.py": recorded(source), **ignore, **(files or {})})
    project.write(ignored or {})
    run = project.run("train.py", *words, **options)
    project.write({"train.py": today(source)})
    before = project.state()
    done = project.command("add-log", "train.py", "--yes", check=code)
    assert again or "was run instead" not in done.stderr, done.stderr
    assert project.state() == before
    expected = truth(
        tmp_path / "truth",
        {"train.py": today(source), **ignore, **(files or {})},
        names,
        "train.py",
        *words,
        ignored=ignored,
        **options,
    )
    assert filled(project, names, run) == expected
    assert all(expected.values()), "the truth has no values"
    return project


class Here:
    """The command in this process, with the project as working directory: for what executes nothing."""

    def __init__(self, project: Project, capture: pytest.CaptureFixture[str]) -> None:
        self.project = project
        self._capture = capture

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        """What the command prints and says."""
        replays = len(self.project.replays())
        self._capture.readouterr()
        assert run(list(words)) == code, self._capture.readouterr()
        out, errors = self._capture.readouterr()
        assert "Traceback" not in errors
        assert len(self.project.replays()) == replays
        return out, errors


def bits(values: Sequence[Any]) -> list[str]:
    """Values so that only the same bits are equal (repr of a float is exact, and NaN equals NaN)."""
    return [repr(value) for value in values]


def truth(
    folder: Path,
    files: Mapping[str, str | bytes],
    names: Sequence[str],
    script: str = "train.py",
    *words: str,
    ignored: Mapping[str, str | bytes] | None = None,
    check: bool = True,
    **options: Any,
) -> dict[str, list[str]]:
    """The values of `names` in a run that had the statements from the start, in a project of its own."""
    project = Project(folder)
    project.commit(files=files)
    project.write(ignored or {})
    run = project.run(script, *words, check=check, **options)
    return {name: bits(project.values(name, run)) for name in names}


def filled(project: Project, names: Sequence[str], run: Run) -> dict[str, list[str]]:
    return {name: bits(project.values(name, run)) for name in names}


def start(project: Project, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """``flor-replay`` in a process group of its own."""
    return subprocess.Popen(
        [COMMAND, *words],
        cwd=project.root,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers(project: Project) -> list[int]:
    """Processes that replay for this project, found in /proc: by themselves, or forked from a warm parent."""
    words = {int(name): _words(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    warm = {pid for pid, found in words.items() if any(b"flor_replay.replay.nursery" in word for word in found)}
    found = []
    for pid, told in words.items():
        try:
            if b"flor_replay.replay.worker" in told:
                with open(told[told.index(b"flor_replay.replay.worker") + 1], encoding="utf-8") as file:
                    mine = str(project.root) in file.read()
            else:
                with open(f"/proc/{pid}/stat", "rb") as stat:
                    parent = int(stat.read().rpartition(b")")[2].split()[1])
                mine = pid in warm and parent in warm and os.readlink(f"/proc/{pid}/cwd") == str(project.root)
        except (OSError, IndexError):
            continue
        if mine:
            found.append(pid)
    return found


def _words(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `condition` gives, once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: the signal goes to the whole group."""
    os.killpg(process.pid, signal.SIGINT)
