"""A version's file that a person has edited: the statements that were added, provided that nothing else was changed.

What comes back are places in the version's own bytes. Line ends, white space at the ends of lines, and comments that an
editor or a person changed on the way are not part of it: taking the statements out gives the version back in any case.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from .logs import log_calls, logged_name
from .proof import check
from .propagation import Placement, line_at
from .source import Source, SourceError, Stmt, parse
from .splice import Edit as Splice
from .splice import apply_edits

_CHANGED = "Something that the version has was changed; only statements may be added."


class NotOnlyAdded(Exception):  # noqa: N818 (an outcome, not an error)
    """The file has been changed by more than added statements. `line` is where, in the edited file."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True)
class _Region:
    """Lines `old` to `old_end` of the version became lines `new` to `new_end` of the edited file; 0-based, half open."""

    old: int
    old_end: int
    new: int
    new_end: int


def added(version: bytes, edited: bytes, replaceable: Collection[str] = ()) -> tuple[Placement, ...]:
    """The statements that `edited` has and `version` lacks, in the order of the text; none if there are none.

    A statement that logs one of the names `replaceable` may be replaced by one that logs the same. `unit` of the result
    is 0 throughout. Raises NotOnlyAdded where anything else was changed, and SourceError for a version that cannot be
    parsed.
    """
    before = parse(version)
    try:
        after = parse(edited)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(edited, "edited", "exec", dont_inherit=True)  # also what only shows when it is compiled
    except SourceError as error:
        raise NotOnlyAdded(str(error), error.line) from None
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        raise NotOnlyAdded(f"The file cannot be parsed: {error.args[0]}.", line) from None
    except RecursionError:
        raise NotOnlyAdded("The file is nested too deeply to be analysed.") from None
    placements: list[Placement] = []
    regions = _regions(before, after)
    for region in regions:
        placements += _of_region(before, after, region, regions, frozenset(replaceable))
    # Such as a decorator, an `except`, or an argument on a line of its own: lines more that are no statements.
    ours = {number for one in placements for number in range(one.line, one.end_line + 1)}
    if _dump(edited, ours) != _dump(version, _replaced(version, placements)):
        lines = [region.new + 1 for region in regions]
        raise NotOnlyAdded(_CHANGED, lines[0] if len(lines) == 1 else None)
    placed = _laid_out(version, placements)
    _check(version, placed[0], placed[1])
    return placed[1]


def _lines(source: Source) -> list[str]:
    return [line.rstrip() for line in source.lines]


