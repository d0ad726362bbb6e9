"""Runs recorded by ``flor-replay run`` are filled like any others, and proven by their state."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.support import Project

EVERY = {"FLOR_CHECKPOINTS": "all"}
TRAIN = '''"""Trains."""
import argparse
import time
import numpy as np
from lib.trainer import Trainer

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    trainer = Trainer(np.random.default_rng(1), options.lr)
    trainer.fit(options.epochs)
    print("best", trainer.best)

if __name__ == "__main__":
    main()
'''
LIB = """
import numpy as np

class Trainer:
    def __init__(self, rng, lr):
        self.rng, self.lr = rng, lr
        self.x = rng.normal(size=(60, 4))
        self.y = self.x @ np.arange(4.0)
        self.w = np.zeros(4)
        self.best = np.inf

    def fit(self, epochs):
        for epoch in range(epochs):
            self.train_epoch()
            loss = float(((self.x @ self.w - self.y) ** 2).mean())
            self.best = min(self.best, loss)
            print(f"epoch {epoch}: {loss:.3f}")

    def train_epoch(self):
        order = self.rng.permutation(60)
        for i, rows in enumerate(np.array_split(order, 6)):
            grad = self.x[rows].T @ (self.x[rows] @ self.w - self.y[rows]) / len(rows)
            self.w -= self.lr * grad
"""
ADDED = LIB.replace("import numpy", "import flor\nimport numpy", 1).replace(
    "            self.w -=", '            flor.log("grad", float(np.abs(grad).sum()))\n            self.w -='
)
ADDED = ADDED.replace(
    "            print(f", '            flor.log("norm", float(self.w @ self.w))\n            print(f'
)
NAMES = ["grad", "norm"]


def filled(project: Project, number: int = 0, names: list[str] = NAMES) -> list[list[object]]:
    run = project.runs()[number]
    return [project.values(name, run) for name in names]


def truth(folder: Path, files: dict[str, str], *words: str, names: list[str] = NAMES) -> list[list[object]]:
    """What a run logs that had the statements from the start."""
    project = Project(folder)
    project.commit("with", files)
    project.command("run", *words)
    return filled(project, -1, names)


@pytest.mark.slow
def test_several_versions_of_a_trainer_class(project: Project, tmp_path: Path) -> None:
    older = LIB.replace("(4)\n", "(4)\n        # a line more above the loops\n", 1).replace("0.5", "0.5")
    project.commit("first", {"train.py": TRAIN, "lib/trainer.py": older, "lib/__init__.py": ""})
    project.command("run", "train.py", "--lr", "0.2", env=EVERY)
    project.commit("second", {"lib/trainer.py": LIB})
    project.command("run", "-m", "train", "--epochs", "5", env=EVERY)
    project.write({"lib/trainer.py": ADDED})
    before = project.state()
    done = project.command("add-log", "lib/trainer.py", "--yes")
    assert project.state() == before
    assert "exact" in done.stderr and "the whole script" not in done.stderr
    files = {"train.py": TRAIN, "lib/__init__.py": ""}
    older_with = ADDED.replace("(4)\n", "(4)\n        # a line more above the loops\n", 1)
    first = truth(tmp_path / "a", {**files, "lib/trainer.py": older_with}, "train.py", "--lr", "0.2")
    assert filled(project, 0) == first and len(first[0]) == 24
    second = truth(tmp_path / "b", {**files, "lib/trainer.py": ADDED}, "train.py", "--epochs", "5")
    assert filled(project, 1) == second and len(second[1]) == 5
    frame = project.dataframe("grad", "norm", fidelity=True)
    assert set(frame["grad_fidelity"]) == {"exact"}
    assert {"epoch", "i"} <= set(frame.columns) and not frame.isna()["norm"].any()
    done = project.command("add-log", "lib/trainer.py", "--yes")
    assert "nothing to replay" in done.stderr


@pytest.mark.slow
def test_loops_that_ask_a_condition(project: Project, tmp_path: Path) -> None:
    """`while` around `while`, one left by break: entered at checkpoints, with the counters as they were there."""
    plain = """
