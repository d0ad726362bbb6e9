"""Checkpoints that cannot hold all that the rest of the run depends on say so, and no part is replayed from them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flor_replay.record import frames
from tests.replay.harness import facts_of
from tests.support import Project

FED = """
import queue, threading
import flor

items = queue.Queue(4)

def produce():
    for item in range(40):
        items.put(item)

threading.Thread(target=produce, daemon=True).start()
total = 0
for epoch in flor.loop("epoch", range(4)):
    for _ in range(10):
        total += items.get()
    flor.log("total", total)
"""


# What one iteration leaves for the next, and where: in no object of the script that a checkpoint could hold.
COUNTED = """
import json
import flor

json.total = 0
for epoch in flor.loop("epoch", range(4)):
    json.total += epoch + 1
    flor.log("total", json.total)
"""
DATABASE = """
import sqlite3
import flor

database = sqlite3.connect(":memory:")
database.execute("create table losses (loss)")
for epoch in flor.loop("epoch", range(4)):
    database.execute("insert into losses values (?)", (epoch,))
    flor.log("total", database.execute("select sum(loss) from losses").fetchone()[0])
"""


@pytest.mark.parametrize(
    ("script", "why"),
    [
        pytest.param(FED, "what produce does in another thread", id="a thread that feeds the loop"),
        pytest.param(COUNTED, "json.total, an attribute of an installed module", id="an installed module"),
        pytest.param(DATABASE, "database", id="a database in memory"),
    ],
)
def test_incomplete(tmp_path: Path, script: str, why: str) -> None:
    project = Project(tmp_path / "project")
    project.commit("first", {"train.py": script})
    main = facts_of(project.run()).main
    assert main is not None
    within = [point for point in main.points if 0 < point.index < 3]
    assert within
    for point in within:
        assert not point.complete
        assert any(why in str(missing) for missing in point.missing), point.missing


def test_an_environment_made_in_the_projects_folder_hides_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    frames._known.pop(str(tmp_path), None)
    assert frames.in_project(str(tmp_path / "train.py"), str(tmp_path))
    assert not frames.in_project(str(tmp_path / "lib/python3.11/site-packages/x.py"), str(tmp_path))
