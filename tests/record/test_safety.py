"""Training is never harmed: the same output, bit for bit, and the same exit code as without flor, whatever goes wrong.

Each script is run twice, once with recording off. What was recorded stays readable.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from flor_checkpoint import load, manifests

from flor_replay.store import layout
from tests.support import Project, json_of

TORCHRUN = [str(Path(sys.executable).parent / "torchrun"), "--standalone", "--nproc_per_node", "2"]

TRAIN = """\
    import os, sys, signal, threading, time
    import numpy as np
    import flor

    before()
    rng = np.random.default_rng(3)
    w = np.zeros(SIZE)
    for epoch in flor.loop("epoch", range(6)):
        for step in flor.loop("step", range(3)):
            w = np.tanh(w + rng.normal(size=SIZE))
            flor.log("w", float(w.sum()))
        print(epoch, repr(w.sum()), flush=True)
        during(epoch)
    flor.log("end", float(w.max()))
    print("end", repr(w.max()), flush=True)
    """


def script(size: int = 40_000, before: str = "pass", during: str = "pass") -> str:
    text = "\n".join(line[4:] for line in TRAIN.splitlines()).replace("SIZE", str(size))
    return text.replace("before()", before).replace("during(epoch)", during) + "\n"


def both(
    project: Project,
    code: str,
    *,
    command: list[str] | None = None,
    wrap: str | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """Without flor and with it: `wrap` is shell around the command. Their output and exit codes are compared."""
    project.commit(files={"train.py": code})
    done = []
    for given in ({"FLOR": "off"}, {"FLOR_CHECKPOINTS": "all"}):
        words = command or [sys.executable, "train.py"]
        if wrap is not None:
            words = ["unshare", "-Urm", "sh", "-c", f"{wrap} exec {' '.join(words)}"]
        for _ in range(3):
            one = subprocess.run(
                words,
                cwd=project.root,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {}), **given},
                capture_output=True,
                text=True,
                timeout=200,
            )
            if "SIGABRT" not in one.stderr:
                break  # gloo's ranks abort at their end now and then, without flor too
        done.append(one)
    plain, recorded = done
    assert sorted(recorded.stdout.splitlines()) == sorted(plain.stdout.splitlines()), recorded.stderr
    assert recorded.returncode == plain.returncode, recorded.stderr
    return plain, recorded


def readable(store: Path) -> int:
    """How many checkpoints there are; each is whole."""
    count = 0
    for folder in store.glob("runs/*/checkpoints"):
        found, bad = manifests(folder)
        assert bad == []
        for manifest in found:
            load(manifest, Path(layout.packs(str(store))), trust=True)
        count += len(found)
    return count


def mounts() -> bool:
    words = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


# -- disks ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not mounts(), reason="a file system can only be mounted where user namespaces are allowed")
@pytest.mark.parametrize("size", ["16k", "64k", "500k", "900k"])
def test_a_disk_that_is_really_full(project: Project, tmp_path: Path, size: str) -> None:
    """A tmpfs of this size as the store: full at once, within the first checkpoint, and after one or two."""
    kept = tmp_path / "kept"
    (project.root / ".flor").mkdir()
    wrap = f"mount -t tmpfs -o size={size} none .flor;"
    command = ["sh", "-c", f"'{sys.executable} train.py; code=$?; rm -rf {kept}; cp -r .flor {kept}; exit $code'"]
    _, recorded = both(project, script(), command=command, wrap=wrap)
    assert recorded.returncode == 0
    assert 1 <= recorded.stderr.count("\n") <= 4, recorded.stderr
    assert "training goes on" in recorded.stderr
    assert "Traceback" not in recorded.stderr
    assert not list(kept.rglob("*.tmp"))
    assert readable(kept) >= (1 if size in ("500k", "900k") else 0)


@pytest.mark.skipif(not mounts(), reason="a file system can only be mounted where user namespaces are allowed")
def test_a_store_on_a_read_only_file_system(project: Project) -> None:
    (project.root / ".flor").mkdir()
    _, recorded = both(project, script(), wrap="mount -t tmpfs -o ro none .flor;")
    assert recorded.stderr.count("\n") == 1
    assert "recording is off" in recorded.stderr


@pytest.mark.parametrize("error", ["EDQUOT", "EIO", "EACCES"])
def test_writing_fails_after_a_while(project: Project, error: str) -> None:
    """A quota, a failing disk, a right that was taken away: the system's calls say so for the store's files."""
    failing = f"""import errno, builtins
write, opened = os.write, builtins.open
def no(*_): raise OSError(errno.{error}, os.strerror(errno.{error}))
class Failing: write = flush = fileno = close = no
def refuse():
    os.write = lambda fd, data: no() if fd > 2 else write(fd, data)
    builtins.open = lambda path, mode="r", *a, **k: no() if set(mode) & set("wax") and ".flor" in str(path) else opened(path, mode, *a, **k)
"""
    _, recorded = both(project, script(before=failing, during="time.sleep(0.3); epoch == 2 and refuse()"))
    assert 1 <= recorded.stderr.count("\n") <= 3, recorded.stderr
    assert "Traceback" not in recorded.stderr
    assert readable(project.store) >= 2
    (run,) = project.runs()
    values = project.values("w", run)
    assert values
    assert len(values) <= 18


# -- memory -----------------------------------------------------------------------------------------------------------


def test_a_state_larger_than_the_free_memory(project: Project) -> None:
    """The limit leaves room for training and not for a copy of its state."""
    limit = "import resource; used = int(open('/proc/self/statm').read().split()[0]) * 4096"
    during = "epoch == 1 and resource.setrlimit(resource.RLIMIT_AS, (int(open('/proc/self/statm').read().split()[0]) * 4096 + 400_000_000,) * 2)"
    during += "\n    big = np.full(20_000_000, float(epoch)) if epoch >= 1 else None"
    _, recorded = both(project, script(before=limit, during=during))
    assert "Traceback" not in recorded.stderr
    assert "half of the free memory" in recorded.stderr
    assert recorded.stderr.count("\n") <= 2, recorded.stderr
    assert readable(project.store) >= 2
    assert len(project.values("w")) == 18
    (run,) = project.runs()
    assert os.path.exists(run.folder.live), "sealing needs more addresses than there are: it would end the process"


# -- what is in the state ---------------------------------------------------------------------------------------------


def test_objects_that_cannot_be_pickled(project: Project) -> None:
    before = """import socket
