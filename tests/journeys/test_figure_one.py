"""Figure 1 of the paper: a Makefile with two steps, one call of ``make train``, and one frame."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from flor_replay.context import confined, parents
from tests.journeys.journey import wait_until
from tests.support import Project

if TYPE_CHECKING:
    from flor_replay.store.runs import Run

MAKEFILE = """\
prep:
\tpython prep.py
train: prep
\tpython train.py --kwargs lr=$(LR)
LR = 0.1
.PHONY: prep train
"""
PREP = 'import flor\nflor.log("batch_size", 64)\n'
TRAIN = 'import flor\nlr = flor.arg("lr", 0.5)\nbatch_size = flor.log("batch_size", 32)\n'
SECRETS = {"WANDB_API_KEY": "wandb-0f1e2d3c", "AWS_SECRET_ACCESS_KEY": "aws-4b5a6978", "NOBODY_KNOWS": "private-8877"}


def make(project: Project, *words: str, env: dict[str, str] | None = None) -> None:
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["make", *words],
        cwd=project.root,
        env={**os.environ, "PATH": path, **(env or {})},
        capture_output=True,
        check=True,
    )


@pytest.fixture
def pipeline(project: Project) -> Project:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    project.commit(files={"Makefile": MAKEFILE, "prep.py": PREP, "train.py": TRAIN})
    project.git("remote", "add", "origin", "https://ada:token-55aa66bb@example.org/ada/paper.git")
    return project


def test_make_train_and_the_frame(pipeline: Project) -> None:
    make(pipeline, "train", "LR=0.25", env=SECRETS)
    code = """
    import flor
    frame = flor.dataframe("batch_size")
    print(frame.to_json(orient="split"))
    """
    pipeline.write({"look.py": code})
    shown = json.loads(pipeline.python("look.py").stdout)
    assert shown["columns"] == ["projid", "tstamp", "filename", "batch_size"]
    assert [row[0] for row in shown["data"]] == ["project", "project"]
    assert [row[2:] for row in shown["data"]] == [["prep.py", 64], ["train.py", 32]]
    assert shown["data"][0][1] < shown["data"][1][1]
    assert len(pipeline.runs()) == 2  # looking leaves no run

    frame = pipeline.dataframe("batch_size", "lr", context=True)
    asked = confined.available()
    assert frame["caller"].tolist() == ["make", "make"]
    assert frame["task"].tolist() == (["prep", "train"] if asked else [None, None])
    assert frame["execution"].nunique() == 1  # one make
    assert frame["workflow"].tolist() == [str(pipeline.root)] * 2
    assert frame["remote"].tolist() == ["https://example.org/ada/paper.git"] * 2
    assert frame["branch"].tolist() == ["main"] * 2
    assert frame["commit"].tolist() == [pipeline.git("rev-parse", "HEAD")] * 2
    assert frame["lr"].tolist()[1] == 0.25
    assert (frame["ended"] >= frame["began"]).all()
    for text in (*SECRETS.values(), "token-55aa66bb"):
        found = subprocess.run(["grep", "-r", text, str(pipeline.store)], capture_output=True, check=False)
        assert found.returncode == 1, found.stdout


def test_the_views(pipeline: Project) -> None:
    make(pipeline, "train")
    code = """
    import flor, json
    callers = flor.query("select filename, task, prerequisites, recipe, execution from callers join runs using (run) order by filename")
    packages = flor.query("select distinct package, version from packages where package in ('pandas', 'flor-replay')")
    system = flor.query("select distinct os, python, cpus, memory_bytes, caller from contexts")
    print(json.dumps([json.loads(frame.to_json(orient="values")) for frame in (callers, packages, system)]))
    """
    pipeline.write({"look.py": code})
    callers, packages, system = json.loads(pipeline.python("look.py").stdout)
    if confined.available():
        assert [row[:-1] for row in callers if row[-1] not in above_the_tests()] == [
            ["prep.py", "prep", [], "python prep.py"],
            ["train.py", "train", ["prep"], "python train.py --kwargs lr=0.1"],
        ]
    assert {name for name, _ in packages} == {"pandas", "flor-replay"}
    ((name, python, cpus, memory, caller),) = system
    assert (
        name and python == sys.version.split()[0] and cpus == os.cpu_count() and memory > 1 << 20 and caller == "make"
    )


def test_make_inside_make(pipeline: Project) -> None:
    pipeline.commit(files={"outer.mk": "all:\n\t$(MAKE) train LR=0.5\n"})
    make(pipeline, "-f", "outer.mk", "all")
    (train,) = (run for run in pipeline.runs() if run.filename == "train.py")
    found = [(c["kind"], c["task"]) for c in callers_of(pipeline, train)]
    assert found == ([("make", "train"), ("make", "all")] if confined.available() else [("make", None)] * 2)


def test_a_killed_script_has_its_context(project: Project) -> None:
    code = f"import flor, os\nflor.log('x', 1)\nos.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    project.commit(files={"train.py": code})
    project.python("train.py", check=False)
    (run,) = project.runs()
    context = wait_until(lambda: context_of(project, run.info["context"]))
    assert context["system"]["python"]
    assert context["repository"]["branch"] == "main"
    assert [caller["kind"] for caller in callers_of(project, run)] == ([] if above_the_tests() else ["process"])


def above_the_tests() -> set[str]:
    """The makes that run these very tests (`make test`): callers as well, of every run here."""
    return {str(process["pid"]) for process in parents.chain(()) if parents.is_make(process)}


def callers_of(project: Project, run: Run) -> list[dict[str, Any]]:
    found = context_of(project, run.info["context"])["callers"]
    return [caller for caller in found if caller["id"] not in above_the_tests()]


def context_of(project: Project, name: str) -> dict[str, Any]:
    path = project.store / "contexts" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}
