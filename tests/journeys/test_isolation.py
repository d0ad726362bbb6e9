"""Scripts that write, delete, rename, fork and go elsewhere: nothing of the user's changes, and the values are right."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.journeys.journey import bits, filled, journey, recorded, today, truth
from tests.support import Project

MESSY = """\
    import glob, os, shutil, time
    import numpy as np
    import flor

    while "FLOR_REPLAY_TASK" not in os.environ and not glob.glob(".flor/pending/*.json"):
        time.sleep(0.01)  # other scripts import torch meanwhile
    rng = np.random.default_rng(1)
    x = np.loadtxt("data/x.txt")
    os.rename("data/y.txt", "data/z.txt")
    open("data/new.txt", "w").write("new")
    os.makedirs("out", exist_ok=True)
    os.unlink("data/gone.txt")
    w = np.zeros(3)
    for epoch in flor.loop("epoch", range(3)):
        for step in flor.loop("step", range(2)):
            w = w + 0.1 * (x - w) + 0.01 * rng.normal(size=3)
            #@ flor.log("gap", float(np.abs(x - w).max()))
            flor.log("w0", w[0])
        with open("history.txt", "a") as file:
            file.write(f"{w[0]}\\n")
        with open("out/log.txt", "a") as file:
            file.write(f"{epoch}\\n")
        lines = len(open("out/log.txt").readlines())
        #@ flor.log("lines", lines)
        flor.log("z", float(open("data/z.txt").read()))
    child = os.fork()
    if child == 0:
        open("data/x.txt", "w").write("0 0 0")
        os._exit(0)
    os.waitpid(child, 0)
    os.chdir("out")
    open("end.txt", "w").write("end")
    shutil.rmtree("../data/sub")
    #@ flor.log("end", w.sum())
    """
DATA = {"data/x.txt": "1.5 -2.0 0.25\n", "data/y.txt": "7\n", "data/gone.txt": "g", "data/sub/deep.txt": "deep"}


def messy(folder: Path, source: str, **options: object) -> Project:
    project = Project(folder)
    project.commit(files={"train.py": source, "history.txt": "start\n", ".gitignore": "/data/\n/out/\n"})
    project.write(DATA)
    return project


@pytest.mark.parametrize("sandbox", ["overlay", "links"])
def test_a_messy_script(tmp_path: Path, sandbox: str) -> None:
    project = messy(tmp_path / "project", recorded(MESSY))
    run = project.run()
    # The user puts the data back as it was, with its times; the outputs stay.
    project.write({"train.py": today(MESSY)})
    for name, text in DATA.items():
        path = project.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (project.root / "data/z.txt").unlink()
    before = project.state()
    project.command("add-log", "train.py", "--yes", env={"FLOR_SANDBOX": sandbox})
    assert project.state() == before
    names = ["gap", "end", "lines"]
    other = messy(tmp_path / "truth", today(MESSY))
    expected = filled(other, names, other.run())
    assert filled(project, names, run) == expected


def test_data_behind_a_link(tmp_path: Path) -> None:
    """data/ is a symbolic link to a folder outside the project: what is there is not touched either."""
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "x.txt").write_text("1.5 -2.0 0.25\n")

    def digest() -> list[tuple[str, str, int]]:
        return [
            (path.name, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in sorted(outside.iterdir())
        ]

    source = """\
        import numpy as np
        import flor

        x = np.loadtxt("data/x.txt")
        w = np.zeros(3)
        for epoch in flor.loop("epoch", range(3)):
            w = w + 0.5 * (x - w)
            flor.log("w0", w[0])
            with open("data/seen.txt", "a") as file:
                file.write("seen\\n")
            #@ flor.log("gap", float(np.abs(x - w).max()))
        """
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(source), ".gitignore": "/data\n"})
    (project.root / "data").symlink_to(outside)
    run = project.run()
    project.write({"train.py": today(source)})
    before, there = project.state(), digest()
    project.command("add-log", "train.py", "--yes")
    assert digest() == there
    assert project.state() == before
    expected = truth(
        tmp_path / "truth",
        {"train.py": today(source), ".gitignore": "/data\n"},
        ["gap"],
        ignored={"data/x.txt": "1.5 -2 0.25"},
    )
    assert filled(project, ["gap"], run) == expected


CHANGED = """\
    import numpy as np
    import flor

    x = np.loadtxt("data/x.txt")
    w = np.zeros(3)
    for epoch in flor.loop("epoch", range(3)):
        w = w + 0.5 * (x - w)
        flor.log("w0", w[0])
        #@ flor.log("gap", float(np.abs(x - w).max()))
    """


def test_changed_data_is_never_silently_used(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(CHANGED), ".gitignore": "/data/\n"})
    project.write({"data/x.txt": "1 2 3\n"})
    run = project.run()
    project.write({"data/x.txt": "4 5 6\n", "train.py": today(CHANGED)})
    before = project.state()
    done = project.command("add-log", "train.py", "--yes", check=3)
    assert project.state() == before
    assert "diverged" in done.stderr
    assert "w0 at epoch=0" in done.stderr
    assert project.values("gap", run) == []
    assert project.dataframe("gap").empty
    assert len(project.dataframe("gap", diverged=True)) == 3
    # The old data comes back: asked for again, it is filled.
    project.write({"data/x.txt": "1 2 3\n"})
    assert "diverged" in project.command("add-log", "train.py", "--yes", check=3).stderr
    project.command("add-log", "train.py", "--yes", "--again")
    expected = truth(
        tmp_path / "truth",
        {"train.py": today(CHANGED), ".gitignore": "/data/\n"},
        ["gap"],
        ignored={"data/x.txt": "1 2 3\n"},
    )
    assert filled(project, ["gap"], run) == expected


def test_unseeded(tmp_path: Path) -> None:
    """No seed anywhere: the generators' states were kept, so what is logged again is the same; nothing can be a truth run."""
    source = """\
        import random
        import numpy as np
        import flor

        w = np.random.normal(size=3)
        for epoch in flor.loop("epoch", range(3)):
            for step in flor.loop("step", range(2)):
                noise = np.random.normal(size=3) * random.random()
                w = w + noise
                flor.log("w", w.tolist())
                #@ flor.log("copy", w.tolist())
                #@ flor.log("noise", float(noise[0]))
        flor.log("w_end", w.tolist())
        #@ flor.log("copy_end", w.tolist())
        """
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(source)})
    first, second = project.run(), project.run()
    project.write({"train.py": today(source)})
    project.command("add-log", "train.py", "--yes")
    for run in (first, second):
        assert bits(project.values("copy", run)) == bits(project.values("w", run))
        assert bits(project.values("copy_end", run)) == bits(project.values("w_end", run))
        assert len(project.values("noise", run)) == 6
    assert bits(project.values("w", first)) != bits(project.values("w", second))


