"""The columns of the stored form, with their meaning. Their version is `flor_replay.store.layout.FORMAT`."""

from __future__ import annotations

# log.parquet: one row a log record
LOG_COLUMNS = {
    "seq": "BIGINT",  # order in the run, from 1
    "name": "VARCHAR",  # what was logged
    "kind": "VARCHAR",  # see flor_replay.values
    "int_value": "BIGINT",  # kinds bool and int
    "float_value": "DOUBLE",  # kind float
    "text_value": "VARCHAR",  # everything else, and numbers that do not fit
    "loops": "VARCHAR[]",  # names of the loops around the record, outermost first
    "occurrences": "INTEGER[]",  # how many loops of that name were begun before in the same surrounding iteration
    "indices": "BIGINT[]",  # 0-based iterations of these loops
    "ordinal": "INTEGER",  # how many records with this name were made before in the same iteration
    "time": "DOUBLE",  # unix seconds
    "hindsight": "TINYINT",  # 0 recorded; 1 by an added statement; 2 by a statement that replaces one
}

# loops.parquet: one row a loop, an iteration with a value, or an iteration of a main loop with its duration
LOOP_COLUMNS = {
    "seq": "BIGINT",  # log records made before a loop began or ended
    "event": "VARCHAR",  # "begin" and "end" of a loop, "value" and "duration" of an iteration
    "loops": "VARCHAR[]",  # names of the loops, outermost first; the last is the one meant
    "occurrences": "INTEGER[]",
    "indices": "BIGINT[]",  # for "begin" and "end" the last is -1
    "kind": "VARCHAR",  # of the value; for loops what they run over: "sequence", "loader", "iterator"
    "int_value": "BIGINT",  # the value of an iteration where it is a scalar other than its index
    "float_value": "DOUBLE",
    "text_value": "VARCHAR",
    "iterations": "BIGINT",  # of a loop that ended
    "seconds": "DOUBLE",  # duration without checkpoints
    "began": "DOUBLE",  # seconds after the run's start
    "ended_by": "VARCHAR",  # "exhausted" or "closed" (break, return, exception)
}

# log.jsonl: see flor_replay.record.journal
LIVE_COLUMNS = {
    "e": "VARCHAR", "s": "BIGINT", "n": "VARCHAR", "k": "VARCHAR", "a": "BIGINT", "f": "DOUBLE", "x": "VARCHAR",
    "l": "VARCHAR[]", "c": "INTEGER[]", "i": "BIGINT[]", "o": "INTEGER", "t": "DOUBLE", "h": "TINYINT",
    "d": "DOUBLE", "b": "DOUBLE",
}  # fmt: skip

# A loop's end uses n for its number of iterations and x for how it ended; n is text there so that one form reads all.
SELECT_LOG = """
    select s as seq, n as name, k as kind, a as int_value, f as float_value, x as text_value, l as loops,
           c as occurrences, i as indices, coalesce(o, 0)::INTEGER as ordinal, t as time, coalesce(h, 0)::TINYINT as hindsight
    from {live} where e = 'r'
"""
SELECT_LOOPS = """
    select s as seq,
           case e when 'v' then 'value' when 'd' then 'duration' when 'b' then 'begin' else 'end' end as event,
           l as loops, c as occurrences, i as indices, k as kind, a as int_value, f as float_value,
           case when e = 'v' then x end as text_value, case when e = 'e' then n::BIGINT end as iterations,
           d as seconds, b as began, case when e = 'e' then x end as ended_by
    from {live} where e in ('v', 'd', 'b', 'e')
"""


def live_table(path: str) -> str:
    """SQL that reads a ``log.jsonl``, leaving out lines that are torn."""
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in LIVE_COLUMNS.items())
    return (
        f"read_json({quote(path)}, format='newline_delimited', columns={{{columns}}}, "
        "ignore_errors=true, maximum_object_size=268435456)"
    )


def quote(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