import numpy as np; import time

def main(steps):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 3))
    w, step, since = np.zeros(3), 0, 0
    while True:
        rows = rng.integers(0, 40, 8); time.sleep(0.05)
        tries = 0
        while tries < 3 and since < 100:
            grad = x[rows].T @ (x[rows] @ w - 1) / len(rows)
            w -= 0.05 * grad
            tries += 1
            since += 1
        step += 1
        if step > steps:
            break
    print(w)

main(9)
"""
    added = plain.replace("            w -=", '            flor.log("grad", float(grad @ grad))\n            w -=')
    added = added.replace("        if step >", '        flor.log("norm", float(w @ w) + step)\n        if step >')
    added = added.replace("import numpy", "import flor\nimport numpy")
    project.commit("plain", {"train.py": plain})
    loops = ["--loop", "train.py:8", "--loop", "train.py:11"]
    told = project.command("run", *loops, "train.py", env=EVERY).stderr
    assert "step (train.py:8), tries (train.py:11)" in told
    project.write({"train.py": added})
    done = project.command("add-log", "train.py", "--yes", "--iters", "step=4:7", "--json")
    assert '"exact"' in done.stdout and "from the start" not in done.stderr
    project.command("add-log", "train.py", "--yes")
    loops = ["--loop", "train.py:9", "--loop", "train.py:12"]
    expected = truth(tmp_path / "t", {"train.py": added}, *loops, "train.py")
    assert filled(project) == expected and len(expected[1]) == 10 and len(expected[0]) == 30
    assert project.dataframe("norm")["step"].tolist() == [*range(10)]


TIMED = """
import time
import numpy as np

class Meter:
    def __init__(self):
        self.sum, self.n = 0.0, 0

    def update(self, val, n=1):
        self.sum += val * n
        self.n += n

class Trainer:
    def __init__(self):
        self.w, self.began, self.took, self.times = np.ones(3), time.time(), 0.0, []
        self.batch_time, self.losses = Meter(), Meter()

    def fit(self, optimizer):
        rng = np.random.default_rng(2)
        for epoch in range(6):
            for step in range(3):
                t0 = time.perf_counter()
                grad = self.w * 0.5 + rng.normal(size=3) * 0.01
                self.w = optimizer.step(self.w, grad)
                self.losses.update(float(grad @ grad))
                self.batch_time.update(time.perf_counter() - t0)
            self.times.append(time.time() - self.began)
            self.took = time.time() - self.began
        print(self.took, self.w)

class Optimizer:
    def step(self, w, grad):
        return w - 0.1 * grad

Trainer().fit(Optimizer())
"""


def test_a_script_that_takes_the_time_is_proven_all_the_same(project: Project, tmp_path: Path) -> None:
    """What its clocks said then is in the recorded state, in variables, lists and meters, and is another now."""
    project.commit("plain", {"train.py": TIMED})
    project.command("run", "train.py", env=EVERY)
    added = TIMED.replace(
        "            self.took =", '            flor.log("w", float(self.w @ self.w))\n            self.took ='
    )
    added = added.replace("import time\n", "import time\nimport flor\n", 1)
    project.write({"train.py": added})
    done = project.command("add-log", "train.py", "--yes")
    assert "exact" in done.stderr and "run instead" not in done.stderr
    assert filled(project, 0, ["w"]) == truth(tmp_path / "t", {"train.py": added}, "train.py", names=["w"])
    spoiled = added.replace("self.took =", "self.losses.update(1.0)\n            self.took =").replace('"w", ', '"v", ')
    spoiled = spoiled.replace("self.losses.update(1.0)", 'flor.log("l", self.losses.update(1.0))')
    project.write({"train.py": spoiled})
    done = project.command("add-log", "train.py", "--yes", check=None)
    assert "exact" not in done.stderr.split("about")[1], done.stderr


SCRIPT = """import numpy as np
import time
rng = np.random.default_rng(0)
w = rng.normal(size=3)
for epoch in range(5):
    for step in range(4):
        grad = w * 0.5 + rng.normal(size=3) * 0.01
        w -= 0.1 * grad
    print(w.sum())
