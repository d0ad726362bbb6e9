"""What a run can read that is in no version: the ignored and left-out files, as they stood when it started.

Taken with the version, by the same process: path, size, time and digest of each. A replay of the whole script is then given
them as they were: a file that came later is hidden, one that only grew is cut to its former length (a log that every run
appends to), and one whose content is another is known to be another. A listing is a file of the store named by its content,
so that runs which found the same files share it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import xxhash

from flor_replay.history.gitcmd import GitCommands
from flor_replay.project import STORE
from flor_replay.store import layout

MAX_FILES = 5_000  # listed one by one; folders that do not fit are named, and what is in them is judged by its times
MAX_FOLDER = 1_000  # entries of one folder
DIGEST_BYTES = 2**28  # read for digests by one start; larger files are told by size and time
SETTLED_NS = (
    2_000_000_000  # a file changed so shortly before it was read may have been changed again within its time stamp
)
# Environments and caches of tools: no inputs of a run, and never hidden from a replay.
PASSED_OVER = frozenset(
    (
        STORE,
        ".git",
        ".hg",
        ".venv",
        "venv",
        "node_modules",
        "__pycache__",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".tox",
        ".nox",
        ".ipynb_checkpoints",
    )
)
PASSED_SUFFIXES = (".pyc", ".so", ".pyd", ".egg-info", ".dist-info")


@dataclass(frozen=True)
class Known:
    """One listed file: bytes, time of its last change, digest (None: not taken, or the run may have changed it by then)."""

    size: int
    mtime_ns: int
    digest: str | None


@dataclass(frozen=True)
class Listing:
    """The files of one start. Paths are relative to the repository's top, with forward slashes."""

    files: Mapping[str, Known]
    folders: frozenset[str]  # not looked into

    def covers(self, path: str) -> bool:
        """Whether `path` would be listed if it had been there."""
        parts = path.split("/")
        if any(_passed(part) for part in parts):
            return False
        return not any("/".join(parts[:depth]) in self.folders for depth in range(1, len(parts)))


@dataclass(frozen=True)
class Changes:
    """What today's files are to a run. Paths as in `Listing`."""

    same: frozenset[str]
    grown: Mapping[str, int]  # path -> bytes that it had: what follows was appended since
    changed: frozenset[str]  # other content, or not to be told
    new: frozenset[str]  # came after the run started


class Digests:
    """Digests of the files below `top`, read once: kept in the store by path, size and time of change."""

    def __init__(self, top: str, store: str, started_ns: int) -> None:
        self._top = top
        self._path = layout.digests(store)
        self._started_ns = started_ns
        kept = layout.read_json(self._path)
        self._kept: dict[str, list[Any]] = kept if isinstance(kept, dict) else {}
        self._fresh = False

    def known(self, path: str, size: int, mtime_ns: int) -> bool:
        """Whether its digest is there without reading it."""
        return self._kept.get(path, ())[:2] == [size, mtime_ns]

    def of(self, path: str, size: int, mtime_ns: int) -> str | None:
        """The digest of a file that had this size and time; None where it cannot be said what the script found there."""
        if mtime_ns >= self._started_ns:
            return None  # the script may have written it
        if self.known(path, size, mtime_ns):
            return str(self._kept[path][2])
        digest = digest_of(os.path.join(self._top, path), size)
        if digest is None or _size_and_time(self._top, path) != (size, mtime_ns):
            return None  # it was changed while it was read
        if time.time_ns() - mtime_ns > SETTLED_NS:
            self._kept[path] = [size, mtime_ns, digest]
            self._fresh = True
        return digest

    def save(self, paths: Iterable[str]) -> None:
        """Keep what was learnt, of these paths only."""
        if self._fresh:
            wanted = set(paths)
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                layout.replace_json(self._path, {path: kept for path, kept in self._kept.items() if path in wanted})


