"""Of a replay that came out otherwise: the first difference, and why it probably is."""

from __future__ import annotations

import json

import pytest

from tests.support import Project

SCRIPT = """
import flor
import numpy as np
rng = np.random.default_rng({seed})
x = 0.0
for epoch in flor.loop("epoch", range(3)):
    x += rng.normal()
    flor.log("x", x)
"""


def results(project: Project, statement: str, seed: str) -> dict[str, object]:
    project.commit(files={"train.py": SCRIPT.format(seed=seed)})
    project.python("train.py")
    project.write({"train.py": SCRIPT.format(seed=seed) + f"    flor.log('y', {statement})\n"})
    done = project.command("add-log", "train.py", "--yes", "--json", check=3)
    assert "likely cause" in done.stderr or "no cause" in done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["verdict"] == "diverged"
    (replay,) = [replay for replay in project.replays() if replay.fidelity["verdict"] == "diverged"]
    assert replay.fidelity["cause"] == result["cause"]
    return dict(result)


def test_a_generator_that_nobody_seeded(project: Project) -> None:
    result = results(project, "x * 2", "")
    assert str(result["first_difference"]).startswith("x at epoch=0: ")
    assert "`np.random.default_rng()` (train.py line 4) draws from the operating system" in str(result["cause"])


def test_a_statement_that_draws(project: Project) -> None:
    result = results(project, "rng.normal()", "0")
    assert str(result["first_difference"]).startswith("x at epoch=1: ")
    assert "the added code may change what training computes" in str(result["cause"])


@pytest.mark.parametrize("nested", [False, True])
def test_a_project_below_the_repository(project: Project, nested: bool) -> None:
    """The file is named as it stands in the repository."""
    place = "work/" if nested else ""
    project.commit(files={f"{place}train.py": SCRIPT.format(seed="")})
    project.python("train.py", cwd=place or ".")
    project.write({f"{place}train.py": SCRIPT.format(seed="") + "    flor.log('y', x)\n"})
    project.command("add-log", "train.py", "--yes", cwd=place or ".", check=3)
    (replay,) = [replay for replay in project.replays() if replay.fidelity["verdict"] == "diverged"]
    assert f"({place}train.py line 4)" in str(replay.fidelity["cause"])
