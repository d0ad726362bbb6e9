"""Options that narrow a backfill, keep what it writes, and bound it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flor_replay.replay.memory import affordable
from tests.journeys.journey import TRAIN, with_statements
from tests.support import Project

WRITING = TRAIN + 'open(f"out/w-{lr}.txt", "w").write(repr(float(w[0])))\n'


@pytest.fixture
def two(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": WRITING, "out/.keep": "", ".gitignore": "*.txt\n"})
    project.run("train.py", "--kwargs", "lr=0.1")
    project.run("train.py", "--kwargs", "lr=0.2")
    project.write({"train.py": with_statements(WRITING)})
    return project


def test_outputs_are_kept_apart(two: Project, tmp_path: Path) -> None:
    written = (two.root / "out" / "w-0.1.txt").read_text()
    (two.root / "out" / "w-0.1.txt").unlink()
    before = two.state()
    two.command("add-log", "train.py", "--yes", "--keep-outputs", str(tmp_path / "kept"))
    assert two.state() == before
    found = {path.name: path.read_text() for path in (tmp_path / "kept").glob("*/out/*")}
    assert found.keys() == {"w-0.1.txt", "w-0.2.txt"}
    assert found["w-0.1.txt"] == written
    said = two.command("add-log", "train.py", "--yes", "--keep-outputs", str(tmp_path / "kept"), check=2).stderr
    assert "not empty" in said


@pytest.mark.slow
def test_time_and_age(two: Project) -> None:
    said = two.command("add-log", "train.py", "--yes", "--since", "1990-01-01", "--max-time", "0.1s", check=None).stderr
    assert "left for later" in said and not two.replays()
    assert "none matches" in two.command("add-log", "train.py", "--yes", "--since", "2999-01-01", check=1).stderr
    assert "a day (2026-05-01)" in two.command("plan", "train.py", "--since", "yesterday", check=2).stderr
    assert "such as 10m" in two.command("plan", "train.py", "--max-time", "10 min", check=2).stderr
    two.command("add-log", "train.py", "--yes", "--since", "1d", "--max-time", "1h")
    assert [len(two.values("w_norm", run)) for run in two.runs()] == [4, 4]


def test_memory_bounds_the_workers(two: Project) -> None:
    runs = two.runs()
    largest = max(run.info["peak_memory_bytes"] for run in runs)
    assert affordable(4, runs, available=100 * largest) == (4, None)
    jobs, why = affordable(4, runs, available=3 * largest)
    assert jobs == 2 and why is not None and "2 instead of 4 workers" in why
    assert affordable(4, runs, available=1)[0] == 1
