"""However a process ends, and whatever the disk does: what was logged is there, and training went on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flor_checkpoint import manifests

from tests.support import Project

ENDLESS = """
import flor, time, sys
for i in flor.loop("step", range(1_000_000)):
    flor.log("x", i)
    print(i, flush=True)
    time.sleep(0.01)
"""


def start(project: Project, code: str, **environment: str) -> subprocess.Popen[str]:
    project.write({"train.py": code})
    env = {**os.environ, **environment}
    return subprocess.Popen([sys.executable, "train.py"], cwd=project.root, env=env, stdout=subprocess.PIPE, text=True)


def printed(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


def test_sigkill_loses_at_most_the_last_second(project: Project) -> None:
    process = start(project, ENDLESS)
    printed(process, 50)
    time.sleep(1)
    process.kill()
    process.wait()
    (run,) = project.runs()
    assert run.status == "crashed"
    values = project.values("x")
    assert values == list(range(len(values)))
    assert len(values) >= 50


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_loses_nothing_and_still_ends_the_process(project: Project, name: str) -> None:
    process = start(project, ENDLESS)
    printed(process, 3)
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=30)
    assert process.returncode == -getattr(signal, name)
    last = int(output.split()[-1]) if output else 2
    assert project.values("x")[: last + 1] == list(range(last + 1))
    (run,) = project.runs()
    assert (run.status, run.info["reason"]) == ("stopped", f"ended by {name}")


def test_signals_during_heavy_logging_do_not_hang(project: Project) -> None:
    code = """
import flor, os, signal, threading, time
for i in flor.loop("step", range(10**9)):
    flor.log("x", i)
    if i == 0:  # the run has begun, however slow the machine is
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    if i % 50 == 0:
        flor.utils and flor.commit.__module__ and __import__("flor_replay.record.session").record.session.running().flush()
"""
    process = start(project, code)
    assert process.wait(timeout=60) == -signal.SIGTERM
    values = project.values("x")
    assert values == list(range(len(values))) and values


def test_os_exit_loses_nothing(project: Project) -> None:
    process = start(project, "import flor, os\nfor i in flor.loop('e', range(9)): flor.log('x', i)\nos._exit(7)\n")
    assert process.wait(timeout=60) == 7
    assert project.values("x") == list(range(9))
    assert project.runs()[0].status == "stopped"


@pytest.mark.parametrize("end", ["os._exit(7)", "for j in flor.loop('f', range(2)): os.kill(os.getpid(), 9)"])
def test_the_checkpoint_at_a_loops_end_is_waited_for(project: Project, end: str) -> None:
    code = f"""
import flor, os
import numpy as np
state = np.zeros(6_000_000)
for i in flor.loop("e", range(3)):
    state += 1.0
print(flush=True)
{end}
"""
    process = start(project, code, FLOR_CHECKPOINTS="all")
    process.wait(timeout=60)
    (run,) = project.runs()
    found, broken = manifests(Path(run.folder.checkpoints))
    points = [(point.point["loop"], point.point["at"], point.point["index"]) for point in found]
    assert ("e", "end", 3) in points
    assert not broken


def test_ctrl_c_ends_the_script_by_the_signal(project: Project) -> None:
    process = start(
        project, "import flor, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + ENDLESS
    )
    printed(process, 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    (run,) = project.runs()
    assert (run.status, run.info["reason"]) == ("failed", "KeyboardInterrupt: ")
    assert len(project.values("x")) >= 3


def test_the_users_own_handler_stays(project: Project) -> None:
    code = """
import flor, os, signal, sys
signal.signal(signal.SIGTERM, lambda *a: sys.exit(5))
signal.signal(signal.SIGHUP, signal.SIG_IGN)
flor.log("x", 1)
os.kill(os.getpid(), signal.SIGHUP)
flor.log("x", 2)
os.kill(os.getpid(), signal.SIGTERM)
"""
    process = start(project, code)
    assert process.wait(timeout=60) == 5
    assert project.values("x") == [1, 2]
    assert project.runs()[0].status == "failed"


def test_forked_and_spawned_children_write_nothing(project: Project) -> None:
    code = """
