"""What a person has decided about a statement that propagation refused: an unsure place accepted, or a file given by hand.

A choice is about the content of a version's file, so it holds for every version in which that file is the same. It is
kept in the store and used again as long as today's statement reads the same.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from flor_instrument import Given, NotOnlyAdded, Patch, Placement, Propagation, SourceError, added

from flor_replay.store import layout

Statement = tuple[str, int]  # the text of one of today's statements, and how many with the same text stand before it


class Undecidable(Exception):  # noqa: N818 (an outcome, not an error)
    """What a person gave cannot be taken; the message says why, in one sentence. `line` is where, if that is known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True)
class Choice:
    """One decision about one file's content."""

    kind: Literal["accepted", "edited"]
    original: str  # sha256 of the version's file
    version: str  # where it was made
    path: str
    statements: tuple[Statement, ...]
    placements: tuple[Placement, ...]  # `unit` counts in `statements`
    made: float  # unix seconds


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def statements_of(patch: Patch) -> tuple[Statement, ...]:
    """What tells the units of a patch apart, whatever their lines are today."""
    seen: dict[str, int] = {}
    found = []
    for unit in patch.units:
        found.append((unit.text, seen.get(unit.text, 0)))
        seen[unit.text] = seen.get(unit.text, 0) + 1
    return tuple(found)


def accepted(version: str, path: str, original: bytes, patch: Patch, result: Propagation) -> Choice | None:
    """The refused statements of a file put at their unsure places; None where none has one."""
    kept = [refusal for refusal in result.refused if refusal.unsure]
    every = statements_of(patch)
    placements = [
        replace(place, unit=index, placed_by="accepted")
        for index, refusal in enumerate(kept)
        for place in refusal.unsure
    ]
    if not kept:
        return None
    about = tuple(every[refusal.unit] for refusal in kept)
    return Choice("accepted", digest(original), version, path, about, tuple(placements), time.time())


def left_to_the_tool(patch: Patch, result: Propagation) -> frozenset[int]:
    """Units that took the place of a statement that logs nothing, as `x = flor.log("x", f(y))` of `x = f(y)` does.

    In a file that is edited only what logs may be replaced: these are not part of it.
    """
    return frozenset(one.unit for one in result.placed if one.replaces and not patch.units[one.unit].changed)


def edited(version: str, path: str, original: bytes, patch: Patch, result: Propagation, data: bytes) -> Choice | None:
    """The file as a person gave it, in place of all that was worked out for it; None where nothing is a person's.

    Statements that stand where the tool put them stay the tool's. Raises Undecidable where the file was changed by more
    than added statements, or logs nothing of what is asked for.
    """
    changed = {name for unit in patch.units if unit.changed for name in unit.names}
    try:
        found = added(original, data, changed)
    except NotOnlyAdded as error:
        raise Undecidable(str(error), error.line) from None
    except SourceError as error:
        raise Undecidable(f"The version's own file is no Python of today: {error}") from None
    left = left_to_the_tool(patch, result)
    before = {(one.at, one.inserted.strip(), one.original): one.placed_by for one in result.placed}
    ways = [before.get((one.at, one.inserted.strip(), one.original), "edited") for one in found]
    tools = [one for one in result.placed if one.placed_by == "tool" and one.unit not in left]
    if not found or (set(ways) == {"tool"} and len(found) == len(tools)):
        return None
    units = _assigned(found, patch, left)
    logged = [unit for unit, one in zip(units, found, strict=True) if unit is not None and one.kind == "log"]
    if not logged:
        texts = [unit.name or unit.text.strip() for number, unit in enumerate(patch.units) if number not in left]
        wanted = ", ".join(dict.fromkeys(text.splitlines()[0] for text in texts))
        raise Undecidable(f"Nothing that was added logs {wanted}.")
    about = [unit for unit in range(len(patch.units)) if unit not in left]
    every = statements_of(patch)
    placements = tuple(
        replace(
            one,
            unit=about.index(logged[0] if unit is None else unit),
            placed_by=way,
        )
        for unit, one, way in zip(units, found, ways, strict=True)
    )
    statements = tuple(every[unit] for unit in about)
    return Choice("edited", digest(original), version, path, statements, placements, time.time())


