"""From the live log to the sealed form: ``log.jsonl`` becomes ``log.parquet`` and ``loops.parquet``, then goes."""

from __future__ import annotations

import os

from flor_replay.store import schema
from flor_replay.store.layout import RunFolder


def seal(folder: RunFolder) -> None:
    """Seal one run. Done again after a crash in its midst it gives the same result; a sealed run is left alone."""
    if not os.path.exists(folder.live):
        return
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set preserve_insertion_order = true")
        live = schema.live_table(folder.live)
        for path, select in ((folder.loops, schema.SELECT_LOOPS), (folder.log, schema.SELECT_LOG)):
            temporary = f"{path}.{os.getpid()}.tmp"
            connection.execute(
                f"copy ({select.format(live=live)}) to {schema.quote(temporary)} "
                "(format parquet, compression zstd, parquet_version v2)"
            )
            os.replace(temporary, path)
    os.unlink(folder.live)
