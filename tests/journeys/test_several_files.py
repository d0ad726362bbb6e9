"""Statements in several files at once; files renamed, moved, not there yet; functions that stood in another file."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.journeys.journey import Here, filled, truth
from tests.support import Project

MODEL = """\
import numpy as np


class Model:
    def __init__(self, size):
        self.w = np.zeros(size)

    def step(self, x, y, lr):
        error = x @ self.w - y
        grad = x.T @ error / len(y)
        self.w = self.w - lr * grad
        return float((error**2).mean())
"""
TRAIN = """\
import numpy as np
import flor
from model import Model

rng = np.random.default_rng(1)
x = rng.normal(size=(32, 3))
y = x.sum(axis=1)
model = Model(3)
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        loss = model.step(x, y, 0.1)
        flor.log("loss", loss)
    flor.log("last", loss)
"""
# Both have a new statement today.
MODEL_TODAY = MODEL.replace("import numpy as np\n", "import numpy as np\nimport flor\n").replace(
    "        self.w = self.w -", '        flor.log("grad_norm", float(np.linalg.norm(grad)))\n        self.w = self.w -'
)
TRAIN_TODAY = TRAIN + '    flor.log("w_norm", float(np.linalg.norm(model.w)))\n'
NAMES = ["grad_norm", "w_norm"]


@pytest.fixture
def here(project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.chdir(project.root)
    return Here(project, capfd)


def check(project: Project, folder: Path, files: dict[str, str], which: int = 0, script: str = "train.py") -> None:
    """The run's columns are those of the script with the statements, run from the start."""
    assert filled(project, NAMES, project.runs()[which]) == truth(folder / str(which), files, NAMES, script)


def test_statements_in_two_files(project: Project, here: Here, tmp_path: Path) -> None:
    """In the past the one was called otherwise, and git knows."""
    net = {"net.py": MODEL, "train.py": TRAIN.replace("from model", "from net")}
    project.commit("first", net)
    project.run()
    project.git("mv", "net.py", "model.py")
    project.commit("a better name", {"train.py": TRAIN})
    project.run()
    project.write({"model.py": MODEL_TODAY, "train.py": TRAIN_TODAY})
    before = project.state()
    done = project.command("add-log", "train.py", "model.py", "--yes")
    assert project.state() == before
    assert "exact" in done.stderr
    check(project, tmp_path, {"net.py": MODEL_TODAY, "train.py": TRAIN_TODAY.replace("from model", "from net")}, 0)
    check(project, tmp_path, {"model.py": MODEL_TODAY, "train.py": TRAIN_TODAY}, 1)
    told = json.loads(here("add-log", "train.py", "model.py", "--dry-run", "--json")[0])
    assert sorted(told["versions"][1]["diffs"]) == ["net.py", "train.py"]
    assert {p["today"] for p in told["versions"][1]["placed"]} == {"model.py", "train.py"}


def test_moved_into_a_package_and_not_committed(project: Project, here: Here, tmp_path: Path) -> None:
    """The file was moved today, by hand; git has not been told."""
    project.commit("first", {"model.py": MODEL, "train.py": TRAIN})
    project.run()
    (project.root / "model.py").unlink()
    project.write(
        {
            "parts/__init__.py": "",
            "parts/model.py": MODEL_TODAY,
            "train.py": TRAIN_TODAY.replace("from model", "from parts.model"),
        }
    )
    project.command("add-log", "train.py", "parts/model.py", "--yes")
    check(project, tmp_path, {"model.py": MODEL_TODAY, "train.py": TRAIN_TODAY})
    # And once it is committed and has run, the old version is found all the same.
    project.commit("moved", {"parts/model.py": MODEL, "train.py": TRAIN.replace("from model", "from parts.model")})
    project.run(every=False)
    project.write({"parts/model.py": MODEL_TODAY})
    told = json.loads(here("add-log", "parts/model.py", "--dry-run", "--json")[0])
    assert [[p["path"] for p in version["placed"]] for version in told["versions"]] == [
        ["parts/model.py"] * 2,
        ["model.py"] * 2,
    ]


