"""A place for a statement in a block of a version, and the outcome that there is none."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from .bound import Position
from .source import Block, Scope, Stmt, is_docstring


class Unplaced(Exception):  # noqa: N818 (an outcome, not an error)
    """There is no place that is sure; the message says why, in one sentence.

    `unsure` is the best place where there is one: for a person to look at, never to be taken by itself.
    """

    def __init__(self, reason: str, unsure: Spot | None = None) -> None:
        super().__init__(reason)
        self.unsure = unsure


class Deeper(Unplaced):
    """The place is inside of one of the block's statements."""


@dataclass
class Spot:
    """A place before `block.statements[index]` (or at the block's end)."""

    block: Block
    index: int
    low: int  # the first and the last index that the neighbours allow
    high: int
    evidence: float
    left: Stmt | None  # the confirmed neighbours in the version
    right: Stmt | None
    scope: Scope  # today's scope
    present: Stmt | None = None  # the statement itself, where the version has it already
    settled: bool = False  # nothing near it has changed, names included

    @property
    def gap(self) -> list[Stmt]:
        return self.block.statements[self.low : self.high]

    @property
    def position(self) -> Position:
        """A position that everything before the place precedes."""
        statements = self.block.statements
        if self.index < len(statements):
            return statements[self.index].line, statements[self.index].col
        return (statements[-1].end_line, statements[-1].end_col) if statements else (1, 0)

    @property
    def line(self) -> int:
        return self.position[0]


def first_index(block: Block) -> int:
    """Behind what must stay first: a docstring, the imports from `__future__`."""
    if block.scope.body is not block:
        return 0
    index = 0
    for statement in block.statements:
        future = isinstance(statement.node, ast.ImportFrom) and statement.node.module == "__future__"
        if not future and not (index == 0 and is_docstring(statement)):
            break
        index += 1
    return index


def top_statement(spot: Spot) -> Stmt | None:
    """The statement of the module's own block that holds the place (or follows it)."""
    owner = spot.block.owner
    if owner is None:
        statements = spot.block.statements
        if spot.index < len(statements):
            return statements[spot.index]
        return statements[-1] if statements else None
    return top_of(owner)


def top_of(statement: Stmt) -> Stmt:
    """The statement of the module's own block that it stands in."""
    while statement.block.owner is not None:
        statement = statement.block.owner
    return statement
