"""Versions: what ran is in the commit, and nothing of the user's has moved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import GIT, Project

CODE = "import flor\nfor i in flor.loop('e', range(2)): flor.log('x', i)\n"
QUIET = {"FLOR_CHECKPOINTS": "off"}


@pytest.fixture(autouse=True)
def _status_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`git status`, which the tests ask, would refresh the index by itself."""
    monkeypatch.setenv("GIT_OPTIONAL_LOCKS", "0")


def files(project: Project, commit: str | None) -> dict[str, str]:
    """The files of a version with their text."""
    assert commit is not None
    names = project.git("ls-tree", "-r", "--name-only", commit).splitlines()
    return {name: project.git("show", f"{commit}:{name}") for name in names}


def record(project: Project, warning: str | None = None, **options: object) -> str | None:
    """Record train.py; check that the user's things stay; the version."""
    exclude = project.root / ".git" / "info" / "exclude"
    before = project.state()
    listed = exclude.read_text() if exclude.exists() else ""
    done = project.python("train.py", env={**QUIET, **options.get("env", {})})  # type: ignore[dict-item]
    if warning is None:
        assert done.stderr == ""
    else:
        assert warning in done.stderr
        assert done.stderr.count("\n") == 1
    assert project.state() == before
    if exclude.exists():
        assert exclude.read_text().replace("/.flor/\n", "") == listed.replace("/.flor/\n", "")
    assert project.values("x") == [0, 1]
    return project.runs()[-1].commit


def test_a_clean_tree_is_head(project: Project) -> None:
    head = project.commit("a", {"train.py": CODE})
    assert record(project) == head
    assert record(project) == head
    assert project.git("status", "--porcelain") == ""
    assert len(project.git("for-each-ref", "refs/flor").splitlines()) == 1


def test_staged_unstaged_untracked_deleted_and_ignored(project: Project) -> None:
    project.commit(
        "a", {"train.py": CODE, "old.py": "1", "both.py": "1", "gone.py": "1", ".gitignore": "data/\n*.log\n"}
    )
    project.write({"staged.py": "staged", "both.py": "2", "data/x.bin": "data", "run.log": "log"})
    project.git("add", "staged.py", "both.py")
    project.write({"both.py": "3", "new/deep er/né w.py": "new", "old.py": "2"})
    (project.root / "gone.py").unlink()
    (project.root / "link.py").symlink_to("old.py")
    commit = record(project)
    names = subprocess.run(
        ["git", "ls-tree", "-r", "-z", "--name-only", str(commit)], cwd=project.root, capture_output=True, check=True
    ).stdout.decode().strip("\0").split("\0")  # fmt: skip
    assert sorted(names) == sorted(
        [".gitignore", "both.py", "link.py", "new/deep er/né w.py", "old.py", "staged.py", "train.py"]
    )
    assert project.git("show", f"{commit}:both.py") == "3"
    assert project.git("show", f"{commit}:old.py") == "2"
    assert project.git("rev-parse", f"{commit}^") == project.git("rev-parse", "HEAD")
    assert record(project) == commit, "the same content on the same HEAD is the same version"


def test_kinds_of_a_path_may_change(project: Project) -> None:
    project.commit("a", {"train.py": CODE, "thing": "file", "box/a.py": "1"})
    (project.root / "thing").unlink()
    project.write({"thing/inside.py": "2"})
    (project.root / "box" / "a.py").unlink()
    (project.root / "box").rmdir()
    project.write({"box": "file now"})
    assert set(files(project, record(project))) == {"train.py", "thing/inside.py", "box"}


def test_an_unborn_head(project: Project) -> None:
    project.write({"train.py": CODE})
    commit = record(project)
    assert set(files(project, commit)) == {"train.py"}
    assert project.git("rev-list", "--count", str(commit)) == "1"


def test_a_detached_head(project: Project) -> None:
    project.commit("a", {"train.py": CODE})
    head = project.commit("b")
    project.git("checkout", "-q", "--detach", "HEAD~1")
    commit = record(project)
    assert commit not in (None, head)
    assert project.runs()[0].version["branch"] is None


