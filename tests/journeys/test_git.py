"""Repositories in odd states: what is recorded and filled there, and that git is left as it was."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.journeys.journey import STATEMENTS, TRAIN, bits, truth, with_statements
from tests.support import COMMAND, Project

TODAY = with_statements(TRAIN, {"bottom": STATEMENTS["bottom"]})
SHORT = ("--kwargs", "epochs=2")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    found = truth(tmp_path_factory.mktemp("truth") / "p", {"train.py": TODAY}, ["w_norm"], "train.py", *SHORT)
    return found["w_norm"]


def fill(project: Project, expected: list[str]) -> None:
    before = project.state()
    run = project.run("train.py", *SHORT)
    assert project.state() == before
    project.write({"train.py": TODAY})
    before = project.state()
    project.command("add-log", "train.py", "--yes")
    assert project.state() == before
    assert bits(project.values("w_norm", run)) == expected


def test_no_commit_yet(project: Project, expected: list[str]) -> None:
    project.write({"train.py": TRAIN})
    fill(project, expected)


def test_detached_and_in_the_middle_of_work(project: Project, expected: list[str]) -> None:
    """Detached HEAD, staged and unstaged changes, an untracked file, a stash, a hook that fails."""
    project.commit(files={"train.py": "", "a.txt": "a\n"})
    project.commit(files={"a.txt": "b\n"})
    project.write({"a.txt": "stashed\n"})
    project.git("stash")
    project.git("checkout", "-q", "--detach", "HEAD~1")
    project.write({"a.txt": "staged\n", "train.py": TRAIN})
    project.git("add", "a.txt")
    project.write({"a.txt": "unstaged\n", "new.txt": "new\n"})
    hook = project.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    fill(project, expected)


def test_linked_worktree(tmp_path: Path, expected: list[str]) -> None:
    main = Project(tmp_path / "main")
    main.commit(files={"train.py": TRAIN})
    main.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = Project(tmp_path / "side", repository=False)
    run = side.run("train.py", *SHORT)
    side.write({"train.py": TODAY})
    side.command("add-log", "train.py", "--yes")
    assert bits(side.values("w_norm", run)) == expected
    assert side.git("status", "--porcelain") == "M train.py"
    assert main.git("status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["my pröject", "a:b", "a, b", "it's $HOME \\ x"])
def test_odd_paths(tmp_path: Path, name: str, expected: list[str]) -> None:
    project = Project(tmp_path / name)
    project.commit(files={"train.py": TRAIN})
    fill(project, expected)


def test_the_question_on_a_terminal(project: Project) -> None:
    project.commit(files={"train.py": TRAIN})
    run = project.run("train.py", *SHORT)
    project.write({"train.py": TODAY})
    for answer, code, count in ((b"n\n", 1, 0), (b"y\n", 0, 2)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [COMMAND, "add-log", "train.py"],
            cwd=project.root,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(theirs)
        os.write(ours, answer)
        _, said = process.communicate(timeout=120)
        os.close(ours)
        assert process.returncode == code, said
        assert "Replay 1 version, about" in said
        assert len(project.values("w_norm", run)) == count
