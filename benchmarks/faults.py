"""What is left of runs that are killed at random moments, and whether many processes lose or double a record."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Row

_COUNTER = struct.Struct("<q")


def run(quick: bool) -> list[Row]:
    trials = 20 if quick else 1000
    with tempfile.TemporaryDirectory() as folder:
        lost = [killed(Path(folder), seed, longest_seconds=0.6) for seed in range(trials)]
    with tempfile.TemporaryDirectory() as folder:
        writers, readers, seconds = (5, 2, 5.0) if quick else (50, 10, 60.0)
        written, found = crowd(Path(folder), writers, readers, seconds)
    assert written == found, f"{written} records were logged, {found} are there"
    return [
        Row(f"runs killed at random, {trials} times: unreadable", 0, trials, "trials", 0.0, trials, ""),
        Row(
            "records that were lost with the process, at most",
            max(lost),
            10**6,
            "a million",
            max(lost) / 1e6,
            trials,
            "",
        ),
        Row(f"records of {writers} processes, {readers} reading", found, written, "logged", found / written, 1, ""),
    ]


def child(work: Callable[[], None]) -> int:
    """Do `work` in a process of its own; its pid."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def _log_for_ever(root: Path, run: str, counted: mmap.mmap) -> None:
    from flor_replay.record.run import Session

    session = Session(str(root), str(root / ".flor"), run=run)
    count = 0
    for _ in session.loop("epoch", range(10**9)):
        for _ in session.loop("step", "abc"):
            session.log("x", count / 2)
            session.log("text", f"{count}")
            count += 1
            counted[:8] = _COUNTER.pack(count)
            if count % 100 == 0:
                time.sleep(0.001)


def killed(root: Path, seed: int, longest_seconds: float, grace_seconds: float = 0.0) -> int:
    """Kill a process that logs after a random time; how many records were lost, all of them made in its last second.

    `grace_seconds`: it goes on for so long after its records were counted that must be there.
    Raises AssertionError where anything that is there is wrong.
    """
    from flor_replay.store.frames import build

    os.environ["FLOR_CHECKPOINTS"] = "off"
    rng = random.Random(seed)
    run = f"killed-{seed:06d}"
    with mmap.mmap(-1, 8) as counted:
        pid = child(lambda: _log_for_ever(root, run, counted))
        while not _COUNTER.unpack(counted[:8])[0] and os.waitpid(pid, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(rng.random() * longest_seconds)
        (safe,) = _COUNTER.unpack(counted[:8]) if grace_seconds else (0,)
        time.sleep(grace_seconds)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        (made,) = _COUNTER.unpack(counted[:8])
    frame = build(["x", "text"], str(root), runs=[run])
    xs = frame["x"].dropna().tolist()
    assert xs == [place / 2 for place in range(len(xs))], "what is there is not what was logged"
    texts = frame["text"].dropna().tolist()
    assert texts == [str(place) for place in range(len(texts))], f"{texts[-3:]} at the end of {len(texts)}"
    if xs:
        assert frame["epoch"].tolist() == [place // 3 for place in range(len(frame))]
    assert len(xs) >= safe, f"{safe} records were a second old, {len(xs)} are there"
    return int(max(0, made - len(xs)))


def crowd(root: Path, writers: int, readers: int, seconds: float) -> tuple[int, int]:
    """Processes that record run after run, while others read; how many records were logged, and how many are there."""
    from flor_replay.store.frames import build

    os.environ["FLOR_CHECKPOINTS"] = "off"
    until = time.monotonic() + seconds

    def write(number: int) -> None:
        from flor_replay.record.run import Session

        turn = 0
        while turn == 0 or time.monotonic() < until:
            session = Session(str(root), str(root / ".flor"), run=f"w{number:03d}-{turn:04d}")
            for i in session.loop("epoch", range(50)):
                session.log("x", i + number * 1e3 + turn * 1e6)
            session.end("finished")
            turn += 1
        (root / f"turns-{number}").write_text(str(turn))

    def read() -> None:
        (root / ".flor" / "runs").mkdir(parents=True, exist_ok=True)
        while time.monotonic() < until:
            seen = Counter(build(["x"], str(root))["x"].tolist())
            assert not seen or max(seen.values()) == 1, "a record is there twice"

    pids = [child(read) for _ in range(readers)]
    pids += [child(lambda number=number: write(number)) for number in range(writers)]  # type: ignore[misc]
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids), "a process failed"
    turns = [int((root / f"turns-{number}").read_text()) for number in range(writers)]
    wanted = {i + n * 1e3 + t * 1e6 for n, count in enumerate(turns) for t in range(count) for i in range(50)}
    found = build(["x"], str(root))["x"].tolist()
    assert set(found) == wanted
    return len(wanted), len(found)
