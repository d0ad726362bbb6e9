"""Loop paths as whole numbers that sort as the rows of a frame do.

A path is (run, then for each level: rank of the loop's name, occurrence, index); a level that is not there sorts after all that are.
Its number has the run in the highest bits and a field for each level below, so the path of an outer level is a number whose lower
fields say "not there": rows of different levels find each other by comparing numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]
_BITS = 62


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
        if top + sum(bits for _, bits, _ in fields) > _BITS:
            fields = [_ranked(*field) for field in fields]
        wide = top + sum(bits for _, bits, _ in fields) > _BITS
        keys: Ints = place.astype(object if wide else np.int64)
        if wide:  # Python's own numbers have no end
            fields = [(codes.astype(object), bits, missing) for codes, bits, missing in fields]
        for codes, bits, _ in fields:
            keys <<= bits
            keys |= codes
        self.keys = keys
        self._bits = [bits for _, bits, _ in fields]
        self._missing = [missing for _, _, missing in fields]

    def outer(self, keys: Ints, depth: int) -> Ints:
        """The numbers of the paths' outermost `depth` levels."""
        shift, missing = 0, 0
        for bits, none in zip(reversed(self._bits[depth:]), reversed(self._missing[depth:]), strict=True):
            missing |= none << shift
            shift += bits
        return keys if not shift else ((keys >> shift) << shift) | missing

    def place(self, keys: Ints) -> Ints:
        """The runs of paths."""
        return (keys >> sum(self._bits)).astype(np.intp)


def _width(largest: int) -> int:
    return max(1, largest.bit_length())


def _field(level: Level, ranks: int) -> tuple[Ints, int, int]:
    """One level's numbers, how many bits they take, and the one that says "not there"."""
    there = level.rank >= 0
    if not there.any():
        return np.zeros(len(there), np.int64), 1, 0
    low = int(level.index.min(where=there, initial=np.iinfo(np.int64).max))
    high = int(level.index.max(where=there, initial=np.iinfo(np.int64).min))
    most = int(level.occurrence.max(where=there, initial=0))
    of_index = _width(high - low)
    of_occurrence = most.bit_length()
    of_rank = _width(ranks)
    everywhere = bool(there.all())
    if of_rank + of_occurrence + of_index > _BITS:
        _, dense = np.unique(np.where(there, level.index, low), return_inverse=True)
        of_index = _width(int(dense.max()))
        index = dense.reshape(-1).astype(np.int64)
    else:
        index = level.index - low
    codes = level.rank.astype(np.int64)
    codes <<= of_occurrence
    if of_occurrence:
        codes |= level.occurrence
    codes <<= of_index
    codes |= index
    missing = ranks << (of_occurrence + of_index)
    if not everywhere:
        codes[~there] = missing
    return codes, of_rank + of_occurrence + of_index, missing


def _ranked(codes: Ints, bits: int, missing: int) -> tuple[Ints, int, int]:
    """The same with as few bits as there are different numbers."""
    found, dense = np.unique(np.append(codes, missing), return_inverse=True)
    dense = dense.reshape(-1)
    return dense[:-1].astype(np.int64), _width(len(found) - 1), int(dense[-1])
