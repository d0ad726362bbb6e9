"""What a replay may read: unit tests of the judge; the journeys of changed inputs are in tests/journeys/test_inputs.py."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flor_replay.errors import ReplayMismatch
from flor_replay.plan.segments import Segment
from flor_replay.replay.reads import ReadWatch
from flor_replay.replay.task import Task

HOUR = 3600.0


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "project"
    (folder / ".flor").mkdir(parents=True)
    yield folder


def watch(project: Path) -> ReadWatch:
    """Of a part of a run that was recorded an hour ago."""
    task = Task(
        run="r",
        replay="p",
        root=str(project),
        store=str(project / ".flor"),
        tree=str(project),
        scratch=str(project.parent / "scratch"),
        patched="0" * 40,
        segment=Segment("part"),
        inserted=(),
        entry={},
        environment={},
        args={},
        started=time.time() - HOUR,
    )
    return ReadWatch(task, str(project))


def written(path: Path, hours_ago: float) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("content")
    then = time.time() - hours_ago * HOUR
    os.utime(path, (then, then))
    return os.path.realpath(path)


def test_a_file_elsewhere_is_read_while_it_is_as_it_was(project: Path) -> None:
    watch(project).opened(written(project.parent / "data" / "old.csv", 2), os.O_RDONLY)
    with pytest.raises(ReplayMismatch, match=r"new\.csv was written after the recorded run began"):
        watch(project).opened(written(project.parent / "data" / "new.csv", 0.5), os.O_RDONLY)


@pytest.mark.parametrize("linked", [False, True])
def test_packages_installed_since_are_no_inputs(project: Path, monkeypatch: pytest.MonkeyPatch, linked: bool) -> None:
    real = project.parent / "environments" / "one"
    package = written(real / "lib" / "site-packages" / "x" / "data.txt", 0.5)
    prefix = real
    if linked:
        prefix = project / ".venv"
        prefix.symlink_to(real)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    watch(project).opened(package, os.O_RDONLY)


def test_an_environment_in_the_projects_own_folder_hides_no_change(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(project))
    with pytest.raises(ReplayMismatch):
        watch(project).opened(written(project / "data.csv", 0.5), os.O_RDONLY)
