"""Text into text: putting statements into a source, and taking them out again, byte for byte."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import libcst as cst

from .source import Block, Source, Stmt


class Unwritable(Exception):  # noqa: N818 (an outcome, not an error)
    """The text cannot be put there; the message says why, in one sentence."""


class Spliced(Protocol):
    """What `remove` needs to know of an insertion."""

    @property
    def start(self) -> int: ...
    @property
    def inserted(self) -> bytes: ...
    @property
    def original(self) -> bytes: ...


@dataclass(frozen=True)
class Edit:
    """Replace `original` at byte `start` of the target by `inserted`; `text` is its part that is the statement."""

    start: int
    original: bytes
    inserted: bytes
    lead: int  # bytes of `inserted` before the statement's own text
    order: tuple[int, ...] = ()


def apply_edits(data: bytes, edits: Iterable[Edit]) -> tuple[bytes, list[int]]:
    """The data with all edits, and where each begins in the result. Edits are given in the order of the text."""
    out = bytearray()
    starts: list[int] = []
    last = 0
    for edit in edits:
        out += data[last : edit.start]
        starts.append(len(out))
        out += edit.inserted
        last = edit.start + len(edit.original)
    out += data[last:]
    return bytes(out), starts


def undo(patched: bytes, splices: Iterable[Spliced]) -> bytes:
    """Take inserted text out again and put back what it replaced."""
    for splice in sorted(splices, key=lambda one: -one.start):
        end = splice.start + len(splice.inserted)
        if patched[splice.start : end] != splice.inserted:
            raise ValueError("The patched source has been changed since the statements were inserted.")
        patched = patched[: splice.start] + splice.original + patched[end:]
    return patched


# ---- the statement's own text ----------------------------------------------------------------------------------


class _Renamer(cst.CSTTransformer):
    def __init__(self, renames: Mapping[str, str]) -> None:
        self._renames = renames

    def _new(self, chain: str | None) -> cst.BaseExpression | None:
        new = self._renames.get(chain) if chain is not None else None
        return cst.parse_expression(new) if new is not None else None

    def visit_Attribute(self, node: cst.Attribute) -> bool:  # noqa: N802
        return False

    def leave_Attribute(  # noqa: N802
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        whole = self._new(_chain(original_node))
        if whole is not None:
            return whole
        value = updated_node.value.visit(self)
        assert isinstance(value, cst.BaseExpression)
        return updated_node.with_changes(value=value)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:  # noqa: N802
        return self._new(original_node.value) or updated_node

    def visit_Arg_keyword(self, node: cst.Arg) -> None:  # noqa: N802
        return None

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:  # noqa: N802
        return updated_node.with_changes(keyword=original_node.keyword)


def _chain(node: cst.BaseExpression) -> str | None:
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return None
    parts.append(node.value)
    return ".".join(reversed(parts))


def renamed(text: str, renames: Mapping[str, str]) -> str:
    """The statement's text (dedented, with "\\n" line ends) with names replaced, everything else as it was."""
    if not renames:
        return text
    try:
        return cst.parse_module(text).visit(_Renamer(renames)).code
    except (cst.ParserSyntaxError, RecursionError, cst.CSTValidationError) as error:
        raise Unwritable("The statement is too unusual for its names to be replaced.") from error


def dedented(source: Source, statement: Stmt) -> str:
    """The statement's text as if it stood at the left margin, with "\\n" line ends."""
    text = source.text_of(statement).replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if len(lines) == 1:
        return text
    indent = source.lines[statement.line - 1][: statement.col]
    if indent.strip():
        indent = indent[: len(indent) - len(indent.lstrip())]
    indent = indent.lstrip("\f\ufeff")
    frozen = _string_lines(text)
    out = [lines[0]]
    for number, line in enumerate(lines[1:], 2):
        out.append(line if number in frozen else line.removeprefix(indent))
    return "\n".join(out)


def indented(text: str, indent: str) -> str:
    """The text with every line indented but those that begin inside a string."""
    if not indent:
        return text
    frozen = _string_lines(text)
    return "\n".join(
        line if number in frozen or not line.strip() else indent + line
        for number, line in enumerate(text.split("\n"), 1)
    )


def _string_lines(text: str) -> set[int]:
    """The lines that begin inside a string and must not be indented."""
    if '"""' not in text and "'''" not in text and "\\" not in text:
        return set()
    frozen: set[int] = set()
    opened: list[int] = []  # from Python 3.12 on a formatted string is several tokens
    try:
        for token in tokenize.generate_tokens(io.StringIO(text + "\n").readline):
            kind = tokenize.tok_name[token.type]
            if kind in {"FSTRING_START", "TSTRING_START"}:
                opened.append(token.start[0])
            start = opened.pop() if kind in {"FSTRING_END", "TSTRING_END"} else token.start[0]
            if kind in {"STRING", "FSTRING_END", "TSTRING_END"}:
                frozen.update(range(start + 1, token.end[0] + 1))
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return frozen
    return frozen


