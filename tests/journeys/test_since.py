"""What is different today is said in the plan; two backfills in one project take turns."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.journeys.journey import TRAIN, start, with_statements
from tests.support import Project


def test_python_packages_and_files(project: Project) -> None:
    project.commit(files={"train.py": TRAIN, ".gitignore": "*.csv\n"})
    project.write({"data.csv": "1,2\n"})
    run = project.run()
    path = project.store / "runs" / run.run / "run.json"
    info = json.loads(path.read_text())
    info["machine"]["python"] = "3.9.1"
    info["packages"] = {"numpy": "1.0.0", "jax": "0.1"}
    path.write_text(json.dumps(info))
    project.write({"train.py": with_statements(TRAIN), "data.csv": "3,4\n"})
    said = project.command("add-log", "train.py", "--dry-run").stderr
    for words in (
        "Python 3.9.1 is 3.",
        "numpy 1.0.0 is ",
        "jax 0.1 is not installed",
        "ignored files have changed: data.csv",
    ):
        assert words in said, said
    told = json.loads(project.command("add-log", "train.py", "--dry-run", "--json").stdout)
    assert len(told["since"]) == 4 and set(map(tuple, told["since"].values())) == {(run.run,)}


def test_another_interpreter(project: Project, tmp_path: Path) -> None:
    project.commit(files={"train.py": TRAIN})
    project.run()
    project.write({"train.py": with_statements(TRAIN)})
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    assert (
        "flor-replay is not installed"
        in project.command("add-log", "train.py", "--yes", "--python", str(bare), check=2).stderr
    )
    assert "does not run" in project.command("add-log", "train.py", "-y", "--python", "/no/such", check=2).stderr
    other = tmp_path / "other"
    other.write_text(f'#!/bin/sh\necho used >> {tmp_path}/used\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    project.command("add-log", "train.py", "--yes", "--python", str(other))
    assert len(project.values("w_norm")) == 4
    assert (tmp_path / "used").read_text().count("used") >= 2


def test_two_at_once_take_turns(project: Project) -> None:
    for seed in (1, 2):
        project.commit(files={"train.py": TRAIN.replace('"seed", 1', f'"seed", {seed}')})
        project.run()
    project.write({"train.py": with_statements(TRAIN.replace('"seed", 1', '"seed", 2'))})
    both = [start(project, "add-log", "train.py", "--yes") for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    waited = [text for text in said if "another backfill is at work" in text]
    assert all("nothing to replay" in text for text in waited)
    assert not project.dataframe("grad_norm").duplicated(["tstamp", "epoch", "step"]).any()
    assert len([r for r in project.replays() if r.fidelity["verdict"] == "exact"]) == 2, os.linesep.join(said)
