"""Scripts as users write them, run as users run them: what is recorded, and what is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import Project

QUIET = {"FLOR_CHECKPOINTS": "off"}


def record(project: Project, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    project.write({"train.py": code})
    return project.python("train.py", *words, env=QUIET)


def test_nothing_is_printed_and_the_script_sees_its_own_values(project: Project) -> None:
    code = """
        import flor
        assert flor.log("x", [1]) == [1]
        assert flor.arg("lr", 0.1) == 0.1
        assert list(flor.loop("epoch", (i for i in "ab"))) == ["a", "b"]
        assert len(flor.loop("epoch", [1, 2])) == 2
        for i in flor.loop("epoch", range(3)):
            flor.log("loss", i)
    """
    done = record(project, code)
    assert done.stdout == done.stderr == ""
    assert [run.status for run in project.runs()] == ["finished"]


def test_leaving_a_loop_closes_it(project: Project) -> None:
    code = """
        import flor

        def returns():
            for i in flor.loop("r", range(9)):
                if i == 1:
                    return
        def fails():
            for i in flor.loop("f", range(9)):
                for j in flor.loop("g", range(9)):
                    raise ValueError
        def generates():
            yield from flor.loop("y", range(9))

        for i in flor.loop("b", range(9)):
            if i == 1:
                break
        flor.log("after", "break")
        returns()
        flor.log("after", "return")
        try:
            fails()
        except ValueError:
            flor.log("after", "except")
        for i in generates():
            break
        flor.log("after", "generator")
        for i in flor.loop("outer", range(2)):
            for j in flor.loop("inner", range(9)):
                if j == i:
                    break
            flor.log("at", i)
            for j in flor.loop("inner", range(9)):
                continue
        for i in enumerate(zip(flor.loop("z", range(9)), "ab")):
            pass
        flor.log("after", "zip")
    """
    record(project, code)
    frame = project.dataframe("after")
    assert frame["after"].tolist() == ["break", "return", "except", "generator", "zip"]
    assert list(frame.columns) == ["projid", "tstamp", "filename", "after"]
    assert project.dataframe("at")["outer"].tolist() == [0, 1]


def test_two_loops_that_run_side_by_side_both_run_to_their_end(project: Project) -> None:
    code = """
        import flor
        seen = []
        for a, b in zip(flor.loop("a", range(4)), flor.loop("b", "wxyz")):
            seen.append((a, b))
            flor.log("x", b)
        assert seen == [(0, "w"), (1, "x"), (2, "y"), (3, "z")], seen
        first, second = iter(flor.loop("p", range(3))), iter(flor.loop("q", range(3)))
        assert [next(first), next(second), next(first), next(second), next(second), next(first)] == [0, 0, 1, 1, 2, 2]
    """
    record(project, code)
    frame = project.dataframe("x")
    assert frame["a"].tolist() == frame["b"].tolist() == [0, 1, 2, 3]
    assert frame["b_value"].tolist() == list("wxyz")


def test_items_are_drawn_one_by_one_and_an_endless_stream_ends_by_break(project: Project) -> None:
    code = """
        import itertools, flor
        drawn = []
        def stream():
            for i in itertools.count():
                drawn.append(i)
                yield i
        for i in flor.loop("step", stream()):
            assert drawn[-1] == i
            flor.log("x", i)
            if i == 3:
                break
        assert drawn == [0, 1, 2, 3]
    """
    record(project, code)
    assert project.values("x") == [0, 1, 2, 3]


def test_iterations_for_callbacks_that_own_no_loop(project: Project) -> None:
    code = """
        import flor
        for fit in range(2):
            for epoch in range(2):
                for step in range(2):
                    with flor.iteration("epoch", epoch), flor.iteration("step", step):
                        flor.log("loss", f"{fit}{epoch}{step}")
                with flor.iteration("epoch", epoch):
                    flor.log("acc", f"{fit}{epoch}")
        for name in ("a.pdf", "b.pdf"):
            with flor.iteration("document", value=name):
                flor.log("pages", len(name))
        try:
            flor.iteration("epoch", "one").__enter__()
        except Exception as error:
            print(error)
    """
    done = record(project, code)
    assert "'epoch', 'one'): the index is a whole number" in done.stdout
    frame = project.dataframe("loss", "acc")
    assert frame["loss"].tolist() == [f"{f}{e}{s}" for f in "01" for e in "01" for s in "01"]
    assert frame["acc"].tolist() == [f"{f}{e}" for f in "01" for e in "01" for _ in "01"]
    assert frame["epoch"].tolist() == [0, 0, 1, 1] * 2
    documents = project.dataframe("pages")
    assert documents["document"].tolist() == [0, 1]
    assert documents["document_value"].tolist() == ["a.pdf", "b.pdf"]


def test_a_script_that_only_queries_records_no_run(project: Project) -> None:
    record(project, "import flor\nflor.log('x', 1)\n")
    refs = project.git("for-each-ref")
    done = record(
        project, "import flor\nprint(flor.dataframe('x')['x'].tolist(), len(flor.query('select * from runs')))\n"
    )
    assert done.stdout == "[1] 1\n"
    assert len(project.runs()) == 1
    assert project.git("for-each-ref") == refs


def test_a_script_reads_what_it_has_just_logged(project: Project) -> None:
    code = """
        import flor
        for i in flor.loop("epoch", range(3)):
            flor.log("x", i)
            assert flor.dataframe("x")["x"].tolist() == list(range(i + 1))
        print(flor.query("select status from runs")["status"].tolist())
    """
    assert record(project, code).stdout == "['running']\n"


def test_commit_begins_another_run_of_the_same_version(project: Project) -> None:
    code = """
        import flor, pathlib, time
        flor.log("x", 1)
        flor.commit()
        pathlib.Path("train.py").write_text("edited while it runs")
        flor.log("x", 2)
        flor.commit()
        flor.commit()
    """
    record(project, code)
    assert project.dataframe("x")["x"].tolist() == [1, 2]
    first, second = project.runs()
    assert first.run != second.run
    assert first.commit == second.commit
    assert "import flor" in project.git("show", f"{second.commit}:train.py")


def test_import_is_light_and_off_is_off(project: Project) -> None:
    code = "import sys, flor; print([m for m in 'torch pandas libcst duckdb git numpy asyncio'.split() if m in sys.modules])"
    assert project.python("-c", code).stdout == "[]\n"
    project.write({"train.py": "import flor\nfor i in flor.loop('e', range(2)): flor.log('x', flor.arg('lr', i))\n"})
    project.python("train.py", "--kwargs", "lr=3", env={"FLOR": "off"})
    assert not project.store.exists()


@pytest.mark.parametrize(
    ("words", "where", "kind"),
    [
        (["pack/sub/train.py"], ".", "script"),
        (["train.py"], "pack/sub", "script"),
        (["-m", "pack.sub.train"], ".", "module"),
        (["-m", "sub.train"], "pack", "module"),
        (["-m", "pack"], ".", "module"),
        (["-O", "-X", "utf8", "pack/sub/train.py"], ".", "script"),
    ],
)
def test_ways_to_start_a_script(project: Project, words: list[str], where: str, kind: str) -> None:
    code = "import flor\nflor.log('x', flor.arg('a', 'none'))\n"
    project.write({"pack/sub/train.py": code, "pack/__main__.py": code})
    project.python(*words, "--kwargs", "a=b", cwd=where, env=QUIET)
    (run,) = project.runs()
    assert run.filename == ("pack/__main__.py" if words == ["-m", "pack"] else "pack/sub/train.py")
    assert run.info["entry"]["kind"] == kind
    assert run.info["entry"]["cwd"] == where
    assert run.info["entry"]["argv"] == ["--kwargs", "a=b"]
    assert run.projid == "project"
    assert project.values("x") == ["b"]


def test_from_another_folder_the_scripts_project_counts(project: Project, tmp_path: Path) -> None:
    project.write({"train.py": "import flor\nflor.log('x', 1)\n"})
    subprocess.run([sys.executable, str(project.root / "train.py")], cwd=tmp_path, check=True)
    assert [run.filename for run in project.runs()] == ["train.py"]
    assert not (tmp_path / ".flor").exists()


@pytest.mark.parametrize("how", ["-c", "stdin"])
def test_without_a_file_it_logs_with_one_warning(project: Project, how: str) -> None:
    code = "import flor\nfor i in flor.loop('e', range(2)): flor.log('x', i)\n"
    words = ["-c", code] if how == "-c" else ["-"]
    done = subprocess.run(
        [sys.executable, *words], input=code, cwd=project.root, capture_output=True, text=True, check=True
    )
    assert done.stderr == "flor: there is no script file: this run is logged but cannot be replayed\n"
    assert project.values("x") == [0, 1]
    assert project.runs()[0].commit is None


def test_outside_git_it_logs_with_one_warning(tmp_path: Path) -> None:
    project = Project(tmp_path / "plain", repository=False)
    done = record(project, "import flor\nfor i in flor.loop('e', range(2)): flor.log('x', i)\n")
    assert done.stderr.count("\n") == 1
    assert "is not in a git repository: this run is logged but cannot be replayed" in done.stderr
    assert project.values("x") == [0, 1]


def test_threads(project: Project) -> None:
    code = """
        import threading, flor
        def work(n):
            for i in flor.loop("step", range(50)):
                flor.log("x", n)
        for epoch in flor.loop("epoch", range(2)):
            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            [t.start() for t in threads]
            flor.log("main", epoch)
            [t.join() for t in threads]
    """
    record(project, code)
    assert sorted(project.values("x")) == sorted(n for n in range(4) for _ in range(100))
    assert project.dataframe("main")["epoch"].tolist() == [0, 1]


def test_records_made_while_the_script_ends_are_kept(project: Project) -> None:
    code = """
        import atexit, flor
        atexit.register(lambda: flor.log("x", "at exit"))
        flor.log("x", "now")
    """
    record(project, code)
    assert project.values("x") == ["now", "at exit"]


@pytest.mark.parametrize(
    ("ending", "code", "status", "reason"),
    [
        ("raise ValueError('bad batch')", 1, "failed", "ValueError: bad batch"),
        ("sys.excepthook = lambda *a: None; raise KeyError(1)", 1, "failed", "KeyError: 1"),
        ("sys.exit(3)", 3, "failed", "sys.exit(3)"),
        ("sys.exit('no data')", 1, "failed", "sys.exit('no data')"),
        ("sys.exit(0)", 0, "finished", None),
        ("sys.exit()", 0, "finished", None),
        ("raise KeyboardInterrupt", -2, "failed", "KeyboardInterrupt: "),
    ],
)
def test_how_a_script_ended(project: Project, ending: str, code: int, status: str, reason: str | None) -> None:
    project.write({"train.py": f"import sys, flor\nflor.log('x', 1)\n{ending}\n"})
    done = project.python("train.py", check=False)
    assert done.returncode == code
    (run,) = project.runs()
    assert (run.status, run.info.get("reason")) == (status, reason)
    assert project.values("x") == [1]


def test_a_sys_exit_that_was_caught_is_not_the_end(project: Project) -> None:
    record(project, "import sys, flor\ntry: sys.exit(2)\nexcept SystemExit: pass\nflor.log('x', 1)\n")
    assert project.runs()[0].status == "finished"


def test_the_users_own_flags_are_the_users(project: Project) -> None:
    code = """
        import argparse, json, flor
        parser = argparse.ArgumentParser()
        parser.add_argument("command")
        parser.add_argument("--iter", type=int)
        parser.add_argument("--override")
        parser.add_argument("--replay_flor", action="store_true")
        print(json.dumps([vars(parser.parse_args()), flor.arg("lr", 0.1)]))
    """
    project.write({"train.py": code})
    done = project.python(
        "train.py", "query", "--iter", "3", "--override", "a=b", "--replay_flor", env={"FLOR_ARGS": "lr=0.5"}
    )
    assert json.loads(done.stdout) == [{"command": "query", "iter": 3, "override": "a=b", "replay_flor": True}, 0.5]


def test_edits_after_the_start_are_not_in_the_version(project: Project) -> None:
    code = """
        import flor, time, pathlib
        deadline = time.time() + 30
        while not list(pathlib.Path(".flor/pending").glob("*.json")) and time.time() < deadline:
            time.sleep(0.05)
        pathlib.Path("train.py").write_text("edited")
        pathlib.Path("new.py").write_text("new")
        flor.log("x", 1)
    """
    record(project, code)
    (run,) = project.runs()
    assert "deadline" in project.git("show", f"{run.commit}:train.py")
    assert project.git("ls-tree", "--name-only", str(run.commit)) == "train.py"
    assert not list((project.store / "pending").iterdir())


def test_a_helper_that_logs_for_the_script_has_its_version_taken_at_the_start(project: Project) -> None:
    project.write({"helper.py": "import flor\ndef note(x): flor.log('x', x)\n"})
    code = """
        import helper, time, pathlib
        while not list(pathlib.Path(".flor/pending").glob("*.json")):
            time.sleep(0.05)
        helper.note(1)
    """
    record(project, code)
    assert project.values("x") == [1]


def test_twenty_runs_at_once(project: Project) -> None:
    project.commit("a", {"train.py": "import flor\nfor i in flor.loop('e', range(3)): flor.log('x', i)\n"})
    before = project.state()
    command = [sys.executable, "train.py"]
    started = [subprocess.Popen(command, cwd=project.root, stderr=subprocess.PIPE, text=True) for _ in range(20)]
    while any(process.poll() is None for process in started):
        if project.store.exists() and project.runs():
            project.dataframe("x")  # while they are sealed
        time.sleep(0.2)
    errors = [process.communicate()[1] for process in started]
    assert errors == [""] * 20
    runs = project.runs()
    assert len({run.run for run in runs}) == 20
    assert {run.status for run in runs} == {"finished"}
    assert {run.commit for run in runs} == {project.git("rev-parse", "HEAD")}
    assert len(project.dataframe("x")) == 60
    assert project.state() == before