def test_a_sha256_repository(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", repository=False)
    project.git("init", "-q", "--object-format=sha256")
    project.commit("a", {"train.py": CODE})
    project.write({"new.py": "1"})
    commit = record(project)
    assert len(commit or "") == 64
    assert set(files(project, commit)) == {"train.py", "new.py"}


def test_a_merge_conflict(project: Project) -> None:
    project.commit("a", {"train.py": CODE, "c.py": "1\n", "d.py": "1\n"})
    project.git("checkout", "-q", "-b", "side")
    project.commit("b", {"c.py": "2\n"})
    project.git("rm", "-q", "d.py")
    project.commit("b2")
    project.git("checkout", "-q", "main")
    project.commit("c", {"c.py": "3\n", "d.py": "3\n"})
    with pytest.raises(subprocess.CalledProcessError):
        project.git("merge", "side")
    assert "UU c.py" in project.git("status", "--porcelain")
    found = files(project, record(project))
    assert "<<<<<<<" in found["c.py"]
    assert found["d.py"] == "3"


def test_hooks_signing_and_identity_play_no_part(project: Project) -> None:
    project.commit("a", {"train.py": CODE})
    for hook in ("pre-commit", "post-commit", "reference-transaction", "post-index-change"):
        path = project.root / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch '{project.root}/hook-ran'\nexit 1\n")
        path.chmod(0o755)
    project.git("config", "commit.gpgSign", "true")
    project.git("config", "user.useConfigOnly", "true")
    project.write({"new.py": "1"})
    assert "new.py" in files(project, record(project))
    assert not (project.root / "hook-ran").exists()


def test_a_submodule_and_a_repository_inside(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    other.commit("a", {"lib.py": "1"})
    project.commit("a", {"train.py": CODE})
    project.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.root), "sub")
    project.commit("with a submodule")
    (project.root / "sub" / "lib.py").write_text("2")
    Project(project.root / "nested").commit("a", {"n.py": "1"})
    assert record(project, warning="sub: a submodule with changes") is not None


def test_a_worktree(project: Project, tmp_path: Path) -> None:
    project.commit("a", {"train.py": CODE})
    project.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    before = project.state()
    side = tmp_path / "side"
    (side / "new.py").write_text("1")
    subprocess.run([sys.executable, "train.py"], cwd=side, check=True, env={**os.environ, **QUIET})
    assert project.state() == before
    here = Project(side, repository=False)
    (run,) = here.runs()
    assert set(files(here, run.commit)) == {"train.py", "new.py"}
    assert here.git("status", "--porcelain") == "?? new.py"


def test_inside_a_git_hook(project: Project, tmp_path: Path) -> None:
    project.commit("a", {"train.py": CODE})
    hook = project.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec '{sys.executable}' train.py\n")
    hook.chmod(0o755)
    project.write({"new.py": "1", "later.py": "1"})
    project.git("add", "new.py")
    env = {**os.environ, **GIT, **QUIET}
    subprocess.run(["git", "commit", "-q", "-m", "b"], cwd=project.root, env=env, check=True, capture_output=True)
    assert set(project.git("ls-tree", "--name-only", "HEAD").split()) == {"train.py", "new.py"}
    assert project.git("status", "--porcelain") == "?? later.py"
    assert set(files(project, project.runs()[0].commit)) == {"train.py", "new.py", "later.py"}
    elsewhere = Project(tmp_path / "elsewhere")
    record(project, env={"GIT_DIR": str(elsewhere.root / ".git"), "GIT_INDEX_FILE": "/nowhere", "GIT_WORK_TREE": "/"})
    assert elsewhere.git("for-each-ref") == ""


def test_large_untracked_files_are_told_and_left_out(project: Project) -> None:
    project.commit("a", {"train.py": CODE, "tracked.bin": b"1" * 3000})
    project.write({"tracked.bin": b"2" * 3000, "data.bin": b"3" * 3000, "small.py": "1"})
    commit = record(project, "left out of the version as too large", env={"FLOR_MAX_FILE_BYTES": "2000"})
    assert set(files(project, commit)) == {"train.py", "tracked.bin", "small.py"}
    (left,) = project.runs()[0].version["large"]
    assert (left["path"], left["bytes"]) == ("data.bin", 3000)
    assert left["digest"].startswith("xxh3-128:")


