"""Edits of nothing but layout."""

from __future__ import annotations

import ast
import re
import tokenize
from random import Random

from .text import frozen_lines, indent_of, is_mark, own_lines, parsed, tokens


def lines_and_comments(text: str, chance: Random, near: bool) -> str | None:
    """Blank lines and comments come in and go."""
    lines = text.split("\n")
    frozen = frozen_lines(text)
    inside = continued(text)
    out: list[str] = []
    for number, line in enumerate(lines, 1):
        free = number not in frozen and number not in inside
        if free and line.strip().startswith("#") and number > 2 and chance.random() < 0.3:
            continue
        if free and line.strip() and chance.random() < 0.1:
            out.append(chance.choice(["", indent_of(line) + f"# remark {number}"]))
        out.append(line)
    return "\n".join(out)


def continued(text: str) -> set[int]:
    """The lines that begin inside a bracket."""
    depth, found, row = 0, set(), 0
    for token in tokens(text):
        if depth and token.start[0] != row:
            found.update(range(row + 1, token.start[0] + 1))
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        row = token.end[0]
    return found


def quotes(text: str, chance: Random, near: bool) -> str | None:
    """Strings have the other quotes."""
    places = [
        token
        for token in tokens(text)
        if token.type == tokenize.STRING
        and re.fullmatch(r"\"[^'\"\\{}]*\"|'[^'\"\\{}]*'", token.string)
        and chance.random() < 0.7
    ]
    lines = text.split("\n")
    for token in reversed(places):
        row, start, end = token.start[0] - 1, token.start[1], token.end[1]
        other = "'" if token.string[0] == '"' else '"'
        lines[row] = lines[row][:start] + other + token.string[1:-1] + other + lines[row][end:]
    return "\n".join(lines) if places else None


def line_breaks(text: str, chance: Random, near: bool) -> str | None:
    """Calls go over several lines, with a comma at their end."""
    tree = parsed(text)
    if tree is None:
        return None
    lines = text.split("\n")
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr | ast.Assign)
        and isinstance(node.value, ast.Call)
        and node.lineno == node.end_lineno
        and own_lines(lines, node)
        and lines[node.lineno - 1].isascii()
        and lines[node.lineno - 1].endswith(")")
        and not any(isinstance(one, ast.GeneratorExp) for one in node.value.args)
        and (node.value.args or node.value.keywords)
        and not isinstance(node.value.func, ast.Lambda)
    ]
    if not calls:
        return None
    for node in sorted(calls, key=lambda one: -one.lineno):
        if chance.random() < 0.6 or is_mark(node):
            continue
        line = lines[node.lineno - 1]
        start = node.value.func.end_col_offset or 0
        while line[start] != "(":
            start += 1
        pad = indent_of(line)
        inside = line[start + 1 : -1].rstrip().rstrip(",")
        lines[node.lineno - 1] = f"{line[: start + 1]}\n{pad}        {inside},\n{pad})"
    return "\n".join(lines)


def indentation(text: str, chance: Random, near: bool) -> str | None:
    """Another width of indentation, or tabs."""
    frozen = frozen_lines(text) | continued(text)
    unit = chance.choice(["\t", "  ", "        ", "   "])
    out: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        pad = indent_of(line)
        if number in frozen or not line.strip():
            out.append(line)
            continue
        if "\t" in pad or len(pad) % 4:
            return None
        out.append(unit * (len(pad) // 4) + line.lstrip())
    return "\n".join(out)


def line_ends(text: str, chance: Random, near: bool) -> str | None:
    """Windows' line ends."""
    return None if "\r" in text else text.replace("\n", "\r\n")
