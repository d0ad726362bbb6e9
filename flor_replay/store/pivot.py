"""From records to rows: which row shows which record (DESIGN 8). Whole columns at a time; values are not looked at.

Records are cut by *shape*, the names of the loops around them. A record's *number* is its place among all records; -1 is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flor_replay.store.paths import Ints, Paths, as_slice

Shape = tuple[str, ...]  # names of the loops around a record, outermost first


@dataclass
class Rows:
    """Rows of one shape, in order. `shown`: for each name the record that stands on each row."""

    keys: Ints  # paths as numbers (see `flor_replay.store.paths`)
    shown: dict[int, Ints]
    some: Ints  # a record of each row
    ordinal: Ints | None = None  # among the rows of one path; None where each has one

    def take(self, which: Ints) -> Rows:
        shown = {name: numbers[which] for name, numbers in self.shown.items()}
        ordinal = None if self.ordinal is None else self.ordinal[which]
        return Rows(self.keys[which], shown, self.some[which], ordinal)


@dataclass
class _Own:
    """The records of one name in one shape, by path."""

    once: Ints  # paths in which it was logged once
    number: Ints
    several: Ints  # paths in which it was logged several times, one item a record
    several_number: Ints
    several_ordinal: Ints


def rows(
    paths: Paths, cells: Mapping[tuple[int, Shape], Ints], ordinal: Ints | None, names: Sequence[int]
) -> dict[Shape, Rows]:
    """The rows of each shape.

    `cells`: the numbers of the records of each name and shape. `ordinal`: of each record among those of its name and path; None
    where all are 0. `names`: in the order of their columns.
    """
    shapes: dict[Shape, dict[int, _Own]] = {}
    for (name, shape), numbers in cells.items():
        shapes.setdefault(shape, {})[name] = _own(paths.keys, numbers, ordinal)
    order = sorted(shapes, key=len, reverse=True)
    once = {shape: _once(shapes[shape], names) for shape in order}
    covered = {shape: np.zeros(len(once[shape].keys), bool) for shape in order}  # shown on rows of inner shapes
    found = {}
    for shape in order:
        part = _wide(shapes[shape], once[shape])
        if covered[shape].any():
            part = part.take(_apart(part, once[shape], covered[shape], shapes[shape]))
        if not len(part.keys):
            continue
        for outer in order:
            if len(outer) < len(shape) and shape[: len(outer)] == outer:
                _spread(paths, part, once[outer], len(outer), covered[outer])
        found[shape] = part
    return found


def _own(keys: Ints, numbers: Ints, ordinal: Ints | None) -> _Own:
    path = keys[as_slice(numbers)]
    none = numbers[:0]
    if _rises(path, strictly=True):
        return _Own(path, numbers, path[:0], none, none)
    if ordinal is None:
        order = np.argsort(path, kind="stable")
    else:
        order = np.lexsort((ordinal[numbers], path))
    path, numbers = path[order], numbers[order]
    alone = np.ones(len(path), bool)
    same = path[1:] == path[:-1]
    alone[1:] &= ~same
    alone[:-1] &= ~same
    several = numbers[~alone]
    repeated = path[~alone]
    place = np.arange(len(repeated))
    begins = np.ones(len(repeated), bool)
    begins[1:] = repeated[1:] != repeated[:-1]
    counted = place - np.maximum.accumulate(np.where(begins, place, 0)) if len(repeated) else place
    return _Own(path[alone], numbers[alone], repeated, several, counted)


def _rises(keys: Ints, *, strictly: bool) -> bool:
    return bool((keys[1:] > keys[:-1]).all() if strictly else (keys[1:] >= keys[:-1]).all())


def _same(a: Ints, b: Ints) -> bool:
    return a is b or (len(a) == len(b) and bool((a == b).all()))


def _union(several: Sequence[Ints]) -> Ints:
    first = several[0]
    if all(_same(first, other) for other in several[1:]):
        return first
    return np.unique(np.concatenate(several))


def find(sorted_keys: Ints, wanted: Ints) -> tuple[Ints, Ints]:
    """Where each wanted key stands among sorted ones, and whether it is there."""
    at = np.searchsorted(sorted_keys, wanted)
    at[at == len(sorted_keys)] = 0
    if not len(sorted_keys):
        return at, np.zeros(len(wanted), bool)
    return at, np.asarray(sorted_keys[at] == wanted, dtype=bool)


def _spaced(keys: Ints, own: Ints, numbers: Ints) -> Ints:
    """The numbers on the rows `keys`, -1 where there is none."""
    if _same(keys, own):
        return numbers
    at, there = find(own, keys)
    found = np.full(len(keys), -1, numbers.dtype)
    found[there] = numbers[at[there]]
    return found


def _some(shown: Sequence[Ints]) -> Ints:
    found = shown[0]
    for other in shown[1:]:
        if (found >= 0).all():
            break
        found = np.where(found < 0, other, found)
    return found


def _once(own: Mapping[int, _Own], names: Sequence[int]) -> Rows:
    """One row a path, with the names that were logged once in it."""
    there = [name for name in names if name in own and len(own[name].once)]
    if not there:
        first = next(iter(own.values()))
        return Rows(first.once, {}, first.number)
    keys = _union([own[name].once for name in there])
    shown = {name: _spaced(keys, own[name].once, own[name].number) for name in there}
    return Rows(keys, shown, _some(list(shown.values())))


def _wide(own: Mapping[int, _Own], once: Rows) -> Rows:
    """One row a (path, ordinal). A name logged once in an iteration stands on all its rows."""
    repeated = {name: found for name, found in own.items() if len(found.several)}
    if not repeated:
        return Rows(once.keys, dict(once.shown), once.some)
    paths = np.unique(np.concatenate([once.keys, *(found.several for found in repeated.values())]))
    most = 1 + max(int(found.several_ordinal.max()) for found in repeated.values())
    at = {
        name: np.searchsorted(paths, found.several) * most + found.several_ordinal for name, found in repeated.items()
    }
    places = np.unique(np.concatenate([np.searchsorted(paths, once.keys) * most, *at.values()]))
    keys = paths[places // most]
    made = Rows(keys, {}, np.full(len(keys), -1, once.some.dtype), places % most)
    here, there = find(once.keys, keys)
    for name, numbers in once.shown.items():
        column = np.full(len(keys), -1, numbers.dtype)
        column[there] = numbers[here[there]]
        made.shown[name] = column
    for name, found in repeated.items():
        if name not in made.shown:
            made.shown[name] = np.full(len(keys), -1, found.several_number.dtype)
        made.shown[name][np.searchsorted(places, at[name])] = found.several_number
    made.some = _some(list(made.shown.values()))
    return made


def _apart(part: Rows, once: Rows, covered: Ints, own: Mapping[int, _Own]) -> Ints:
    """The rows of an outer level that have a place of their own: something of theirs is on no row inside them."""
    at, there = find(once.keys, part.keys)
    hidden = there.copy()
    hidden[there] = covered[at[there]]
    for found in own.values():
        if len(found.several):
            hidden &= ~find(found.several, part.keys)[1]
    return np.flatnonzero(~hidden)


def _spread(paths: Paths, part: Rows, outer: Rows, depth: int, covered: Ints) -> None:
    """Put the values of an outer level onto the rows inside it, and note which of its rows are shown so.

    A name that a run logs at both levels keeps its inner values.
    """
    if not len(outer.keys):
        return
    at, there = find(outer.keys, paths.outer(part.keys, depth))
    runs = paths.place(part.keys)
    hidden = np.zeros(len(outer.keys), bool)
    for name, numbers in outer.shown.items():
        spread = numbers[at]
        spread[~there] = -1
        if name in part.shown:
            inner = part.shown[name]
            taken = np.zeros(int(runs.max()) + 1, bool)
            taken[runs[inner >= 0]] = True
            spread = np.where(taken[runs], inner, spread)
            outside = paths.place(outer.keys)
            known = outside < len(taken)
            hidden[known] |= taken[outside[known]] & (numbers[known] >= 0)
        part.shown[name] = spread
    reached = np.zeros(len(outer.keys), bool)
    reached[at[there]] = True
    covered |= reached & ~hidden