def test_of_too_much_data_the_code_is_taken(project: Project) -> None:
    project.commit("a", {"train.py": CODE})
    project.write({"helper.py": "1", **{f"images/{i}.png": b"x" * 900 for i in range(10)}})
    commit = record(project, "too large", env={"FLOR_MAX_TOTAL_BYTES": "2000"})
    assert set(files(project, commit)) == {"train.py", "helper.py", "images/0.png", "images/1.png"}


def test_untracked_secrets_get_into_no_object(project: Project) -> None:
    project.commit("a", {"train.py": CODE})
    project.write({".env": "TOKEN=hunter2", "keys/id_rsa": "hunter2", "server.pem": "hunter2", "new.py": "1"})
    commit = record(project)
    assert set(files(project, commit)) == {"train.py", "new.py"}
    assert {item["path"] for item in project.runs()[0].version["large"]} == {".env", "keys/id_rsa", "server.pem"}
    blobs = project.git("cat-file", "--batch-check", "--batch-all-objects").splitlines()
    contents = [project.git("cat-file", "-p", blob.split()[0]) for blob in blobs if " blob " in blob]
    assert not any("hunter2" in content for content in contents)


def test_git_is_missing(project: Project, tmp_path: Path) -> None:
    project.commit("a", {"train.py": CODE})
    (tmp_path / "bin").mkdir()
    assert record(project, "git is not installed, or not on PATH", env={"PATH": str(tmp_path / "bin")}) is None


def test_a_repository_of_somebody_else(project: Project) -> None:
    project.commit("a", {"train.py": CODE})
    commit = record(project, "safe.directory", env={"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    assert commit is None


def test_a_broken_repository(project: Project) -> None:
    project.write({"train.py": CODE})
    (project.root / ".git" / "HEAD").write_text("garbage")
    done = project.python("train.py", env=QUIET)
    assert done.stderr.count("\n") == 1
    assert "cannot be replayed" in done.stderr
    assert project.values("x") == [0, 1]


def test_the_version_survives_gc_and_a_deleted_branch(project: Project) -> None:
    project.commit("a", {"train.py": CODE})
    project.git("checkout", "-q", "-b", "side")
    project.commit("b", {"b.py": "1"})
    commit = record(project)
    project.git("checkout", "-q", "main")
    project.git("branch", "-q", "-D", "side")
    project.git("reflog", "expire", "--expire=now", "--all")
    project.git("gc", "-q", "--prune=now")
    assert set(files(project, commit)) == {"train.py", "b.py"}


def test_a_renamed_project_keeps_its_history(project: Project, tmp_path: Path) -> None:
    project.commit("a", {"train.py": CODE})
    record(project)
    project.root.rename(tmp_path / "renamed")
    moved = Project(tmp_path / "renamed", repository=False)
    record(moved)
    assert len(moved.dataframe("x")) == 4


def test_the_users_gitignore_and_a_store_already_excluded(project: Project) -> None:
    project.commit("a", {"train.py": CODE, ".gitignore": ".flor\n"})
    record(project)
    record(project)
    exclude = (project.root / ".git" / "info" / "exclude").read_text()
    assert exclude.count(".flor") == 1
    assert (project.root / ".gitignore").read_text() == ".flor\n"


def test_split_index_and_odd_settings(project: Project) -> None:
    for name, value in {"core.splitIndex": "true", "core.autocrlf": "input", "core.untrackedCache": "true"}.items():
        project.git("config", name, value)
    project.git("config", "core.logAllRefUpdates", "always")
    project.commit("a", {"train.py": CODE})
    project.git("update-index", "--split-index")
    project.write({"new.py": "1"})
    shared = sorted(path.name for path in (project.root / ".git").glob("sharedindex*"))
    assert set(files(project, record(project))) == {"train.py", "new.py"}
    assert sorted(path.name for path in (project.root / ".git").glob("sharedindex*")) == shared
