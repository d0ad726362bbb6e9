"""Edits that make the place hard to tell, and edits of what a single statement computes."""

from __future__ import annotations

import ast
import tokenize
from random import Random

from .text import (
    FUNCTIONS,
    MARK,
    SUPPORT,
    find_mark,
    for_mark,
    frozen_lines,
    indent_of,
    marked,
    names_in,
    own_lines,
    parsed,
    span,
    tokens,
)


def copy_without(text: str, chance: Random, near: bool) -> str | None:
    """A block or function that holds the statement in question comes a second time, without that statement."""
    tree = parsed(text)
    mark = find_mark(tree) if tree is not None else None
    if mark is None or not mark[0].owners or frozen_lines(text):
        return None
    owner = chance.choice(mark[0].owners)
    lines = text.split("\n")
    if isinstance(owner, ast.ClassDef) or not own_lines(lines, owner):
        return None
    first, last = span(owner)
    index = mark[1]
    if sum(not for_mark(node) for node in mark[0].nodes) == 0:
        return None
    gone = {
        row for node in mark[0].nodes[: index + 1] if for_mark(node) for row in range(span(node)[0], span(node)[1] + 1)
    }
    copy = [line for number, line in enumerate(lines[first - 1 : last], first) if number not in gone]
    text_of_copy = "\n".join(copy)
    if isinstance(owner, FUNCTIONS):
        text_of_copy = text_of_copy.replace(f"def {owner.name}(", f"def {owner.name}_too(", 1)
    if chance.random() < 0.5:
        return "\n".join([*lines[: first - 1], text_of_copy, "", *lines[first - 1 :]])
    return "\n".join([*lines[:last], "", text_of_copy, *lines[last:]])


def insert_touching(text: str, chance: Random, near: bool) -> str | None:
    """Beside the statement in question comes one that changes what it reads."""
    tree = parsed(text)
    mark = find_mark(tree) if tree is not None else None
    if mark is None:
        return None
    suite, index = mark
    called = {
        part.func.id
        for part in ast.walk(suite.nodes[index])
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)
    }
    names = sorted(names_in(suite.nodes[index], stored=False) - called - {"flor", "fl", "mod", "v", "state"})
    if not names:
        return None
    lines = text.split("\n")
    first, last = span(suite.nodes[index])
    while index and for_mark(suite.nodes[index - 1]):
        index -= 1
    first = span(suite.nodes[index])[0]
    name = chance.choice(names)
    if name.startswith(SUPPORT):
        return None
    what = chance.choice([f"{name} = {name}", f"{name} = checked({name})", f"print({name})"])
    at = first - 1 if chance.random() < 0.5 else last
    return "\n".join([*lines[:at], indent_of(lines[first - 1]) + what, *lines[at:]])


def change_constant(text: str, chance: Random, near: bool) -> str | None:
    """A number of the source is another one."""
    found = [
        token
        for token in tokens(text)
        if token.type == tokenize.NUMBER
        and token.string.isdigit()
        and MARK not in token.line
        and SUPPORT not in token.line
    ]
    if not found:
        return None
    token = chance.choice(found)
    lines = text.split("\n")
    row, start, end = token.start[0] - 1, token.start[1], token.end[1]
    lines[row] = f"{lines[row][:start]}{int(token.string) + 1}{lines[row][end:]}"
    return "\n".join(lines)


def edit_expression(text: str, chance: Random, near: bool) -> str | None:
    """The value of an assignment is computed a little otherwise."""
    tree = parsed(text)
    if tree is None:
        return None
    lines = text.split("\n")
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and node.lineno == node.end_lineno
        and own_lines(lines, node)
        and not marked(node)
        and not for_mark(node)
        and "#" not in lines[node.lineno - 1]
        and not isinstance(node.value, ast.Tuple | ast.Lambda | ast.Yield | ast.IfExp)
    ]
    if not found:
        return None
    node = chance.choice(found)
    start = node.value.col_offset
    line = lines[node.lineno - 1]
    if not line.isascii():
        return None
    value = line[start:].strip()
    new = chance.choice([f"({value})", f"checked({value})", f"({value}) if True else None"])
    lines[node.lineno - 1] = line[:start] + new
    return "\n".join(lines)
