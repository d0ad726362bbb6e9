"""What replays took on this machine, beside what the recordings said they would: the next plan's seconds are better for it.

A recording knows what its own process took. Two workers share caches and memory, workers begin with cold ones, and the machine may
be another than the one that trained: short work differs from long. So the latest replays of about the same length are asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

_NEAR = 2.0  # times shorter or longer: about the same length
_LATEST = 15
_FEWEST = 3
_OWN = 3.0  # times more or less than the recording says is the statement's own work, or a worker that hung: no pace


@dataclass(frozen=True)
class Pace:
    """`known`: seconds that the recording said, and seconds that a worker took; the latest first."""

    known: tuple[tuple[float, float], ...] = ()

    def __call__(self, seconds: float) -> float:
        """What work takes here that takes `seconds` by its recording."""
        near = [took / said for said, took in self.known if said <= seconds * _NEAR and seconds <= said * _NEAR]
        return seconds * median(near[:_LATEST]) if len(near) >= _FEWEST else seconds


def learned(replays: Iterable[Mapping[str, Any]], host: str) -> Pace:
    """From the run.json of replays, oldest first."""
    known = []
    for info in replays:
        said = float(info.get("segment", {}).get("recorded_seconds", 0.0))
        took = float(info.get("work_seconds", 0.0))
        here = info.get("machine", {}).get("host") == host
        if (
            here
            and said > 0.0
            and said / _OWN <= took <= said * _OWN
            and info.get("fidelity", {}).get("verdict") != "failed"
        ):
            known.append((said, took))
    return Pace(tuple(reversed(known)))