class Hostile:
    def __reduce_ex__(self, protocol): raise RuntimeError("not me")
    def __getstate__(self): raise TypeError("nor my state")
class Liar:
    @property
    def __dict__(self): raise AttributeError("nothing here")
things = [Hostile(), socket.socket(), open(__file__), threading.Lock(), (i for i in range(3)), lambda: 1, Liar()]
"""
    _, recorded = both(project, script(before=before, during="things.append(Hostile())"))
    assert "Traceback" not in recorded.stderr
    assert len(project.values("w")) == 18


# -- ends -------------------------------------------------------------------------------------------------------------

ENDS = {
    "sys.exit": "epoch == 3 and sys.exit(4)",
    "exception": "if epoch == 3: raise ValueError('no')",
    "os._exit": "epoch == 3 and os._exit(5)",
    "kill": "epoch == 3 and (time.sleep(1.2), os.kill(os.getpid(), signal.SIGKILL))",
    "terminate": "epoch == 3 and (time.sleep(0.7), os.kill(os.getpid(), signal.SIGTERM))",
    "interrupt": "epoch == 3 and (time.sleep(0.7), os.kill(os.getpid(), signal.SIGINT), time.sleep(5))",
    "abort": "epoch == 3 and (time.sleep(1.2), os.abort())",
}


@pytest.mark.parametrize("end", list(ENDS))
def test_ends(project: Project, end: str) -> None:
    before = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    plain, recorded = both(project, script(before=before, during=ENDS[end]))
    assert plain.stderr.splitlines()[-1:] == recorded.stderr.splitlines()[-1:]
    assert readable(project.store) >= 4
    assert len(project.values("w")) == 12


def test_threads_that_train_beside(project: Project) -> None:
    before = """flor.log("first", 1)  # the thread that logs first is the one that trains
def other():
    for i in flor.loop("other", range(40)):
        flor.log("other", i)
        time.sleep(0.002)
threads = [threading.Thread(target=other) for _ in range(3)]
for thread in threads: thread.start()
"""
    _, recorded = both(project, script(before=before))
    assert recorded.stderr == ""
    assert len(project.values("w")) == 18
    assert readable(project.store) >= 4


# -- several processes ------------------------------------------------------------------------------------------------

RANKS = """
import os, torch, torch.distributed as dist
import flor

def train(rank, port=None):
    if port:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        dist.init_process_group("gloo", rank=rank, world_size=2)
    else:
        dist.init_process_group("gloo")
        rank = dist.get_rank()
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(40, 40))
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in flor.loop("epoch", range(3)):
        for step in flor.loop("step", range(2)):
            generator = torch.Generator().manual_seed(epoch * 10 + step + 100 * rank)
            loss = model(torch.randn(8, 40, generator=generator)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            flor.log("loss", loss.item())
        os.write(1, f"{rank} {epoch} {loss.item()!r}\\n".encode())
    dist.barrier()
    dist.destroy_process_group()
"""


def check_ranks(project: Project, stdout: str) -> None:
    runs = sorted(project.runs(), key=lambda run: run.rank)
    assert [(run.rank, run.status, run.info["distributed"]) for run in runs] == [(0, "finished", 2), (1, "finished", 2)]
    assert len(project.dataframe("loss")) == 6, "rank 0 counts"
    assert f"0 2 {project.values('loss', runs[0])[-1]!r}" in stdout.splitlines()
    assert list(Path(runs[0].folder.checkpoints).glob("*.json"))
    assert not list(Path(runs[1].folder.path).glob("checkpoints/*"))
    text = (project.root / "train.py").read_text()
    project.write({"train.py": text.replace("        os.write", "        flor.log('new', epoch)\n        os.write")})
    told = project.command("add-log", "train.py", "--yes", check=1).stderr
    assert "it trained in 2 processes" in told


@pytest.mark.slow
def test_torchrun(project: Project) -> None:
    pytest.importorskip("torch")
    _, recorded = both(project, RANKS + "\ntrain(0)\n", command=[*TORCHRUN, "train.py"])
    check_ranks(project, recorded.stdout)


@pytest.mark.slow
def test_ranks_of_mp_spawn(project: Project) -> None:
    pytest.importorskip("torch")
    main = """
if __name__ == "__main__":
    import socket
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train, (port,), 2)
"""
    _, recorded = both(project, RANKS + main)
    check_ranks(project, recorded.stdout)


def test_logs_of_runs_that_were_cut_off_are_sealed_by_gc(project: Project) -> None:
    both(project, script(during=ENDS["kill"]))
    (run,) = project.runs()
    before = project.values("w", run)
    assert json_of(project.command("gc", "--json"))["sealed"] == [], "too young to be sure that nobody writes"
    os.utime(run.folder.live, (1e9, 1e9))
    assert json_of(project.command("gc", "--json"))["sealed"] == [run.run]
    assert not Path(run.folder.live).exists()
    assert project.values("w", run) == before
    assert project.runs()[0].status == "crashed"
