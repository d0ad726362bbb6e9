"""Measuring side by side: two things in turn, several times, medians and their ratio."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One comparison. `ours` and `beside` are medians in seconds; `ratio` the median of the pairs' ratios."""

    what: str
    ours: float
    beside: float
    against: str  # what `beside` is
    ratio: float
    runs: int

    def as_data(self) -> dict[str, object]:
        return asdict(self)

    @staticmethod
    def show(seconds: float) -> str:
        for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
            if seconds >= size:
                return f"{seconds / size:.3g} {unit}"
        return f"{seconds * 1e9:.3g} ns"


def pairs(what: str, ours: Callable[[], float], beside: Callable[[], float], against: str, runs: int) -> Row:
    """Both in turn, `runs` times after one that does not count; each returns its seconds."""
    ours(), beside()
    measured = []
    for turn in range(runs):
        first, second = (ours, beside) if turn % 2 == 0 else (beside, ours)
        a, b = first(), second()
        measured.append((a, b) if turn % 2 == 0 else (b, a))
    mine, theirs = zip(*measured, strict=True)
    ratios = [a / b for a, b in measured]
    return Row(what, statistics.median(mine), statistics.median(theirs), against, statistics.median(ratios), runs)


def python(words: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run python; its output when it fails."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout}\n{done.stderr}")
    return done


def timed(words: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> float:
    """Seconds of a whole process."""
    began = time.perf_counter()
    python(words, cwd, env)
    return time.perf_counter() - began
