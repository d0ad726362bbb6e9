"""Runs that move to somebody else: as a file, through a folder, through a git remote."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from flor_replay.store import layout
from flor_replay.store.runs import Run
from tests.support import Project, json_of

SCRIPT = """
import flor
w = flor.arg("w", 8.0)
for epoch in flor.loop("epoch", range(3)):
    w = w / 2
    flor.log("loss", w)
"""


@pytest.fixture
def recorded(project: Project) -> tuple[Project, Run]:
    """One run, with a statement that was added and filled later."""
    project.commit("one", {"train.py": SCRIPT})
    run = project.run()
    project.commit("two", {"train.py": SCRIPT + '    flor.log("double", w * 2)\n'})
    project.command("add-log", "train.py", "--yes")
    return project, run


def other(tmp_path: Path, name: str = "other") -> Project:
    found = Project(tmp_path / name)
    found.commit("nothing of theirs", {"readme.txt": "mine"})
    return found


def check(found: Project, run: Run) -> None:
    """The run is there with its backfilled values and its version."""
    (taken,) = found.runs()
    assert taken.run == run.run
    assert found.dataframe("double", "loss")["double"].tolist() == [8.0, 4.0, 2.0]
    assert found.dataframe("loss", source="recorded")["loss"].tolist() == [4.0, 2.0, 1.0]
    assert SCRIPT.strip() == found.git("show", f"{taken.commit}:train.py")
    assert not layout.trusted(str(found.store), taken.run)


def test_a_file_holds_log_version_and_what_was_filled(recorded: tuple[Project, Run], tmp_path: Path) -> None:
    project, run = recorded
    before = project.state()
    file = str(tmp_path / "run.zip")
    project.command("export", run.run[-8:], file)
    assert project.state() == before
    again = str(tmp_path / "again.zip")
    project.command("export", run.run[-8:], again)
    assert Path(file).read_bytes() == Path(again).read_bytes()
    found = other(tmp_path)
    theirs = found.state()
    done = found.command("import", file)
    assert done.stdout.split()[0] == run.run
    assert found.state() == theirs, "their branch, index and files stay as they are"
    check(found, run)
    assert not list(found.store.glob("runs/*/checkpoints/*"))
    assert "0 runs and 0 replays taken over" in found.command("import", file).stderr
    check(found, run)


def test_checkpoints_come_where_they_are_asked_for_and_are_not_unpickled(
    recorded: tuple[Project, Run], tmp_path: Path
) -> None:
    project, run = recorded
    file = str(tmp_path / "run.zip")
    project.command("export", run.run, file, "--checkpoints")
    found = other(tmp_path)
    found.command("import", file)
    check(found, run)
    assert list(found.store.glob("runs/*/checkpoints/*.graph"))
    found.write({"train.py": SCRIPT + '    flor.log("half", w / 2)\n'})
    done = json_of(found.command("add-log", "train.py", "--yes", "--json", check=None))
    assert [result["verdict"] for result in done["results"]] == ["exact"]
    assert found.dataframe("half")["half"].tolist() == [2.0, 1.0, 0.5]
    trusting = other(tmp_path, "trusting")
    trusting.command("import", file, "--trust")
    assert layout.trusted(str(trusting.store), run.run)


@pytest.mark.parametrize("damage", ["cut", "flipped", "traversal", "foreign", "missing"])
def test_a_damaged_or_hostile_file_changes_nothing(recorded: tuple[Project, Run], tmp_path: Path, damage: str) -> None:
    project, run = recorded
    file = tmp_path / "run.zip"
    project.command("export", run.run, str(file))
    data = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[data.find(b"PAR1") + 40] ^= 1
        file.write_bytes(data)
    elif damage == "foreign":
        file.write_text("not a zip")
    elif damage == "missing":
        file.unlink()
    else:
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("../../evil.txt", "x")
            listing = {"form": 1, "runs": [], "sha256": {"../../evil.txt": "0"}}
            archive.writestr("flor.json", json.dumps(listing))
    found = other(tmp_path)
    done = found.command("import", str(file), check=1)
    assert str(file) in done.stderr
    assert done.stderr.count("\n") <= 2, done.stderr
    assert found.runs() == []
    assert not (tmp_path / "evil.txt").exists()
    assert not list(found.store.glob("import-*"))


@pytest.mark.slow
def test_a_folder_and_a_git_remote(recorded: tuple[Project, Run], tmp_path: Path) -> None:
    project, run = recorded
    bare = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    shared = tmp_path / "shared"
    shared.mkdir()
    project.git("remote", "add", "origin", str(bare))
    before = project.state()
    for number, remote in enumerate(("origin", str(shared))):
        assert project.command("push", remote, "--all", "--dry-run").stdout.split() == [run.run]
        assert (
            subprocess.run(["git", "for-each-ref"], cwd=bare, capture_output=True, check=True).stdout == b"" or number
        )
        assert project.command("push", remote, "--all").stdout.split() == [run.run]
        assert project.command("push", remote, "--all").stdout == ""
        found = other(tmp_path, f"other{number}")
        theirs = found.state()
        source = str(bare) if remote == "origin" else remote
        if remote == "origin":
            found.git("remote", "add", "team", source)
            source, theirs = "team", found.state()
        assert found.command("pull", source, "--dry-run").stdout.split() == [run.run]
        assert found.runs() == []
        assert found.command("pull", source).stdout.split() == [run.run]
        assert found.state() == theirs
        check(found, run)
        assert found.command("pull", source).stdout == ""
    assert project.state() == before
    refs = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname)"], cwd=bare, capture_output=True, text=True, check=True
    )
    assert all(ref.startswith("refs/flor/") for ref in refs.stdout.split())
    assert project.command("push", "nowhere", "--all", check=2).stderr.count("\n") == 1
    assert project.command("push", "origin", check=2).stdout == ""


def test_what_is_filled_later_follows(recorded: tuple[Project, Run], tmp_path: Path) -> None:
    project, run = recorded
    shared = tmp_path / "shared"
    shared.mkdir()
    project.command("push", str(shared), "--all")
    found = other(tmp_path)
    found.command("pull", str(shared))
    check(found, run)
    project.write({"train.py": SCRIPT + '    flor.log("double", w * 2)\n    flor.log("half", w / 2)\n'})
    project.command("add-log", "train.py", "--yes")
    sent = project.command("push", str(shared), "--all")
    assert sent.stdout == "" and "0 runs and 1 replay sent" in sent.stderr
    assert "0 runs and 1 replay taken over, 1 were here already" in found.command("pull", str(shared)).stderr
    assert found.dataframe("half")["half"].tolist() == [2.0, 1.0, 0.5]
    check(found, run)


def test_nothing_is_pushed_unasked(recorded: tuple[Project, Run], tmp_path: Path) -> None:
    project, _ = recorded
    bare = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    project.git("remote", "add", "origin", str(bare))
    project.run()
    project.command("add-log", "train.py", "--yes", check=None)
    project.command("gc")
    assert subprocess.run(["git", "for-each-ref"], cwd=bare, capture_output=True, check=True).stdout == b""
    shutil.rmtree(bare)
