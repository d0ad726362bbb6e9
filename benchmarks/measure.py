"""Measuring side by side: two things in turn, several times, medians and their ratio."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One comparison. `ours` and `beside` are medians; `ratio` the median of the pairs' ratios."""

    what: str
    ours: float
    beside: float
    against: str  # what `beside` is
    ratio: float
    runs: int
    unit: str = "s"  # of ours and beside: seconds, "%" (a share), "B" (bytes), or "" (a number)

    def as_data(self) -> dict[str, object]:
        return asdict(self)

    def show(self, value: float) -> str:
        if self.unit == "%":
            return f"{value:.2%}"
        if self.unit != "s":
            return f"{value:.3g} {self.unit}".rstrip()
        for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
            if value >= size:
                return f"{value / size:.3g} {unit}"
        return f"{value * 1e9:.3g} ns"


def in_turn(what: Sequence[Callable[[], float]], runs: int) -> list[list[float]]:
    """Seconds of each, `runs` times after one that does not count; each round begins with another of them."""
    for measure in what:
        measure()
    seconds: list[list[float]] = [[] for _ in what]
    for turn in range(runs):
        for place in range(len(what)):
            index = (turn + place) % len(what)
            seconds[index].append(what[index]())
    return seconds


def compared(what: str, ours: Sequence[float], beside: Sequence[float], against: str) -> Row:
    """Medians of both, and of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, beside, strict=True)]
    return Row(what, statistics.median(ours), statistics.median(beside), against, statistics.median(ratios), len(ours))


def fastest(what: str, ours: Sequence[float], beside: Sequence[float], against: str) -> Row:
    """What others do on the machine only adds: the fastest runs are the least disturbed."""
    return Row(what, min(ours), min(beside), against, min(ours) / min(beside), len(ours))


def pairs(what: str, ours: Callable[[], float], beside: Callable[[], float], against: str, runs: int) -> Row:
    """Both in turn, `runs` times; each returns its seconds."""
    mine, theirs = in_turn([ours, beside], runs)
    return compared(what, mine, theirs, against)


def environment() -> dict[str, str]:
    """This process's; compiled code is kept, as it is where a package was installed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": os.path.join(tempfile.gettempdir(), "flor-benchmarks-bytecode")}


def python(words: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run python; its output when it fails."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**environment(), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout}\n{done.stderr}")
    return done


def git(project: Path, *words: str) -> str:
    """What git says in a project, as somebody who commits there."""
    who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    return subprocess.run(["git", *who, *words], cwd=project, check=True, stdout=subprocess.PIPE, text=True).stdout


def timed(words: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> float:
    """Seconds of a whole process."""
    began = time.perf_counter()
    python(words, cwd, env)
    return time.perf_counter() - began
