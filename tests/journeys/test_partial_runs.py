"""Runs that did not go through: stopped early, failed, cut off, endless. They are filled as far as they went."""

from __future__ import annotations

from pathlib import Path

from tests.journeys.journey import filled, journey, recorded, today, truth
from tests.support import Project


def test_early_stopping(tmp_path: Path) -> None:
    source = """\
        import numpy as np
        import flor

        rng = np.random.default_rng(1)
        w, loss = np.ones(3), 9.0
        for epoch in flor.loop("epoch", range(50)):
            for step in flor.loop("step", range(5)):
                w = w * 0.9 + 0.01 * rng.normal(size=3)
                if step == 3:
                    break
                #@ flor.log("w0", w[0])
            #@ flor.log("w1", w[1])
            loss = float(w @ w)
            flor.log("loss", loss)
            if loss < 0.2:
                break
            #@ flor.log("w2", w[2])
        flor.log("epochs", epoch)
        #@ flor.log("end", w[2])
        """
    journey(tmp_path, source, "w0", "w1", "w2", "end")


def test_a_run_that_raised(tmp_path: Path) -> None:
    source = """\
        import numpy as np
        import flor

        w = np.ones(3)
        for epoch in flor.loop("epoch", range(6)):
            for step in flor.loop("step", range(2)):
                w = w * 1.5
                flor.log("w0", w[0])
                #@ flor.log("w1", w[1])
            if epoch == 3:
                raise FloatingPointError("diverging")
            #@ flor.log("bottom", w.sum())
        """
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(source)})
    run = project.run(check=False)
    assert run.status == "failed"
    assert "failed" in project.command("runs").stdout
    project.write({"train.py": today(source)})
    before = project.state()
    project.command("add-log", "train.py", "--yes")
    assert project.state() == before
    expected = truth(tmp_path / "truth", {"train.py": today(source)}, ["w1", "bottom"], check=False)
    values = filled(project, ["w1", "bottom"], run)
    assert values["bottom"] == expected["bottom"]
    # At least all complete iterations; the one that raised may be filled as well.
    assert len(values["w1"]) >= 6
    assert values["w1"] == expected["w1"][: len(values["w1"])]


def test_a_loop_that_the_script_keeps(tmp_path: Path) -> None:
    """What holds the loop's iterator (a progress bar, enumerate) outlives the break: its end is never seen."""
    source = """\
        import flor

        total = 0
        bar = enumerate(flor.loop("step", range(50)))
        for index, step in bar:
            total += step
            flor.log("total", total)
            #@ flor.log("index", index)
            if total > 40:
                break
        #@ flor.log("end", total)
        """
    journey(tmp_path, source, "index", "end")


def test_an_endless_iterator(tmp_path: Path) -> None:
    source = """\
        import itertools
        import numpy as np
        import flor

        def batches(seed):
            rng = np.random.default_rng(seed)
            while True:
                yield rng.normal(size=3)

        w = np.zeros(3)
        for step, batch in flor.loop("step", enumerate(batches(3))):
            w = 0.9 * w + 0.1 * batch
            flor.log("w0", w[0])
            #@ flor.log("seen", float(batch[1]))
            if step == 20:
                break
        #@ flor.log("end", w.tolist())
        """
    journey(tmp_path, source, "seen", "end")


def test_no_loop_at_all(tmp_path: Path) -> None:
    source = """\
        import numpy as np
        import flor

        rng = np.random.default_rng(flor.arg("seed", 3))
        for epoch in range(4):
            x = rng.normal(size=3)
            flor.log("x0", x[0])
            #@ flor.log("x1", x[1])
        """
    journey(tmp_path, source, "x1", words=["--kwargs", "seed=8"])


def test_no_checkpoints(tmp_path: Path) -> None:
    source = """\
        import numpy as np
        import flor

        rng = np.random.default_rng(3)
        w = np.zeros(3)
        for epoch in flor.loop("epoch", range(4)):
            for step in flor.loop("step", range(3)):
                w = w + rng.normal(size=3)
            flor.log("w0", w[0])
            #@ flor.log("w1", w[1])
        #@ flor.log("w2", w[2])
        """
    journey(tmp_path, source, "w1", "w2", env={"FLOR_CHECKPOINTS": "off"})