def _regions(before: Source, after: Source) -> list[_Region]:
    """Where the two differ. A file with lines more is recognised as such even if the shortest difference is another."""
    old, new = _lines(before), _lines(after)
    found = [
        _Region(i1, i2, j1, j2)
        for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    if any(region.old < region.old_end and any(old[region.old : region.old_end]) for region in found):
        found = _more_lines(old, new) or found
    return [_slid(after, new, region) for region in found]


def _more_lines(old: list[str], new: list[str]) -> list[_Region] | None:
    """The lines of `new` between those of `old`, if these are all there in their order."""
    regions = []
    place = 0
    for index, line in enumerate(old):
        try:
            found = new.index(line, place)
        except ValueError:
            return None
        if found > place:
            regions.append(_Region(index, index, place, found))
        place = found + 1
    if place < len(new):
        regions.append(_Region(len(old), len(old), place, len(new)))
    return regions


def _slid(after: Source, new: list[str], region: _Region) -> _Region:
    """The same lines more, read so that whole statements are what is more: `f()` after `if b:`, not `if b:` after `f()`."""
    if region.old != region.old_end:
        return region
    best = region
    for step in (1, -1):
        now = region
        while not _whole(after, now):
            first, last = (now.new, now.new_end) if step > 0 else (now.new_end - 1, now.new - 1)
            if not 0 <= last < len(new) or new[first] != new[last]:
                break
            now = _Region(now.old + step, now.old + step, now.new + step, now.new_end + step)
        if _whole(after, now):
            return now
    return best


def _whole(after: Source, region: _Region) -> bool:
    """Whether statements that begin in the lines also end there."""
    return all(one.end_line <= region.new_end for one in _beginning_in(after, region))


def _beginning_in(after: Source, region: _Region) -> Iterator[Stmt]:
    """In the order of the text, outer statements before what stands in them."""
    found = [one for one in after.statements() if region.new < one.line <= region.new_end]
    yield from sorted(found, key=lambda one: (one.line, one.col))


# ---- one region ------------------------------------------------------------------------------------------------


def _of_region(
    before: Source, after: Source, region: _Region, regions: list[_Region], replaceable: frozenset[str]
) -> list[Placement]:
    def put(piece: _Piece, old: int, old_end: int | None) -> Placement:
        return _placement(before, after, piece, old, old_end, regions)

    pieces = list(_pieces(after, region))
    gone = [one for one in before.statements() if region.old < one.line <= region.old_end]
    touched = any(
        line.strip() and not line.lstrip().startswith("#") for line in before.lines[region.old : region.old_end]
    )
    if not touched:
        # Nothing but empty lines and comments of the version went: they stay.
        return [put(piece, region.old, None) for piece in pieces]
    line = min(region.new + 1, len(after.lines))
    names = {_name(before, one) for one in gone} if len(gone) == 1 else {None}
    name = names.pop()
    simple = len(gone) == 1 and isinstance(gone[0].node, ast.Expr) and not gone[0].blocks
    takes = [index for index, piece in enumerate(pieces) if name is not None and _named(after, piece) == {name}]
    alone = simple and (gone[0].line, gone[0].end_line) == (region.old + 1, region.old_end)
    if not alone or name not in replaceable or len(takes) != 1:
        raise NotOnlyAdded(_CHANGED, line)
    place = takes[0]
    return [
        *(put(piece, region.old, None) for piece in pieces[:place]),
        put(pieces[place], region.old, region.old_end),
        *(put(piece, region.old_end, None) for piece in pieces[place + 1 :]),
    ]


@dataclass(frozen=True)
class _Piece:
    """Lines of the edited file, 0-based and half open, with the outermost statements that begin in them."""

    first: int
    last: int
    statements: tuple[Stmt, ...]


def _pieces(after: Source, region: _Region) -> Iterator[_Piece]:
    """Each statement with the lines before it that belong to no other; comments after the last one are left out."""
    inside = list(_beginning_in(after, region))
    outermost = [one for one in inside if one.block.owner is None or one.block.owner not in inside]
    first = region.new
    together: list[Stmt] = []
    for place, one in enumerate(outermost):
        together.append(one)
        following = outermost[place + 1] if place + 1 < len(outermost) else None
        if following is not None and following.line <= one.end_line:
            continue  # `a; b`
        yield _Piece(first, one.end_line, tuple(together))
        first = one.end_line
        together = []


def _name(source: Source, statement: Stmt) -> str | None:
    names = {logged_name(call) for call in log_calls(source, statement.node)}
    return names.pop() if len(names) == 1 else None


def _named(source: Source, piece: _Piece) -> set[str | None]:
    return {
        logged_name(call)
        for statement in piece.statements
        for inner in statement.walk()
        if not inner.blocks
        for call in log_calls(source, inner.node)
    }


def _placement(
    before: Source, after: Source, piece: _Piece, old: int, old_end: int | None, regions: list[_Region]
) -> Placement:
    """The piece put before line `old` of the version, or in place of its lines up to `old_end`."""
    newline = before.newline
    encoding = before.encoding_for_text
    lines = [line.rstrip("\r\n") for line in after.lines[piece.first : piece.last]]
    at = before.line_offsets[old] + (before.bom if old == 0 else 0)
    end = at if old_end is None else before.line_offsets[old_end]
    original = before.data[at:end]
    body = newline.join(lines)
    start = piece.statements[0]
    own = start.line - 1 - piece.first  # lines before the statement
    lead = len("".join([*(line + newline for line in lines[:own]), lines[own][: start.col]]).encode(encoding))
    if old_end is None and old == len(before.raw_lines) and not before.data.endswith((b"\n", b"\r")):
        inserted = (newline + body).encode(encoding)
        lead += len(newline.encode(encoding))
    elif old_end is not None and not original.endswith((b"\n", b"\r")):
        inserted = body.encode(encoding)
    else:
        inserted = (body + newline).encode(encoding)
    names = _named(after, piece)
    siblings = start.block.statements
    above = _known(regions, reversed(siblings[: start.index]))
    below = _known(regions, siblings[piece.statements[-1].index + 1 :])
    return Placement(
        unit=0,
        kind="log" if names else "support",
        line=start.line,
        end_line=piece.statements[-1].end_line,
        text="\n".join(after.text_of(one).replace("\r\n", "\n") for one in piece.statements),
        name=next(iter(names)) if len(names) == 1 else None,
        replaces=old_end is not None,
        after=None if above is None else before.lines[above].strip(),
        before=None if below is None else before.lines[below].strip(),
        renames=(),
        inserted=inserted,
        original=original,
        after_line=None if above is None else above + 1,
        before_line=None if below is None else below + 1,
        placed_by="edited",
        lead=lead,
        at=at,
    )


def _known(regions: list[_Region], siblings: Iterable[Stmt]) -> int | None:
    """The version's line, 0-based, of the first of these statements that it has."""
    for one in siblings:
        line = one.line - 1
        if not any(region.new <= line < region.new_end for region in regions):
            more = (region for region in regions if region.new_end <= line)
            return line - sum(region.new_end - region.new - region.old_end + region.old for region in more)
    return None


# ---- the result ------------------------------------------------------------------------------------------------


def _laid_out(version: bytes, placements: list[Placement]) -> tuple[bytes, tuple[Placement, ...]]:
    data, starts = apply_edits(version, (Splice(one.at, one.original, one.inserted, one.lead) for one in placements))
    out = []
    for one, start in zip(placements, starts, strict=True):
        line = line_at(data, start + one.lead)
        out.append(
            replace(
                one, start=start, line=line, end_line=line + one.end_line - one.line, at_line=line_at(version, one.at)
            )
        )
    return data, tuple(out)


def _check(version: bytes, patched: bytes, placements: tuple[Placement, ...]) -> None:
    if not placements:
        return
    new = {number for one in placements for number in range(one.line, one.end_line + 1)}
    if check(version, patched, placements) or _dump(version, _replaced(version, placements)) != _dump(patched, new):
        raise NotOnlyAdded(_CHANGED)


def _replaced(version: bytes, placements: Iterable[Placement]) -> set[int]:
    """The version's lines of statements that others take the place of."""
    found: set[int] = set()
    for one in placements:
        if one.replaces:
            first = line_at(version, one.at)
            found.update(range(first, first + len(one.original.splitlines())))
    return found


class _Without(ast.NodeTransformer):
    def __init__(self, lines: set[int]) -> None:
        self._lines = lines

    def visit(self, node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.stmt) and node.lineno in self._lines and node.end_lineno in self._lines:
            return None
        self.generic_visit(node)
        return node


def _dump(data: bytes, without: set[int]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(data)
    _Without(without).visit(tree)
    return ast.dump(tree)


__all__ = ["NotOnlyAdded", "added"]
