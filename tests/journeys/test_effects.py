"""Statements that change what training computes: the value is that of a run which had them, or it is not called exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from flor_replay.store.runs import Run
from tests.journeys.journey import TRAIN, recorded, today
from tests.support import Project

SOURCE = """\
    import random
    import numpy as np
    import flor

    class Model:
        def __init__(self):
            self.w = np.zeros(4)
            self.training = True
            self.seen = 0
        def eval(self):
            self.training = False
            return self
        def predict(self, x):
            self.seen += 1
            return x @ self.w

    def noisy(w):
        return float(w.sum()) + random.random()

    random.seed(3)
    rng = np.random.default_rng(1)
    model = Model()
    x = rng.normal(size=(32, 4))
    for epoch in flor.loop("epoch", range(5)):
        for step in flor.loop("step", range(3)):
            sum(range(1_000_000))  # longer than a state takes to be put back
            noise = random.gauss(0, 0.1) if model.training else 0.0
            model.w = model.w + 0.1 * x[rng.integers(32)] + noise
        #@ flor.log("asked", STATEMENT)
    """


def ask(folder: Path, statement: str, *, logged: str = "") -> Project:
    """A run with checkpoints everywhere, and the statement filled."""
    project = Project(folder)
    source = SOURCE.replace("STATEMENT", statement)
    if logged:
        source = source.replace("        #@", f"        {logged}\n        #@")
    project.commit(files={"train.py": recorded(source)})
    project.run()
    project.write({"train.py": today(source)})
    project.command("add-log", "train.py", "--yes", "--jobs", "1", check=None)
    return project


def exact(project: Project) -> list[Run]:
    return [replay for replay in project.replays() if replay.fidelity["verdict"] in ("exact", "close")]


@pytest.mark.parametrize(
    "statement",
    [
        "noisy(model.w)",
        "rng.random()",
        "model.eval().w[0]",
        "[random.random() for _ in x][0]",
        "model.predict(x).sum()",
    ],
)
def test_what_is_logged_does_not_show_it(statement: str, tmp_path: Path) -> None:
    # Put back from its exit in every iteration, this value comes out the same whatever the statement does.
    project = ask(tmp_path, statement, logged='flor.log("w0", model.w[0])')
    # A whole run has the statement from its start: what it logs is foresight.
    assert all(replay.info["segment"]["kind"] == "whole" for replay in exact(project))


def test_a_statement_that_only_reads_needs_no_trial(tmp_path: Path) -> None:
    project = ask(tmp_path, "float(np.linalg.norm(model.w))", logged='flor.log("w0", model.w[0])')
    [replay] = project.replays()
    [step] = replay.info["segment"]["steps"]
    assert len(step["exits"]) == 5
    assert replay.fidelity["verdict"] == "exact"


def test_a_function_that_only_reads_is_tried_and_called_exact(tmp_path: Path) -> None:
    project = Project(tmp_path)
    source = TRAIN.replace("        error =", "        sum(range(1_000_000))\n        error =").replace(
        "lr = flor.arg", "def size(w):\n    return float(w @ w)\n\n\nlr = flor.arg"
    )
    project.commit(files={"train.py": source})
    project.run()
    project.write({"train.py": source.replace("#bottom\n", 'flor.log("size", size(w))\n')})
    project.command("add-log", "train.py", "--yes", "--jobs", "1")
    [replay] = project.replays()
    executed = {index for step in replay.info["segment"]["steps"] for index in range(step["first"], step["stop"])}
    executed -= {index for step in replay.info["segment"]["steps"] for index, _, _ in step["exits"]}
    assert replay.fidelity["verdict"] == "exact" and replay.info["states"]["compared"] >= 1, replay.info
    assert len(executed) <= 1
