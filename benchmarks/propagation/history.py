"""The contents that a file had, read from a git repository without touching it."""

from __future__ import annotations

import ast
import subprocess
import warnings
from pathlib import Path


def versions(repository: Path, file: str) -> list[bytes]:
    """The contents of a file that today's Python parses, newest first, renames followed, equal neighbours once.

    `repository` is a work tree or a git directory. Raises CalledProcessError if it is neither.
    """
    log = _log(repository, file).decode(errors="replace")
    wanted: list[str] = []
    name = file
    for entry in log.split("\x01")[1:]:
        commit, *rest = entry.split("\n")
        name = next((line for line in rest if line.strip()), name)
        wanted.append(f"{commit.strip()}:{name}")
    out: list[bytes] = []
    for data in _blobs(repository, wanted):
        if data is not None and _parses(data) and (not out or out[-1] != data):
            out.append(data)
    return out


def _log(repository: Path, file: str) -> bytes:
    try:
        return _git(repository, "log", "--follow", "--format=%x01%H", "--name-only", "--", file)
    except subprocess.CalledProcessError:
        # Renames cannot be followed where a clone lacks objects.
        return _git(repository, "log", "--format=%x01%H", "--name-only", "--", file)


def _git(repository: Path, *arguments: str, given: bytes | None = None) -> bytes:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True, input=given).stdout


def _blobs(repository: Path, names: list[str]) -> list[bytes | None]:
    """The objects of these names, in one process."""
    data = _git(repository, "cat-file", "--batch", given="".join(f"{name}\n" for name in names).encode())
    out: list[bytes | None] = []
    at = 0
    for _ in names:
        end = data.index(b"\n", at)
        fields = data[at:end].split()
        at = end + 1
        if len(fields) != 3 or fields[1] != b"blob":
            out.append(None)
            continue
        size = int(fields[2])
        out.append(data[at : at + size])
        at += size + 1
    return out


def _parses(data: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
