"""The values that one name has had: as recorded, and as each changed statement made them again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from flor_replay import values
from flor_replay.store import database, records
from flor_replay.store.frames import accepted_replays
from flor_replay.store.runs import Run

Place = tuple[tuple[str, int, int], ...]  # (loop, occurrence, index), outermost first


@dataclass
class Value:
    """One value of a run, through its generations."""

    run: str
    path: Place
    ordinal: int
    values: list[tuple[str, Any]] = field(
        default_factory=list
    )  # ("recorded" or the patched version, value), oldest first

    @property
    def old(self) -> Any:
        """The value of the generation before the newest."""
        return self.values[-2][1]

    @property
    def new(self) -> Any:
        return self.values[-1][1]

    @property
    def differs(self) -> bool:
        return repr(self.old) != repr(self.new)

    @property
    def change(self) -> float | None:
        """New minus old, of numbers."""
        numbers = [value for value in (self.old, self.new) if isinstance(value, (int, float))]
        return float(numbers[1] - numbers[0]) if len(numbers) == 2 and self.differs else None

    @property
    def place(self) -> str:
        """The loop path as people read it."""
        told = " ".join(f"{loop}={index}" + (f" ({nth + 1}. time)" if nth else "") for loop, nth, index in self.path)
        return f"{told} #{self.ordinal}".strip() if self.ordinal else told

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "run": self.run,
            "path": [{"loop": loop, "occurrence": nth, "index": index} for loop, nth, index in self.path],
            "ordinal": self.ordinal,
            "generations": [{"from": source, "value": value} for source, value in self.values],
        }


def generations(everything: Sequence[Run], name: str, only: Collection[str] | None = None) -> list[Value]:
    """Every value of `name` in recorded runs (those in `only`), in order, with its generations.

    Replays of one patched version are one generation, of which the newest value counts.
    """
    recorded = [run for run in everything if not run.replay_of and run.rank == 0 and (only is None or run.run in only)]
    known = {run.run for run in recorded}
    replays = [run for run in accepted_replays(everything) if run.replay_of in known]
    about = {run.run: run for run in (*recorded, *replays)}
    with database.connect() as connection:
        rows: list[Any] = records.fetch(
            connection,
            "select run, kind, int_value, float_value, text_value, loops, occurrences, indices, ordinal "
            f"from ({records.table(connection, list(about.values()))}) where name = ? and "
            "(hindsight > 0 or run in (select unnest(?))) order by seq",
            [name, sorted(known)],
        )
    found: dict[tuple[str, Place, int], Value] = {}
    order = {
        run.run: place for place, run in enumerate((*recorded, *replays))
    }  # replays are younger than what they replay
    for run_id, kind, whole, real, text, loops, occurrences, indices, ordinal in sorted(
        rows, key=lambda r: order[r[0]]
    ):
        run = about[run_id]
        path = tuple(zip(loops, occurrences, indices, strict=True))
        one = found.setdefault(
            (run.replay_of or run.run, path, ordinal), Value(run.replay_of or run.run, path, ordinal)
        )
        source = str(run.info.get("patched", "")) if run.replay_of else "recorded"
        value = values.decode(str(kind), real if kind == "float" else whole, text, run.folder.files)
        one.values = [pair for pair in one.values if pair[0] != source]
        one.values.append((source, value))
    return sorted(found.values(), key=lambda one: (order[one.run], one.path, one.ordinal))
