"""From the live log to the sealed form: it becomes ``log.parquet`` and ``loops.parquet``, then goes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flor_replay.errors import StoreError
from flor_replay.store import database, layout, schema
from flor_replay.store.layout import RunFolder

if TYPE_CHECKING:
    import duckdb


_ROOM_BYTES = 2 << 30  # of addresses: the threads that DuckDB starts have stacks, and it keeps more than it uses


def has_room() -> bool:
    """Whether this process may address enough more memory for sealing: where it may not, DuckDB ends it with a segfault."""
    try:
        import resource
    except ImportError:
        return True
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return True
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return False
    return limit - pages * resource.getpagesize() > _ROOM_BYTES


def seal(folder: RunFolder) -> list[str]:
    """Seal one run. Done again after a crash in its midst it gives the same result; a sealed run is left alone.

    Returns what of the live log was damaged and is lost, in words.
    """
    problems: list[str] = []
    for path in (folder.live, folder.live_1):
        if os.path.exists(path):
            problems += _seal(folder, path)
    return problems


def _seal(folder: RunFolder, path: str) -> list[str]:
    problems: list[str] = []
    with database.connect() as connection:
        if path == folder.live_1:
            source = schema.live_1(path)
            (depth,) = connection.execute(f"select coalesce(max(len(indices)), 0) from ({source})").fetchall()[0]
            log = schema.from_1(source, depth, "null as run") + " order by name, seq"
            log, loops = f"select * exclude (run) from ({log})", schema.live_1(path, loops=True)
        else:
            from flor_replay.store import live, livetables

            found = live.read(path)
            problems = found.problems
            log, loops = livetables.log(connection, found.log), livetables.loops(connection, found)
        write(connection, loops, folder.loops)
        write(connection, log, folder.log)
    info = layout.read_json(folder.info)
    if isinstance(info, dict):  # readers see by it whether a byte has changed since
        info["sealed"] = {os.path.basename(sealed): digest(sealed) for sealed in (folder.log, folder.loops)}
        if problems:
            info["damaged"] = problems
        layout.replace_json(folder.info, info)
    os.unlink(path)
    return problems


def digest(path: str) -> str:
    """xxh3-128 of a file's content. Raises OSError."""
    import xxhash

    hashing = xxhash.xxh3_128()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            hashing.update(piece)
    return hashing.hexdigest()


def check(path: str, expected: str | None) -> None:
    """Raises StoreError where a file is not what was written. None: it is not known what that was."""
    if expected is not None and digest(path) != expected:
        raise StoreError(f"the store cannot be read: the bytes of {path} have changed since it was written")


def write(connection: duckdb.DuckDBPyConnection, select: str, path: str) -> None:
    """A Parquet file of the store, there whole or not at all."""
    temporary = f"{path}.{os.getpid()}.tmp"
    connection.execute(
        f"copy ({select}) to {schema.quote(temporary)} (format parquet, compression snappy, parquet_version v2, "
        f"kv_metadata {{flor_format: '{layout.FORMAT}'}})"
    )
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())  # it is on the disk before what it was made from goes
    os.replace(temporary, path)
