"""Whole histories of real training scripts: every version filled, every value the truth run's, bit for bit."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import Project

HISTORIES = Path(__file__).parents[2] / "fixtures" / "histories"
_spec = importlib.util.spec_from_file_location("histories_build", HISTORIES / "build.py")
assert _spec is not None and _spec.loader is not None
build = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = build
_spec.loader.exec_module(build)


def record(project: Project, command: Sequence[str]) -> Any:
    return project.run(*command[1:], env={"OMP_NUM_THREADS": "1"}, every=False)


def column(project: Project, run: Any, name: str) -> list[tuple[Any, ...]]:
    """(loop indices…, value); loops are compared by depth, they have other names in other versions."""
    frame = project.dataframe(name, runs=[run.run])
    rows = frame[[*frame.attrs.get("loops", ()), name]].itertuples(index=False, name=None)
    return [tuple(map(repr, row)) for row in rows if row[-1] is not None and row[-1] == row[-1]]


def replay_history(name: str, tmp_path: Path, wanted: Sequence[str] | None = None) -> None:
    history = HISTORIES / name
    told = json.loads((history / "history.json").read_text())
    folder = tmp_path / name
    versions = build.build(history, folder)
    project = Project(folder, repository=False)
    runs, truths = {}, {}
    for version in versions:
        if wanted is not None and version.name not in wanted:
            continue
        project.git("checkout", "-q", version.sha)
        runs[version.name] = record(project, version.command)
        other = Project(tmp_path / "truth" / version.name)
        build.lay_out(version.folder, other.root)
        build.lay_out(version.truth, other.root)
        truths[version.name] = (other, record(other, version.command))
    project.git("checkout", "-q", "main")
    build.lay_out(history / "today", folder)
    scripts = project.git("diff", "--name-only").splitlines()  # refreshes the index
    before = project.state()
    done = project.command("add-log", *scripts, "--yes", check=None)
    assert done.returncode in (0, 3), done.stderr
    assert project.state() == before
    for statement in told["statements"].values():
        filled = 0
        for version, run in runs.items():
            values = column(project, run, statement)
            if values:
                filled += 1
                assert values == column(*truths[version], statement), f"{statement} of {version}"
        assert filled >= len(runs) - (1 if len(runs) > 2 else 0), f"{statement}\n{done.stderr}"


@pytest.mark.slow
def test_sgd(tmp_path: Path) -> None:
    replay_history("sgd", tmp_path)


@pytest.mark.slow
def test_two_versions_of_digits(tmp_path: Path) -> None:
    replay_history("digits", tmp_path, ("v7", "v9"))


@pytest.mark.slow
def test_digits(tmp_path: Path) -> None:
    replay_history("digits", tmp_path)


def test_built_twice_is_the_same(tmp_path: Path) -> None:
    first = build.build(HISTORIES / "sgd", tmp_path / "one")
    second = subprocess.run(
        [sys.executable, HISTORIES / "build.py", "sgd", tmp_path / "two"], check=True, capture_output=True, text=True
    ).stdout
    assert [line.split()[1] for line in second.splitlines()] == [version.sha[:12] for version in first]
