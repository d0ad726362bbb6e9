"""Files that are in no version: a replay reads what the recorded run read, or its values are not shown as right."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.journeys.journey import bits, recorded, today
from tests.support import Project

# What runs in a row do to the ignored files: append to a log, write one file each, and some resume from the last state.
SCRIPT = """\
    import glob, os, sys, time
    import numpy as np
    import flor

    while "FLOR_REPLAY_TASK" not in os.environ and not glob.glob(".flor/pending/*.json"):
        time.sleep(0.01)  # other scripts import torch meanwhile
    os.makedirs("out", exist_ok=True)
    w = np.zeros(2)
    if "--resume" in sys.argv and os.path.exists("out/last.npy"):
        w = np.load("out/last.npy")
    scale = float(open("data.csv").read().split(",")[0])
    for epoch in flor.loop("epoch", range(3)):
        w = w + scale
        with open("out/log.csv", "a") as file:
            file.write(f"{epoch},{w[0]}\\n")
        #@ flor.log("lines", len(open("out/log.csv").readlines()))
        #@ flor.log("files", len(glob.glob("out/*.txt")))
        flor.log("w", float(w[0]))
    np.save("out/last.npy", w)
    open(f"out/{os.getpid()}.txt", "w").write("x")
    #@ flor.log("column", int(open("data.csv").read().split(",")[1]))
    """


@pytest.mark.parametrize("sandbox", ["overlay", pytest.param("links", marks=pytest.mark.slow)])
def test_each_run_sees_the_files_that_it_saw(tmp_path: Path, sandbox: str) -> None:
    truth, project = Project(tmp_path / "truth"), Project(tmp_path / "project")
    for place, source in ((truth, today(SCRIPT)), (project, recorded(SCRIPT))):
        place.commit(files={"train.py": source, ".gitignore": "/out/\n/data.csv\n"})
        settled(place, {"data.csv": "0.5,7"})
        for _ in range(3):
            place.run()
    project.write({"train.py": today(SCRIPT)})
    before = project.state()
    project.command("add-log", "train.py", "--yes", env={"FLOR_SANDBOX": sandbox})
    assert project.state() == before
    for old, new in zip(truth.runs(), project.runs(), strict=True):
        for name in ("lines", "files", "column", "w"):
            assert bits(project.values(name, new)) == bits(truth.values(name, old)), name


def settled(project: Project, files: dict[str, str]) -> None:
    """Write inputs, and give them a time that is surely before the next run."""
    project.write(files)
    time.sleep(0.05)


def test_a_state_that_is_gone_is_not_made_up(tmp_path: Path) -> None:
    """The first run found no state; what the second resumed from was overwritten by the third."""
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(SCRIPT), ".gitignore": "/out/\n/data.csv\n"})
    settled(project, {"data.csv": "0.5,7"})
    first, second, _ = [project.run("train.py", "--resume") for _ in range(3)]
    project.write({"train.py": today(SCRIPT)})
    done = project.command("add-log", "train.py", "--yes", check=3)
    assert "out/last.npy has changed since the recorded run began" in done.stderr
    assert project.values("lines", first) == [1, 2, 3]
    assert project.values("lines", second) == []


def test_a_changed_input_is_not_shown_as_right(tmp_path: Path) -> None:
    """Only the part of the file that the recorded values do not depend on has changed."""
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(SCRIPT), ".gitignore": "/out/\n/data.csv\n"})
    settled(project, {"data.csv": "0.5,7"})
    run = project.run()
    project.write({"data.csv": "0.5,8", "train.py": today(SCRIPT)})
    done = project.command("add-log", "train.py", "--yes", check=3)
    assert "data.csv has changed since the recorded run began" in done.stderr
    assert project.values("column", run) == []
    project.write({"data.csv": "0.5,7"})
    project.command("add-log", "train.py", "--yes", "--again")
    assert project.values("column", run) == [7]


def test_an_input_written_anew_with_the_same_content_is_the_same(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(SCRIPT), ".gitignore": "/out/\n/data.csv\n"})
    settled(project, {"data.csv": "0.5,7"})
    run = project.run()
    project.write({"data.csv": "0.5,7", "train.py": today(SCRIPT)})
    project.command("add-log", "train.py", "--yes")
    assert project.values("column", run) == [7]


def test_a_large_file_that_git_does_not_ignore_is_there(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(SCRIPT), ".gitignore": "/out/\n"})
    settled(project, {"data.csv": "0.5,7," + "0" * 1000})
    run = project.run(env={"FLOR_MAX_FILE_BYTES": "500"})
    project.write({"train.py": today(SCRIPT)})
    project.command("add-log", "train.py", "--yes")
    assert project.values("column", run) == [7]
    project.write({"data.csv": "0.5,8," + "0" * 1000, "train.py": today(SCRIPT) + 'flor.log("more", 1)\n'})
    project.command("add-log", "train.py", "--yes", check=3)
    assert project.values("more", run) == []
