"""``flor-replay run`` is ``python`` to the script, and a recording to everybody else."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.journeys.journey import wait_until
from tests.support import COMMAND, Project, json_of

SAID = re.compile(r"^(flor-replay: |  --loop ).*\n", re.MULTILINE)

PROBE = """
    import os, sys, pickle, multiprocessing as mp, threading, inspect
    from helper import where
    class Thing:
        def __init__(self, x): self.x = x
    def child(q, thing):
        q.put((__name__, thing.x, type(thing).__module__, sys.argv))
    if __name__ == "__main__":
        print(sys.argv, sys.path[0], __file__, __name__, __package__, __spec__ and __spec__.name, __doc__)
        print(sorted(vars(sys.modules["__main__"])), type(__builtins__), __loader__.name if __loader__ else None)
        print(sys.flags, sys.stdout.name, sys.stdout.mode, sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering)
        print(type(sys.stdout), sys.stdout is sys.__stdout__, sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty())
        print(getattr(sys.stdout.buffer, "raw", sys.stdout.buffer).name, sys.stdout.newlines, sys.stderr.errors, sys.stderr.line_buffering, sys.stderr.write_through)
        print(pickle.loads(pickle.dumps(Thing(3))).x, pickle.dumps(Thing(3)), where(), inspect.getsource(Thing))
        print(sorted(k for k in os.environ if k.startswith("FLOR")), "flor" in sys.modules, "click" in sys.modules)
        context = mp.get_context("spawn")
        q = context.Queue()
        p = context.Process(target=child, args=(q, Thing(7)))
        p.start(); print(q.get()); p.join(); print(p.exitcode)
        p = mp.get_context("fork").Process(target=print, args=("forked",))
        p.start(); p.join()
        print("end", file=sys.stderr)
    """


@pytest.fixture
def probe(project: Project) -> Project:
    project.commit(
        "probe", {"sub/probe.py": PROBE, "sub/helper.py": "def where(): return __file__\n", "sub/__init__.py": ""}
    )
    return project


def both(
    project: Project, *words: str, python: tuple[str, ...] = (), cwd: str = "."
) -> list[subprocess.CompletedProcess[str]]:
    """Under python, and under ``flor-replay run``; what ours says is taken out."""
    plain = project.python(*python, *words, check=False, cwd=cwd)
    ours = project.command("run", *words, check=None, cwd=cwd)
    ours.stderr = SAID.sub("", ours.stderr)
    return [plain, ours]


@pytest.mark.parametrize("words", [("sub/probe.py", "a", "--help", "-m", "x y"), ("-m", "sub.probe", "--lr", "3")])
def test_a_script_sees_what_it_sees_under_python(probe: Project, words: tuple[str, ...]) -> None:
    if words[0] == "-m":
        probe.write({"sub/probe.py": PROBE.replace("from helper", "from sub.helper")})
    before = probe.state()
    plain, ours = both(probe, *words)
    assert ours.stdout == plain.stdout and plain.stdout
    assert ours.stderr == plain.stderr
    assert plain.returncode == ours.returncode == 0, plain.stderr
    assert {k: v for k, v in probe.state().items() if "__pycache__" not in k} == {
        k: v for k, v in before.items() if "__pycache__" not in k
    }
    [run] = probe.runs()
    assert run.status == "finished"
    assert run.filename == "sub/probe.py"
    assert run.info["entry"]["kind"] == ("module" if words[0] == "-m" else "script")
    assert Path(run.folder.output).read_text() == ours.stdout + "end\n"  # what forked children print is in it


ENDS = {
    "exit code": "import sys\nfor e in range(3):\n    if e == 1: sys.exit(7)\n    opt.step() if 0 else None\n",
    "exit text": "import sys\nsys.exit('no data')\n",
    "exit early": "raise SystemExit\n",
    "error": "import lib\nlib.train()\n",
    "chained": "import lib\ntry:\n    lib.train()\nexcept ValueError as e:\n    raise RuntimeError('again') from e\n",
    "in the iterable": "import lib\nlib.over()\n",
    "not iterable": "import lib\nlib.over(3)\n",
    "os._exit": "import os\nprint('x', flush=True)\nos._exit(5)\n",
    "own hook": "import sys\nsys.excepthook = lambda k, e, t: print('HOOK', k, e, t.tb_frame.f_code.co_name)\nimport lib\nlib.train()\n",
    "syntax error": "x = 1\nfor e in range(3)\n    pass\n",
    "null bytes": "x = 1\0\n",
    "interrupt": "raise KeyboardInterrupt\n",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "terminated": "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(5)\n",
    "own handler": "import os, signal\nsignal.signal(signal.SIGTERM, lambda *a: print('mine'))\nos.kill(os.getpid(), signal.SIGTERM)\n",
    "a thread": "import lib, threading\nt = threading.Thread(target=lib.train, name='T')\nt.start(); t.join()\n",
    "warnings": "import warnings\ndef f():\n    warnings.warn('old', stacklevel=2)\nf()\nx = '\\d'\n",
}
LIB = """
import torch_is_not_needed_here_as_opt_is_ours as _
class Opt:
    def step(self): pass
