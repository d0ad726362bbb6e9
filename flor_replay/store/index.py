"""What is derived from run folders so that many runs are listed and read fast. It can be deleted at any time.

    index/runs        the records of runs that ended, one file: a line (form, bytes and crc32 of the head), the head (JSON: for each run what
                      lists ask for, and where its record stands), then the records. A run is taken from it while the size and the
                      time of change of its run.json are those that are noted.
    index/merged/     log.parquet of many small runs in one file each, with a column ``run``; merged.json says of which

Both are made by readers, when there are enough new runs; a missing, old or broken one is made anew, and where they cannot be written
nothing changes but the time that reading takes.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flor_replay.store import layout, schema, sealing

if TYPE_CHECKING:
    import duckdb

_FORM = b"flor-runs-3"
MANY = 64  # new runs that make it worth writing
_TOGETHER = 1000  # runs in one merged file
_SMALL_BYTES = 1 << 20  # of a log that is merged
_LISTED = frozenset(
    [
        "format",
        "run",
        "projid",
        "filename",
        "tstamp",
        "status",
        "replay_of",
        "rank",
        "fidelity",
        "loop_values",
        "sealed",
        "uncommitted",
        "options",
    ]
)


class Record(Mapping[str, Any]):
    """A file of a run as it is noted; read when more is asked than lists ask for."""

    __slots__ = ("_at", "_body", "_bytes", "_checksum", "_known", "_path", "_whole")

    def __init__(
        self, known: Mapping[str, Any], path: tuple[str, ...], body: bytes, at: int, size: int, checksum: int
    ) -> None:
        self._known = known
        self._path = path
        self._body = body
        self._at = at
        self._bytes = size
        self._checksum = checksum
        self._whole: Mapping[str, Any] | None = None

    @property
    def raw(self) -> bytes:
        """The file's content. Where the note is damaged it is read from the file."""
        noted = self._body[self._at : self._at + self._bytes]
        if len(noted) == self._bytes and zlib.crc32(noted) == self._checksum:
            return noted
        found = layout.read_json(os.path.join(*self._path))
        return json.dumps(found if isinstance(found, dict) else {}).encode()

    def _all(self) -> Mapping[str, Any]:
        if self._whole is None:
            self._whole = json.loads(self.raw)
        return self._whole

    def get(self, key: str, default: Any = None) -> Any:
        if key in _LISTED:
            return self._known.get(key, default)
        return self._all().get(key, default)

    def __getitem__(self, key: str) -> Any:
        return self._known[key] if key in _LISTED else self._all()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._known if key in _LISTED else key in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


Stamp = tuple[int, int]  # size, time of change in ns
Entry = tuple[Mapping[str, Any], Mapping[str, Any]]  # run.json, version.json


def stamp(path: str, folder: int | None = None) -> Stamp | None:
    """What tells whether a file is the same; None where it is not there."""
    try:
        found = os.stat(path, dir_fd=folder)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


class RunIndex:
    """The records of runs that ended, as far as they are noted."""

    def __init__(self, store: str) -> None:
        self._path = os.path.join(store, "index", "runs")
        self._runs = os.path.join(store, "runs")
        self._body = b""
        self._head: dict[str, list[Any]] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
            self._load()

    def __len__(self) -> int:
        return len(self._head)

    def _load(self) -> None:
        with open(self._path, "rb") as file:
            form, size, checksum = file.readline(100).split()
            if form != _FORM:
                return
            head = file.read(int(size))
            if zlib.crc32(head) != int(checksum):
                return
            self._body = file.read()
        self._head = json.loads(head)

    def get(self, run: str, now: Stamp | None) -> Entry | None:
        """The records of a run whose run.json is `now` as it was when it was noted."""
        noted = self._head.get(run)
        if noted is None or now is None or noted[0] != now[0] or noted[1] != now[1]:
            return None
        _, _, at, info_bytes, info_sum, version_bytes, version_sum, known = noted
        folder = (self._runs, run)
        return (
            Record(known, (*folder, "run.json"), self._body, at, info_bytes, info_sum),
            Record({}, (*folder, "version.json"), self._body, at + info_bytes, version_bytes, version_sum),
        )

    def write(self, entries: Mapping[str, tuple[Stamp, Entry]]) -> None:
        """Note these runs, and no others."""
        head: dict[str, list[Any]] = {}
        body: list[bytes] = []
        at = 0
        for run, ((size, changed), (info, version)) in entries.items():
            first, second = (_bytes(one) for one in (info, version))
            known = {key: info[key] for key in _LISTED if key in info}
            head[run] = [size, changed, at, len(first), zlib.crc32(first), len(second), zlib.crc32(second), known]
            body += (first, second)
            at += len(first) + len(second)
        packed = json.dumps(head, separators=(",", ":")).encode()
        line = b"%s %d %d\n" % (_FORM, len(packed), zlib.crc32(packed))
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            layout.replace_bytes(self._path, b"".join([line, packed, *body]))