def _assigned(found: Sequence[Placement], patch: Patch, left: frozenset[int]) -> list[int | None]:
    """For each added statement the unit that it stands for: by what it logs, in the order of the text."""
    free = {number: unit for number, unit in enumerate(patch.units) if number not in left}
    out: list[int | None] = []
    for one in found:
        same = [
            index
            for index, unit in free.items()
            if one.kind == "log" and (unit.name == one.name if one.name or unit.name else True)
        ]
        out.append(same[0] if same else None)
        if same:
            del free[same[0]]
    return out


class Choices:
    """All decisions of a store, newest first."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._all = sorted(_load(store), key=lambda one: -one.made)

    def given(self, original: bytes, patch: Patch) -> list[Given]:
        """What was decided for this content and these statements; of two decisions about one the newer."""
        if not self._all:
            return []
        name = digest(original)
        place = {statement: unit for unit, statement in enumerate(statements_of(patch))}
        taken: set[int] = set()
        found = []
        for choice in self._all:
            units = {index: place[s] for index, s in enumerate(choice.statements) if s in place}
            units = {index: unit for index, unit in units.items() if unit not in taken}
            if choice.original != name or not units:
                continue
            taken.update(units.values())
            placements = tuple(replace(p, unit=units[p.unit]) for p in choice.placements if p.unit in units)
            found.append(Given(frozenset(units.values()), placements))
        return found

    def kind(self, original: bytes, patch: Patch) -> str | None:
        """How the newest decision about any of these statements came about."""
        name, wanted = digest(original), set(statements_of(patch))
        return next((one.kind for one in self._all if one.original == name and wanted & set(one.statements)), None)

    def add(self, choice: Choice, *, keep: bool) -> None:
        """Use a decision from now on; `keep`: by later calls too."""
        self._all.insert(0, choice)
        if keep:
            path = layout.choice(self._store, f"{choice.original[:16]}-{_key(choice)}")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            layout.replace_json(path, _as_data(choice))

    def withdraw(self, original: bytes, patch: Patch) -> bool:
        """Forget what was decided about any of these statements; whether there was anything."""
        name, wanted = digest(original), set(statements_of(patch))
        gone = [one for one in self._all if one.original == name and wanted & set(one.statements)]
        self._all = [one for one in self._all if one not in gone]
        for choice in gone:
            path = layout.choice(self._store, f"{choice.original[:16]}-{_key(choice)}")
            if os.path.exists(path):
                os.unlink(path)
        return bool(gone)


def _key(choice: Choice) -> str:
    return hashlib.sha256(repr((choice.kind, choice.statements)).encode()).hexdigest()[:16]


# -- the stored form --------------------------------------------------------------------------------------------------

_FORMAT = 1


def _as_data(choice: Choice) -> dict[str, Any]:
    data = asdict(choice)
    data["format"] = _FORMAT
    for place in data["placements"]:
        for name in ("inserted", "original"):
            place[name] = place[name].decode("latin-1")  # bytes, one a character
    return data


def _load(store: str) -> list[Choice]:
    """Every readable decision: one that is broken is as if it had not been made, and the statement is refused again."""
    folder = os.path.dirname(layout.choice(store, "x"))
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = []
    for name in names:
        data = layout.read_json(os.path.join(folder, name)) if name.endswith(".json") else None
        choice = _from_data(data) if isinstance(data, dict) and data.pop("format", None) == _FORMAT else None
        if choice is not None:
            found.append(choice)
    return found


def _from_data(data: dict[str, Any]) -> Choice | None:
    try:
        placements = tuple(
            Placement(
                **{
                    **place,
                    "inserted": place["inserted"].encode("latin-1"),
                    "original": place["original"].encode("latin-1"),
                    "renames": tuple((new, old) for new, old in place["renames"]),
                }
            )
            for place in data["placements"]
        )
        statements = tuple((str(text), int(nth)) for text, nth in data["statements"])
        if any(not 0 <= place.unit < len(statements) for place in placements):
            return None
        return Choice(**{**data, "statements": statements, "placements": placements})
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
