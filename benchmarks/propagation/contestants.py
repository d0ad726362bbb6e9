"""Who is asked to carry a statement over: this project, `git merge-file`, and FlorDB where its interpreter is given.

Milliseconds are processor time where the contestant runs in one process (this project, FlorDB), so that a busy machine
does not count, and elapsed time for `git merge-file`.
"""

from __future__ import annotations

import gc
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flor_instrument import hindsight, propagate

from benchmarks.propagation.cases import Case

Answer = tuple[bytes | None, float, str]  # the patched target (None: refused), milliseconds, the reason or the error
Contestant = Callable[[Case], Answer]


class Failed(Exception):  # noqa: N818 (an outcome, not an error)
    """The contestant broke down instead of answering."""


def ours(case: Case) -> Answer:
    """This project. The patch is found once for all versions and is not in the time.

    Nor is what the garbage collector spends on the benchmark's own objects, which are set aside for it.
    """
    patch = hindsight(case.base, case.today, any_statement=True)
    gc.freeze()
    try:
        began = time.process_time()
        result = propagate(patch, case.target)
        spent = (time.process_time() - began) * 1000
    finally:
        gc.unfreeze()
    if result.refused or not result.placed:
        said = "; ".join(refusal.reason for refusal in result.refused) or "already there"
        # Said to stand there already, although it was taken out: as wrong as a wrong place.
        return (case.target + b"\n" if result.already and case.positive else None), spent, said
    shown = "; ".join(f"{one.line}: {one.text} {dict(one.renames) or ''}" for one in result.placed)
    return result.source, spent, shown


def merge_file(case: Case) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder) / name) for name in ("target", "base", "today")]
        for name, data in zip(names, (case.target, case.base, case.today), strict=True):
            Path(name).write_bytes(data)
        began = time.perf_counter()
        done = subprocess.run(["git", "merge-file", "-p", "-q", *names], capture_output=True, check=False)
        spent = (time.perf_counter() - began) * 1000
    return (done.stdout if done.returncode == 0 else None), spent, ""


class FlorDB:
    """FlorDB's GumTree port, asked in its own interpreter: `python -m venv E; E/bin/pip install flordb==4.0.1`."""

    def __init__(self, python: Path) -> None:
        self._python = python
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, case: Case) -> Answer:
        if self._process is None or self._process.poll() is not None:
            script = Path(__file__).with_name("flordb_side.py")
            self._process = subprocess.Popen(
                [str(self._python), str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=tempfile.gettempdir(),
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        question = {name: getattr(case, name).decode("utf-8", "replace") for name in ("today", "target")}
        self._process.stdin.write(json.dumps({**question, "line": case.line}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failed("FlorDB's process ended.")
        answer = json.loads(line)
        if answer["error"]:
            raise Failed(answer["error"])
        return (None if answer["out"] is None else answer["out"].encode()), answer["ms"], ""

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
