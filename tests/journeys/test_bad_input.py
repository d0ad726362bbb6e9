"""Bad input gets one clear sentence and an exit code, no traceback, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.journey import STATEMENTS, TRAIN, bits, filled, truth, with_statements
from tests.support import Project

TODAY = with_statements(TRAIN, {"bottom": STATEMENTS["bottom"]})


def refused(project: Project, *words: str, code: int, cwd: str = ".") -> str:
    """What the command says when it refuses; nothing changes by it."""
    before = project.state() if (project.root / ".git").exists() else None
    count = len(project.replays())
    done = project.command(*words, check=code, cwd=cwd)
    if before is not None:
        assert project.state() == before
    assert len(project.replays()) == count
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3, done.stderr
    return done.stderr


@pytest.fixture
def one(project: Project) -> Project:
    project.commit("first", {"train.py": TRAIN})
    project.run()
    return project


def test_not_a_repository(tmp_path: Path) -> None:
    folder = Project(tmp_path / "plain", repository=False)
    folder.write({"train.py": TODAY, ".flor/here": ""})  # a store further up would be taken
    for verb in ("add-log", "plan"):
        said = refused(folder, verb, "train.py", "--yes" if verb == "add-log" else "--json", code=1)
        assert "not in a git repository" in said
    assert "not in a git repository" in refused(folder, "runs", code=1)
    # It logs all the same, and says once that it cannot be replayed.
    done = folder.python("train.py")
    assert "git" in done.stderr
    assert len(folder.values("acc")) == 4


def test_no_runs(project: Project) -> None:
    project.commit("first", {"train.py": TRAIN})
    assert "no runs" in refused(project, "add-log", "train.py", "--yes", code=1)
    assert project.command("runs").returncode == 0
    assert "no runs" in refused(project, "show", "acc", code=1)


def test_files(one: Project) -> None:
    assert "no flor.log statement" in refused(one, "add-log", "train.py", "--yes", code=1)
    assert "gone.py: there is no such file" in refused(one, "add-log", "gone.py", "--yes", code=2)
    assert "not in the project" in refused(one, "add-log", "/etc/hostname", "--yes", code=2)
    one.write({"other.py": TODAY})
    assert "in none of the recorded versions" in refused(one, "add-log", "other.py", "--yes", code=1)
    one.write({"train.py": TODAY.replace("w = np.zeros(4)", "w = np.zeros(4")})
    said = refused(one, "add-log", "train.py", "--yes", code=1)
    assert "train.py line 8" in said
    one.write({"train.py": b"\xff\xfe\x00nonsense"})
    refused(one, "add-log", "train.py", "--yes", code=1)
    assert "Usage" in one.command("add-log", check=2).stderr


def test_a_name_without_a_value(one: Project) -> None:
    one.write({"train.py": TRAIN.replace("#bottom", 'flor.log("x")')})
    before = one.state()
    done = one.command("add-log", "train.py", "--yes", check=None)
    assert done.returncode in (1, 3)
    assert "line 19" in done.stderr
    assert "value" in done.stderr
    assert "Traceback" not in done.stderr
    assert one.state() == before
    assert one.values("x") == []


@pytest.mark.slow
def test_selections(one: Project) -> None:
    one.write({"train.py": TODAY})
    add = ("add-log", "train.py", "--yes")
    assert "--last 0" in refused(one, *add, "--last", "0", code=2)
    assert "--jobs 0" in refused(one, *add, "--jobs", "0", code=2)
    assert "--where" in refused(one, *add, "--where", "lr <", code=2)
    said = refused(one, *add, "--where", "rate < 1", code=2)
    assert "rate" in said
    assert "lr" in said
    for wrong in ("nonsense", "epoch=", "epoch=a:b", "=1", "epoch=0:4:0"):
        assert "--iters" in refused(one, *add, "--iters", wrong, code=2)
    assert "'step'" in one.command(*add, "--iters", "step=0:2", check=None).stderr
    assert "2026-nothing" in refused(one, *add, "--runs", "2026-nothing", code=2)
    assert "nosuch" in refused(one, *add, "--name", "nosuch", code=1)
    refused(one, *add, "--where", "lr > 5", code=1)
    assert "2026-nothing" in one.command("doctor", "2026-nothing", check=None).stdout
    assert one.replays() == []


@pytest.mark.slow
def test_a_version_without_the_file(project: Project, tmp_path: Path) -> None:
    """Not yet there, there, deleted, there again: versions without the file are told, the others are filled."""
    project.commit("another", {"first.py": TRAIN})
    project.run("first.py")
    (project.root / "first.py").unlink()
    project.commit("the script", {"train.py": TRAIN, "first.py": "x = 1\n"})
    old = project.run()
    project.git("rm", "-q", "train.py")
    project.commit("gone", {"other.py": "import flor\nflor.log('z', 1)\n"})
    project.run("other.py")
    project.commit("back", {"train.py": TRAIN})
    new = project.run("train.py", "--kwargs", "seed=3")
    project.write({"train.py": TODAY})
    before = project.state()
    done = project.command("add-log", "train.py", "--yes", check=3)
    assert project.state() == before
    assert done.stderr.count("it has no file train.py") >= 1
    today = {"train.py": TODAY}
    assert filled(project, ["w_norm"], old) == truth(tmp_path / "t1", today, ["w_norm"])
    assert filled(project, ["w_norm"], new) == truth(
        tmp_path / "t2", today, ["w_norm"], "train.py", "--kwargs", "seed=3"
    )


def test_a_version_that_git_collected(project: Project) -> None:
    project.commit("first", {"train.py": TRAIN})
    kept = project.run()
    project.write({"train.py": TRAIN.replace("0.1", "0.3")})
    lost = project.run()
    assert lost.commit != kept.commit
    project.git("checkout", "-q", "--", "train.py")
    for ref in project.git("for-each-ref", "--format=%(refname)", "refs/flor").splitlines():
        project.git("update-ref", "-d", ref)
    project.git("reflog", "expire", "--expire=now", "--all")
    project.git("gc", "-q", "--prune=now")
    project.write({"train.py": TODAY})
    done = project.command("add-log", "train.py", "--yes", check=3)
    assert f"{str(lost.commit)[:8]} is no longer in the repository" in done.stderr
    assert len(project.values("w_norm", kept)) == 4
    assert project.values("w_norm", lost) == []


def test_a_script_that_fails_on_replay(project: Project) -> None:
    """One version needs a package that is gone, one a file: each is told with its line, the others are filled."""
    broken = TRAIN.replace("import flor\n", "import flor\nimport helper_package\n")
    path = project.root / "site"
    project.commit("first", {"train.py": TRAIN, ".gitignore": "site/\n"})
    good = project.run()
    project.write({"site/helper_package.py": "", "site/scale.txt": "1"})
    project.commit("package", {"train.py": broken})
    project.run(env={"PYTHONPATH": str(path)})
    reads = TRAIN.replace("w = np.zeros(4)", "w = np.zeros(4) * float(open('site/scale.txt').read())")
    project.commit("file", {"train.py": reads})
    project.run()
    (path / "scale.txt").unlink()
    (path / "helper_package.py").unlink()
    project.write({"train.py": reads.replace("#bottom", STATEMENTS["bottom"])})
    before = project.state()
    done = project.command("add-log", "train.py", "--yes", check=3)
    assert project.state() == before
    assert "ModuleNotFoundError: No module named 'helper_package' (train.py line 3)" in done.stderr
    assert "scale.txt" in done.stderr
    assert "(train.py line 8)" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(project.values("w_norm", good)) == 4
    assert len(project.dataframe("w_norm").dropna()) == 4


def test_statement_that_raises(one: Project) -> None:
    """The hindsight statement itself is wrong: told with its line; nothing is filled."""
    one.write({"train.py": TRAIN.replace("#bottom", 'flor.log("bad", w[99])')})
    before = one.state()
    done = one.command("add-log", "train.py", "--yes", check=3)
    assert "IndexError" in done.stderr
    assert "(train.py line 19)" in done.stderr
    assert one.state() == before
    one.write({"train.py": TRAIN.replace("#bottom", 'flor.log("bad", w[0])')})
    one.command("add-log", "train.py", "--yes")
    assert len(one.values("bad")) == 4


def test_unchanged_values(one: Project) -> None:
    """What was recorded stays as it is through all of it."""
    before = bits(one.values("loss"))
    one.write({"train.py": TODAY})
    one.command("add-log", "train.py", "--yes")
    assert bits(one.values("loss")) == before
