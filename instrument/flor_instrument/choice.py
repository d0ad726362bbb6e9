"""Which place between two neighbours, where the version has something standing between them."""

from __future__ import annotations

from dataclasses import dataclass

from .align import SURE
from .effects import acts, binds, changes, reads_state
from .logs import log_calls
from .source import Block, Stmt
from .spots import Unplaced, first_index
from .uses import any_touch, use_of
from .view import View

_SURER = 0.15  # how much surer one neighbour must be than the other to decide over something that may matter
_MUCH_SURER = (
    0.55  # … over something that gives what is read another value: more than the edge of a block has against it
)
EDGE = 0.5  # what the beginning or the end of a block counts against a statement


@dataclass(frozen=True)
class Side:
    """One neighbour of the place: how sure it is, 0 where it is not the statement's very next one today."""

    sure: float
    anything: bool  # whether today has anything on this side


def choose(
    view: View,
    statement: Stmt,
    block: Block,
    low: int,
    high: int,
    reads: frozenset[str],
    left: Side,
    right: Side,
    given: bool = False,
) -> int:
    """The index in low..high that keeps what the statement reads as it was. Raises Unplaced where two may differ.

    `given`: what it reads has its value before the gap, as today.
    """
    gap = block.statements[low:high]
    if not gap:
        return low
    state = reads_state(statement.node)
    binding = [one for one in gap if binds(one, reads)]
    touching = [one for one in gap if one in binding or changes(one, reads, state)]
    statements = block.statements
    for side, beside, twin in ((left, low - 1, gap[0]), (right, high, gap[-1])):
        sure = side.sure and side.sure != EDGE
        if touching and sure and 0 <= beside < len(statements) and statements[beside].key == twin.key:
            raise Unplaced(f"Its neighbour stands twice: it could be before or after line {twin.line}.")
    if left.sure and not right.sure:
        if left.sure < SURE and binding:
            _check_begins(statement, binding)
            return _after_the_giver(statement, block, binding, low, reads)
        if binding and right.anything:
            raise another_value(binding[0])
        return low
    if right.sure and not left.sure:
        if binding:
            _check_begins(statement, binding)
            if given:
                raise Unplaced(
                    f"Line {binding[0].line} gives what it reads another value, and today nothing there does."
                )
        return high
    if not left.sure:
        if touching or (not log_calls(view.today, statement.node) and any(acts(one) for one in gap)):
            raise Unplaced("Neither of its neighbours stands in this version, and what does may matter.")
        return low if left.anything else high
    # Both neighbours are there, with something between them: the one that has changed less decides.
    if EDGE < left.sure < SURE and binding:
        return _after_the_giver(statement, block, binding, low, reads)
    if not touching and _feed_next(block, gap, high):
        return low
    edge = EDGE in {left.sure, right.sure}
    margin = _MUCH_SURER if binding else _SURER if touching else 0.02
    if abs(left.sure - right.sure) >= margin and (touching or not edge):
        return low if left.sure > right.sure else high
    if not touching:
        together = _grouped(view, statement)
        if together is None and not log_calls(view.today, statement.node) and any(acts(one) for one in gap):
            raise Unplaced(f"It could stand before or after line {gap[0].line}, and their order may matter.")
        return high if together == "right" else low
    first = touching[0]
    raise Unplaced(f"It could stand before or after line {first.line}, which may change what it reads.")


def another_value(giver: Stmt) -> Unplaced:
    """The refusal where the statement could stand before or after what gives a name that it reads another value."""
    return Unplaced(f"It could stand before or after line {giver.line}, which gives what it reads another value.")


def _check_begins(statement: Stmt, binding: list[Stmt]) -> None:
    """What begins its block today read a value from before the block: nothing in the version's may give another one first."""
    if statement.index == first_index(statement.block):
        raise Unplaced(f"It begins its block, where line {binding[0].line} gives what it reads another value.")


def _after_the_giver(statement: Stmt, block: Block, binding: list[Stmt], low: int, reads: frozenset[str]) -> int:
    """Behind what gives the value that is read, where the neighbour before has changed.

    Raises Unplaced where that neighbour gives the same names as today's, so that it may be the giver as well.
    """
    if low and statement.index and binds(block.statements[low - 1], reads):
        before, today = block.statements[low - 1], statement.block.statements[statement.index - 1]
        if use_of(before).binds == use_of(today).binds:
            raise another_value(binding[0])
    return max(one.index for one in binding) + 1


def _feed_next(block: Block, gap: list[Stmt], high: int) -> bool:
    """Whether all that stands between the neighbours prepares the next one, and so belongs to it."""
    statements = block.statements
    return high < len(statements) and all(any_touch(use_of(statements[high]).reads, use_of(one).binds) for one in gap)


def _grouped(view: View, statement: Stmt) -> str | None:
    """Which neighbour the statement is written together with: blank lines separate it from the other."""
    lines = view.today.lines
    line = statement.line - 1
    while line >= 1 and lines[line - 1].lstrip().startswith("#"):
        # A comment above the statement introduces it.
        line -= 1
    above = line >= 1 and not lines[line - 1].strip()
    below = statement.end_line < len(lines) and not lines[statement.end_line].strip()
    if above == below:
        return None
    return "right" if above else "left"


__all__ = ["EDGE", "Side", "another_value", "choose"]
