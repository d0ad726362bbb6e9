"""How many workers the machine has memory for."""

from __future__ import annotations

import os
from collections.abc import Iterable

from flor_replay.store.runs import Run

SHARE = 0.9  # of what is free


def affordable(jobs: int, runs: Iterable[Run], available: int | None = None) -> tuple[int, str | None]:
    """No more workers than the largest recorded peak of `runs` allows, and why there are fewer than `jobs`.

    `available`: bytes; what the system says where it is left out. A worker needs about what the recorded run needed.
    """
    available = available_bytes() if available is None else available
    largest = max((int(run.info.get("peak_memory_bytes") or 0) for run in runs), default=0)
    if not largest or available is None:
        return jobs, None
    fitting = max(1, int(SHARE * available / largest))
    if fitting >= jobs:
        return jobs, None
    told = f"{largest / 2**30:.1f} GiB, and {available / 2**30:.1f} GiB are free"
    return fitting, f"{fitting} instead of {jobs} workers: the largest recorded run needed {told}"


def available_bytes() -> int | None:
    """Memory that new processes can have: of the machine, or of the control group that we are in; None if unknown."""
    found = [size for size in (_of_machine(), _of_group()) if size is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _of_group() -> int | None:
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit:
            most = limit.read().strip()
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as current:
            return None if most == "max" else max(0, int(most) - int(current.read()))
    except (OSError, ValueError):
        return None
