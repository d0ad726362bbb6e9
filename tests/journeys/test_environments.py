"""``add-log --env uv``: a run is replayed in an environment as it had. Needs a package registry, as setting up does."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from flor_replay.replay import environments
from flor_replay.replay.environments import Recorded, UnbuildableError
from tests.support import Project

SCRIPT = """
import importlib.metadata
import flor
for epoch in flor.loop("epoch", range(2)):
    flor.log("version", importlib.metadata.version("iniconfig"))
"""
STATEMENT = "    flor.log('again', importlib.metadata.version('iniconfig') + str(epoch))\n"
OTHER = "2.0.0" if metadata.version("iniconfig") != "2.0.0" else "2.1.0"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recorded_environment_is_built(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = environments.running()
    monkeypatch.setenv("FLOR_ENVIRONMENTS", str(tmp_path / "theirs"))
    then = environments.build(
        Recorded(now.python, {**now.packages, "iniconfig": OTHER, "of-no-registry-at-all": "1.0"})
    )
    assert then.left_out == ("of-no-registry-at-all",)
    project.commit(files={"train.py": SCRIPT})
    subprocess.run([then.python, "train.py"], cwd=project.root, check=True)
    project.python("train.py")  # and one in today's
    assert [set(project.values("version", run)) for run in project.runs()] == [{OTHER}, {metadata.version("iniconfig")}]
    project.write({"train.py": SCRIPT + STATEMENT})

    monkeypatch.setenv("FLOR_ENVIRONMENTS", str(tmp_path / "ours"))
    shown = project.command("add-log", "train.py", "--env", "uv", "--dry-run")
    assert "to be built by uv" in shown.stderr
    assert not (tmp_path / "ours").exists()
    done = project.command("add-log", "train.py", "--env", "uv", "--yes", "--json", timeout=600)
    assert [one["verdict"] for one in json.loads(done.stdout)["results"]] == ["exact", "exact"]
    assert project.values("again", project.runs()[0]) == [f"{OTHER}0", f"{OTHER}1"]
    assert len(list((tmp_path / "ours").iterdir())) == 1


@pytest.mark.slow
def test_a_python_that_is_not_to_be_had(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is left out with the reason, and nothing half made stays."""
    kept = tmp_path / "environments"
    monkeypatch.setenv("FLOR_ENVIRONMENTS", str(kept))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(UnbuildableError, match=r"there is no Python 3\.0\.7"):
        environments.build(Recorded("3.0.7", {"click": "8.1.7"}))
    with pytest.raises(UnbuildableError, match="click"):
        environments.build(Recorded(environments.running().python, {"click": "0.0.77"}))
    assert not list(kept.iterdir())
    project.commit(files={"train.py": SCRIPT})
    project.python("train.py")
    (run,) = project.runs()
    told = json.loads(Path(run.folder.info).read_text())
    Path(run.folder.info).write_text(json.dumps({**told, "machine": {**told["machine"], "python": "3.0.7"}}))
    project.write({"train.py": SCRIPT + STATEMENT})
    done = project.command("add-log", "train.py", "--env", "uv", "--yes", check=3)
    assert "its environment cannot be built: there is no Python 3.0.7" in done.stderr


def test_words_that_exclude_each_other(project: Project) -> None:
    project.commit(files={"train.py": SCRIPT})
    done = project.command("add-log", "train.py", "--env", "uv", "--python", sys.executable, "--yes", check=2)
    assert "one of them" in done.stderr