def _bytes(record: Mapping[str, Any]) -> bytes:
    return record.raw if isinstance(record, Record) else json.dumps(record, separators=(",", ":")).encode()


class Merged:
    """Logs of small runs, many in a file."""

    def __init__(self, store: str) -> None:
        self._folder = os.path.join(store, "index", "merged")
        self._listing = os.path.join(self._folder, "merged.json")
        self._files: dict[str, dict[str, list[int]]] = {}
        self._digests: dict[str, str] = {}
        found = layout.read_json(self._listing)
        if isinstance(found, dict) and found.get("format") == layout.FORMAT:
            self._files, self._digests = found["files"], found["digests"]
        self._where = self._by_run()
        self._found: dict[str, str | None] = {}

    def _by_run(self) -> dict[str, tuple[str, list[int]]]:
        return {run: (file, noted) for file, runs in self._files.items() for run, noted in runs.items()}

    def find(self, run: str, log: str) -> str | None:
        """The merged file that has the run's log; None where none has it as it is now."""
        if run not in self._found:
            noted = self._where.get(run)
            now = stamp(log) if noted is not None else None
            same = noted is not None and now is not None and list(now) == noted[1]
            self._found[run] = os.path.join(self._folder, noted[0]) if same and noted is not None else None
        return self._found[run]

    def check(self, path: str) -> None:
        """Raises StoreError where a merged file is not what was written."""
        sealing.check(path, self._digests.get(os.path.basename(path), ""))

    def extend(
        self, connection: duckdb.DuckDBPyConnection, logs: Mapping[str, str], digests: Mapping[str, str | None]
    ) -> None:
        """Merge the small ones of these logs (run -> sealed file of the present form) where they are many.

        Raises StoreError where one of them is not what was written (`digests`: of each).
        """
        small: dict[str, Stamp] = {}
        for run, path in logs.items():
            now = stamp(path)
            if now is not None and now[0] <= _SMALL_BYTES:
                sealing.check(path, digests[run])
                small[run] = now
        if len(small) < MANY:
            return
        names = list(small)
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, exist_ok=True)
            for start in range(0, len(names), _TOGETHER):
                part = names[start : start + _TOGETHER]
                file = f"{part[0]}-{os.urandom(4).hex()}.parquet"
                self._merge(connection, os.path.join(self._folder, file), {run: logs[run] for run in part})
                self._files[file] = {run: list(small[run]) for run in part}
                self._digests[file] = sealing.digest(os.path.join(self._folder, file))
            self._write(self._files)
            self._where = self._by_run()
            self._found = {}

    def _merge(self, connection: duckdb.DuckDBPyConnection, path: str, logs: Mapping[str, str]) -> None:
        files = ", ".join(map(schema.quote, logs.values()))
        run = "regexp_extract(filename, '([^/\\\\]+)[/\\\\][^/\\\\]+$', 1)"
        # Runs stay together: a reader of some of them reads a part of the file.
        sealing.write(
            connection,
            f"select {run} as run, * exclude (filename) from read_parquet([{files}], filename = true, union_by_name = true)",
            path,
        )

    def _write(self, files: Mapping[str, Mapping[str, list[int]]]) -> None:
        digests = {file: self._digests[file] for file in files}
        layout.replace_json(self._listing, {"format": layout.FORMAT, "files": files, "digests": digests})

    def tidy(self, runs: Sequence[str]) -> None:
        """Remove files of which no run is there any more, and those that nothing lists."""
        alive = set(runs)
        kept = {file: noted for file, noted in self._files.items() if alive & noted.keys()}
        with contextlib.suppress(OSError):
            if len(kept) < len(self._files):
                self._write(kept)
            for name in os.listdir(self._folder):
                if name not in kept and name != "merged.json":
                    os.unlink(os.path.join(self._folder, name))
        self._files = kept


def discard(store: str) -> None:
    """Remove what is derived for reading: it is made anew."""
    import shutil

    folder = os.path.join(store, "index")
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, "runs"))
    shutil.rmtree(os.path.join(folder, "merged"), ignore_errors=True)
