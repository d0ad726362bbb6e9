"""Which process is which: a pid alone says little, it is given out again."""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def identity() -> dict[str, Any]:
    """What tells this process from another that gets the same pid later."""
    return {"pid": os.getpid(), "start": start_time(os.getpid()), "host": socket.gethostname()}


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where it is gone or the system does not say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def age_seconds() -> float | None:
    """How long this process has been running; None where the system does not say."""
    started = start_time(os.getpid())
    try:
        with open("/proc/uptime", encoding="ascii") as file:
            uptime = float(file.read().split()[0])
        return None if started is None else max(0.0, uptime - started / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return None


def cpus() -> int:
    """Processors that this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:
        return max(1, os.cpu_count() or 1)