import multiprocessing, os, flor
def child(n):
    flor.log("child", n)
    for i in flor.loop("c", range(3)):
        flor.log("child", i)
    flor.commit()
if __name__ == "__main__":
    for epoch in flor.loop("epoch", range(3)):
        flor.log("x", epoch)
        for kind in ("fork", "spawn") if epoch == 0 else ("fork",):
            process = multiprocessing.get_context(kind).Process(target=child, args=(epoch,))
            process.start()
            process.join()
            assert process.exitcode == 0
        pid = os.fork()
        if not pid:
            child(epoch)
            os._exit(0)
        os.waitpid(pid, 0)
        if not os.fork():
            raise SystemExit  # runs the exit handlers
        os.wait()
"""
    project.write({"train.py": code})
    done = project.python("train.py", env={"FLOR_CHECKPOINTS": "all"})
    assert done.stderr == ""
    (run,) = project.runs()
    assert run.status == "finished"
    assert project.values("x") == [0, 1, 2]
    assert project.dataframe("child").empty


def test_loader_workers_write_nothing(project: Project) -> None:
    pytest.importorskip("torch")
    code = """
import torch, flor
class Data(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, i):
        flor.log("worker", i)
        return torch.tensor(float(i))
if __name__ == "__main__":
    for epoch in flor.loop("epoch", range(2)):
        loader = torch.utils.data.DataLoader(Data(), batch_size=4, num_workers=2)
        for batch in flor.loop("step", loader):
            flor.log("sum", batch.sum())
"""
    project.write({"train.py": code})
    project.python("train.py", env={"FLOR_CHECKPOINTS": "off"})
    assert project.values("sum") == [6.0, 22.0] * 2
    assert project.dataframe("worker").empty
    frame = project.dataframe("sum")
    assert list(frame.columns)[3:] == ["epoch", "step", "sum"], "batches are not values of loops"
    assert len(project.runs()) == 1


def test_other_ranks_have_runs_of_their_own_and_rank_0_counts(project: Project) -> None:
    project.write(
        {"train.py": "import flor, os\nfor i in flor.loop('e', range(2)): flor.log('x', int(os.environ['RANK']))\n"}
    )
    for rank in "01":
        project.python("train.py", env={"RANK": rank, "WORLD_SIZE": "2"})
    assert [run.rank for run in project.runs()] == [0, 1]
    assert project.dataframe("x")["x"].tolist() == [0, 0]
    assert not list((Path(project.runs()[1].folder.path)).glob("checkpoints/*"))


# -- disks ------------------------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_made_costs_one_warning(project: Project) -> None:
    project.write(
        {
            ".flor": "in the way",
            "train.py": "import flor\nfor i in flor.loop('e', range(3)): flor.log('x', i)\nprint('done')\n",
        }
    )
    done = project.python("train.py")
    assert done.stdout == "done\n"
    assert done.stderr.count("\n") == 1
    assert "recording is off" in done.stderr


def test_a_disk_that_fills_up_costs_one_warning(project: Project) -> None:
    code = """
import flor, resource, time
flor.log("x", -1)
time.sleep(0.5)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for i in flor.loop("e", range(3000)):
    flor.log("x", i)
    if i % 500 == 499:
        time.sleep(0.5)
for i in range(3000):
    flor.log("y", "z" * 100)
print("done")
"""
    project.write({"train.py": code})
    done = project.python("train.py", env={"FLOR_CHECKPOINTS": "off"})
    assert done.stdout == "done\n"
    assert done.stderr.count("\n") == 1, done.stderr
    assert "logging stopped" in done.stderr
    values = project.dataframe("x")["x"].tolist()
    assert values == [*range(len(values) - 1), -1]
    assert len(values) > 500
    assert "not complete" in project.runs()[0].info["reason"]


def test_a_working_directory_that_is_gone(project: Project, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    project.write({"train.py": "import os\nos.rmdir(os.getcwd())\nimport flor\nflor.log('x', 1)\nprint('done')\n"})
    done = subprocess.run(
        [sys.executable, str(project.root / "train.py")], cwd=gone, capture_output=True, text=True, check=True
    )
    assert done.stdout == "done\n"
    assert done.stderr.count("\n") <= 1
