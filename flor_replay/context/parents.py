"""The processes above this one, as they are now: they may be gone a moment later.

Light: it runs on ``import flor``, and reads some small files under /proc. Elsewhere `from_ps` is asked later, by a process
that has time.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

LIMIT = 24  # processes
MAX_TEXT = 2_000  # characters of a command line
_MAKES = ("make", "gmake", "gnumake")


def is_make(process: dict[str, Any]) -> bool:
    return bool(process["argv"]) and os.path.basename(process["argv"][0]) in _MAKES


def chain(marks: Sequence[str]) -> list[dict[str, Any]]:
    """This process and those above it, nearest first: pid, argv, and which of the variables `marks` it was started with.

    Of a make also exe and cwd: it can be asked what it is doing. Empty where the system does not say.
    """
    found: list[dict[str, Any]] = []
    pid = os.getpid()
    wanted = [os.fsencode(mark) + b"=" for mark in marks]
    while pid > 0 and len(found) < LIMIT:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                above = int(file.read().rpartition(b")")[2].split()[1])
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")[:-1]
        except (OSError, ValueError, IndexError):
            break
        process: dict[str, Any] = {"pid": pid, "argv": _short([os.fsdecode(word) for word in words])}
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                text = b"\0" + file.read()
            process["marks"] = [mark for mark, name in zip(marks, wanted, strict=True) if b"\0" + name in text]
        except OSError:
            process["marks"] = []  # somebody else's process
        if is_make(process):
            try:
                process["exe"] = os.readlink(f"/proc/{pid}/exe")
                process["cwd"] = os.readlink(f"/proc/{pid}/cwd")
            except OSError:
                pass
        found.append(process)
        pid = above
    return found


def from_ps(pid: int) -> list[dict[str, Any]]:
    """As `chain`, of the processes from `pid` upwards, from the command ``ps``: without marks, and words cut at blanks."""
    import shlex
    import subprocess

    try:
        done = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,command="], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    table = {}
    for line in done.stdout.splitlines():
        own, above, command = (*line.split(None, 2), "", "")[:3]
        if own.isdigit() and above.isdigit():
            table[int(own)] = (int(above), command)
    found: list[dict[str, Any]] = []
    while pid in table and pid > 0 and len(found) < LIMIT:
        above_pid, command = table[pid]
        try:
            words = shlex.split(command)
        except ValueError:
            words = command.split()
        found.append({"pid": pid, "argv": _short(words), "marks": []})
        pid = above_pid
    return found


def _short(words: list[str]) -> list[str]:
    kept = []
    left = MAX_TEXT
    for word in words:
        if left <= 0:
            break
        kept.append(word[:left])
        left -= len(word)
    return kept
