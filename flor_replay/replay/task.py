"""A task is data: what one worker does. It travels as a JSON file, so any scheduler can carry it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from flor_replay.plan.segments import Segment
from flor_replay.record.wrapping import Wrap


@dataclass(frozen=True)
class Inserted:
    """Lines of a patched file that the hindsight patch brought."""

    path: str  # relative to the project's root
    line: int
    end_line: int
    replaces: bool


@dataclass(frozen=True)
class FileStates:
    """The user's files that are in no version, against what the recorded run found. Paths relative to the root."""

    hidden: tuple[str, ...] = ()  # git shows them today, the version does not have them: no replay sees them
    new: frozenset[str] = frozenset()  # came after the run had started
    same: frozenset[str] = frozenset()
    grown: Mapping[str, int] = field(default_factory=dict)  # was appended to since: the bytes it had
    changed: frozenset[str] = frozenset()

    def save(self, path: str) -> None:
        data = {name: sorted(kept) if isinstance(kept, frozenset) else kept for name, kept in vars(self).items()}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(data, file)

    @staticmethod
    def load(path: str) -> FileStates:
        if not path:
            return FileStates()
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        sets = {name: frozenset(data[name]) for name in ("new", "same", "changed")}
        return FileStates(hidden=tuple(data["hidden"]), grown=data["grown"], **sets)


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
    files: str = ""  # a JSON file: how the user's files differ from those that the run found (`FileStates`)
    linked: tuple[str, ...] = ()  # folders outside the project that it reaches through symbolic links
    names: tuple[str, ...] = field(default=())  # the logged names that are asked for
    python: str | None = None  # the interpreter of its own environment
    wraps: tuple[Wrap, ...] = ()  # loops of the patched files that the run had named in memory
    alone: bool = False  # in a process of its own, not in a child of a warm parent
    recorded: bool = True  # False: the version was never run, and all that it logs is new
    prove: bool = False  # the recorded run logged nothing: its state at later checkpoints is what there is to compare
    effects: bool = False  # the added code may change what training computes: the state afterwards is looked at
    dead: tuple[tuple[str, str], ...] = ()  # as `Segment.dead`, for every checkpoint: what proves may lack it
    modules: tuple[str, ...] = ()  # libraries that the recorded run had imported: a warm parent may have them ready
    clock_fed: Mapping[str, Sequence[str]] = field(default_factory=dict)  # state that tells the time (`ClockFed`)
    placed_by: Mapping[str, str] = field(default_factory=dict)  # names whose statement a person placed, with how

    @functools.cached_property
    def states(self) -> FileStates:
        """What `files` says; read once."""
        return FileStates.load(self.files)

    def save(self, path: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)

    @staticmethod
    def load(path: str) -> Task:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        data["segment"] = Segment.from_data(data["segment"])
        data["inserted"] = tuple(Inserted(**item) for item in data["inserted"])
        data["wraps"] = tuple(Wrap(*item) for item in data["wraps"])
        data["dead"] = tuple((str(checkpoint), str(path)) for checkpoint, path in data["dead"])
        data["linked"] = tuple(data["linked"])
        data["names"] = tuple(data["names"])
        data["modules"] = tuple(data["modules"])
        return Task(**data)
