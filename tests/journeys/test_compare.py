"""A formula is changed twice: old values stay, the newest are shown, compare shows both."""

from __future__ import annotations

import json

from tests.journeys.journey import TRAIN
from tests.support import Project


def test_old_beside_new(project: Project) -> None:
    project.commit(files={"train.py": TRAIN})
    run = project.run()
    recorded = project.values("acc")
    assert "one generation" in project.command("compare", "acc").stderr
    doubled = TRAIN.replace('flor.log("acc", acc)', 'flor.log("acc", 2 * acc)')
    project.write({"train.py": doubled})
    project.command("add-log", "train.py", "--yes")
    assert project.values("acc") == [2 * value for value in recorded]
    project.write({"train.py": TRAIN.replace('flor.log("acc", acc)', 'flor.log("acc", 3 * acc)')})
    project.command("add-log", "train.py", "--yes")
    assert project.values("acc") == [3 * value for value in recorded]
    assert project.values("acc", source="recorded") == recorded
    done = project.command("compare", "acc")
    assert f"{len(recorded)} of {len(recorded)} values of acc changed" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["run", "where", "old", "new", "new", "-", "old"]
    assert lines[1].split() == [run.run[-8:], "epoch=0", *(f"{n * recorded[0]:.6g}" for n in (2, 3, 1))]
    told = json.loads(project.command("compare", "acc", "--json").stdout)
    assert [pair["value"] for pair in told[0]["generations"]] == [recorded[0], 2 * recorded[0], 3 * recorded[0]]
    assert told[0]["generations"][0]["from"] == "recorded"
    assert "nothing was logged as 'nope'" in project.command("compare", "nope", check=1).stderr