@pytest.mark.parametrize("sandbox", ["overlay", pytest.param("links", marks=pytest.mark.slow)])
def test_best_checkpoint_file(tmp_path: Path, sandbox: str) -> None:
    """best.npy is written when the loss improves and loaded after the loop. Another run's best.npy lies there today."""
    source = """\
        import numpy as np
        import flor

        rng = np.random.default_rng(flor.arg("seed", 1))
        w, best = rng.normal(size=4), float("inf")
        for epoch in flor.loop("epoch", range(6)):
            for step in flor.loop("step", range(2)):
                w = w * 0.8 + 0.3 * rng.normal(size=4)
            loss = float(w @ w)
            flor.log("loss", loss)
            #@ flor.log("w1", w[1])
            if loss < best:
                best = loss
                np.save("best.npy", w)
        w = np.load("best.npy")
        flor.log("best", float(w @ w))
        #@ flor.log("best_w1", w[1])
        """
    files = {".gitignore": "*.npy\n"}
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(source), **files})
    first = project.run("train.py", "--kwargs", "seed=1")
    second = project.run("train.py", "--kwargs", "seed=2")
    project.write({"train.py": today(source)})
    before = project.state()
    project.command("add-log", "train.py", "--yes", env={"FLOR_SANDBOX": sandbox})
    assert project.state() == before
    names = ["w1", "best_w1"]
    for seed, run in ((1, first), (2, second)):
        expected = truth(
            tmp_path / f"t{seed}", {"train.py": today(source), **files}, names, "train.py", "--kwargs", f"seed={seed}"
        )
        assert filled(project, names, run) == expected


def test_same_script_twice_in_ignored_output(tmp_path: Path) -> None:
    """An output that is appended to by each run does not change what is filled."""
    source = """\
        import os
        import flor

        for epoch in flor.loop("epoch", range(3)):
            with open("log.txt", "a") as file:
                print(epoch, file=file)
            flor.log("epoch2", epoch * 2)
            #@ flor.log("epoch3", epoch * 3)
        """
    journey(tmp_path, source, "epoch3", files={".gitignore": "log.txt\n"})


@pytest.mark.parametrize("sandbox", ["overlay", pytest.param("links", marks=pytest.mark.slow)])
def test_torch_writes_past_python(tmp_path: Path, sandbox: str) -> None:
    """torch.save opens its file in C++, where no hook sees it."""
    source = """\
        import torch
        import flor

        torch.manual_seed(1)
        w = torch.zeros(3)
        for epoch in flor.loop("epoch", range(3)):
            w = w + torch.randn(3)
            torch.save(w, "last.pt")
            flor.log("w0", w[0].item())
            #@ flor.log("w1", w[1].item())
        """
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(source), ".gitignore": "*.pt\n"})
    run = project.run()
    project.write({"train.py": today(source)})
    before = project.state()
    project.command("add-log", "train.py", "--yes", env={"FLOR_SANDBOX": sandbox})
    assert project.state() == before
    assert len(project.values("w1", run)) == 3


def test_stale_best_file_after_the_loop(tmp_path: Path) -> None:
    """Only what follows the loop is asked for, and it loads a file that the skipped iterations wrote, or another run since."""
    source = """\
        import numpy as np
        import flor

        rng = np.random.default_rng(flor.arg("seed", 1))
        w, best = rng.normal(size=4), float("inf")
        for epoch in flor.loop("epoch", range(6)):
            w = w * 0.8 + 0.3 * rng.normal(size=4)
            flor.log("loss", float(w @ w))
            if float(w @ w) < best:
                best = float(w @ w)
                np.save("best.npy", w)
        w = np.load("best.npy")
        #@ flor.log("best_w1", w[1])
        """
    files = {".gitignore": "*.npy\n"}
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(source), **files})
    runs = {seed: project.run("train.py", "--kwargs", f"seed={seed}") for seed in (1, 2)}
    project.write({"train.py": today(source)})
    project.command("add-log", "train.py", "--yes")
    for seed, run in runs.items():
        words = ("--kwargs", f"seed={seed}")
        expected = truth(tmp_path / f"t{seed}", {"train.py": today(source), **files}, ["best_w1"], "train.py", *words)
        assert filled(project, ["best_w1"], run) == expected
