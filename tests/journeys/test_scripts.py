"""Scripts as people start and lay them out; statements as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.journey import TRAIN, bits, filled, journey, recorded, today, truth
from tests.support import Project

ARGPARSE = """\
    import argparse, os, sys
    import numpy as np
    import flor
    #@ import math

    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--iter", type=int, default=3)
    parser.add_argument("--name", default="x")
    args = parser.parse_args()
    w = np.ones(3)
    for epoch in flor.loop("epoch", range(args.iter)):
        for step in flor.loop("step", range(2)):
            w = w * (1 - args.lr)
            flor.log("w0", w[0])
            #@ root = math.sqrt(abs(w[1]))
            #@ flor.log("root", root)
    flor.log("name", f"{args.name} {os.path.basename(os.getcwd())} {os.path.basename(sys.argv[0])}")
    #@ flor.log("argv", sys.argv[1:])
    """


def test_own_flags(tmp_path: Path) -> None:
    journey(tmp_path, ARGPARSE, "root", "argv", words=["--lr", "0.25", "--iter", "4", "--name", "a b"])


def test_arguments_from_the_environment(tmp_path: Path) -> None:
    source = ARGPARSE.replace("w = np.ones(3)", 'w = np.ones(3) * flor.arg("scale", 1.0)')
    journey(tmp_path, source, "root", "argv", words=["--iter", "2"], env={"FLOR_ARGS": "scale=2.5"})


@pytest.mark.parametrize("cwd", [".", "experiments/one"])
def test_script_in_a_subfolder(tmp_path: Path, cwd: str) -> None:
    """From the root and from its own folder; it reads a tracked file beside where it stands."""
    source = ARGPARSE.replace("w = np.ones(3)", "w = np.ones(3) * float(open('scale.txt').read())")
    place = "experiments/one/train.py"
    files = {f"{cwd}/scale.txt": "3.5", "experiments/one/other.py": "x = 1\n"}
    script = "train.py" if cwd != "." else place
    project = Project(tmp_path / "project")
    project.commit(files={place: recorded(source), **files})
    run = project.run(script, "--lr", "0.3", cwd=cwd)
    project.write({place: today(source)})
    before = project.state()
    project.command("add-log", script, "--yes", cwd=cwd)
    assert project.state() == before
    assert run.filename == place
    expected = truth(
        tmp_path / "project2", {place: today(source), **files}, ["root", "argv"], script, "--lr", "0.3", cwd=cwd
    )
    assert filled(project, ["root", "argv"], run) == expected


@pytest.mark.parametrize("sandbox", ["overlay", pytest.param("links", marks=pytest.mark.slow)])
def test_modules_that_pythonpath_leads_to(tmp_path: Path, sandbox: str) -> None:
    """Of the version, not of today; also from a shell that does not set it. A child process of the script finds them too."""
    train = """\
        import subprocess, sys
        import flor
        from rule import grown

        w = 1.0
        for epoch in flor.loop("epoch", range(3)):
            w = grown(w)
            flor.log("w", w)
            #@ flor.log("twice", w * 2)
        flor.log("child", subprocess.run([sys.executable, "-c", "import rule; print(rule.grown(1.0))"],
                 capture_output=True, text=True).stdout)
        """
    rule = "def grown(w):\n    return w * 1.5\n"
    files = {"tools/train.py": recorded(train), "src/rule.py": rule}
    project = Project(tmp_path / "project")
    project.commit(files=files)
    run = project.run("tools/train.py", env={"PYTHONPATH": "src:/nowhere"})
    project.write({"tools/train.py": today(train), "src/rule.py": rule.replace("1.5", "7.0")})
    done = project.command("add-log", "tools/train.py", "--yes", env={"FLOR_SANDBOX": sandbox})
    assert "exact" in done.stderr
    assert filled(project, ["twice"], run) == {"twice": bits([3.0, 4.5, 6.75])}


def test_module_of_a_package(tmp_path: Path) -> None:
    """`python -m pkg.train`, with relative imports; a statement in the imported module as well."""
    train = """\
        import numpy as np
        import flor
        from .model import update

        w = np.ones(3)
        for epoch in flor.loop("epoch", range(flor.arg("epochs", 2))):
            w = update(w, epoch)
            #@ flor.log("w_sum", w.sum())
            flor.log("w0", w[0])
        """
    model = """\
        import flor
        #@ import numpy as np


        def update(w, epoch):
            change = w * 0.1 * (epoch + 1)
            #@ flor.log("change", np.abs(change).max())
            return w - change
        """
    project = Project(tmp_path / "project")
    project.commit(files={"pkg/__init__.py": "", "pkg/train.py": recorded(train), "pkg/model.py": recorded(model)})
    run = project.run("-m", "pkg.train", "--kwargs", "epochs=3")
    project.write({"pkg/train.py": today(train), "pkg/model.py": today(model)})
    before = project.state()
    # First the module alone: today's train.py is not part of it.
    project.command("add-log", "pkg/model.py", "--yes")
    assert project.values("w_sum", run) == []
    project.command("add-log", "pkg/train.py", "pkg/model.py", "--yes")
    assert project.state() == before
    files = {"pkg/__init__.py": "", "pkg/train.py": today(train), "pkg/model.py": today(model)}
    names = ["w_sum", "change"]
    assert filled(project, names, run) == truth(
        tmp_path / "truth", files, names, "-m", "pkg.train", "--kwargs", "epochs=3"
    )


def test_renamed_script(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.commit(files={"main.py": recorded(ARGPARSE)})
    old = project.run("main.py", "--lr", "0.2")
    project.git("mv", "main.py", "train.py")
    project.commit("renamed")
    new = project.run("train.py")
    # And once more, after the last run.
    project.git("mv", "train.py", "fit.py")
    project.commit("renamed again")
    project.write({"fit.py": today(ARGPARSE)})
    project.command("add-log", "fit.py", "--yes")
    assert filled(project, ["root"], old) == truth(
        tmp_path / "t1", {"main.py": today(ARGPARSE)}, ["root"], "main.py", "--lr", "0.2"
    )
    assert filled(project, ["root"], new) == truth(tmp_path / "t2", {"train.py": today(ARGPARSE)}, ["root"])


def test_helper_function_import_and_feeding_assignment(tmp_path: Path) -> None:
    source = """\
        import numpy as np
        import flor
        #@ from math import hypot as length

        #@ SCALE = 10
        #@
        #@
        #@ def norm(v, scale=SCALE):
        #@     return scale * length(*v)
        #@
        #@
        w = np.ones(3)
        for epoch in flor.loop("epoch", range(3)):
            g = np.sin(w + epoch)
            #@ size = norm(g)
            #@ if epoch % 2 == 0:
            #@     flor.log("size", size)
            w = w - 0.1 * g
            flor.log("w0", w[0])
        """
    source = source.replace("#@\n", "#@ \n")
    project = journey(tmp_path, source, "size")
    assert project.dataframe("size").dropna()["epoch"].tolist() == [0, 2]


def test_ways_to_write_a_log(tmp_path: Path) -> None:
    """f-string and keyword logs elsewhere in the file, `from flor import log`, a name in a variable, several in a loop."""
    source = """\
        import numpy as np
        import flor as fl
        from flor import log, loop as each

        w = np.arange(3.0)
        kind = "w"
        for epoch in each("epoch", range(3)):
            for step in fl.loop("step", [10, 20]):
                w = w * 0.9 + step
                log(f"{kind}_first", w[0])
                fl.log(name="second", value=w[1])
                #@ log("third", value=w[2])
            #@ for place, part in enumerate(w):
            #@     fl.log(f"part_{place}", float(part))
        """
    journey(tmp_path, source, "third", "part_0", "part_2")


def test_loop_in_a_method_and_log_in_a_property_of_it(tmp_path: Path) -> None:
    source = """\
        import numpy as np
        import flor


        class Trainer:
            def __init__(self, seed):
                self.rng = np.random.default_rng(seed)
                self.w = np.zeros(2)
                self.history = []

            def fit(self):
                for epoch in flor.loop("epoch", range(4)):
                    self.epoch()
                    flor.log("loss", float(self.w @ self.w))
                    #@ flor.log("length", len(self.history))
                return self

            def epoch(self):
                for step in flor.loop("step", range(2)):
                    self.w = self.w + self.rng.normal(size=2)
                    self.history.append(self.w[0])
                    #@ flor.log("spread", float(np.std(self.history)))


        if __name__ == "__main__":
            trainer = Trainer(flor.arg("seed", 4)).fit()
            #@ flor.log("best", max(trainer.history))
        """
    journey(tmp_path, source, "length", "spread", "best", words=["--kwargs", "seed=9"])


def test_two_scripts_in_one_project(project: Project) -> None:
    """A statement of one script does not run the other."""
    project.commit(files={"train.py": TRAIN, "prep.py": "import flor\nflor.log('rows', 10)\n"})
    prep = project.run("prep.py")
    run = project.run()
    project.write({"train.py": TRAIN.replace("#bottom", 'flor.log("w0", w[0])')})
    done = project.command("add-log", "train.py", "--yes")
    assert len(project.values("w0", run)) == 4
    assert [replay.replay_of for replay in project.replays()] == [run.run]
    assert "1 of 1 version filled" in done.stderr
    assert bits(project.values("rows", prep)) == ["10"]


def test_what_argparse_found_is_a_column(tmp_path: Path) -> None:
    """Beside what was logged, where nothing was logged under its name; in conditions too; secrets stay out."""
    source = """\
        import argparse
        import flor

        def main():
            parser = argparse.ArgumentParser()
            parser.add_argument("--lr", type=float, default=0.1)
            parser.add_argument("--name", default=None)
            parser.add_argument("--sizes", type=int, nargs="*", default=[3, 4])
            parser.add_argument("--epochs", type=int, default=2)
            parser.add_argument("--api-key", default="sesame")
            opt = parser.parse_args()
            for epoch in flor.loop("epoch", range(opt.epochs)):
                flor.log("loss", opt.lr * epoch)
                #@ flor.log("twice", opt.lr * 2)
            flor.log("epochs", 99)

        main()
        """
    project = Project(tmp_path / "project")
    project.commit(files={"train.py": recorded(source)})
    project.run("train.py")
    project.run("train.py", "--lr", "0.5", "--name", "b", "--epochs", "1")
    frame = project.dataframe("loss", "lr", "name", "epochs")
    assert frame["lr"].tolist() == [0.1, 0.1, 0.5] and frame["name"].tolist() == [None, None, "b"]
    assert frame["epochs"].tolist() == [99, 99, 99], "what was logged under the name counts"
    alone = project.dataframe("lr", "sizes")
    assert alone["lr"].tolist() == [0.1, 0.5] and alone["sizes"].tolist() == [[3, 4], [3, 4]]
    assert project.dataframe()["lr"].tolist() == [0.1, 0.5]
    assert "sesame" not in "".join(path.read_text() for path in project.store.glob("runs/*/run.json"))
    project.write({"train.py": today(source)})
    project.command("add-log", "train.py", "--yes", "--where", "lr < 0.3 and name is null")
    assert project.dataframe("twice", "lr")["twice"].dropna().tolist() == [0.2, 0.2]
