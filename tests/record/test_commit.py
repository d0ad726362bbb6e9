"""``flor.commit`` in processes that go on: what becomes visible when, and what belongs together."""

from __future__ import annotations

import json

from tests.support import Project

QUIET = {"FLOR_CHECKPOINTS": "off"}


def record(project: Project, code: str, **options: object) -> str:
    project.commit(files={"job.py": code})
    return project.python("job.py", env=QUIET, **options).stdout  # type: ignore[arg-type]


def test_records_become_visible_together_under_a_new_tstamp(project: Project) -> None:
    out = record(
        project,
        """
        import json, subprocess, sys
        import flor

        def others_see():
            code = "import flor, json; print(json.dumps(flor.dataframe('x')['x'].tolist()))"
            return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

        seen = []
        for x in range(3):
            flor.log("x", x)
            flor.log("x", 10 + x)
            seen.append((others_see(), flor.dataframe("x")["x"].tolist()))
            flor.commit()
            seen.append(others_see())
        print(json.dumps(seen))
        """,
    )
    assert json.loads(out) == [
        [[], [0, 10]], [0, 10], [[0, 10], [0, 10, 1, 11]], [0, 10, 1, 11], [[0, 10, 1, 11], [0, 10, 1, 11, 2, 12]], [0, 10, 1, 11, 2, 12],
    ]  # fmt: skip
    frame = project.dataframe("x")
    assert frame.groupby("tstamp")["x"].apply(list).tolist() == [[0, 10], [1, 11], [2, 12]]
    assert [run.status for run in project.runs()] == ["finished"] * 3
    assert len({run.commit for run in project.runs()}) == 1


def test_inside_loops_the_next_run_goes_on_at_the_same_place(project: Project) -> None:
    record(
        project,
        """
        import flor
        for day in flor.loop("day", ["mon", "tue"]):
            for part in flor.loop("part", "ab"):
                flor.log("n", day + part)
                flor.commit()
        """,
    )
    frame = project.dataframe("n")
    assert frame["tstamp"].nunique() == 4
    columns = ["day", "day_value", "part", "part_value", "n"]
    assert frame[columns].values.tolist() == [
        [0, "mon", 0, "a", "mona"], [0, "mon", 1, "b", "monb"], [1, "tue", 0, "a", "tuea"], [1, "tue", 1, "b", "tueb"],
    ]  # fmt: skip
    assert len(project.runs()) == 4  # none for what came after the last


def test_threads_and_tasks_have_runs_of_their_own(project: Project) -> None:
    record(
        project,
        """
        import asyncio, random, threading, time
        import flor as f

        f.log("started", 1)

        def request(number):
            for _ in range(3):
                f.log("thread", number)
                time.sleep(random.random() / 100)
            f.commit()

        threads = [threading.Thread(target=request, args=(n,)) for n in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]

        async def helper(number):
            await asyncio.to_thread(f.log, "task", number)

        async def handle(number):
            for _ in range(3):
                f.log("task", number)
                await asyncio.sleep(random.random() / 100)
            await asyncio.to_thread(f.log, "task", number)
            f.commit()

        async def main():
            f.log("started", 2)
            await asyncio.gather(*(handle(n) for n in range(8)))

        asyncio.run(main())
        """,
    )
    frame = project.dataframe("thread")
    assert sorted(frame.groupby("tstamp")["thread"].apply(list)) == [[n] * 3 for n in range(8)]
    frame = project.dataframe("task")
    assert sorted(frame.groupby("tstamp")["task"].apply(list)) == [[n] * 4 for n in range(8)]
    assert sorted(project.dataframe("started")["started"]) == [1, 2]


def test_threads_that_help_a_training_loop_record_for_it(project: Project) -> None:
    record(
        project,
        """
        import threading
        import flor
        for epoch in flor.loop("epoch", range(2)):
            flor.log("loss", epoch)
            helper = threading.Thread(target=flor.log, args=("from_helper", epoch))
            helper.start()
            helper.join()
        flor.commit()
        """,
    )
    (run,) = project.runs()
    assert project.values("from_helper", run) == [0, 1]


def test_killed_before_its_commit_a_script_keeps_what_it_logged(project: Project) -> None:
    code = """
        import os, flor
        flor.log("x", 1)
        flor.commit()
        flor.log("x", 2)
        import time; time.sleep(0.8)
        os.kill(os.getpid(), 9)
    """
    project.commit(files={"job.py": code})
    project.python("job.py", check=False)
    assert project.dataframe("x")["x"].tolist() == [1, 2]
    assert [run.status for run in project.runs()] == ["finished", "crashed"]


def test_a_replay_ends_where_the_recorded_run_was_committed(project: Project) -> None:
    code = """
        import flor
        flor.commit()  # nothing yet
        total = 0
        for epoch in flor.loop("epoch", range(3)):
            total += epoch
            flor.log("total", total)
        flor.commit()
        flor.log("after", 1)
    """
    project.commit(files={"job.py": code})
    project.python("job.py", env={"FLOR_CHECKPOINTS": "all"})
    runs = project.runs()
    assert len(runs) == 2
    project.write(
        {
            "job.py": code.replace(
                'flor.log("total", total)', 'flor.log("total", total)\n            flor.log("twice", 2 * total)'
            )
        }
    )
    done = project.command("add-log", "job.py", "--yes", check=None)
    assert project.values("twice", runs[0]) == [0, 2, 6], done.stderr
    assert len(project.runs()) == 2
