"""Carrying a hindsight patch into another version of the file: right, or refused with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from .draft import PlacedBy, Planned
from .patches import Part, Patch, Trail, hindsight
from .placer import place
from .proof import check
from .source import SourceError, parse
from .splice import Edit, Unwritable, apply_edits, undo
from .spots import Unplaced
from .view import View


@dataclass(frozen=True)
class Placement:
    """One statement that has been put into a version."""

    unit: int
    kind: Literal["log", "support"]
    line: int
    end_line: int
    text: str
    name: str | None
    replaces: bool
    after: str | None
    before: str | None
    renames: tuple[tuple[str, str], ...]
    start: int = field(default=0, repr=False)  # where `inserted` begins in the patched bytes
    inserted: bytes = field(default=b"", repr=False)
    original: bytes = field(default=b"", repr=False)  # what stood there before
    after_line: int | None = None  # where `after` and `before` begin in the version as it was
    before_line: int | None = None
    placed_by: PlacedBy = "tool"
    lead: int = field(default=0, repr=False)  # bytes of `inserted` before the statement's own text
    at: int = field(default=0, repr=False)  # where `original` begins in the version as it was
    at_line: int = 0  # and its line there


@dataclass(frozen=True)
class Refusal:
    """A unit that has no sure place in a version. `line` is its line in today's file.

    `unsure` is what would be put where, had the unit to be placed, with the lines of the result; empty where nothing
    comes into question. It is for a person to look at and to accept.
    """

    unit: int
    reason: str
    line: int | None
    unsure: tuple[Placement, ...] = ()


@dataclass(frozen=True)
class Propagation:
    """What became of a patch in one version."""

    source: bytes
    placed: tuple[Placement, ...]
    refused: tuple[Refusal, ...]
    already: tuple[int, ...]
    route: str


@dataclass
class _Plan:
    planned: dict[int, list[Planned]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    already: set[int] = field(default_factory=set)
    unsure: dict[int, list[Planned]] = field(default_factory=dict)  # of refused units


@dataclass(frozen=True)
class Given:
    """What a person has decided for some units of a patch: these statements, at these places of the target."""

    units: frozenset[int]
    placements: tuple[Placement, ...]  # `at`, `lead`, `inserted`, `original` and what describes them count


def propagate(
    patch: Patch, target: bytes, path: Sequence[bytes] = (), given: Sequence[Given] = (), *, unsure: bool = False
) -> Propagation:
    """Put each unit of the patch into `target`, or say why not. Never raises on account of the target.

    `path` holds the versions between the patch's base and the target, newest first. They are gone through step by
    step for the units that have no sure place directly. Units in `given` are not looked at: they stand where a person
    has put them. `unsure`: with each refusal the best place, where there is one.
    """
    decided = frozenset(unit for one in given for unit in one.units)
    only = frozenset(range(len(patch.units))) - decided if decided else None
    plan = _plan_safely(patch, target, only, unsure)
    route = "direct"
    if plan.refused and path:
        stepped = _along(patch, target, path, frozenset(plan.refused))
        for unit in sorted(plan.refused):
            if unit in stepped.planned:
                plan.planned[unit] = stepped.planned[unit]
            elif unit in stepped.already:
                plan.already.add(unit)
            else:
                continue
            del plan.refused[unit]
            route = "history"
    for one in given:
        for placement in one.placements:
            plan.planned.setdefault(placement.unit, []).append(_as_planned(placement))
        for unit in one.units - plan.planned.keys():
            plan.refused[unit] = "The file that was given by hand does not have it."
    return _finish(patch, target, plan, route, path, decided)


def remove(patched: bytes, placements: Iterable[Placement]) -> bytes:
    """Take inserted statements out again: the original, byte for byte."""
    return undo(patched, placements)


# ---- planning ------------------------------------------------------------------------------------------------


def _plan_safely(patch: Patch, target: bytes, only: frozenset[int] | None = None, unsure: bool = False) -> _Plan:
    try:
        return _plan(patch, target, only, unsure)
    except SourceError as error:
        reason = str(error)
    except (RecursionError, MemoryError):
        reason = "The version is nested too deeply to be analysed."
    wanted = range(len(patch.units)) if only is None else sorted(only)
    return _Plan(refused=dict.fromkeys(wanted, reason))


def _plan(patch: Patch, target: bytes, only: frozenset[int] | None, unsure: bool) -> _Plan:
    assert patch.today is not None
    plan = _Plan()
    source = parse(target)
    view = View(patch.today, source, patch.added)
    for number, part in enumerate(patch.parts):
        if only is not None and number not in only:
            continue
        try:
            found = place(patch, view, number, part)
        except Unplaced as reason:
            plan.refused[number] = str(reason)
            if unsure:
                plan.unsure[number] = _unsure(patch, view, number)
        except Unwritable as reason:
            plan.refused[number] = str(reason)
        except UnicodeEncodeError:
            plan.refused[number] = f"The statement has characters that {source.encoding} does not have."
        else:
            if found is None:
                plan.already.add(number)
            elif _in_order(part, found):
                plan.planned[number] = found
            else:
                plan.refused[number] = "What the statement needs would stand on its other side in this version."
    return plan


def _in_order(part: Part, planned: list[Planned]) -> bool:
    """Whether what stands before the statement in its function today, and is no definition, would do so here too."""
    scope = part.statement.block.scope
    lines = {one.line for one in (part.statement, *part.support) if one.block.scope is scope}
    ours = [one for one in planned if one.rank[0] == 1 and one.rank[1] in lines and not _defines(one.text)]
    return all(
        (one.rank < other.rank) == (one.edit.start < other.edit.start)
        for one in ours
        for other in ours
        if one.edit.start != other.edit.start
    )


def _defines(text: str) -> bool:
    return text.startswith(("def ", "class ", "async def ", "@"))


def _unsure(patch: Patch, view: View, number: int) -> list[Planned]:
    try:
        found = place(patch, view, number, patch.parts[number], unsure=True) or []
        return found if _in_order(patch.parts[number], found) else []
    except (Unplaced, Unwritable, UnicodeEncodeError):
        return []


def _as_planned(placement: Placement) -> Planned:
    edit = Edit(placement.at, placement.original, placement.inserted, placement.lead)
    return Planned(
        placement.unit, placement.kind, edit, placement.text, placement.name, placement.replaces, placement.after,
        placement.before, placement.renames, (1, placement.line), placement.after_line, placement.before_line,
        placement.placed_by,
    )  # fmt: skip


# ---- step by step along the history -----------------------------------------------------------------------------


def _along(patch: Patch, target: bytes, path: Sequence[bytes], wanted: frozenset[int]) -> _Plan:
    """Carry the wanted units, which have no sure place directly, along the path, and from its last version into the target."""
    out = _Plan()
    for unit in sorted(wanted):
        trail = _carried(patch, unit, [version for version in path if version != target])
        if not trail.carried:
            trail.refused.add(target)  # which is why this is asked
        if trail.step is None or target in trail.refused:
            continue
        plan = _plan_safely(trail.step, target)
        if plan.refused:
            trail.refused.add(target)
        for planned in plan.planned.values():
            out.planned[unit] = [replace(one, unit=unit) for one in planned]
        if plan.already:
            out.already.add(unit)
    return out


def _carried(patch: Patch, unit: int, path: list[bytes]) -> Trail:
    """The unit as the last version of the path would have it.

    The patch remembers how far each unit has come: a history that is gone through version by version, each with a path
    that is the last one's and one more, is gone through once.
    """
    statement = patch.parts[unit].statement
    trail = patch.trails.get(statement)
    if trail is None or trail.path != path[: len(trail.path)]:
        trail = patch.trails[statement] = Trail([], _single(patch, unit))
    for version in path[len(trail.path) :]:
        if trail.step is not None and version not in trail.refused:
            before = trail.step
            trail.step = _carry_on(before, version)
            if trail.step is not before:
                trail.carried = True
                trail.refused.clear()
        trail.path.append(version)
    return trail


def _carry_on(step: Patch, version: bytes) -> Patch | None:
    """A patch of one unit, made anew from its place in `version`; a version that cannot take it is stepped over."""
    result = _finish(step, version, _plan_safely(step, version), "direct")
    if result.refused or not result.placed:
        return step
    try:
        carried = hindsight(version, result.source, any_statement=step.any_statement)
    except SourceError:
        return None
    log = next((one for one in result.placed if one.kind == "log"), None)
    kept = [number for number, part in enumerate(carried.parts) if log and part.statement.line == log.line]
    return _single(carried, kept[0]) if len(kept) == 1 else step


def _single(patch: Patch, unit: int) -> Patch:
    """The patch with one of its units only."""
    return replace(patch, units=(patch.units[unit],), parts=(patch.parts[unit],))


# ---- the result -------------------------------------------------------------------------------------------------


def _finish(
    patch: Patch,
    target: bytes,
    plan: _Plan,
    route: str,
    path: Sequence[bytes] = (),
    decided: frozenset[int] = frozenset(),
) -> Propagation:
    """Apply what was planned and prove it; what cannot be proven is refused.

    Units in `decided` are a person's: they must only be such that taking them out gives the version back.
    """
    planned = dict(plan.planned)
    refused = dict(plan.refused)
    result = _apply(target, planned)
    reason = _proof(patch, target, result, planned, path, decided)
    if reason is not None:
        for unit in sorted(planned):
            alone = {unit: planned[unit]}
            why = _proof(patch, target, _apply(target, alone), alone, path, decided)
            if why is not None:
                refused[unit] = why
                del planned[unit]
        result = _apply(target, planned)
        reason = _proof(patch, target, result, planned, path, decided)
        if reason is not None:
            refused.update(dict.fromkeys(planned, reason))
            planned = {}
            result = (target, ())
    return Propagation(
        source=result[0],
        placed=result[1],
        refused=tuple(
            Refusal(
                unit,
                refused[unit],
                patch.units[unit].line if unit < len(patch.units) else None,
                _shown(target, plan.unsure.get(unit, [])),
            )
            for unit in sorted(refused)
        ),
        already=tuple(sorted(plan.already)),
        route=route,
    )


def _shown(target: bytes, planned: list[Planned]) -> tuple[Placement, ...]:
    """The unsure places of one unit, if the result at least is a file with just these statements more."""
    if not planned:
        return ()
    data, placements = _apply(target, {planned[0].unit: planned})
    return placements if check(target, data, placements) is None else ()


def _apply(target: bytes, planned: dict[int, list[Planned]]) -> tuple[bytes, tuple[Placement, ...]]:
    unique: dict[tuple[int, str], Planned] = {}
    support_texts: set[str] = set()
    for unit in sorted(planned):
        for one in planned[unit]:
            key = (one.edit.start, one.text)
            if key in unique:
                if one.kind == "log":
                    unique[key] = one
                continue
            if one.kind == "support" and one.text in support_texts and one.rank[0] == 0:
                continue
            if one.kind == "support":
                support_texts.add(one.text)
            unique[key] = one
    ordered = _one_definition_each(sorted(unique.values(), key=lambda one: (one.edit.start, one.rank)))
    if not ordered:
        return target, ()
    data, starts = apply_edits(target, (one.edit for one in ordered))
    placements: list[Placement] = []
    for one, start in zip(ordered, starts, strict=True):
        line = line_at(data, start + one.edit.lead)
        text = one.text
        placements.append(
            Placement(
                one.unit,
                one.kind,
                line,
                line + text.count("\n"),
                text,
                one.name,
                one.replaces,
                one.after,
                one.before,
                one.renames,
                start,
                one.edit.inserted,
                one.edit.original,
                one.after_line,
                one.before_line,
                one.placed_by,
                one.edit.lead,
                one.edit.start,
                line_at(target, one.edit.start),
            )
        )
    return data, tuple(placements)


def line_at(data: bytes, offset: int) -> int:
    """The line, from 1, of the byte at `offset`."""
    return data[:offset].replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1


def _one_definition_each(ordered: list[Planned]) -> list[Planned]:
    """A helper that several units need is put before the first of them only."""
    seen: set[str] = set()
    out: list[Planned] = []
    for one in ordered:
        if one.kind == "support" and one.text.lstrip("@").split(" ", 1)[0] in {"def", "class", "async"}:
            if one.text in seen:
                continue
            seen.add(one.text)
        out.append(one)
    return out


def _proof(
    patch: Patch,
    target: bytes,
    result: tuple[bytes, tuple[Placement, ...]],
    planned: dict[int, list[Planned]],
    path: Sequence[bytes],
    decided: frozenset[int],
) -> str | None:
    data, placements = result
    if not planned:
        return None
    reason = check(target, data, placements)
    if reason is not None:
        return reason
    ours = frozenset(planned) - decided
    if patch.today is None or not ours:
        return None
    again = _plan_safely(patch, data, ours)
    if again.refused and path:  # found along the history: that is the way on which it must be known again
        stepped = _along(patch, data, path, frozenset(again.refused))
        again.planned.update(stepped.planned)
    elif again.refused:
        return "The result could not be proven: the statement is not recognised where it was put."
    if again.planned:
        return "The result could not be proven: propagating once more would change it again."
    return None


__all__ = ["Given", "PlacedBy", "Placement", "Propagation", "Refusal", "line_at", "propagate", "remove"]
