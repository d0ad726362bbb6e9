"""Patched versions as commits: any number of them by one git process, without an index and without a working tree."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flor_replay.history.gitcmd import IDENTITY, GitCommands


@dataclass(frozen=True)
class Change:
    """A version of which some files get other bytes."""

    commit: str
    files: Mapping[str, bytes]
    modes: Mapping[str, str]  # of those that the version has
    message: str


def commit_changes(git: GitCommands, changes: Sequence[Change]) -> list[str]:
    """The commits, each a child of its version. The same change is the same commit: it is as old as the version."""
    if not changes:
        return []
    dates = _dates(git, [change.commit for change in changes])
    stream = [b"feature done\n"]
    for number, change in enumerate(changes, 1):
        stream += _commit(number, change, dates[change.commit])
    stream.append(b"done\n")
    return git.run("fast-import", "--quiet", "--date-format=raw", data=b"".join(stream)).decode().split()


def _dates(git: GitCommands, commits: Sequence[str]) -> dict[str, str]:
    """When each was committed: unix seconds and the zone."""
    asked = "".join(f"{commit}\n" for commit in dict.fromkeys(commits)).encode()
    words = ("log", "--no-walk=unsorted", "--no-show-signature", "--format=%H %cd", "--date=raw", "--stdin")
    lines = git.text(*words, data=asked).splitlines()
    return {commit: date for commit, _, date in (line.partition(" ") for line in lines)}


def _commit(number: int, change: Change, date: str) -> list[bytes]:
    """See git-fast-import(1). The ref that it asks for is gone again when it ends: only `get-mark`'s answer is left."""
    ref = f"refs/flor/making/{number}"
    message = f"{change.message}\n".encode()
    people = [
        f"{kind.lower()} {IDENTITY[f'GIT_{kind}_NAME']} <{IDENTITY[f'GIT_{kind}_EMAIL']}> {date}\n"
        for kind in ("AUTHOR", "COMMITTER")
    ]
    lines = [
        f"commit {ref}\nmark :{number}\n{''.join(people)}".encode(),
        b"data %d\n%s" % (len(message), message),
        f"from {change.commit}\n".encode(),
    ]
    for path, data in change.files.items():
        lines.append(f"M {change.modes.get(path, '100644')} inline ".encode() + _quoted(path) + b"\n")
        lines.append(b"data %d\n%s\n" % (len(data), data))
    lines.append(f"get-mark :{number}\nreset {ref}\nfrom {'0' * len(change.commit)}\n\n".encode())
    return lines


def _quoted(path: str) -> bytes:
    data = os.fsencode(path)
    for plain in (b"\\", b'"'):
        data = data.replace(plain, b"\\" + plain)
    return b'"' + data.replace(b"\n", b"\\n") + b'"'
