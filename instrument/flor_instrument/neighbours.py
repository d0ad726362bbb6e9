"""A statement's siblings of today, and what they are in a version."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from .align import Alignment
from .source import Stmt
from .tokens import plain
from .view import View


def neighbours(view: View, statement: Stmt) -> tuple[list[Stmt], list[Stmt]]:
    """The statement's siblings before it, nearest first, and after it."""
    siblings = statement.block.statements
    before = [one for one in reversed(siblings[: statement.index]) if one not in view.added]
    after = [one for one in siblings[statement.index + 1 :] if one not in view.added]
    return before, after


def unwrapped(siblings: list[Stmt], alignment: Alignment, last: bool) -> Iterator[Stmt]:
    """The siblings, with what stands in a `with` or `try` that the version has not in place of the whole."""
    for sibling in siblings:
        wraps = isinstance(sibling.node, ast.With | ast.AsyncWith | ast.Try) and sibling not in alignment.forward
        if not wraps:
            yield sibling
            continue
        inner = sibling.blocks[0].statements
        yield from unwrapped(inner[::-1] if last else inner, alignment, last)


def counterpart(sibling: Stmt, alignment: Alignment, last: bool) -> Stmt | None:
    """What a sibling is in the version; of an unmatched compound statement its last (or first) matched part."""
    match = alignment.forward.get(sibling)
    if match is not None and sibling not in alignment.moved:
        return match
    inner = [
        alignment.forward[part]
        for part in sibling.walk()
        if part is not sibling and part in alignment.forward and part not in alignment.moved
    ]
    if not inner:
        return match
    return max(inner, key=lambda one: one.order) if last else min(inner, key=lambda one: one.order)


def outline(statement: Stmt, renames: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """The tokens of a statement and of all that it contains, with names replaced."""
    return tuple(plain(one.head, renames) for one in statement.walk())
