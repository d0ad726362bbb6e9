"""What is killed: backfills by Ctrl-C and kill -9, workers, trainings. Nothing is lost, nothing doubled, the next call goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.journeys.journey import bits, interrupt, recorded, start, today, truth, wait_until, workers
from tests.support import Project

SLOW = """\
    import os, time
    import numpy as np
    import flor

    rng = np.random.default_rng(flor.arg("seed", 1))
    w = np.zeros(3)
    for epoch in flor.loop("epoch", range(6)):
        for step in flor.loop("step", range(2)):
            noise = rng.normal(size=3)
            w = w + 0.1 * noise
            flor.log("w0", w[0])
            time.sleep(float(os.environ.get("PAUSE", 0)))
            #@ flor.log("noise", float(np.abs(noise).sum()))
    flor.log("end", w.sum())
    """


@pytest.fixture
def slow(project: Project) -> Project:
    """Three versions, ready to be filled."""
    for seed in (1, 2, 3):
        project.commit(f"seed {seed}", {"train.py": recorded(SLOW).replace('"seed", 1', f'"seed", {seed}')})
        project.run()
    project.write({"train.py": today(SLOW).replace('"seed", 1', '"seed", 3')})
    return project


def check_all_filled(project: Project, tmp_path: Path) -> None:
    for seed, run in zip((1, 2, 3), project.runs(), strict=True):
        source = today(SLOW).replace('"seed", 1', f'"seed", {seed}')
        assert {"noise": bits(project.values("noise", run))} == truth(
            tmp_path / f"truth{seed}", {"train.py": source}, ["noise"]
        )
    frame = project.dataframe("noise", "w0")
    assert len(frame) == 36
    assert not frame.duplicated(["tstamp", "epoch", "step"]).any()


def done_replays(project: Project) -> list[str]:
    return [replay.run for replay in project.replays() if replay.fidelity]


def leftovers(scratch: Path) -> list[str]:
    return os.listdir(scratch) if scratch.exists() else []


def test_ctrl_c(slow: Project, tmp_path: Path) -> None:
    before = slow.state()
    env = {"PAUSE": "0.25", "FLOR_SCRATCH": str(tmp_path / "scratch")}
    process = start(slow, "add-log", "train.py", "--yes", "--jobs", "1", env=env)
    wait_until(lambda: done_replays(slow))
    wait_until(lambda: workers(slow))
    interrupt(process)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "interrupted" in said
    assert workers(slow) == []
    assert leftovers(tmp_path / "scratch") == []
    assert slow.state() == before
    kept = done_replays(slow)
    assert 1 <= len(kept) < 3
    assert sorted(len(slow.values("noise", run)) for run in slow.runs()) in ([0, 0, 12], [0, 12, 12])
    slow.command("add-log", "train.py", "--yes")
    assert set(kept) < set(done_replays(slow))
    assert len(done_replays(slow)) == 3
    check_all_filled(slow, tmp_path)


@pytest.mark.slow
def test_kill_9_of_the_command(slow: Project, tmp_path: Path) -> None:
    before = slow.state()
    env = {"PAUSE": "0.25", "FLOR_SCRATCH": str(tmp_path / "scratch")}
    process = start(slow, "add-log", "train.py", "--yes", "--jobs", "1", env=env)
    wait_until(lambda: done_replays(slow))
    wait_until(lambda: workers(slow))
    process.kill()
    process.communicate(timeout=20)
    wait_until(lambda: not workers(slow), 1.5)  # they end with their parent
    assert slow.state() == before
    said = slow.command("replay", "--resume", "--yes", env={"FLOR_SCRATCH": str(tmp_path / "scratch")}).stderr
    assert "going on with add-log train.py" in said
    assert "no backfill was interrupted" in slow.command("replay", "--resume", "--yes").stderr
    assert slow.state() == before
    assert leftovers(tmp_path / "scratch") == []
    check_all_filled(slow, tmp_path)


def test_kill_9_of_a_worker(slow: Project, tmp_path: Path) -> None:
    before = slow.state()
    process = start(slow, "add-log", "train.py", "--yes", "--jobs", "1", env={"PAUSE": "0.25"})
    for _ in range(2):
        found = wait_until(lambda: workers(slow))
        os.kill(found[0], signal.SIGKILL)
        wait_until(lambda: found[0] not in workers(slow))  # noqa: B023
    _, said = process.communicate(timeout=120)
    if process.returncode != 0:
        assert process.returncode == 3, said
        assert "SIGKILL" in said
        slow.command("add-log", "train.py", "--yes")
    assert slow.state() == before
    check_all_filled(slow, tmp_path)


@pytest.mark.slow
def test_kill_9_in_mid_training(project: Project, tmp_path: Path) -> None:
    source = """\
        import os, time
        import numpy as np
        import flor

        rng = np.random.default_rng(3)
        w = np.zeros(3)
        #@ total = 0.0
        for epoch in flor.loop("epoch", range(1000)):
            for step in flor.loop("step", range(2)):
                w = w + rng.normal(size=3)
                flor.log("w0", w[0])
                #@ flor.log("w1", w[1])
            #@ total += float(w[2])
            #@ flor.log("total", total)
            time.sleep(0.3)
            flor.log("bottom", w.sum())
            open("beat", "w").write(str(epoch))
            if epoch == 50:
                break
        """
    project.commit(files={"train.py": recorded(source), ".gitignore": "beat\n"})
    env = {**os.environ, "FLOR_CHECKPOINTS": "all"}
    process = subprocess.Popen([sys.executable, "train.py"], cwd=project.root, env=env, stderr=subprocess.PIPE)
    beat = project.root / "beat"
    wait_until(lambda: beat.exists() and beat.read_text() == "6")
    time.sleep(0.1)
    process.kill()
    process.communicate()
    [run] = project.runs()
    assert run.status == "crashed"
    assert "crashed" in project.command("runs").stdout
    logged = project.values("bottom", run)
    assert len(logged) >= 4  # all but the last second, in which three iterations fit
    # A statement whose own state lives across iterations is replayed from the start, and no further than the run went.
    for part in (["total"], ["w1"]):
        kept = [line for line in source.splitlines() if "#@" not in line or any(name in line for name in part)]
        project.write({"train.py": today("\n".join(kept) + "\n")})
        before = project.state()
        project.command("add-log", "train.py", "--yes")
        assert project.state() == before
    expected = truth(
        tmp_path / "truth",
        {"train.py": today(source).replace("0.3", "0").replace("== 50", "== 9")},
        ["w1", "total", "bottom"],
    )
    values = bits(project.values("w1", run))
    assert len(values) >= 2 * (len(logged) - 1)
    assert values == expected["w1"][: len(values)]
    assert bits(logged) == expected["bottom"][: len(logged)]
    totals = bits(project.values("total", run))
    assert totals == expected["total"][: len(totals)]
    assert len(logged) - 1 <= len(totals) <= len(logged) + 1
