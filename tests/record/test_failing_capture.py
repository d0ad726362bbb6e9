"""Where a checkpoint's machinery fails by itself, training goes on and nothing is tried again and again."""

from __future__ import annotations

from tests.replay.harness import logged
from tests.support import Project

CODE = """
    import flor
    import flor_checkpoint

    looks = []


    class Failing(flor_checkpoint.{of}):
        def {what}(self, *args, **kwargs):
            looks.append(1)
            raise RuntimeError("made to fail")


    flor_checkpoint.{of} = Failing
    state = [0]
    for i in flor.loop("i", range(50)):
        state[0] += i
        flor.log("sum", state[0])
    flor.log("looks", len(looks))
"""


def run_of(project: Project, of: str, what: str) -> None:
    project.commit(files={"train.py": CODE.format(of=of, what=what)})
    done = project.python("train.py")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no more checkpoints of loop 'i': RuntimeError: made to fail") == 1
    [run] = project.runs()
    assert list(logged(run, "sum").values()) == [sum(range(i + 1)) for i in range(50)]
    assert list(logged(run, "looks").values()) == [1]


def test_the_look_at_loop_entry(project: Project) -> None:
    run_of(project, "Capturer", "baseline")


def test_the_policy(project: Project) -> None:
    run_of(project, "AdaptivePolicy", "baseline")


def test_while_it_runs(project: Project) -> None:
    run_of(project, "AdaptivePolicy", "due")
