"""A live log as tables of a DuckDB connection."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from flor_replay.store import live, schema

if TYPE_CHECKING:
    import duckdb

_number = itertools.count()


def log(connection: duckdb.DuckDBPyConnection, found: live.Log) -> str:
    """SQL of the log records, in the columns of `schema.LOG_COLUMNS` and as many levels as `found` has."""
    if not found.columns:
        empty = {**schema.LOG_COLUMNS, **schema.level_columns(found.depth)}
        return "select " + ", ".join(f"null::{kind} as {name}" for name, kind in empty.items()) + " where false"
    table = f"live_{next(_number)}"
    columns = dict(found.columns)
    columns["shape"] = columns["shape"].astype(np.int64)
    connection.register(table, columns)
    for key, labels in (
        ("name", found.names),
        ("kind", found.kinds),
        ("shape", [live.json_of(s) for s in found.shapes]),
    ):
        connection.execute(f"set variable {table}_{key} = ?", [labels])
    connection.execute(f"set variable {table}_depth = ?", [[len(shape) for shape in found.shapes]])
    source, text = table, "null::VARCHAR"
    if len(found.text_rows):
        texts: list[str | None] = [None] * len(columns["name"])
        for row, said in zip(found.text_rows.tolist(), found.texts, strict=True):
            texts[row] = said
        connection.execute(f"create temp table {table}_text as select unnest(?::VARCHAR[]) as text_value", [texts])
        source, text = f"{table} positional join {table}_text", "text_value"
    levels = "".join(
        f", case when o{d} >= 0 then o{d}::INTEGER end as o{d}, case when o{d} >= 0 then i{d} end as i{d}"
        for d in range(1, found.depth + 1)
    )
    return (
        f"select seq, getvariable('{table}_name')[name + 1] as name, getvariable('{table}_kind')[kind + 1] as kind, "
        "case when has_int then int_value end as int_value, "
        # DuckDB takes a nan in a column of numpy's for a missing value
        "case when has_float then coalesce(float_value, 'nan'::DOUBLE) end as float_value, "
        f"{text} as text_value, getvariable('{table}_shape')[shape + 1] as loops, "
        f"getvariable('{table}_depth')[shape + 1]::INTEGER as depth, ordinal::INTEGER as ordinal, time, "
        f"hindsight::TINYINT as hindsight{levels} from {source}"
    )


def loops(connection: duckdb.DuckDBPyConnection, found: live.Live) -> str:
    """SQL of what loops did, in the columns of `schema.LOOP_COLUMNS`."""
    table = f"live_{next(_number)}"
    kinds = {name: schema.LOOP_COLUMNS[name] for name in live.LOOP_ROW}
    columns: list[list[Any]] = [list(column) for column in zip(*found.loops, strict=True)] or [[] for _ in kinds]
    lists = ", ".join(f"unnest(?::{kind}[]) as {name}" for name, kind in kinds.items())
    connection.execute(f"create temp table {table} as select {lists}", columns)
    selects = [f"select * from {table}"]
    if found.durations:
        connection.register(f"{table}_durations", found.durations)
        connection.execute(f"set variable {table}_shape = ?", [[list(shape) for shape in found.duration_shapes]])
        connection.execute(f"set variable {table}_depth = ?", [[len(shape) for shape in found.duration_shapes]])
        depth = max(len(shape) for shape in found.duration_shapes)
        occurrences, indices = (", ".join(f"{name}{d}" for d in range(1, depth + 1)) for name in "oi")
        cut = f"[1:getvariable('{table}_depth')[shape + 1]]"
        selects.append(
            f"select 'duration' as event, getvariable('{table}_shape')[shape + 1] as loops, "
            f"([{occurrences}]::INTEGER[]){cut} as occurrences, ([{indices}]::BIGINT[]){cut} as indices, seconds, began "
            f"from {table}_durations"
        )
    empty = ", ".join(f"null::{kind} as {name}" for name, kind in schema.LOOP_COLUMNS.items())
    return " union all by name ".join(f"({select})" for select in [f"select {empty} where false", *selects])
