"""State that hides: in the patch, in a helper, in gradients, in the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.journey import journey, recorded, today
from tests.support import Project


def test_state_of_the_patch_itself(tmp_path: Path) -> None:
    """A moving average that the patch carries from epoch to epoch, and one from step to step."""
    source = """\
        import numpy as np
        import flor

        rng = np.random.default_rng(2)
        w = np.zeros(3)
        #@ ema = 0.0
        for epoch in flor.loop("epoch", range(5)):
            #@ total = 0.0
            for step in flor.loop("step", range(3)):
                w = w + rng.normal(size=3)
                #@ total += float(w[0])
                #@ flor.log("total", total)
            flor.log("w0", w[0])
            #@ ema = 0.9 * ema + 0.1 * float(w[0])
            #@ flor.log("ema", ema)
        """
    journey(tmp_path, source, "ema", "total")


def test_a_counter_in_a_default_argument(tmp_path: Path) -> None:
    source = """\
        import numpy as np
        import flor

        #@ def counted(value, seen=[]):
        #@     seen.append(value)
        #@     return len(seen)
        #@
        #@
        rng = np.random.default_rng(2)
        w = np.zeros(3)
        for epoch in flor.loop("epoch", range(5)):
            for step in flor.loop("step", range(2)):
                w = w + rng.normal(size=3)
            flor.log("w0", w[0])
            #@ flor.log("count", counted(w[0]))
        """
    journey(tmp_path, source.replace("#@\n", "#@ \n"), "count")


def test_the_clock_is_not_compared(tmp_path: Path) -> None:
    source = """\
        import time
        import numpy as np
        import flor

        rng = np.random.default_rng(2)
        w, began = np.zeros(3), time.time()
        for epoch in flor.loop("epoch", range(4)):
            w = w + rng.normal(size=3)
            flor.log("w0", w[0])
            seconds = time.time() - began
            flor.log("seconds", seconds)
            flor.log("rate", 1 / (seconds + 1))
            #@ flor.log("w1", w[1])
        """
    journey(tmp_path, source, "w1")


def test_state_in_a_helper_of_the_old_version(tmp_path: Path) -> None:
    """A module's global, a closure, a generator and a default argument that the old script itself counts in."""
    source = """\
        import numpy as np
        import flor
        import helper

        def draws(seed):
            rng = np.random.default_rng(seed)
            while True:
                yield rng.normal()

        def counter():
            count = 0
            def step():
                nonlocal count
                count += 1
                return count
            return step

        def remember(value, seen=[]):
            seen.append(value)
            return sum(seen)

        stream, step_count, w = draws(3), counter(), 0.0
        for epoch in flor.loop("epoch", range(5)):
            for step in flor.loop("step", range(2)):
                w += next(stream) * helper.scale()
                step_count()
            flor.log("w", w)
            total = remember(w)
            #@ flor.log("total", total)
            #@ flor.log("again", w * 2)
        #@ flor.log("steps", step_count())
        """
    helper = "calls = 0\n\n\ndef scale():\n    global calls\n    calls += 1\n    return 1 / calls\n"
    journey(tmp_path, source, "total", "again", "steps", files={"helper.py": helper})


@pytest.mark.slow
def test_a_gradient_at_the_top_of_an_iteration(tmp_path: Path) -> None:
    """It is the last iteration's, and in no state_dict: the true value, never 0 or None."""
    source = """\
        import torch
        import flor

        torch.manual_seed(flor.arg("seed", 1))
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        x = torch.randn(32, 4)
        y = x.sum(1, keepdim=True)

        def grad_norm():
            grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
            return float(torch.cat(grads).norm()) if grads else -1.0

        for epoch in flor.loop("epoch", range(4)):
            #@ flor.log("grad_top", grad_norm())
            for step in flor.loop("step", range(3)):
                loss = torch.nn.functional.mse_loss(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                flor.log("loss", loss.item())
            #@ flor.log("grad_bottom", grad_norm())
        #@ flor.log("grad_after", grad_norm())
        """
    journey(tmp_path, source, "grad_top", "grad_bottom", "grad_after", words=["--kwargs", "seed=4"])


def test_what_a_clock_says_is_about_the_replay(tmp_path: Path) -> None:
    """A statement that asks for a time cannot be proven, whatever else came out the same; others in the same patch are."""
    source = """\
        import time
        import numpy as np
        import flor

        w = np.ones(3)
        for epoch in flor.loop("epoch", range(3)):
            t0 = time.perf_counter()
            w = w * 0.5
            flor.log("w0", w[0])
            #@ flor.log("took", time.perf_counter() - t0)
            #@ flor.log("w1", w[1] * 3)
        """
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(source)})
    project.run()
    project.write({"train.py": today(source)})
    done = project.command("add-log", "train.py", "--yes")
    assert "took: read from a clock" in done.stderr and "exact" in done.stderr
    frame = project.dataframe("took", "w1", fidelity=True)
    assert set(frame["took_fidelity"]) == {"unchecked"} and set(frame["w1_fidelity"]) == {"exact"}
    project.write({"train.py": today(source).replace('"took"', '"spent"')})
    done = project.command("add-log", "train.py", "--yes", "--name", "spent")
    assert "unchecked" in done.stderr and "exact" not in done.stderr
