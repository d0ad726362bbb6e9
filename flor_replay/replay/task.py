"""A task is data: what one worker does. It travels as a JSON file, so any scheduler can carry it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from flor_replay.plan.segments import Segment


@dataclass(frozen=True)
class Inserted:
    """Lines of a patched file that the hindsight patch brought."""

    path: str  # relative to the project's root
    line: int
    end_line: int
    replaces: bool


@dataclass(frozen=True)
class Task:
    """One segment of one run, on one patched version."""

    run: str  # the recorded run
    replay: str  # the id of the run that this task makes
    root: str
    store: str
    tree: str  # the patched version, laid out; shared by tasks and never written
    scratch: str  # the task's own folder
    patched: str  # the commit of the patched version
    segment: Segment
    inserted: tuple[Inserted, ...]
    entry: dict[str, Any]
    environment: dict[str, str]
    args: dict[str, Any]
    started: float  # when the recorded run began, unix seconds
    threads: int | None = None
    failure: str | None = None  # how the recorded run failed: a replay that fails the same way has done its work
    hidden: str = ""  # a file that lists, NUL-separated, what of the user's tree the version does not have
    linked: tuple[str, ...] = ()  # folders outside the project that it reaches through symbolic links
    names: tuple[str, ...] = field(default=())  # the logged names that are asked for

    def save(self, path: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)

    @staticmethod
    def load(path: str) -> Task:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        data["segment"] = Segment.from_data(data["segment"])
        data["inserted"] = tuple(Inserted(**item) for item in data["inserted"])
        data["linked"] = tuple(data["linked"])
        data["names"] = tuple(data["names"])
        return Task(**data)
