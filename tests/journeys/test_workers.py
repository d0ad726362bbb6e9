"""Workers that hang or die, warm parents that die, and scripts that a warm parent cannot serve."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from flor_replay.processes import cpus
from flor_replay.replay.starting import environment
from tests.journeys.journey import journey, recorded, start, today, truth, wait_until, workers
from tests.support import Project

# A file outside of the project says that this has happened once.
ONCE = """\
    import os, signal, time
    import numpy as np
    import flor

    def once(act):
        path = os.environ.get("ONCE")
        if path and os.environ.get("FLOR_REPLAY_TASK") and not os.path.exists(path):
            open(path, "w").close()
            act()

    rng = np.random.default_rng(4)
    w = np.zeros(3)
    for epoch in flor.loop("epoch", range(4)):
        for step in flor.loop("step", range(2)):
            w = w + rng.normal(size=3)
            if epoch == 2:
                once(lambda: ACT)
            flor.log("w0", w[0])
            #@ flor.log("w1", w[1])
    """


@pytest.mark.parametrize(
    ("act", "limit"), [("time.sleep(1000)", "2"), ("os.kill(os.getpid(), signal.SIGKILL)", "60"), ("os._exit(7)", "60")]
)
def test_tried_again_once(act: str, limit: str, project: Project, tmp_path: Path) -> None:
    source = ONCE.replace("ACT", act)
    project.commit(files={"train.py": recorded(source)})
    project.run()
    project.write({"train.py": today(source)})
    before = project.state()
    env = {"ONCE": str(tmp_path / "once"), "FLOR_TASK_SECONDS": limit}
    project.command("add-log", "train.py", "--yes", env=env)
    assert os.path.exists(tmp_path / "once")
    assert project.state() == before
    assert {"w1": [repr(v) for v in project.values("w1")]} == truth(
        tmp_path / "truth", {"train.py": today(source)}, ["w1"]
    )
    assert not workers(project)


@pytest.mark.slow
def test_a_worker_that_always_hangs_costs_its_version_only(project: Project) -> None:
    source = ONCE.replace("once(lambda: ACT)", 'os.environ.get("FLOR_REPLAY_TASK") and time.sleep(1000)')
    project.commit(files={"train.py": recorded(source)})
    project.run()
    quick = source.replace("and time.sleep(1000)", "and time.sleep(0)")
    project.commit(files={"train.py": recorded(quick)})
    project.run()
    project.write({"train.py": today(quick)})
    said = project.command("add-log", "train.py", "--yes", check=3, env={"FLOR_TASK_SECONDS": "1.5"}).stderr
    assert "was not done after" in said
    first, second = project.runs()
    assert project.values("w1", first) == [] and len(project.values("w1", second)) == 8


def test_kill_9_of_the_warm_parent(project: Project, tmp_path: Path) -> None:
    source = ONCE.replace("once(lambda: ACT)", 'time.sleep(float(os.environ.get("PAUSE", 0)))')
    project.commit(files={"train.py": recorded(source)})
    project.run()
    project.write({"train.py": today(source)})
    process = start(project, "add-log", "train.py", "--yes", env={"PAUSE": "0.5"})
    [worker] = wait_until(lambda: workers(project))
    with open(f"/proc/{worker}/stat", "rb") as stat:
        parent = int(stat.read().rpartition(b")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert len(project.values("w1")) == 8
    assert not workers(project)


def test_settings_that_libraries_read_at_import(tmp_path: Path) -> None:
    """A script that sets its threads before it imports numpy has them in its replay too: in a process of its own."""
    source = """\
        import os
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ["MY_RUN"] = "7"
        import numpy as np
        import flor

        w = np.zeros(3)
        for epoch in flor.loop("epoch", range(3)):
            w = w + float(os.environ["OMP_NUM_THREADS"]) * len(os.environ["MY_RUN"])
            flor.log("w0", w[0])
            #@ flor.log("threads", os.environ["OMP_NUM_THREADS"])
        """
    journey(tmp_path, source, "threads")


def test_a_module_of_the_project_with_a_library_s_name(tmp_path: Path) -> None:
    source = """\
        import flor
        import scipy

        w = 0.0
        for epoch in flor.loop("epoch", range(3)):
            w += scipy.STEP
            flor.log("w", w)
            #@ flor.log("doubled", 2 * w)
        """
    journey(tmp_path, source, "doubled", files={"scipy.py": "STEP = 0.25\n__version__ = '1'\n"})


def test_threads_wait_asleep_only_where_workers_outnumber_the_processors() -> None:
    """Spinning threads take the processors from each other's owners; sleeping ones are slow where they need not share."""
    calls = [(cpus(), 1, False), (1, cpus(), False), (cpus(), 2, True), (2, cpus(), True), (None, 1, False)]
    for threads, jobs, asleep in calls:
        made = environment({"OMP_NUM_THREADS": "9", "HOME": "/home/a"}, {}, threads, jobs)
        assert (made.get("OMP_WAIT_POLICY") == "PASSIVE") is asleep
        assert made["HOME"] == "/home/a"
        assert made.get("OMP_NUM_THREADS") == (str(threads) if threads else None)