"""
LOGGED = SCRIPT.replace("import time\n", "import time\nimport flor\n").replace(
    "    print(", '    flor.log("w", float(w[0]))\n    print('
)


def test_todays_file_names_its_loops_itself(project: Project, tmp_path: Path) -> None:
    """The older version is plain; today's has flor.loop around the same loops."""
    project.commit("plain", {"train.py": SCRIPT})
    project.command("run", "train.py", env=EVERY)
    today = LOGGED.replace("range(5)", 'flor.loop("epoch", range(5))').replace(
        "range(4)", 'flor.loop("step", range(4))'
    )
    project.write({"train.py": today})
    project.command("add-log", "train.py", "--yes")
    assert filled(project, 0, ["w"]) == truth(tmp_path / "t", {"train.py": LOGGED}, "train.py", names=["w"])
    project.python("train.py")
    frame = project.dataframe("w")
    assert len(frame) == 10 and frame["epoch"].tolist() == [*range(5), *range(5)]


def test_a_script_without_a_loop_is_replayed_whole(project: Project, tmp_path: Path) -> None:
    plain = SCRIPT.replace("for epoch in range(5):", "epoch = -1\nwhile (epoch := epoch + 1) < 5:\n    pass")
    plain = plain.replace("    for step in range(4):\n    ", "    if True:\n    ")
    with_log = plain.replace("import time\n", "import time\nimport flor\n").replace(
        "    print(", '    flor.log("w", float(w[0]))\n    print('
    )
    project.commit("plain", {"train.py": plain})
    assert "no loop is named" in project.command("run", "train.py").stderr
    project.write({"train.py": with_log})
    done = project.command("add-log", "train.py", "--yes")
    assert "the whole script" in done.stderr and "unchecked" in done.stderr
    assert filled(project, 0, ["w"]) == truth(tmp_path / "t", {"train.py": with_log}, "train.py", names=["w"])


def test_a_statement_that_disturbs_training_is_found_out(project: Project) -> None:
    """It draws from the generator that training draws from: nothing was logged, and the state tells."""
    legacy = SCRIPT.replace("np.random.default_rng(0)", "np.random.RandomState(0)").replace(
        "rng = ", "np.random.seed(1)\nrng = "
    )
    legacy = legacy.replace("rng.normal(size=3) * 0.01", "np.random.normal(size=3) * 0.01")
    project.commit("plain", {"train.py": legacy})
    project.command("run", "train.py", env=EVERY)
    project.write(
        {
            "train.py": "import flor\n"
            + legacy.replace("        w -=", '        flor.log("noise", float(np.random.rand()))\n        w -=')
        }
    )
    done = project.command("add-log", "train.py", "--yes", check=3)
    assert "diverged" in done.stderr and "the random generator of numpy" in done.stderr
    assert project.values("noise") == []


def test_a_clock_in_the_state_leaves_it_unchecked_and_says_so(project: Project) -> None:
    clock = SCRIPT.replace("    print(", "    seen = time.ctime() + str(time.time())\n    print(")
    project.commit("plain", {"train.py": clock})
    project.command("run", "train.py", env=EVERY)
    project.write({"train.py": LOGGED.replace("    print(", "    seen = time.ctime() + str(time.time())\n    print(")})
    done = project.command("add-log", "train.py", "--yes")
    assert "unchecked" in done.stderr
    assert "the state afterwards was the recorded one but for module:__main__.seen" in done.stderr


@pytest.mark.slow
def test_weights_that_come_out_otherwise_diverge(project: Project) -> None:
    """Seeded by the clock, where no replay can know it."""
    text = """
        import time, torch
        generator = torch.Generator().manual_seed(time.time_ns())
        net = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for epoch in range(3):
            loss = net(torch.randn(8, 3, generator=generator)).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """
    project.commit("plain", {"train.py": text})
    project.command("run", "train.py", env={"FLOR_CHECKPOINTS": "all"})
    project.write(
        {
            "train.py": text.replace("import time", "import flor, time").replace(
                "            optimizer.step", '            flor.log("loss", loss.item())\n            optimizer.step'
            )
        }
    )
    done = project.command("add-log", "train.py", "--yes", check=3)
    assert "diverged" in done.stderr and "the state was not the recorded one" in done.stderr
    assert project.values("loss") == []


