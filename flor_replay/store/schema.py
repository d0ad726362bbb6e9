"""The columns of the stored form, with their meaning, and SQL that brings each form into them.

Their version is `flor_replay.store.layout.FORMAT`. Form 1 had lists where form 2 has a column a level, and a live log of JSON
lines; both are read.
"""

from __future__ import annotations

# log.parquet: one row a log record, by name and then in the order they were made. Each file says its version in the
# key-value metadata "flor_format".
LOG_COLUMNS = {
    "seq": "BIGINT",  # order in the run, from 1
    "name": "VARCHAR",  # what was logged
    "kind": "VARCHAR",  # see flor_replay.values
    "int_value": "BIGINT",  # kinds bool and int
    "float_value": "DOUBLE",  # kind float
    "text_value": "VARCHAR",  # everything else, and whole numbers that do not fit
    "loops": "VARCHAR",  # names of the loops around the record, outermost first, as a JSON list
    "depth": "INTEGER",  # how many they are
    "ordinal": "INTEGER",  # how many records with this name were made before in the same iteration
    "time": "DOUBLE",  # unix seconds at which it was written down, less than a second after it was made; 0 in replays
    "hindsight": "TINYINT",  # 0 recorded; 1 by an added statement; 2 by a statement that replaces one
}
# and for each level of loops, 1 being the outermost, as many as the deepest record has:
LEVEL_COLUMNS = {
    "o": "INTEGER",  # o1, o2, …: how many loops of that name were begun before in the same surrounding iteration
    "i": "BIGINT",  # i1, i2, …: the 0-based iteration of that loop
}
# What readers are given instead of loops, depth and the levels' columns.
PLACE_COLUMNS = {"loops": "VARCHAR[]", "occurrences": "INTEGER[]", "indices": "BIGINT[]"}

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

# -- form 1 -----------------------------------------------------------------------------------------------------------

# log.jsonl, an object a line. e: "r" a log record (s seq, n name, k kind, a int, f float, x text, l loops, c occurrences,
# i indices, o ordinal, t time, h hindsight), "v" the value of an iteration, "d" its duration (d seconds, b began), "b" and
# "e" the begin and the end of a loop (n its iterations, x how it ended).
LIVE_1_COLUMNS = {
    "e": "VARCHAR", "s": "BIGINT", "n": "VARCHAR", "k": "VARCHAR", "a": "BIGINT", "f": "DOUBLE", "x": "VARCHAR",
    "l": "VARCHAR[]", "c": "INTEGER[]", "i": "BIGINT[]", "o": "INTEGER", "t": "DOUBLE", "h": "TINYINT",
    "d": "DOUBLE", "b": "DOUBLE",
}  # fmt: skip
_LIVE_1_LOG = """
    select s as seq, n as name, k as kind, a as int_value, f as float_value, x as text_value, l as loops,
           c as occurrences, i as indices, coalesce(o, 0)::INTEGER as ordinal, t as time, coalesce(h, 0)::TINYINT as hindsight
    from {live} where e = 'r'
"""
_LIVE_1_LOOPS = """
    select s as seq,
           case e when 'v' then 'value' when 'd' then 'duration' when 'b' then 'begin' else 'end' end as event,
           l as loops, c as occurrences, i as indices, k as kind, a as int_value, f as float_value,
           case when e = 'v' then x end as text_value, case when e = 'e' then n::BIGINT end as iterations,
           d as seconds, b as began, case when e = 'e' then x end as ended_by
    from {live} where e in ('v', 'd', 'b', 'e')
"""


def live_1(path: str, *, loops: bool = False) -> str:
    """SQL that reads a ``log.jsonl`` with the lists of form 1, leaving out lines that are torn."""
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in LIVE_1_COLUMNS.items())
    live = (
        f"read_json({quote(path)}, format='newline_delimited', columns={{{columns}}}, "
        "ignore_errors=true, maximum_object_size=268435456)"
    )
    return (_LIVE_1_LOOPS if loops else _LIVE_1_LOG).format(live=live)


def from_1(source: str, depth: int, extra: str) -> str:
    """SQL for log records of form 1 in the columns of form 2. There, text said what JSON could not."""
    levels = "".join(f", occurrences[{d}] as o{d}, indices[{d}] as i{d}" for d in range(1, depth + 1))
    unsaid = "kind = 'float' and float_value is null"
    return (
        f"select {extra}, seq, name, kind, int_value, "
        f"case when {unsaid} then try_cast(text_value as DOUBLE) else float_value end as float_value, "
        f"case when {unsaid} then null else text_value end as text_value, to_json(loops)::VARCHAR as loops, "
        f"len(loops)::INTEGER as depth, ordinal, time, hindsight{levels} from ({source})"
    )


# -- form 2 -----------------------------------------------------------------------------------------------------------


def level_columns(depth: int) -> dict[str, str]:
    """The columns of the levels, with their types."""
    return {f"{name}{d}": kind for d in range(1, depth + 1) for name, kind in LEVEL_COLUMNS.items()}


def with_lists(source: str, depth: int) -> str:
    """SQL for log records with `PLACE_COLUMNS` in place of a column a level."""
    levels = range(1, depth + 1)
    occurrences, indices = (", ".join(f"{name}{d}" for d in levels) for name in "oi")
    gone = ", ".join(["loops", "depth", *level_columns(depth)])
    return (
        f"select * exclude ({gone}), cast(loops::JSON as VARCHAR[]) as loops, "
        f"([{occurrences}]::INTEGER[])[1:depth] as occurrences, ([{indices}]::BIGINT[])[1:depth] as indices "
        f"from ({source})"
    )


def quote(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
