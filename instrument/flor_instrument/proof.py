"""The proof of every result: it parses, and without what was inserted it is the version that it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from .source import Block, Source, SourceError, Stmt, parse
from .splice import undo


class Inserted(Protocol):
    """What the proof needs to know of a placement."""

    @property
    def line(self) -> int: ...
    @property
    def end_line(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def inserted(self) -> bytes: ...
    @property
    def original(self) -> bytes: ...
    @property
    def text(self) -> str: ...


def check(target: bytes, patched: bytes, placements: Iterable[Inserted]) -> str | None:
    """None if the result is proven; otherwise one sentence that says what is wrong."""
    placements = tuple(placements)
    try:
        if undo(patched, placements) != target:
            return "The result could not be proven: taking the statements out does not give the version back."
    except ValueError:
        return "The result could not be proven: the inserted text is not where it was put."
    try:
        before, after = parse(target), parse(patched)
        if _outline(before, _replaced_lines(target, placements)) != _outline(after, _inserted(after, placements)):
            return "The result could not be proven: more than the inserted statements has changed."
    except SourceError:
        return "The result could not be proven: it does not parse."
    except RecursionError:
        return "The result could not be proven: it is nested too deeply."
    return None


def _inserted(source: Source, placements: tuple[Inserted, ...]) -> set[Stmt]:
    """The statements that lie in the inserted bytes."""
    spans = [(one.start, one.start + len(one.inserted)) for one in placements]
    return _inside(source, spans)


def _replaced_lines(target: bytes, placements: tuple[Inserted, ...]) -> set[Stmt]:
    spans: list[tuple[int, int]] = []
    shift = 0
    for one in sorted(placements, key=lambda placement: placement.start):
        start = one.start - shift
        if one.original:
            spans.append((start, start + len(one.original)))
        shift += len(one.inserted) - len(one.original)
    return _inside(parse(target), spans)


def _inside(source: Source, spans: list[tuple[int, int]]) -> set[Stmt]:
    if not spans:
        return set()
    found: set[Stmt] = set()
    offsets = source.line_offsets
    low = min(start for start, _ in spans)
    high = max(end for _, end in spans)
    for statement in source.statements():
        first = offsets[statement.line - 1]
        if offsets[statement.end_line] <= low or first >= high:
            continue
        lead = source.bom if statement.line == 1 else 0
        text = source.lines[statement.line - 1][: statement.col]
        begin = first + lead + len(text.encode(source.encoding_for_text))
        if any(start <= begin < end for start, end in spans):
            found.update(statement.walk())
    return found


def _outline(source: Source, without: set[Stmt]) -> list[tuple[object, ...]]:
    """Every statement with its scope, depth, kind and extent, in the order of the text.

    That the bytes outside of the insertions are the same is known by then: so statements of the same extent, in the
    same order and at the same depth, are the same statements.
    """
    out: list[tuple[object, ...]] = []
    depths: dict[Block, int] = {}
    for statement in source.statements():
        block = statement.block
        depth = 0 if block.owner is None else depths.get(block, -1)
        if depth < 0:
            assert block.owner is not None
            depth = depths[block] = depths.get(block.owner.block, 0) + 1
        if statement in without:
            continue
        # Where a compound statement ends depends on what was put into it, and in `a; b` the columns on what was
        # put before.
        first = not source.lines[statement.line - 1][: statement.col].strip()
        height = statement.end_line - statement.line
        width = statement.end_col if height else statement.end_col - statement.col
        extent = (statement.col if first else -1, *((0, 0) if statement.blocks else (height, width)))
        out.append((block.scope.qualname, block.role, depth, statement.kind, extent))
    return out
