"""DuckDB, which the store is read with: one database in memory for the process, as making one takes longer than most questions."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_shared: duckdb.DuckDBPyConnection | None = None
_opening = threading.Lock()


def connect() -> duckdb.DuckDBPyConnection:
    """A connection for one question. What it makes must be temporary: it is gone when it is closed, and others see none of it."""
    global _shared
    with _opening:
        if _shared is None:
            _shared = private()
        return _shared.cursor()


def private() -> duckdb.DuckDBPyConnection:
    """A database of its own, for SQL that is not ours."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("set enable_progress_bar = false")  # this may be somebody's training script
    connection.execute("set preserve_insertion_order = true")
    return connection


def _close() -> None:
    """Before a fork: a child would have the database without its threads, and wait for them when it ends."""
    global _shared
    with _opening:
        if _shared is not None:
            _shared.close()
            _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close)