opt = Opt()
def train():
    for epoch in range(3):
        for step in range(3):
            opt.step()
            if epoch == 1:
                raise ValueError("bad " + str(step))
def items():
    yield 1
    raise KeyError("gone")
def over(what=None):
    for epoch in (what or items()):
        opt.step()
""".replace("import torch_is_not_needed_here_as_opt_is_ours as _\n", "")


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_as_under_python(project: Project, end: str) -> None:
    project.commit("a", {"t.py": ENDS[end], "lib.py": LIB})
    plain, ours = both(project, "t.py")
    assert ours.stdout == plain.stdout
    strip = re.compile(r"0x[0-9a-f]+|Thread-\d+")
    if end != "null bytes":  # the interpreter's own words differ between a file and its text
        assert strip.sub("", ours.stderr) == strip.sub("", plain.stderr)
    assert ours.returncode == plain.returncode
    runs = project.runs()
    if end in ("syntax error", "null bytes"):
        assert not runs
        return
    expected = {
        "exit early": "finished", "own handler": "finished", "a thread": "finished", "warnings": "finished",
        "killed": "crashed", "terminated": "stopped", "os._exit": "stopped",
    }  # fmt: skip
    assert [run.status for run in runs] == [expected.get(end, "failed")]


def test_what_cannot_be_run_is_said(project: Project) -> None:
    project.commit("a", {"t.py": "print(1)\n", "d/x.txt": "x"})
    for words, told in (
        (("nope.py",), "nope.py cannot be run: No such file or directory"),
        (("d",), "d is a folder: name the script in it"),
        (("-",), "standard input cannot be recorded"),
        ((), "Missing argument 'SCRIPT'"),
        (("--loop", "t.py:1", "t.py"), "no loop begins at t.py line 1: it has no loop"),
        (("--loop", "t.py", "t.py"), "write it as FILE:LINE"),
        (("--loop", "other.py:3", "t.py"), "other.py is not imported by t.py"),
        (("--loop", "t.py:1", "--no-loops", "t.py"), "one of them"),
    ):
        done = project.command("run", *words, check=2)
        assert told in done.stderr, words
    assert not project.runs()


LOOP = """import time
class Opt:
    def step(self): pass
optimizer = Opt()

for epoch in range(3):
    for batch in [1, 2]:
        optimizer.step()
