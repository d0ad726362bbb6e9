"""Loop paths as whole numbers that sort as the rows of a frame do.

A path is (run, then for each level: rank of the loop's name, occurrence, index); a level that is not there sorts after all that are.
Its number has the run in the highest bits and a field for each level below, so the path of an outer level is a number whose lower
fields say "not there": rows of different levels find each other by comparing numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]
_BITS = 62
_BLOCK = 1 << 20  # records whose numbers are made together


def as_slice(numbers: Ints) -> Ints | slice:
    """Numbers; where each is one more than the one before, as a slice: what that takes of an array is no copy."""
    if len(numbers) and numbers[-1] - numbers[0] == len(numbers) - 1 and bool((numbers[1:] > numbers[:-1]).all()):
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return numbers


@dataclass(frozen=True)
class Level:
    """What is known of one level of some records: its loop's rank (-1: no such level), occurrence and index."""

    rank: Ints
    occurrence: Ints
    index: Ints


class Paths:
    """The numbers of some records' paths."""

    def __init__(self, place: Ints, levels: Sequence[Level], ranks: int) -> None:
        """`place`: each record's run, from 0. `ranks`: how many names loops have."""
        fields = [_field(level, ranks) for level in levels]
        top = _width(int(place.max())) if len(place) else 1
        if top + sum(field.bits for field in fields) > _BITS:
            fields = [_ranked(field, len(place)) for field in fields]
        wide = top + sum(field.bits for field in fields) > _BITS
        keys: Ints = place.astype(object if wide else np.int64)  # Python's own numbers have no end
        for start in range(0, len(keys), _BLOCK):
            block = slice(start, start + _BLOCK)
            for field in fields:
                keys[block] <<= field.bits
                keys[block] |= field.codes(block).astype(keys.dtype)
        self.keys = keys
        self._bits = [field.bits for field in fields]
        self._missing = [field.missing for field in fields]

    def outer(self, keys: Ints, depth: int) -> Ints:
        """The numbers of the paths' outermost `depth` levels."""
        shift, missing = 0, 0
        for bits, none in zip(reversed(self._bits[depth:]), reversed(self._missing[depth:]), strict=True):
            missing |= none << shift
            shift += bits
        return keys if not shift else ((keys >> shift) << shift) | missing

    def place(self, keys: Ints) -> Ints:
        """The runs of paths."""
        return (keys >> sum(self._bits)).astype(np.int32)


def _width(largest: int) -> int:
    return max(1, largest.bit_length())


@dataclass(frozen=True)
class _Field:
    """One level's numbers: of a block of records, how many bits they take, and the one that says "not there"."""

    codes: Callable[[slice], Ints]
    bits: int
    missing: int


def _field(level: Level, ranks: int) -> _Field:
    there = level.rank >= 0
    if not there.any():
        return _Field(lambda block: np.zeros(len(there[block]), np.int64), 1, 0)
    limits = np.iinfo(level.index.dtype)
    low = int(level.index.min(where=there, initial=limits.max))
    high = int(level.index.max(where=there, initial=limits.min))
    most = int(level.occurrence.max(where=there, initial=0))
    of_index = _width(high - low)
    of_occurrence = most.bit_length()
    of_rank = _width(ranks)
    dense: Ints | None = None
    if of_rank + of_occurrence + of_index > _BITS:
        _, dense = np.unique(np.where(there, level.index, low), return_inverse=True)
        dense = dense.reshape(-1)
        of_index = _width(int(dense.max()))
    missing = ranks << (of_occurrence + of_index)

    def codes(block: slice) -> Ints:
        found = level.rank[block].astype(np.int64)
        found <<= of_occurrence
        if of_occurrence:
            found |= level.occurrence[block].astype(np.int64)
        found <<= of_index
        found |= level.index[block].astype(np.int64) - low if dense is None else dense[block]
        found[~there[block]] = missing
        return found

    return _Field(codes, of_rank + of_occurrence + of_index, missing)


def _ranked(field: _Field, rows: int) -> _Field:
    """The same with as few bits as there are different numbers."""
    found, dense = np.unique(np.append(field.codes(slice(0, rows)), field.missing), return_inverse=True)
    dense = dense.reshape(-1)
    return _Field(lambda block: dense[:-1][block], _width(len(found) - 1), int(dense[-1]))
