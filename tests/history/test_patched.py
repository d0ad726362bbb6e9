"""Patched versions as commits: what plumbing commands would have made of them, and nothing else changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from flor_replay.history.versions import PATCHED, History
from tests.support import GIT

NAMES = ["train.py", "run me.py", "ümläut.py", 'quo"te.py', "line\nbreak.py", "back\\slash.py", "deep/er/model.py"]


def git(root: Path, *words: str, data: bytes | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=root,
        input=data,
        capture_output=True,
        check=True,
        env={**os.environ, **GIT, **(env or {})},
    )
    return done.stdout.decode("utf-8", "surrogateescape")


@pytest.fixture(params=["sha1", "sha256"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", f"--object-format={request.param}")
    for number in range(3):
        for name in NAMES:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"print(%d)\r\n" % number)
        (tmp_path / "run me.py").chmod(0o755)
        git(tmp_path, "add", "-A")
        date = {
            "GIT_AUTHOR_DATE": "2026-01-02T03:04:05+0530",
            "GIT_COMMITTER_DATE": f"2026-01-0{number + 3}T03:04:05-0800",
        }
        git(tmp_path, "commit", "-q", "-m", f"version {number}", env=date)
    return tmp_path


def by_plumbing(root: Path, commit: str, files: dict[str, bytes], message: str, index: Path) -> str:
    env = {"GIT_INDEX_FILE": str(index)}
    git(root, "read-tree", commit, env=env)
    modes = {"run me.py": "100755"}
    for path, data in files.items():
        blob = git(root, "hash-object", "-w", "--stdin", data=data).strip()
        entry = f"{modes.get(path, '100644')} {blob}\t{path}\0".encode()
        git(root, "update-index", "--add", "-z", "--index-info", data=entry, env=env)
    tree = git(root, "write-tree", env=env).strip()
    date = git(root, "show", "-s", "--format=%cI", commit).strip()
    of = {f"GIT_{kind}_{what}": value for kind in ("AUTHOR", "COMMITTER") for what, value in (
        ("NAME", "flor-replay"), ("EMAIL", "flor-replay@localhost"), ("DATE", date))}  # fmt: skip
    return git(root, "commit-tree", tree, "-p", commit, "-m", message, env=of).strip()


def state(root: Path) -> tuple[str, ...]:
    refs = [line for line in git(root, "for-each-ref").splitlines() if PATCHED not in line]
    return git(root, "status", "--porcelain"), git(root, "rev-parse", "HEAD"), "\n".join(refs)


def test_they_are_those_that_plumbing_commands_make(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    commits = git(root, "rev-list", "HEAD").split()
    before = state(root)
    patches = []
    for number, commit in enumerate(commits):
        changed = dict.fromkeys(NAMES[number:], b"import flor\n# \x00\xff%d\n" % number)
        patches.append(
            (commit, {**changed, "new/file.py": b""}, f"flor: hindsight statements ä{number}\n\nPlaced-by: you")
        )
    with History(str(root)) as history:
        made = history.patched(patches)
        assert history.patched(patches) == made, "the same patch is the same commit"
        for (commit, files, _), name in zip(patches, made, strict=True):
            sources = history.python_sources(name)
            with History(str(root)) as fresh:
                assert sources == fresh.python_sources(name), "what is known is what git has"
                assert history.files(name) == fresh.files(name)
            assert sources == {**history.python_sources(commit), **files}
    index = tmp_path_factory.mktemp("index") / "index"
    assert made == [by_plumbing(root, *patch, index) for patch in patches]
    assert state(root) == before
    refs = git(root, "for-each-ref", "--format=%(refname)", "refs/flor").split()
    assert refs == sorted(PATCHED + name for name in made)
    git(root, "fsck", "--strict")


def test_none_and_many(root: Path) -> None:
    commit = git(root, "rev-parse", "HEAD").strip()
    with History(str(root)) as history:
        assert history.patched([]) == []
        made = history.patched([(commit, {"train.py": b"%d" % number}, "one of many") for number in range(150)])
    assert len(set(made)) == 150
    assert git(root, "show", f"{made[149]}:train.py") == "149"
