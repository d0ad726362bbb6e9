"""A program that can read and compute, and nothing else: it writes no file and starts no program.

By Landlock, which the Linux kernel offers to every process since 5.13 (Documentation/userspace-api/landlock.rst): the rights
are given up between fork and exec, and hold for whatever the program does.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_VERSION = 1  # flag of landlock_create_ruleset
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS
_EXECUTE, _WRITE_FILE = 1 << 0, 1 << 1
# rights by version: removing and making of every kind; REFER in 2, TRUNCATE in 3, IOCTL_DEV in 5
_CHANGING = _EXECUTE | _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_LATER = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}


def available() -> bool:
    return _abi() > 0


def _abi() -> int:
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, 0, _VERSION))
    except (OSError, AttributeError):
        return 0


def run(program: str, arguments: Sequence[str], *, cwd: str, env: Mapping[str, str], seconds: float) -> str | None:
    """What `program` (its real path) prints when it can only read; None where it cannot be confined, or takes too long."""
    ruleset = _ruleset([path for path in (program, *_loaders(program)) if os.path.exists(path)])
    if ruleset is None:
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def give_up() -> None:  # between fork and exec: two system calls, nothing that could wait for another thread
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) < 0 or libc.syscall(_RESTRICT_SELF, ruleset, 0) < 0:
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")  # nothing is run unconfined

    try:
        done = subprocess.run(
            [program, *arguments],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="surrogateescape",
            timeout=seconds,
            check=False,
            preexec_fn=give_up,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    finally:
        os.close(ruleset)
    return done.stdout


def _loaders(program: str) -> list[str]:
    """The dynamic loader that an ELF program names: the kernel executes it too."""
    try:
        with open(program, "rb") as file:
            head = file.read(1 << 16)
    except OSError:
        return []
    if head[:4] != b"\x7fELF":
        return []
    wide = head[4] == 2
    order = "<" if head[5] == 1 else ">"
    try:
        offset = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)[0]
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        for number in range(count):
            base = offset + number * size
            if struct.unpack_from(order + "I", head, base)[0] == 3:  # PT_INTERP
                where, length = (
                    (
                        struct.unpack_from(order + "Q", head, base + 8)[0],
                        struct.unpack_from(order + "Q", head, base + 32)[0],
                    )
                    if wide
                    else (
                        struct.unpack_from(order + "I", head, base + 4)[0],
                        struct.unpack_from(order + "I", head, base + 16)[0],
                    )
                )
                return [os.fsdecode(head[where : where + length].rstrip(b"\0"))]
    except struct.error:
        pass
    return []


def _ruleset(executable: Sequence[str]) -> int | None:
    """A file descriptor of the rights that stay: to execute these files, and to write to /dev/null."""
    abi = _abi()
    if abi < 1:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    handled = _CHANGING | sum(right for since, right in _LATER.items() if abi >= since)
    attributes = ctypes.create_string_buffer(struct.pack("=Q", handled))
    ruleset = int(libc.syscall(_CREATE_RULESET, attributes, 8, 0))
    if ruleset < 0:
        return None
    for path, rights in [*((path, _EXECUTE) for path in executable), (os.devnull, _WRITE_FILE)]:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, parent))
        done = libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
        os.close(parent)
        if done < 0:
            os.close(ruleset)
            return None
    return ruleset