# ---- the place in the bytes ------------------------------------------------------------------------------------


def _indent(source: Source, block: Block) -> str:
    """What stands before the block's first statement that begins a line (others follow a semicolon)."""
    for statement in block.statements:
        before = source.lines[_first_line(statement) - 1][: statement.col].lstrip("\f\ufeff")
        if not before.strip():
            return before
    raise Unwritable("The block it belongs into stands on one line with its header.")


def insertion(source: Source, block: Block, index: int, text: str, compound: bool) -> Edit:
    """Put the text (dedented) before `block.statements[index]`, or at the block's end."""
    statements = block.statements
    before = statements[index - 1] if index else None
    after = statements[index] if index < len(statements) else None
    if before is None and after is None:
        raise Unwritable("The version has no statements at all.")
    if _shares_line(source, block, before, after):
        return _inline(source, before, after, text, compound)
    body = indented(text, _indent(source, block))
    if before is not None:
        return _after_line(source, before.end_line, body)
    assert after is not None
    return _line_edit(source, after.line, body)


def _first_line(statement: Stmt) -> int:
    return statement.line


def _shares_line(source: Source, block: Block, before: Stmt | None, after: Stmt | None) -> bool:
    """Whether the place is inside a line: between semicolons, or in a suite on its header's line."""
    if before is not None and after is not None and before.end_line == after.line:
        return True
    one = before or after
    assert one is not None
    lead = source.lines[one.line - 1][: one.col].lstrip("\ufeff")
    if lead.strip() and not lead.rstrip().endswith(("@",)):
        # Something else stands before it on its line. That is fine after the end of a run of `a; b`.
        owner = block.owner
        on_header = owner is not None and one.line == owner.head_line and _header_shares(source, one)
        return on_header or before is None
    return False


def _header_shares(source: Source, one: Stmt) -> bool:
    first = one.block.statements[0]
    return source.lines[first.line - 1][: first.col].strip().endswith(":")


def _inline(source: Source, before: Stmt | None, after: Stmt | None, text: str, compound: bool) -> Edit:
    if compound or "\n" in text:
        raise Unwritable("The place is inside a line, which takes no compound statement.")
    if before is not None:
        start = byte_offset(source, before.end_line, before.end_col)
        inserted = ("; " + text).encode(source.encoding_for_text)
        return Edit(start, b"", inserted, 2)
    assert after is not None
    start = byte_offset(source, after.line, after.col)
    return Edit(start, b"", (text + "; ").encode(source.encoding_for_text), 0)


def _after_line(source: Source, line: int, body: str) -> Edit:
    """After the whole of a line; a last line without an end gets one."""
    newline = source.newline
    encoding = source.encoding_for_text
    start = source.line_offsets[line]
    raw = source.raw_lines[line - 1]
    encoded = body.replace("\n", newline).encode(encoding)
    if not raw.endswith((b"\n", b"\r")):
        lead = newline.encode(encoding)
        return Edit(start, b"", lead + encoded, len(lead))
    return Edit(start, b"", encoded + newline.encode(encoding), 0)


def _line_edit(source: Source, line: int, body: str) -> Edit:
    encoding = source.encoding_for_text
    encoded = body.replace("\n", source.newline).encode(encoding) + source.newline.encode(encoding)
    start = source.line_offsets[line - 1]
    if line == 1:
        start += source.bom
    return Edit(start, b"", encoded, 0)


def spaced(source: Source, edit: Edit) -> Edit:
    """The edit with an empty line before its text."""
    newline = source.newline.encode(source.encoding_for_text)
    text = edit.inserted[: edit.lead] + newline + edit.inserted[edit.lead :]
    return Edit(edit.start, edit.original, text, edit.lead + len(newline))


def before_line(source: Source, line: int, text: str) -> Edit:
    """The text as lines of its own before a line."""
    return _line_edit(source, line, text)


def after_line(source: Source, line: int, text: str) -> Edit:
    """The text as lines of its own after a line."""
    return _after_line(source, line, text)


def replacement(source: Source, old: Stmt, text: str) -> Edit:
    """The text in place of a statement."""
    start = byte_offset(source, old.line, old.col)
    end = byte_offset(source, old.end_line, old.end_col)
    indent = source.lines[old.line - 1][: old.col].lstrip("\f\ufeff")
    if "\n" in text and indent.strip():
        raise Unwritable("The place is inside a line, which takes one line only.")
    body = indented(text, indent)[len(indent) :] if indent and not indent.strip() else text
    encoded = body.replace("\n", source.newline).encode(source.encoding_for_text)
    return Edit(start, source.data[start:end], encoded, 0)


def byte_offset(source: Source, line: int, col: int) -> int:
    text = source.lines[line - 1][:col]
    lead = source.bom if line == 1 else 0
    return source.line_offsets[line - 1] + lead + len(text.encode(source.encoding_for_text))
