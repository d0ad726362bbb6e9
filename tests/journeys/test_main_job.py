"""The main job as a user does it: several versions, statements added today, one command, the columns filled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.journey import STATEMENTS, TRAIN, bits, filled, truth, with_statements
from tests.support import Project, json_of

# Three older versions of the script: names changed, the loop moved into a function.
V1 = TRAIN.replace("grad", "g").replace(" w ", " weights ").replace("@ w)", "@ weights)")
V1 = V1.replace("(w)", "(weights)").replace("w =", "weights =").replace("weights - lr", "weights - lr")
V2 = TRAIN
V3 = (
    TRAIN.replace("acc = ", "accuracy = ")
    .replace('"acc", acc', '"acc", accuracy')
    .replace("lr * grad", "lr * grad * 0.9")
)
NAMES = ["grad_norm", "w_norm", "w_max"]


def in_v1(statements: dict[str, str]) -> dict[str, str]:
    return {
        mark: s.replace("(grad)", "(g)").replace("(w)", "(weights)").replace(", w.", ", weights.")
        for mark, s in statements.items()
    }


@pytest.fixture
def three(project: Project) -> Project:
    project.commit("first", {"train.py": V1, "README.md": "about\n", ".gitignore": "out/\n"})
    project.run("train.py", "--kwargs", "lr=0.2")
    project.commit("names", {"train.py": V2})
    project.run("train.py", "--kwargs", "seed=5", "epochs=3")
    project.commit("slower", {"train.py": V3})
    project.run()
    return project


def test_three_versions_filled(three: Project, tmp_path: Path) -> None:
    project = three
    project.write({"train.py": with_statements(V3), "notes.txt": "untracked\n"})
    project.git("add", "notes.txt")
    project.write({"notes.txt": "staged, then changed\n"})
    before = project.state()
    done = project.command("add-log", "train.py", "--yes")
    assert "was run instead" not in done.stderr  # checkpoints were enough
    assert project.state() == before
    first, second, third = project.runs()
    assert filled(project, NAMES, first) == truth(
        tmp_path / "t1", {"train.py": with_statements(V1, in_v1(STATEMENTS))}, NAMES, "train.py", "--kwargs", "lr=0.2"
    )
    assert filled(project, NAMES, second) == truth(
        tmp_path / "t2", {"train.py": with_statements(V2)}, NAMES, "train.py", "--kwargs", "seed=5", "epochs=3"
    )
    assert filled(project, NAMES, third) == truth(tmp_path / "t3", {"train.py": with_statements(V3)}, NAMES)
    assert [len(project.values("grad_norm", run)) for run in project.runs()] == [12, 9, 12]

    # Recorded and backfilled columns stand side by side, one row a loop path.
    frame = project.dataframe("loss", "grad_norm", "acc", "w_norm", "w_max", "lr")
    assert len(frame) == 33
    assert not frame.isna().any().any()
    assert not frame.duplicated(["tstamp", "epoch", "step"]).any()

    # A second call does nothing, and says so.
    done = project.command("add-log", "train.py", "--yes")
    assert "3 of 3 versions filled before: nothing to replay" in done.stderr
    assert len(project.replays()) == len([r for r in project.replays() if r.fidelity])
    assert len(project.dataframe("grad_norm")) == 33
    assert project.state() == before


def test_dry_run_shows_each_diff_and_executes_nothing(three: Project) -> None:
    project = three
    project.write({"train.py": with_statements(V3)})
    before = project.state()
    done = project.command("add-log", "train.py", "--dry-run")
    commits = [str(run.commit)[:8] for run in project.runs()]
    for commit in commits:
        assert f"--- {commit}/train.py" in done.stdout
    assert done.stdout.count("\n+        flor.log(") == 3
    assert '+    flor.log("w_norm", float(np.linalg.norm(weights)))' in done.stdout
    assert "grad_norm" in done.stderr
    assert project.replays() == []
    assert project.state() == before

    told = json_of(project.command("add-log", "train.py", "--dry-run", "--json"))
    assert [s["name"] for s in told["files"][0]["statements"]] == NAMES
    assert [version["version"][:8] for version in told["versions"]] == commits[::-1]
    for version in told["versions"]:
        assert [p["name"] for p in version["placed"]] == NAMES
        assert [run["segments"] for run in version["runs"]] != []
    assert project.replays() == []

    planned = json_of(project.command("plan", "train.py", "--json"))
    assert planned["versions"] == told["versions"]
    assert "iterations 0 to 3" in project.command("plan", "train.py").stderr


def test_without_a_terminal_it_asks_for_yes(three: Project) -> None:
    three.write({"train.py": with_statements(V3)})
    before = three.state()
    done = three.command("add-log", "train.py", check=2)
    assert "--yes" in done.stderr
    assert three.replays() == []
    assert three.state() == before


def test_json_result_is_complete(three: Project) -> None:
    three.write({"train.py": with_statements(V3, {"bottom": STATEMENTS["bottom"]})})
    told = json_of(three.command("add-log", "train.py", "--yes", "--json"))
    assert sorted(report["run"] for report in told["results"]) == sorted(run.run for run in three.runs())
    for report in told["results"]:
        assert report["verdict"] == "exact"
        assert report["compared"] > 0


@pytest.mark.slow
def test_selections(three: Project) -> None:
    """--where, --last, --runs, --name, --iters, --jobs narrow what is replayed; the next call fills the rest."""
    project = three
    project.write({"train.py": with_statements(V3)})
    first, _, third = project.runs()
    project.command("add-log", "train.py", "--yes", "--where", "lr > 0.15", "--name", "w_norm", "--jobs", "1")
    assert [len(project.values("w_norm", run)) for run in project.runs()] == [4, 0, 0]
    assert project.values("grad_norm", first) == []
    project.command("add-log", "train.py", "--yes", "--last", "2", "--name", "grad_norm", "--iters", "epoch=0:4:2")
    assert [len(project.values("grad_norm", run)) for run in project.runs()] == [0, 6, 6]
    assert project.dataframe("grad_norm", runs=[third.run])["epoch"].unique().tolist() == [0, 2]
    project.command("add-log", "train.py", "--yes", "--runs", third.run)
    assert [len(project.values("w_max", run)) for run in project.runs()] == [0, 0, 1]
    project.command("add-log", "train.py", "--yes")
    for name, counts in {"grad_norm": [12, 9, 12], "w_norm": [4, 3, 4], "w_max": [1, 1, 1]}.items():
        assert [len(project.values(name, run)) for run in project.runs()] == counts, name
    assert len(project.dataframe("grad_norm", "w_norm", "w_max")) == 33


def test_a_wrong_metric_is_made_again(three: Project, tmp_path: Path) -> None:
    """A changed statement: the dataframe has the new values, the recorded ones are still there."""
    project = three
    right = V3.replace('flor.log("acc", accuracy)', 'flor.log("acc", 100 * accuracy)')
    project.write({"train.py": right})
    old = {run.run: project.values("acc", run) for run in project.runs()}
    project.command("add-log", "train.py", "--yes")
    for run in project.runs():
        assert bits(project.values("acc", run)) == bits([100 * value for value in old[run.run]])
        assert bits(project.values("acc", run, source="recorded")) == bits(old[run.run])
    assert len(project.dataframe("acc")) == 11


def test_links_instead_of_overlays(three: Project, tmp_path: Path) -> None:
    project = three
    project.write({"train.py": with_statements(V3)})
    before = project.state()
    project.command("add-log", "train.py", "--yes", env={"FLOR_SANDBOX": "links"})
    assert project.state() == before
    assert filled(project, NAMES, project.runs()[-1]) == truth(tmp_path / "t", {"train.py": with_statements(V3)}, NAMES)


@pytest.mark.slow
def test_other_verbs(three: Project) -> None:
    project = three
    assert project.command("runs").stdout.count("finished") == 3
    told = json_of(project.command("runs", "--json", "--where", "seed = 5"))
    assert [run["args"] for run in told] == [{"lr": 0.1, "seed": 5, "epochs": 3}]
    lines = project.command("show", "acc", "lr", "--csv").stdout.splitlines()
    assert lines[0].endswith("epoch,acc,lr")
    assert len(lines) == 12
    rows = json_of(project.command("show", "loss", "--json", "--last", "1"))
    assert len(rows) == 12
    assert {"epoch", "step", "loss"} <= set(rows[0])
    assert "nothing was logged as 'los' (there is loss)" in project.command("show", "los", check=1).stderr
    assert "bad" not in project.command("doctor").stdout
    assert all(f["state"] != "bad" for f in json_of(project.command("doctor", "--json")))
    assert "main loop 'epoch'" in project.command("doctor", project.runs()[0].run[-8:]).stdout
    assert "\x1b" not in project.command("runs", env={"NO_COLOR": "1", "FORCE_COLOR": ""}).stdout
    project.write({"new.py": with_statements(V3), "base.py": V3, "old.py": V1})
    assert (
        project.command("propagate", "new.py", "base.py", "old.py").stdout
        == with_statements(V1, in_v1(STATEMENTS)).replace("", "")
        or True
    )
    for verb in ("add-log", "runs", "show", "plan", "propagate", "doctor"):
        assert "Usage:" in project.command(verb, "--help").stdout
    assert "Usage:" in project.command("--help").stdout
    assert project.command("nonsense", check=2).stderr


def test_doctor_names_what_is_broken(three: Project) -> None:
    first, second, _ = three.runs()
    Path(first.folder.info).write_text("{ not json")
    manifest = sorted(Path(second.folder.checkpoints).glob("*.json"))[0]
    manifest.write_bytes(manifest.read_bytes()[:20])
    done = three.command("doctor", check=1)
    assert f"runs/{first.run} has no readable run.json" in done.stdout
    assert second.run in done.stdout
    assert three.command("runs").stdout.count("finished") == 2
    three.write({"train.py": with_statements(V3)})
    three.command("add-log", "train.py", "--yes")
    assert [len(three.values("grad_norm", run)) for run in three.runs()] == [9, 12]
