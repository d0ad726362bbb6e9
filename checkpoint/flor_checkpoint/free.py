"""How much memory there is left, as far as the system says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int | None:
    """What this process could still take without harm to anybody; None where the system does not say.

    The least of: what the machine has, what its control group may take (files it has read count as free), and what its
    own limit on addresses leaves.
    """
    found: list[int] = []
    for source in (_machine, _group, _limit):
        with contextlib.suppress(OSError, ValueError, IndexError, KeyError, ImportError):
            found += source()
    return max(0, min(found)) if found else None


def _machine() -> Iterator[int]:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
            return


def _group() -> Iterator[int]:
    limit = (_CGROUP / "memory.max").read_text().strip()
    if limit != "max":
        used = int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        yield int(limit) - used + int(stat["inactive_file"])


def _limit() -> Iterator[int]:
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        yield most - int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
