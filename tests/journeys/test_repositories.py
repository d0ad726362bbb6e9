"""Repositories that hold more than their own files: what a replay sees of them is what the recorded run saw."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support import Project

USES = """
import sys
import flor
sys.path.insert(0, "libs/part")
import lib
for epoch in flor.loop("epoch", range(2)):
    flor.log("value", lib.value(epoch))
"""
STATEMENT = "    flor.log('again', lib.value(epoch) * 2)\n"
ALLOW = ("-c", "protocol.file.allow=always")


@pytest.fixture
def library(tmp_path: Path) -> Project:
    library = Project(tmp_path / "library")
    library.commit("one", {"lib.py": "def value(n):\n    return n + 1\n"})
    return library


def with_submodule(project: Project, library: Project) -> None:
    project.git(*ALLOW, "submodule", "--quiet", "add", str(library.root), "libs/part")
    project.commit("uses it", {"train.py": USES})


def fill(project: Project, check: int = 0) -> list[dict[str, object]]:
    project.write({"train.py": USES + STATEMENT})
    before = project.state()
    done = project.command("add-log", "train.py", "--yes", "--json", check=check)
    assert project.state() == before
    results: list[dict[str, object]] = json.loads(done.stdout)["results"]
    return results


@pytest.mark.parametrize("gone", [False, True])
def test_a_submodule_that_has_moved_on(project: Project, library: Project, gone: bool) -> None:
    """Also where it is not checked out any more: git keeps its commits."""
    with_submodule(project, library)
    first = project.run()
    part = Project(project.root / "libs" / "part", repository=False)
    part.commit(
        "two",
        {
            "lib.py": "from more import plus\ndef value(n):\n    return plus(n)\n",
            "more.py": "def plus(n):\n    return n + 2\n",
        },
    )
    project.commit("moves it on")
    second = project.run()
    if gone:
        project.git("submodule", "--quiet", "deinit", "-f", "libs/part")
    assert [one["verdict"] for one in fill(project)] == ["exact", "exact"]
    assert project.values("again", first) == [2, 4]
    assert project.values("again", second) == [4, 6]


def test_a_submodule_inside_a_submodule(project: Project, library: Project, tmp_path: Path) -> None:
    outer = Project(tmp_path / "outer")
    outer.git(*ALLOW, "submodule", "--quiet", "add", str(library.root), "part")
    outer.commit("outer")
    project.git(*ALLOW, "submodule", "--quiet", "add", str(outer.root), "libs")
    project.git(*ALLOW, "submodule", "--quiet", "update", "--init", "--recursive")
    project.commit("uses it", {"train.py": USES})
    run = project.run()
    inner = Project(project.root / "libs" / "part", repository=False)
    inner.write({"lib.py": "def value(n):\n    return 0\n"})
    assert [one["verdict"] for one in fill(project)] == ["exact"]
    assert project.values("again", run) == [2, 4]


def test_changes_in_a_submodule_that_are_in_no_commit(project: Project, library: Project) -> None:
    """The version lacks them, so a replay takes the files that are there, as long as they are the same."""
    with_submodule(project, library)
    part = project.root / "libs" / "part" / "lib.py"
    part.write_text("def value(n):\n    return n + 5\n")
    done = project.python("train.py")
    assert "a submodule with changes in no commit of its own" in done.stderr
    (run,) = project.runs()
    assert [one["verdict"] for one in fill(project)] == ["exact"]
    assert project.values("again", run) == [10, 12]
    part.write_text("def value(n):\n    return n + 5 \n")
    project.write({"train.py": USES + STATEMENT.replace("again", "more")})
    done = project.command("add-log", "train.py", "--yes", "--json", check=3)
    assert [one["verdict"] for one in json.loads(done.stdout)["results"]] == ["diverged"]


def test_a_sparse_checkout(project: Project) -> None:
    script = USES.replace('"libs/part"', '"mine"')
    project.commit(
        "one", {"train.py": script, "mine/lib.py": "def value(n):\n    return n\n", "theirs/big.py": "x = 1\n"}
    )
    project.git("sparse-checkout", "set", "--cone", "--sparse-index", "mine")
    assert not (project.root / "theirs").exists()
    run = project.run()
    project.write({"train.py": script + STATEMENT})
    before = project.state()
    project.command("add-log", "train.py", "--yes")
    assert project.state() == before
    assert not (project.root / "theirs").exists()
    assert project.values("again", run) == [0, 2]
    assert project.git("ls-tree", "-r", "--name-only", str(run.commit)).splitlines() == [
        "mine/lib.py",
        "theirs/big.py",
        "train.py",
    ]


LFS = """
import flor
text = open("data.bin").read()
for epoch in flor.loop("epoch", range(2)):
    flor.log("size", len(text) + epoch)
"""


def stored_elsewhere(project: Project, keep: Path) -> None:
    """What git-lfs does, by the two filters that it consists of: git holds a pointer, the content is in a folder."""
    keep.mkdir()
    clean = f"sh -c 'cat > {keep}/content; echo pointer'"
    smudge = f"sh -c 'cat > /dev/null; cat {keep}/content'"
    for name, value in (("clean", clean), ("smudge", smudge), ("required", "true")):
        project.git("config", f"filter.lfs.{name}", value)
    project.write({".gitattributes": "*.bin filter=lfs -text\n"})


def test_files_of_which_git_holds_pointers(project: Project, tmp_path: Path) -> None:
    keep = tmp_path / "elsewhere"
    stored_elsewhere(project, keep)
    project.commit("one", {"train.py": LFS, "data.bin": "x" * 1000})
    assert project.git("cat-file", "blob", "HEAD:data.bin") == "pointer"
    run = project.run()
    project.write({"train.py": LFS + "    flor.log('again', len(text))\n"})
    project.command("add-log", "train.py", "--yes")
    assert project.values("again", run) == [1000, 1000]
    # The content is gone: it is said, and no pointer is taken for data.
    shutil.rmtree(keep)
    project.write({"train.py": LFS + "    flor.log('more', len(text))\n"})
    done = project.command("add-log", "train.py", "--yes", check=3)
    assert "data.bin" in done.stderr and "Traceback" not in done.stderr
    assert project.values("more", run) == []
