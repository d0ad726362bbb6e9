"""``add-log --all-commits``: versions that nobody recorded are run whole, from before flor was there."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support import Project

# The history of one script: it had no flor, then named its loop, then was recorded.
PLAIN = """
import argparse
import numpy as np
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.5)
options = parser.parse_args()
rng = np.random.default_rng(0)
weights = np.ones(4)
for epoch in range(3):
    for step in range(2):
        weights -= options.lr * rng.normal(size=4)
    print(weights.sum())
"""
OLDER = PLAIN.replace("weights = np.ones(4)", "weights = np.zeros(4)")
RECORDED = (
    PLAIN.replace("import numpy", "import flor\nimport numpy")
    .replace("in range(3)", 'in flor.loop("round", range(3))')
    .replace("    print(weights.sum())", '    flor.log("total", weights.sum())')
)
STATEMENT = '    flor.log("norm", float(np.linalg.norm(weights)))\n'


def norms(project: Project, words: str = "") -> list[tuple[float, ...]]:
    """The values of `norm` by version, oldest first, as a run that had the statement from its start would have them."""
    rows = json.loads(project.command("show", "norm", "--json").stdout)
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["tstamp"], []).append(row["norm"])
        assert row["round"] == len(found[row["tstamp"]]) - 1
    return [tuple(values) for _, values in sorted(found.items())]


def foresight(project: Project, source: str, *words: str) -> tuple[float, ...]:
    body = source.replace("import numpy", "import flor\nimport numpy") if "import flor" not in source else source
    text = (
        body.replace('    flor.log("total"', '    print("total"')
        + "    print('norm', repr(float(np.linalg.norm(weights))))\n"
    )
    project.write({"foresight.py": text.replace('flor.loop("round", range(3))', "range(3)")})
    lines = project.python("foresight.py", *words).stdout.splitlines()
    (project.root / "foresight.py").unlink()
    return tuple(float(line.split()[1]) for line in lines if line.startswith("norm"))


@pytest.fixture(autouse=True)
def days(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says on which day of last year a commit is made: runs are listed by time."""

    def day(number: int) -> None:
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2025-03-{number:02}T12:00:00+0000")

    return day


def history(project: Project, days: Callable[[int], None]) -> None:
    project.write({"other.py": "import flor\nflor.log('x', 1)\n"})
    for day, (file, content) in enumerate(
        [("train.py", OLDER), ("train.py", PLAIN), ("README", "x"), ("train.py", RECORDED)], 1
    ):
        days(day)
        project.commit(f"day {day}", files={file: content})


def test_commits_from_before_flor(project: Project, days: Callable[[int], None]) -> None:
    history(project, days)
    project.python("train.py", "--lr", "0.25")
    project.git("checkout", "-q", "HEAD~2")  # a run of something else there is none of the script
    project.python("other.py")
    project.git("checkout", "-q", "main")
    project.write({"train.py": RECORDED + STATEMENT})
    before = project.state()

    shown = project.command("add-log", "train.py", "--all-commits", "--dry-run")
    assert shown.stderr.count("whole") >= 1
    plan = json.loads(project.command("plan", "train.py", "--all-commits", "--json").stdout)
    assert len(plan["versions"]) == 3
    done = project.command("add-log", "train.py", "--all-commits", "--yes", "--json")
    results = json.loads(done.stdout)["results"]
    assert sorted(one["verdict"] for one in results) == ["exact", "unchecked", "unchecked"]
    assert "never recorded" in done.stderr
    words = ("--lr", "0.25")  # of the newest run
    assert norms(project) == [foresight(project, source, *words) for source in (OLDER, PLAIN, RECORDED)]
    assert project.state() == before

    again = project.command("add-log", "train.py", "--all-commits", "--yes", "--json")
    assert not json.loads(again.stdout)["results"]
    assert [run.status for run in project.runs()] == ["unrecorded", "unrecorded", "finished", "finished"]
    later = project.command("add-log", "train.py", "--yes", "--json")  # they are runs by now, like others
    assert not json.loads(later.stdout)["results"]


def test_what_such_a_version_logs_is_seen(project: Project, days: Callable[[int], None]) -> None:
    """One that had flor and was never run has no recorded values: all of them are new. Another file follows its renames."""
    days(1)
    project.commit("first", files={"job.py": RECORDED})
    days(2)
    project.git("mv", "job.py", "train.py")
    project.commit("second", files={"train.py": RECORDED.replace("np.ones", "np.zeros")})
    project.write({"train.py": RECORDED.replace("np.ones", "np.zeros") + STATEMENT})
    done = project.command("add-log", "train.py", "--all-commits", "--args", "--lr 0.125", "--yes", "--json")
    assert len(json.loads(done.stdout)["results"]) == 2
    rows = json.loads(project.command("show", "total", "norm", "--json").stdout)
    assert [row["filename"] for row in rows] == ["job.py"] * 3 + ["train.py"] * 3
    assert all(isinstance(row["total"], float) for row in rows)
    assert norms(project)[0] == foresight(project, RECORDED, "--lr", "0.125")


def test_a_version_that_has_the_statement_and_one_that_fails(project: Project, days: Callable[[int], None]) -> None:
    broken = RECORDED.replace("np.ones", "np.oneses")
    for day, content in enumerate([broken, RECORDED + STATEMENT, RECORDED], 1):
        days(day)
        project.commit(f"day {day}", files={"train.py": content})
    project.write({"train.py": RECORDED + STATEMENT})
    done = project.command("add-log", "train.py", "--all-commits", "--yes", "--json", check=3)
    problems = [one["problem"] for one in json.loads(done.stdout)["results"]]
    assert [bool(problem) for problem in problems] == [False, False, True]
    assert "oneses" in problems[-1]
    assert norms(project) == [foresight(project, RECORDED)] * 2


@pytest.mark.parametrize("words", [("--args", "--lr 1"), ("--all-commits", "--args", "--lr 'x")])
def test_words_that_cannot_be_meant(project: Project, words: tuple[str, ...]) -> None:
    project.commit(files={"train.py": RECORDED})
    project.write({"train.py": RECORDED + STATEMENT})
    done = project.command("add-log", "train.py", *words, "--yes", check=2)
    assert "--a" in done.stderr and "Traceback" not in done.stderr
    assert project.command("plan", "train.py", *words, check=2).stderr == done.stderr