def test_a_file_that_was_not_there_yet(project: Project, here: Here, tmp_path: Path) -> None:
    """What the other file adds is filled; what has no file is refused and told."""
    inline = (
        TRAIN.replace("from model import Model\n", "")
        .replace("model = Model(3)\n", "w = np.zeros(3)\n")
        .replace(
            "        loss = model.step(x, y, 0.1)\n",
            "        w = w - 0.1 * x.T @ (x @ w - y) / 32\n        loss = float(w.sum())\n",
        )
    )
    project.commit("first", {"train.py": inline})
    project.run()
    project.commit("a model", {"train.py": TRAIN, "model.py": MODEL})
    project.run()
    today = TRAIN + '    flor.log("w_norm", 2 * loss)\n'
    project.write({"model.py": MODEL_TODAY, "train.py": today})
    done = project.command("add-log", "train.py", "model.py", "--yes", check=3)
    assert "grad_norm refused: It has no file model.py." in done.stderr
    old = inline + '    flor.log("w_norm", 2 * loss)\n'
    assert filled(project, ["w_norm"], project.runs()[0]) == truth(tmp_path / "t", {"train.py": old}, ["w_norm"])
    assert project.values("grad_norm", project.runs()[0]) == []
    assert len(project.values("grad_norm")) == 6
    shown = here("add-log", "model.py", "--dry-run", code=3)[0]
    assert "it has no file model.py" in shown


ENGINE = """\
import numpy as np
import flor


def train_epoch(w, x, y, lr):
    for step in flor.loop("step", range(2)):
        grad = x.T @ (x @ w - y) / len(y)
        w = w - lr * grad
        flor.log("loss", float(np.abs(x @ w - y).mean()))
    return w
"""
MAIN = """\
rng = np.random.default_rng(1)
x = rng.normal(size=(32, 3))
y = x.sum(axis=1)
w = np.zeros(3)
for epoch in flor.loop("epoch", range(3)):
    w = train_epoch(w, x, y, 0.1)
    flor.log("last", float(w.sum()))
"""
IMPORTS = "import numpy as np\nimport flor\n"
TOGETHER = f"{ENGINE}\n\n{MAIN}"
APART = f"{IMPORTS}from engine import train_epoch\n\n{MAIN}"


def with_grad_norm(source: str) -> str:
    return source.replace(
        "        w = w - lr", '        flor.log("grad_norm", float(np.linalg.norm(grad)))\n        w = w - lr'
    )


def with_w_norm(source: str) -> str:
    return source + '    flor.log("w_norm", float(np.linalg.norm(w)))\n'


def test_a_function_that_stood_in_the_script(project: Project, here: Here, tmp_path: Path) -> None:
    """Two of today's files go into one file of the old version, at first while no version has them apart."""
    project.commit("together", {"train.py": TOGETHER})
    project.run()
    project.write({"train.py": with_w_norm(APART), "engine.py": with_grad_norm(ENGINE)})
    shown = here("add-log", "engine.py", "train.py", "--dry-run")[0]
    assert "(line 8 of today's engine.py, into train.py)" in shown
    project.commit("apart", {"train.py": APART, "engine.py": ENGINE})
    project.run()
    project.write({"train.py": with_w_norm(APART), "engine.py": with_grad_norm(ENGINE)})
    project.command("add-log", "engine.py", "train.py", "--yes")
    check(project, tmp_path, {"train.py": with_w_norm(with_grad_norm(TOGETHER))})
    check(project, tmp_path, {"train.py": with_w_norm(APART), "engine.py": with_grad_norm(ENGINE)}, 1)
    assert "filled before: nothing to replay" in here("add-log", "train.py", "engine.py", "--yes")[1]