class Taker:
    """Lists the files at the start of a run: looked at when made, digests and the rest afterwards."""

    def __init__(self, git: GitCommands, top: str, store: str, started_ns: int) -> None:
        self._top = top
        self._store = store
        self._folders: set[str] = set()
        self._found: dict[str, tuple[int, int]] = {}
        self._digests = Digests(top, store, started_ns)
        for path in _ignored(git, top, self._folders):
            self._look(path)

    def _look(self, path: str) -> tuple[int, int] | None:
        seen = _size_and_time(self._top, path)
        if seen is not None:
            self._found[path] = seen
        return seen

    def left_out(self, path: str) -> str | None:
        """Take in a file that git does not ignore and the version lacks; its digest, whatever its size."""
        seen = self._look(path)
        return None if seen is None else self._digests.of(path, *seen)

    def keep(self) -> str | None:
        """Write the listing; its name in the store, None where that cannot be written."""
        files: dict[str, list[Any]] = {}
        left = DIGEST_BYTES
        for path, (size, mtime_ns) in sorted(self._found.items(), key=lambda item: item[1][0]):
            affordable = size <= left or self._digests.known(path, size, mtime_ns)
            files[path] = [size, mtime_ns, self._digests.of(path, size, mtime_ns) if affordable else None]
            left -= size if affordable else 0
        self._digests.save(self._found)
        listing = {"format": layout.FORMAT, "folders": sorted(self._folders), "files": dict(sorted(files.items()))}
        text = json.dumps(listing, separators=(",", ":")).encode()
        name = xxhash.xxh3_128_hexdigest(text)
        path = layout.inputs(self._store, name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.exists(path):
                layout.replace_bytes(path, text)
        except OSError:
            return None
        return name


def read(store: str, name: str | None) -> Listing | None:
    """A listing by its name; None where there is none or it cannot be read."""
    if not name:
        return None
    try:
        with open(layout.inputs(store, name), "rb") as file:
            text = file.read()
        if xxhash.xxh3_128_hexdigest(text) != name:
            return None
        data = json.loads(text)
        files = {path: Known(int(size), int(mtime), digest) for path, (size, mtime, digest) in data["files"].items()}
        return Listing(files, frozenset(data["folders"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Today:
    """The ignored files as they are now; compares listings of many runs with them, reading each file once."""

    def __init__(self, git: GitCommands, top: str) -> None:
        self._top = top
        self._present: dict[str, tuple[int, int]] = {}
        for path in _ignored(git, top, set()):
            self._look(path)
        self._prefixes: dict[tuple[str, int], str | None] = {}

    def _look(self, path: str) -> tuple[int, int] | None:
        if path not in self._present:
            seen = _size_and_time(self._top, path)
            if seen is None:
                return None
            self._present[path] = seen
        return self._present[path]

    def changes(self, listing: Listing) -> Changes:
        """What has become of the files of `listing`."""
        same, changed, grown = set(), set(), {}
        for path, known in listing.files.items():
            now = self._look(path)
            if now is None:
                continue
            if now == (known.size, known.mtime_ns):
                same.add(path)
            elif known.digest is None or now[0] < known.size or self._prefix(path, known.size) != known.digest:
                changed.add(path)
            elif now[0] == known.size:
                same.add(path)
            elif os.path.islink(os.path.join(self._top, path)):
                changed.add(path)  # it stands elsewhere: no sandbox can cut it
            else:
                grown[path] = known.size
        new = {path for path in self._present if path not in listing.files and listing.covers(path)}
        return Changes(frozenset(same), grown, frozenset(changed), frozenset(new))

    def _prefix(self, path: str, size: int) -> str | None:
        """The digest of the first `size` bytes as they are now."""
        key = (path, size)
        if key not in self._prefixes:
            self._prefixes[key] = digest_of(os.path.join(self._top, path), size)
        return self._prefixes[key]


def ignored(git: GitCommands, top: str) -> list[str]:
    """Paths of the files that git ignores, from `top`: as many as a listing has, without caches and environments."""
    return list(_ignored(git, top, set()))


def _size_and_time(top: str, path: str) -> tuple[int, int] | None:
    """Bytes and time of the last change in ns; None where there is no such file."""
    try:
        status = os.stat(os.path.join(top, path))
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _passed(name: str) -> bool:
    return name in PASSED_OVER or name.endswith(PASSED_SUFFIXES)


def _ignored(git: GitCommands, top: str, folders: set[str]) -> Iterator[str]:
    """Paths of ignored files, the shallow ones first; folders that are too large are put into `folders`."""
    count = 0
    queue = []
    command = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    for path in git.paths("-C", top, *command):
        if any(_passed(part) for part in path.rstrip("/").split("/")):
            continue
        if path.endswith("/"):
            queue.append(path.rstrip("/"))
        elif os.path.isfile(os.path.join(top, path)):
            count += 1
            yield path
    while queue:
        folder = queue.pop(0)
        try:
            with os.scandir(os.path.join(top, folder)) as entries:
                listed = list(entries)
        except OSError:
            folders.add(folder)
            continue
        if len(listed) > MAX_FOLDER or count + len(listed) > MAX_FILES:
            folders.add(folder)
            continue
        if any(entry.name == "pyvenv.cfg" for entry in listed):
            folders.add(folder)  # an environment under a name of its own
            continue
        for entry in sorted(listed, key=lambda entry: entry.name):
            path = f"{folder}/{entry.name}"
            if _passed(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                queue.append(path)
            elif entry.is_file():
                count += 1
                yield path


def digest_of(path: str, size: int) -> str | None:
    """The digest of a file's first `size` bytes; None where it has fewer or cannot be read."""
    digest = xxhash.xxh3_128()
    left = size
    try:
        with open(path, "rb") as file:
            while left:
                block = file.read(min(left, 1 << 20))
                if not block:
                    return None
                left -= len(block)
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()