"""


def test_what_is_wrapped_is_said_and_kept(project: Project) -> None:
    project.commit("a", {"t.py": LOOP})
    done = project.command("run", "--dry-run", "t.py")
    assert done.stderr == "flor-replay: recording t.py; loops: epoch (t.py:6), batch (t.py:7)\n"
    assert not project.runs()
    project.command("run", "t.py")
    [run] = project.runs()
    assert [(one["path"], one["line"], one["name"]) for one in run.info["hands_free"]["loops"]] == [
        ("t.py", 6, "epoch"),
        ("t.py", 7, "batch"),
    ]
    done = project.command("run", "--no-loops", "t.py")
    assert "no loop is named (--no-loops)" in done.stderr
    assert project.runs()[-1].info["hands_free"]["loops"] == []
    done = project.command("run", "--loop", "t.py:7", "t.py")
    assert [one["name"] for one in project.runs()[-1].info["hands_free"]["loops"]] == ["batch"]
    project.write({"u.py": "for line in ['a']:\n    print(line)\n"})
    done = project.command("run", "u.py")
    assert "no loop is named: no loop that trains something was found" in done.stderr
    assert "--loop FILE:LINE" in done.stderr
    assert json_of(project.command("runs", "--json"))[-1]["output"] == project.runs()[-1].folder.output
    done = project.command("doctor", project.runs()[-1].run)
    assert "output.txt" in done.stdout and "no loop was named" in done.stdout


def test_off_and_outside_git(project: Project, tmp_path: Path) -> None:
    project.commit("a", {"t.py": LOOP + "print('done')\n"})
    assert project.command("run", "t.py", env={"FLOR": "off"}).stdout == "done\n"
    assert not project.store.exists()
    away = Project(tmp_path / "away", repository=False)
    away.write({"t.py": LOOP + "print('done')\n"})
    done = away.command("run", "t.py")
    assert done.stdout == "done\n" and "not in a git repository" in done.stderr
    assert [run.status for run in away.runs()] == ["finished"]


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL, signal.SIGHUP])
def test_ended_from_outside(project: Project, blow: signal.Signals) -> None:
    project.commit("a", {"t.py": LOOP + "    print('epoch', epoch, flush=True)\n    time.sleep(epoch * 60)\n"})
    process = subprocess.Popen(
        [COMMAND, "run", "t.py"], cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    output = wait_until(lambda: next(iter(project.store.glob("runs/*/output.txt")), None))
    wait_until(lambda: "epoch 1" in output.read_text())
    os.killpg(process.pid, blow)
    out, err = process.communicate(timeout=60)
    assert process.returncode == -blow
    assert out == "epoch 0\nepoch 1\n" == output.read_text()[: len(out)]
    if blow == signal.SIGINT:
        assert (
            SAID.sub("", err)
            == f'Traceback (most recent call last):\n  File "{project.root}/t.py", line 10, in <module>\n    time.sleep(epoch * 60)\nKeyboardInterrupt\n'
        )
        assert SAID.sub("", err) in output.read_text()
    [run] = project.runs()
    assert run.status == {signal.SIGINT: "failed", signal.SIGKILL: "crashed", signal.SIGHUP: "stopped"}[blow]


def test_a_terminal_stays_one(project: Project) -> None:
    text = "import sys, os\nprint(sys.stdout.isatty(), sys.stderr.isatty(), sys.stdin.isatty(), os.get_terminal_size().columns)\n"
    project.commit(
        "a", {"t.py": text + "sys.stderr.write('\\rbar 1')\nsys.stderr.write('\\rbar 2\\n')\nprint(input())\n"}
    )
    seen = []
    for words in ([sys.executable, "t.py"], [COMMAND, "run", "t.py"]):
        pid, end = pty.fork()
        if pid == 0:
            os.chdir(project.root)
            os.execv(words[0], words)
        os.write(end, b"typed\n")
        text = b""
        try:
            while piece := os.read(end, 4096):
                text += piece
        except OSError:
            pass
        os.waitpid(pid, 0)
        os.close(end)
        seen.append(
            [
                line
                for line in text.decode().splitlines()
                if "flor-replay:" not in line and "--loop" not in line and line != "typed"
            ]
        )
    assert seen[0] == seen[1]
    assert "True True True" in "".join(seen[0])
    [run] = project.runs()
    assert "bar 1\rbar 2\n" in Path(run.folder.output).read_bytes().decode()
    assert "typed" in Path(run.folder.output).read_text()


def test_output_is_bounded_and_never_in_the_way(project: Project) -> None:
    project.commit("a", {"t.py": "import sys\nfor i in range(40000):\n    print(i, 'x' * 1000)\n"})
    plain, ours = both(project, "t.py")
    assert plain.stdout == ours.stdout
    [run] = project.runs()
    kept = {path.name: path.stat().st_size for path in Path(run.folder.path).glob("output*.txt")}
    assert len(kept) == 3 and sum(kept.values()) < 25 << 20
    assert Path(run.folder.output).read_text().startswith("0 xxx")
    assert (Path(run.folder.path) / "output.end.txt").read_text() == plain.stdout[-kept["output.end.txt"] :]


def test_logging_and_prints_of_modules(project: Project) -> None:
    project.commit(
        "a",
        {
            "t.py": "import logging, other\nlogging.basicConfig(level=20)\nlogging.info('hello')\nlogging.getLogger('o').warning('w')\nother.say()\n",
            "other.py": "import sys\ndef say():\n    sys.stdout.buffer.write(b'raw\\n')\n    print('said')\n",
        },
    )
    plain, ours = both(project, "t.py")
    assert (plain.stdout, plain.stderr) == (ours.stdout, ours.stderr)
    text = Path(project.runs()[0].folder.output).read_text()
    assert sorted(text.splitlines()) == sorted([*plain.stdout.splitlines(), *plain.stderr.splitlines()])


def test_an_edit_while_it_starts_wraps_nothing(project: Project) -> None:
    """The loops were looked for in one text; another is not cut by its lines."""
    from flor_replay.record.hands_free import VARIABLE, told_of

    project.commit("a", {"t.py": LOOP + "print('done')\n"})
    told = told_of(
        str(project.root), str(project.root / "t.py"), None, (("t.py", 6, "epoch", 0),), "", {"t.py": "0" * 64}
    )
    from flor_replay.record import launch

    done = project.python(str(launch.__file__), "t.py", env={VARIABLE: told})
    assert done.stdout == "done\n"
    assert "was edited" in project.runs()[0].info["hands_free"]["reason"]


def test_a_stopped_script_goes_on(project: Project) -> None:
    project.commit("a", {"t.py": "import time\nprint('a', flush=True)\ntime.sleep(0.2)\nprint('b')\n"})
    process = subprocess.Popen(
        [COMMAND, "run", "t.py"], cwd=project.root, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None and process.stdout.readline() == "a\n"
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=30)[0] == "b\n"
    assert process.returncode == 0


def test_functions_sent_to_other_processes_by_value(project: Project) -> None:
    """joblib pickles functions of the main script with their code: no other process knows of named loops."""
    text = """
        from joblib import Parallel, delayed
        class Opt:
            def step(self): return 1
        opt = Opt()
        def train(n):
            total = 0
            for epoch in range(n):
                total += opt.step()
            return total
        if __name__ == "__main__":
            print(train(3), Parallel(n_jobs=2)(delayed(train)(n) for n in (1, 2)))
        """
    project.commit("a", {"t.py": text})
    done = project.command("run", "t.py")
    assert "loops: epoch (t.py:8)" in done.stderr
    assert done.stdout == "3 [1, 2]\n"
