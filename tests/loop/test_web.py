"""Applications that commit after each request, behind real servers: every commit whole, none lost, none mixed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.journeys.journey import wait_until
from tests.support import Project

pytest.importorskip("gunicorn")
pytest.importorskip("flask")

APPLICATION = """\
import json
import os
import random
import time

import flor
from flask import Flask, request

app = Flask(__name__)
limit = flor.arg("limit", 5) if os.environ.get("ARG_AT_IMPORT") else 5


@app.post("/save")
def save():
    number = request.json["number"]
    flor.log("user", number)
    with flor.iteration("document", None, f"doc-{number}"):
        for page in flor.loop("page", range(4)):
            time.sleep(random.random() * 0.01)
            flor.log("colour", number * 10 + page)
            if number == request.json.get("fails") and page == 2:
                raise ValueError("no colour")
    if number == request.json.get("killed"):
        os.kill(os.getpid(), 9)
    flor.commit()
    return {"pid": os.getpid()}


@app.get("/")
def home():
    return str(len(flor.dataframe("user", root=os.getcwd())) if os.path.isdir(".flor/runs") else 0)
"""


@contextmanager
def served(project: Project, *words: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """The application behind gunicorn; its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        f"127.0.0.1:{port}",
        "--no-control-socket",
        *words,
        "app:app",
    ]
    if not _knows("--no-control-socket"):
        command.remove("--no-control-socket")
    server = subprocess.Popen(
        command,
        cwd=project.root,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(server.stdout or ()))
    reader.start()
    try:
        wait_until(lambda: _answers(port) or server.poll() is not None)
        assert server.poll() is None, "".join(lines)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
        reader.join()


def _knows(option: str) -> bool:
    done = subprocess.run([sys.executable, "-m", "gunicorn", "--help"], capture_output=True, text=True, check=True)
    return option in done.stdout


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def post(address: str, data: dict[str, object]) -> dict[str, object] | None:
    """The answer; None where the request failed."""
    request = urllib.request.Request(
        f"{address}/save", json.dumps(data).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, object] = json.load(answer)
            return found
    except OSError:
        return None


def whole(project: Project, numbers: set[int]) -> None:
    """Every one of the requests has one commit, with all of its records and no other's."""
    frame = project.dataframe("user", "colour")
    assert set(frame["user"]) == numbers
    assert frame["filename"].unique().tolist() == ["app.py"]
    for (moment, number), part in frame.groupby(["tstamp", "user"]):
        assert part["colour"].tolist() == [number * 10 + page for page in range(4)], (moment, part)
        assert part["document_value"].unique().tolist() == [f"doc-{number}"]
    assert frame["tstamp"].nunique() == len(numbers) == len(frame) // 4


@pytest.mark.parametrize(
    "words",
    [
        ["--workers", "2", "--threads", "4"],
        ["--workers", "3", "--preload"],
    ],
    ids=["threads", "preforked"],
)
def test_a_hundred_requests_beside_each_other(project: Project, words: list[str]) -> None:
    project.commit(files={"app.py": APPLICATION})
    with served(project, *words, env={"ARG_AT_IMPORT": "1"} if "--preload" in words else {}) as address:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda number: post(address, {"number": number}), range(100)))
        assert all(answers)
        assert len({answer["pid"] for answer in answers if answer}) >= 2
        whole(project, set(range(100)))  # visible while the server runs
    whole(project, set(range(100)))
    assert all(run.commit for run in project.runs())  # each knows the version that it ran


def test_a_request_that_fails_and_a_worker_that_dies(project: Project) -> None:
    project.commit(files={"app.py": APPLICATION})
    with served(project, "--workers", "1", "--threads", "1") as address:
        assert post(address, {"number": 1})
        assert post(address, {"number": 2, "fails": 2}) is None
        assert post(address, {"number": 3})
        whole(project, {1, 3})  # the next request on the thread is not given what the failed one left
        assert post(address, {"number": 4, "killed": 4}) is None
        assert post(address, {"number": 5})  # another worker by now
        whole(project, {1, 3, 5})
    whole(project, {1, 3, 5})
    states = [run.status for run in project.runs()]
    assert sorted(states) == ["crashed", "failed", "finished", "finished", "finished"]


def test_it_is_told_as_hosted_and_is_not_replayed(project: Project) -> None:
    helper = "import flor\ndef known(): return flor.dataframe('user')\n"
    project.commit(files={"app.py": "import helper\n" + APPLICATION, "helper.py": helper})
    with served(project) as address:
        assert post(address, {"number": 1})
    (run,) = project.runs()
    assert run.info["entry"]["kind"] == "hosted"
    assert run.filename == "app.py"
    project.write({"app.py": APPLICATION.replace("    flor.commit()", '    flor.log("more", 1)\n    flor.commit()')})
    done = project.command("add-log", "app.py", "--yes", check=1)
    assert "cannot be run again by itself" in done.stderr


def test_its_runs_do_not_make_other_work_partial(project: Project) -> None:
    """What is filled for a training script is all there is to fill; the requests are told in one line."""
    script = "import flor\nfor epoch in flor.loop('epoch', range(2)):\n    flor.log('loss', epoch)\n"
    project.commit(files={"app.py": APPLICATION, "train.py": script})
    with served(project) as address:
        for number in range(3):
            assert post(address, {"number": number})
    project.python("train.py")
    project.write({"train.py": script + "    flor.log('more', epoch)\n"})
    done = project.command("add-log", "train.py", "--yes")
    assert [line for line in done.stderr.splitlines() if line.startswith("left out: ")] == [
        next(line for line in done.stderr.splitlines() if line.startswith("left out: 3 runs (app.py): it ran inside"))
    ]