def test_a_decision_where_two_files_went_into_one(
    project: Project, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is about the version's file as it was, whatever else is put there."""
    engine = ENGINE.replace("        w = w - lr", "        w = w * 0.9\n        w = w - lr")
    project.commit("together", {"train.py": f"{IMPORTS}{engine.removeprefix(IMPORTS)}\n\n{MAIN}"})
    project.run(every=False)
    project.commit("apart", {"train.py": APART, "engine.py": ENGINE})
    project.run(every=False)
    # The first is put in sure, before the second in the file.
    engine = ENGINE.replace("    return w", '    flor.log("sum", float(w.sum()))\n    return w').replace(
        "        w = w - lr", '        flor.log("w_before", float(w.sum()))\n        w = w - lr'
    )
    main = with_w_norm(APART).replace("x = rng", 'flor.log("early", str(rng))\nx = rng')
    project.write({"train.py": main, "engine.py": engine})
    both = ("add-log", "engine.py", "train.py")
    old = str(project.runs()[0].commit)
    shown, _ = here(*both, "--dry-run", code=3)
    assert '  unsure    flor.log("w_before", float(w.sum()))' in shown

    def diff(*words: str, code: int = 0) -> str:
        told = json.loads(here(*words, "--dry-run", "--json", code=code)[0])
        assert [one["version"] for one in told["versions"]][1] == old
        return str(told["versions"][1]["diffs"]["train.py"])

    accepted = diff(*both, "--accept", old)
    assert accepted.count("\n+") == 5  # with its header
    place = accepted.partition('+        flor.log("w_before"')[0].splitlines()[-1]
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    here(*both, "--accept", old, code=1)  # kept, though nothing is replayed
    assert diff(*both) == accepted
    alone = diff("add-log", "engine.py")
    assert alone.partition('+        flor.log("w_before"')[0].splitlines()[-1] == place
    assert alone.count("\n+") == 3

    # And in the editor there is only what this file brings.
    (tmp_path / "editor.py").write_text(
        "import sys\ntext = open(sys.argv[1]).read()\nassert 'early' not in text and text.count('w_before') == 1\n"
        "text = text.replace('w_before\", ', 'w_before\", 0 * ')\nopen(sys.argv[1], 'w').write(text)\n"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {tmp_path / 'editor.py'}")
    here(*both, "--edit", old, code=1)
    assert diff(*both) == accepted.replace('w_before", ', 'w_before", 0 * ')


def test_a_function_that_stands_in_two_files(project: Project, here: Here) -> None:
    """Which of them is meant cannot be known: refused."""
    project.commit("together", {"train.py": TOGETHER, "other.py": ENGINE})
    project.run(every=False)
    project.commit("apart", {"train.py": APART, "engine.py": ENGINE})
    project.run(every=False)
    project.write({"engine.py": with_grad_norm(ENGINE)})
    shown, _ = here("add-log", "engine.py", "--dry-run", code=3)
    assert "`train_epoch` is in several files of this version: other.py, train.py." in shown


def test_files_that_add_nothing_are_left_aside(project: Project, here: Here) -> None:
    project.commit("first", {"train.py": TRAIN, "model.py": MODEL, "tools.py": "x = 1\n"})
    project.run(every=False)
    project.write({"train.py": TRAIN_TODAY})
    shown, table = here("add-log", "model.py", "tools.py", "train.py", "--dry-run")
    assert "left aside: model.py has no flor.log statement" in table
    assert "left aside: tools.py" in table
    assert "w_norm" in shown
    _, said = here("add-log", "model.py", "tools.py", "--dry-run", code=1)
    assert len(said.strip().splitlines()) == 1


def test_a_changed_metric_in_a_helper(project: Project, here: Here, tmp_path: Path) -> None:
    """The same name with another expression, in a file that is not the script: dry-run says what it replaces."""
    helper = textwrap.dedent(
        """\
        import flor


        def report(errors):
            flor.log("mean", float(sum(errors)) / 3)
        """
    )
    script = textwrap.dedent(
        """\
        import flor
        from helper import report

        errors = [1.0, 2.0]
        for epoch in flor.loop("epoch", range(3)):
            errors.append(float(epoch))
            report(errors)
            flor.log("count", len(errors))
        """
    )
    project.commit("first", {"train.py": script, "helper.py": helper})
    project.run()
    project.commit("renamed", {"helper.py": helper.replace("errors", "found")})
    project.run()
    old = project.values("mean")
    right = helper.replace("/ 3)", "/ len(errors))")
    project.write({"helper.py": right})
    shown = here("add-log", "helper.py", "--dry-run")[0]
    assert '  replaces  flor.log("mean", float(sum(found)) / 3)  (helper.py line 5)' in shown
    assert '  by        flor.log("mean", float(sum(found)) / len(found))  (today\'s line 5)' in shown
    assert "  renamed   errors -> found" in shown
    assert '-    flor.log("mean", float(sum(found)) / 3)' in shown
    assert '+    flor.log("mean", float(sum(found)) / len(found))' in shown
    told = json.loads(here("add-log", "helper.py", "--dry-run", "--json")[0])
    assert [p["replaced"] for p in told["versions"][0]["placed"]] == ['flor.log("mean", float(sum(found)) / 3)']
    assert told["versions"][0]["placed"][0]["renames"] == [["errors", "found"]]
    project.command("add-log", "helper.py", "--yes")
    for run in project.runs():
        assert project.values("mean", run) == [1.0, 1.0, 1.2]
        assert project.values("mean", run, source="recorded") == old == [1.0, 4.0 / 3, 2.0]
