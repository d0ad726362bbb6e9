"""``flor-replay gc`` in real projects: what is left is right, whatever was removed, beside whom, and when it was killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from flor_checkpoint import load, manifests

from flor_replay.store import layout
from tests.journeys.journey import bits, recorded, today, truth, wait_until
from tests.support import Project, json_of

TRAIN = """\
    import os, time
    import numpy as np
    import flor

    rng = np.random.default_rng(flor.arg("seed", 1))
    w = np.zeros(20_000)
    for epoch in flor.loop("epoch", range(8)):
        for step in flor.loop("step", range(2)):
            noise = rng.normal(size=20_000)
            w = w + 0.1 * noise
            time.sleep(float(os.environ.get("PAUSE", 0.005)))
            #@ flor.log("noise", float(np.abs(noise).sum()))
        flor.log("w0", w[0])
        #@ flor.log("norm", float(np.abs(w).sum()))
    flor.log("end", w.sum())
    #@ flor.log("most", w.max())
    """
NAMES = ("noise", "norm", "most")


def age(store: Path, seconds: float = 7200) -> None:
    """Make everything in the store older: nobody can be in the middle of writing it."""
    then = time.time() - seconds
    for path in store.rglob("*"):
        os.utime(path, (then, then))


def checkpoints(project: Project, run: Any) -> int:
    """How many there are; every one of them is whole."""
    found, bad = manifests(Path(run.folder.checkpoints))
    assert bad == []
    for manifest in found:
        load(manifest, Path(layout.packs(str(project.store))), trust=True)
    return len(found)


@pytest.fixture
def two(project: Project) -> Project:
    """Two runs of one version."""
    project.commit(files={"train.py": recorded(TRAIN)})
    for seed in "12":
        project.run("train.py", "--kwargs", f"seed={seed}")
    return project


def check_values(project: Project, tmp_path: Path, code: int = 0) -> None:
    """Fill the new statements: every value is what a run with them would have logged."""
    project.write({"train.py": today(TRAIN)})
    project.command("add-log", "train.py", "--yes", check=code)
    for seed, run in zip("12", project.runs(), strict=True):
        expected = truth(
            tmp_path / f"truth{seed}", {"train.py": today(TRAIN)}, NAMES, "train.py", "--kwargs", f"seed={seed}"
        )
        assert {name: bits(project.values(name, run)) for name in NAMES} == expected


def test_a_budget_thins_all_runs_and_their_values_stay_right(two: Project, tmp_path: Path) -> None:
    before = two.state()
    files = sorted(path.relative_to(two.store) for path in two.store.rglob("*"))
    proposed = json_of(two.command("gc", "--budget", "1.2MB", "--dry-run", "--json"))
    assert sorted(path.relative_to(two.store) for path in two.store.rglob("*")) == files
    done = json_of(two.command("gc", "--budget", "1.2MB", "--json"))
    assert [done[key] for key in ("runs", "checkpoints")] == [proposed[key] for key in ("runs", "checkpoints")]
    size = sum(path.stat().st_size for path in two.store.rglob("*") if path.is_file())
    assert size == done["bytes_after"]
    assert size <= 1_200_000
    assert abs(proposed["bytes_after"] - size) < 10_000
    left = [checkpoints(two, run) for run in two.runs()]
    assert [effect["after"] for effect in done["runs"]] == left
    assert min(left) >= 1
    assert abs(left[0] - left[1]) <= 4
    assert all(effect["seconds_after"] > effect["seconds_before"] for effect in done["runs"])
    again = json_of(two.command("gc", "--budget", "1.2MB", "--json"))
    assert (again["checkpoints"], again["bytes_after"]) == ([], size)
    assert two.state() == before
    check_values(two, tmp_path)


def test_compressed_checkpoints_give_the_same_values(two: Project, tmp_path: Path) -> None:
    before = two.state()
    packs = sum(path.stat().st_size for path in two.store.glob("packs/*"))
    counts = [checkpoints(two, run) for run in two.runs()]
    proposed = json_of(two.command("gc", "--compress", "--dry-run", "--json"))
    assert sum(path.stat().st_size for path in two.store.glob("packs/*")) == packs
    told = two.command("gc", "--compress").stdout
    assert f"{proposed['compressed_packs']} packs compressed" in told
    size = sum(path.stat().st_size for path in two.store.rglob("*") if path.is_file())
    assert size < proposed["bytes_before"]
    assert abs(size - proposed["bytes_after"]) < 0.02 * proposed["bytes_before"]
    assert sum(path.stat().st_size for path in two.store.glob("packs/*")) < 0.92 * packs
    assert [checkpoints(two, run) for run in two.runs()] == counts
    assert json_of(two.command("gc", "--compress", "--json"))["compressed_packs"] == 0
    assert two.state() == before
    check_values(two, tmp_path)


def test_without_a_budget_no_checkpoint_goes_and_leftovers_do(two: Project, tmp_path: Path) -> None:
    run, gone = two.runs()
    before = sum(path.stat().st_size for path in two.store.glob("packs/*"))
    shutil.rmtree(gone.folder.path)  # a run is deleted by deleting its folder
    (two.store / "packs" / "half.safetensors.tmp").write_bytes(b"x" * 50_000)
    (two.store / "runs" / "20200101T000000.000000-00000000").mkdir()
    patched = two.git("rev-parse", "HEAD")
    two.git("update-ref", f"refs/flor/patched/{patched}", patched)
    age(two.store)
    age(two.root / ".git" / "refs" / "flor")
    count = checkpoints(two, run)
    told = two.command("gc").stdout
    assert "freed" in told
    assert checkpoints(two, run) == count
    assert not list(two.store.glob("packs/*.tmp"))
    assert len(list(two.store.glob("runs/*"))) == 1
    size = sum(path.stat().st_size for path in two.store.glob("packs/*"))
    assert 0.45 * before < size < 0.55 * before
    assert two.git("for-each-ref", "refs/flor/patched") == ""
    assert two.git("for-each-ref", "refs/flor/versions")
    assert "0 bytes freed" in two.command("gc").stdout


def test_a_run_under_way_keeps_everything(project: Project) -> None:
    project.commit(files={"train.py": recorded(TRAIN)})
    process = subprocess.Popen(
        [sys.executable, "train.py"],
        cwd=project.root,
        env={**os.environ, "FLOR_CHECKPOINTS": "all", "PAUSE": "0.15"},
    )
    try:
        wait_until(lambda: len(list(project.store.glob("runs/*/checkpoints/*.json"))) >= 3)
        while process.poll() is None:
            done = json_of(project.command("gc", "--budget", "1kB", "--json", check=None))
            if process.poll() is None:
                assert done["checkpoints"] == []
                assert len(done["untouched"]) == 1
    finally:
        process.wait(60)
    assert process.returncode == 0


def test_a_checkpoint_that_goes_while_it_is_replayed_costs_time_and_no_value(two: Project, tmp_path: Path) -> None:
    """Every checkpoint is gone after the plan was made: the workers say so, and the whole script is run."""
    two.write({"train.py": today(TRAIN)})
    remover = """
        import sys
        from pathlib import Path
        import flor_replay.replay.backfill as backfill
        lay_out = backfill.Backfill._tasks
        def then_remove(self, scratch):
            tasks = lay_out(self, scratch)
            for path in Path(".flor").glob("runs/*/checkpoints/*"):
                path.unlink()
            return tasks
        backfill.Backfill._tasks = then_remove
        from flor_replay.cli.shell import run
        sys.exit(run(["add-log", "train.py", "--yes"]))
        """
    two.write({".flor/remover.py": remover})
    two.python(str(two.store / "remover.py"))
    for seed, run in zip("12", two.runs(), strict=True):
        expected = truth(
            tmp_path / f"truth{seed}", {"train.py": today(TRAIN)}, NAMES, "train.py", "--kwargs", f"seed={seed}"
        )
        assert {name: bits(two.values(name, run)) for name in NAMES} == expected


KILLED = """
    import os, signal, sys
    left = int(sys.argv[1])
    def hook(event, arguments):
        global left
        if event in ("os.rename", "os.remove"):
            if ".flor" in str(arguments[0]):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
    from flor_replay.cli.shell import run
    sys.addaudithook(hook)
    code = run(["gc", "--budget", "1.2MB", "--json"])
    print(left, file=sys.stderr)
    sys.exit(code)
    """


def kill_everywhere(project: Project, tmp_path: Path, step: int) -> None:
    shutil.rmtree(project.runs()[0].folder.path)  # there are dead packs too
    age(project.store)
    Project(tmp_path / "x").write({"killed.py": KILLED})
    script = tmp_path / "x" / "killed.py"
    kept = tmp_path / "kept"
    shutil.copytree(project.store, kept)
    place = 1
    while True:
        done = project.python(str(script), str(place), check=False)
        (run,) = project.runs()
        left = checkpoints(project, run)
        assert left >= 1
        after = json_of(project.command("gc", "--budget", "1.2MB", "--json"))
        assert after["bytes_after"] <= 1_200_000
        assert checkpoints(project, run) >= 1
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        shutil.rmtree(project.store)
        shutil.copytree(kept, project.store)
        place += step
    assert place > 1


@pytest.mark.slow
def test_killed_at_some_moments(two: Project, tmp_path: Path) -> None:
    kill_everywhere(two, tmp_path, 23)


@pytest.mark.slow
def test_killed_at_any_moment(two: Project, tmp_path: Path) -> None:
    kill_everywhere(two, tmp_path, 1)


def test_two_at_once_and_bad_words(two: Project) -> None:
    import fcntl

    with open(two.store / "gc.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another flor-replay gc" in two.command("gc", check=1).stderr
    assert "--budget" in two.command("gc", "--budget", "much", check=2).stderr
    (manifest, *_) = two.store.glob("runs/*/checkpoints/*.json")
    text = manifest.read_text()
    manifest.write_text(text.replace('"format": 1', '"format": 9'))
    assert "format 9" in two.command("gc", check=1).stderr
    manifest.write_text(text)
    two.command("gc")
