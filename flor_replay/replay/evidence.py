"""The records that a verdict rests on: what the recorded run logged in a segment, and what the replay logged there."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from flor_replay.plan.facts import MainLoop, RunFacts
from flor_replay.plan.segments import Segment, Step
from flor_replay.replay.fidelity import Key
from flor_replay.store import records
from flor_replay.store.runs import Run
from flor_replay.store.schema import quote
from flor_replay.values import Fields

if TYPE_CHECKING:
    import duckdb


def recorded_in(
    connection: duckdb.DuckDBPyConnection, run: Run, facts: RunFacts, segment: Segment
) -> dict[Key, Fields]:
    """What the recorded run logged where `segment` executes, in order."""
    return _read(connection, run, _condition(facts, segment))


def replayed(connection: duckdb.DuckDBPyConnection, replay: Run) -> dict[Key, Fields]:
    """What a replay logged again (its hindsight records are left out), in order."""
    return _read(connection, replay, "hindsight = 0")


def _condition(facts: RunFacts, segment: Segment) -> str:
    main = facts.main
    if main is None or (segment.kind == "whole" and not segment.stop):
        return "true"
    inside = f"(loops[1] = {quote(main.name)} and occurrences[1] = {main.occurrence} and {{}})"
    parts = [f"(seq <= {main.began_seq})"]
    if segment.kind == "whole":
        parts.append(inside.format(f"indices[1] < {segment.stop}"))
    for step in segment.steps:
        parts += [inside.format(condition) for condition in _of_step(main, step)]
    if segment.suffix and main.ended_seq is not None:
        parts.append(f"(seq > {main.ended_seq})")
    return " or ".join(parts)


def _of_step(main: MainLoop, step: Step) -> list[str]:
    """Of the main loop's records those of iterations that are executed, without the nested loops that are passed over."""
    skipped: dict[int, frozenset[str]] = {}
    for index, name, _ in step.exits:
        skipped[index] = skipped.get(index, frozenset()) | {name}
    found = []
    for names, group in itertools.groupby(range(step.first, step.stop), skipped.get):
        indices = list(group)
        if step.blind and indices[0] == step.first and names:
            after = min(main.nested_ended_seq[step.first, name] for name in main.nested[step.first])
            found.append(f"indices[1] = {step.first} and seq > {after} and {_outside(names)}")
            indices = indices[1:]
        if indices:
            within = f"indices[1] >= {indices[0]} and indices[1] <= {indices[-1]}"
            found.append(f"{within} and {_outside(names)}" if names else within)
    return found


def _outside(names: Collection[str]) -> str:
    return f"(len(loops) = 1 or loops[2] not in ({', '.join(quote(name) for name in sorted(names))}))"


def _read(connection: duckdb.DuckDBPyConnection, run: Run, condition: str) -> dict[Key, Fields]:
    rows: Sequence[tuple[object, ...]] = records.fetch(
        connection,
        "select name, kind, int_value, float_value, text_value, loops, occurrences, indices, ordinal "
        f"from ({records.table(connection, [run])}) where {condition} order by seq",
    )
    found: dict[Key, Fields] = {}
    given = set(run.info.get("args", {}))  # handed to the replay, so they prove nothing
    for name, kind, whole, real, text, loops, occurrences, indices, ordinal in rows:
        if not loops and name in given:
            continue
        path = tuple(zip(loops, occurrences, indices, strict=True))  # type: ignore[call-overload]
        number = real if kind == "float" else whole
        if kind == "npy":
            text = _digest(run, str(text))
        found[(str(name), path, int(ordinal))] = (str(kind), number, text)  # type: ignore[call-overload,assignment]
    return found


def _digest(run: Run, name: str) -> str:
    """A large array is compared by its bytes."""
    import os

    import xxhash

    try:
        with open(os.path.join(run.folder.files, name), "rb") as file:
            return xxhash.xxh3_128_hexdigest(file.read())
    except OSError as error:
        return f"unreadable: {error.strerror}"
