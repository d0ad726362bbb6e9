"""Listings of the files that are in no version, and what has become of them since."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flor_replay.history import inputs
from flor_replay.history.gitcmd import GitCommands
from flor_replay.store import layout
from tests.support import Project


def listing(project: Project, started_ns: int | None = None) -> inputs.Listing:
    with GitCommands(str(project.root)) as git:
        taker = inputs.Taker(git, str(project.root), str(project.store), started_ns or time.time_ns())
        name = taker.keep()
    found = inputs.read(str(project.store), name)
    assert found is not None
    return found


def changes(project: Project, then: inputs.Listing) -> inputs.Changes:
    with GitCommands(str(project.root)) as git:
        return inputs.Today(git, str(project.root)).changes(then)


def ignoring(tmp_path: Path, *patterns: str) -> Project:
    project = Project(tmp_path)
    project.commit(files={".gitignore": "\n".join(patterns) + "\n", "train.py": "pass\n"})
    return project


def test_what_becomes_of_files(tmp_path: Path) -> None:
    project = ignoring(tmp_path, "/data/", "*.log")
    project.write({"data/a.txt": "a", "data/b.txt": "b", "data/c.txt": "c", "data/d.txt": "d", "x.log": "one\n"})
    time.sleep(0.02)
    then = listing(project)
    assert set(then.files) == {"data/a.txt", "data/b.txt", "data/c.txt", "data/d.txt", "x.log"}
    project.write({"data/b.txt": "B", "data/c.txt": "c", "data/new/e.txt": "e", "x.log": "one\ntwo\n"})
    os.unlink(project.root / "data/d.txt")
    found = changes(project, then)
    assert found.same == {"data/a.txt", "data/c.txt"}  # c was written anew, with the same content
    assert found.changed == {"data/b.txt"}
    assert found.grown == {"x.log": 4}
    assert found.new == {"data/new/e.txt"}


def test_what_the_script_may_have_written_itself_has_no_digest(tmp_path: Path) -> None:
    project = ignoring(tmp_path, "*.log")
    project.write({"x.log": "one\n"})
    then = listing(project, started_ns=1)
    assert then.files["x.log"].digest is None
    assert changes(project, then).same == {"x.log"}
    project.write({"x.log": "one\ntwo\n"})
    assert changes(project, then).changed == {"x.log"}


def test_large_folders_environments_and_caches(tmp_path: Path) -> None:
    project = ignoring(tmp_path, "/images/", "/env/", "/.venv/", "__pycache__/", "/deep/")
    project.write({f"images/{place}.png": "x" for place in range(inputs.MAX_FOLDER + 1)})
    project.write({"env/pyvenv.cfg": "", "env/lib/a.py": "", ".venv/a": "", "__pycache__/a.pyc": "", "deep/b/c/d": "x"})
    then = listing(project)
    assert set(then.files) == {"deep/b/c/d"}
    assert then.folders == {"images", "env"}
    project.write({"images/new.png": "", "env/lib/b.py": "", ".venv/b": "", "deep/b/e": ""})
    assert changes(project, then).new == {"deep/b/e"}


def test_listings_are_shared_and_files_are_read_once(tmp_path: Path) -> None:
    project = ignoring(tmp_path, "/data/")
    project.write({"data/a.bin": b"x" * 1000})
    os.utime(project.root / "data/a.bin", (1e9, 1e9))
    then = listing(project)
    assert layout.read_json(layout.digests(str(project.store)))["data/a.bin"][2] == then.files["data/a.bin"].digest
    assert listing(project) == then
    assert len(os.listdir(project.store / "inputs")) == 1
    (project.store / "index" / "digests.json").write_text("broken")  # derived: what is broken is made anew
    assert listing(project) == then


def test_a_broken_listing_is_none(tmp_path: Path) -> None:
    project = ignoring(tmp_path, "/data/")
    project.write({"data/a.txt": "a"})
    listing(project)
    [name] = os.listdir(project.store / "inputs")
    path = project.store / "inputs" / name
    path.write_bytes(path.read_bytes().replace(b"a.txt", b"b.txt"))
    assert inputs.read(str(project.store), name.removesuffix(".json")) is None
    assert inputs.read(str(project.store), None) is None