@pytest.mark.skipif(importlib.util.find_spec("tqdm") is None, reason="tqdm is not installed")
@pytest.mark.parametrize(
    "header", ["for epoch in tqdm(range(5)):", "for epoch in trange(5):", "bar = tqdm(range(5))\nfor epoch in bar:"]
)
def test_under_a_progress_bar(project: Project, tmp_path: Path, header: str) -> None:
    plain = SCRIPT.replace("import time\n", "import time\nfrom tqdm import tqdm, trange\n").replace(
        "for epoch in range(5):", header
    )
    with_log = plain.replace("import time\n", "import time\nimport flor\n").replace(
        "    print(", '    flor.log("w", float(w[0]))\n    print('
    )
    project.commit("plain", {"train.py": plain})
    done = project.command("run", "train.py", env=EVERY)
    assert "loops: epoch" in done.stderr
    project.write({"train.py": with_log})
    assert "exact" in project.command("add-log", "train.py", "--yes").stderr
    assert filled(project, 0, ["w"]) == truth(tmp_path / "t", {"train.py": with_log}, "train.py", names=["w"])


def test_a_run_that_was_killed_is_filled_as_far_as_it_came(project: Project) -> None:
    kill = "    if epoch == 3:\n        import os\n        time.sleep(1.5)  # what was recorded is on disk\n        os.kill(os.getpid(), 9)\n"
    killed = SCRIPT.replace("    print(w.sum())\n", "    print(w.sum(), flush=True)\n" + kill)
    project.commit("plain", {"train.py": killed})
    project.command("run", "train.py", env=EVERY, check=-9)
    with_log = killed.replace("import time\n", "import time\nimport flor\n")
    project.write({"train.py": with_log.replace("    print(", '    flor.log("w", float(w[0]))\n    print(')})
    assert "exact" in project.command("add-log", "train.py", "--yes").stderr
    assert len(project.values("w")) == 3  # the fourth iteration was not completed
    assert len(Path(project.runs()[0].folder.output).read_text().splitlines()) == 4


LEFT = """
import random
import torch

torch.manual_seed(0)
random.seed(0)
net = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for epoch in range(50):
    loss = net(torch.randn(8, 4)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch == 4:
        break
else:
    raise SystemExit("it was not left")
weight = float(net.weight.sum())
"""


def test_a_loop_that_is_left_is_proven_by_the_state_in_which_it_was_left(project: Project, tmp_path: Path) -> None:
    project.commit("plain", {"train.py": LEFT})
    project.command("run", "train.py")
    with_statements = (
        LEFT.replace("import random", "import flor\nimport random").replace(
            "    if epoch == 4", "    flor.log('norm', float(net.weight.norm()))\n    if epoch == 4"
        )
        + "flor.log('weight', weight)\n"
    )
    project.write({"train.py": with_statements})
    project.command("add-log", "train.py", "--yes")
    (replay,) = project.replays()
    assert replay.fidelity["verdict"] == "exact"
    assert replay.info["states"]["compared"] == 1
    assert replay.info["segment"]["end"] is None

    truth = Project(tmp_path / "truth")
    truth.commit("with", {"train.py": with_statements})
    truth.command("run", "train.py")
    for name in ("norm", "weight"):
        assert project.values(name) == truth.values(name) != []


def test_another_state_when_a_loop_is_left_proves_nothing(project: Project) -> None:
    """What the statement draws changes the weights that come after, and is not called exact."""
    project.commit("plain", {"train.py": LEFT})
    project.command("run", "train.py")
    changed = LEFT.replace("import random", "import flor\nimport random").replace(
        "    if epoch == 4", "    flor.log('drawn', float(torch.rand(())))\n    if epoch == 4"
    )
    project.write({"train.py": changed})
    project.command("add-log", "train.py", "--yes", check=None)
    assert all(replay.fidelity["verdict"] != "exact" for replay in project.replays())
