"""Edits of runs of statements: wrapped, unwrapped, moved, deleted, twice."""

from __future__ import annotations

import ast
from collections.abc import Callable
from random import Random

from .text import (
    FUNCTIONS,
    Suite,
    find_mark,
    for_mark,
    frozen_lines,
    indent_of,
    is_mark,
    marked,
    names_in,
    own_lines,
    parsed,
    span,
    suites,
)


def find_run(
    text: str, tree: ast.Module, chance: Random, near: bool, *, beside: bool = False
) -> tuple[Suite, int, int] | None:
    """A run of siblings `low..high`. Its borders are not beside the statement in question, so that nobody can doubt
    on which side of them that stands (unless `near` or `beside`)."""
    lines = text.split("\n")
    frozen = frozen_lines(text)
    possible = [suite for suite in suites(tree) if not suite.of_class]
    mark = find_mark(tree)
    for _ in range(8):
        suite = chance.choice(possible)
        low = chance.randrange(len(suite.nodes))
        if near and mark is not None:
            suite = chance.choice([mark[0], *(one for one in possible if any(map(marked, one.nodes)))])
            place = next(index for index, node in enumerate(suite.nodes) if marked(node))
            low = min(len(suite.nodes) - 1, max(0, place + chance.randint(-3, 3)))
        high = min(len(suite.nodes) - 1, low + chance.randrange(4))
        nodes = suite.nodes[low : high + 1]
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes) or is_docstring(suite, low):
            continue
        if not all(own_lines(lines, node) for node in nodes):
            continue
        first, last = span(nodes[0])[0], span(nodes[-1])[1]
        if frozen & set(range(first, last + 1)):
            continue
        at = next((index for index, node in enumerate(suite.nodes) if is_mark(node)), None)
        if at is not None and not near and not beside and (low - 1 <= at <= low or high <= at <= high + 1):
            continue
        return suite, low, high
    return None


def is_docstring(suite: Suite, index: int) -> bool:
    node = suite.nodes[index]
    return index == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def lines_of(text: str, suite: Suite, low: int, high: int) -> tuple[list[str], int, int]:
    lines = text.split("\n")
    return lines, span(suite.nodes[low])[0] - 1, span(suite.nodes[high])[1]


def shifted(lines: list[str], more: str) -> list[str]:
    return [more + line if line.strip() else line for line in lines]


def _dedented(lines: list[str], less: str) -> list[str] | None:
    if any(line.strip() and not line.startswith(less) for line in lines):
        return None
    return [line.removeprefix(less) for line in lines]


def wrap(kind: str) -> Callable[[str, Random, bool], str | None]:
    def edit(text: str, chance: Random, near: bool) -> str | None:
        tree = parsed(text)
        run = find_run(text, tree, chance, near) if tree is not None else None
        if run is None:
            return None
        suite, low, high = run
        if any(isinstance(part, FUNCTIONS) for part in suite.nodes[low : high + 1]):
            return None
        if kind == "for" and any(
            isinstance(part, ast.Break | ast.Continue)
            for node in suite.nodes[low : high + 1]
            for part in ast.walk(node)
        ):
            return None
        lines, first, last = lines_of(text, suite, low, high)
        pad = indent_of(lines[first])
        body = shifted(lines[first:last], "    ")
        if kind == "if":
            head, tail = [f"{pad}if {chance.choice(['__name__', 'VERBOSE', '__name__ is not None'])}:"], []
        elif kind == "with":
            head, tail = [f"{pad}with guard():"], []
        elif kind == "try":
            head = [f"{pad}try:"]
            tail = chance.choice(
                [[f"{pad}finally:", f"{pad}    pass"], [f"{pad}except KeyboardInterrupt:", f"{pad}    raise"]]
            )
        else:
            head, tail = [f"{pad}for _ in range(1):"], []
        return "\n".join([*lines[:first], *head, *body, *tail, *lines[last:]])

    edit.__doc__ = f"Some statements are wrapped in `{kind}`."
    return edit


def unwrap(text: str, chance: Random, near: bool) -> str | None:
    """What stands in an `if`, `with` or `try` stands without it."""
    tree = parsed(text)
    if tree is None:
        return None
    lines = text.split("\n")
    found = []
    for suite in suites(tree):
        for index, node in enumerate(suite.nodes):
            if not isinstance(node, ast.If | ast.With | ast.Try) or getattr(node, "orelse", None):
                continue
            beside = suite.nodes[max(0, index - 1) : index + 2]
            if not near and any(is_mark(one) for one in (*beside, node.body[0], node.body[-1])):
                continue
            if near and not any(map(marked, suite.nodes)):
                continue
            if node.lineno < node.body[0].lineno and all(own_lines(lines, one) for one in node.body):
                found.append(node)
    if not found or frozen_lines(text):
        return None
    node = chance.choice(found)
    first, last = node.body[0], node.body[-1]
    pad = indent_of(lines[node.lineno - 1])
    inner = indent_of(lines[span(first)[0] - 1]).removeprefix(pad)
    body = _dedented(lines[span(first)[0] - 1 : span(last)[1]], inner)
    if body is None:
        return None
    return "\n".join([*lines[: node.lineno - 1], *body, *lines[node.end_lineno or 0 :]])


def move_statement(text: str, chance: Random, near: bool) -> str | None:
    """A statement goes elsewhere in its block."""
    tree = parsed(text)
    run = find_run(text, tree, chance, near) if tree is not None else None
    if run is None or len(run[0].nodes) < 3:
        return None
    suite, low, _ = run
    if for_mark(suite.nodes[low]):
        return None
    lines, first, last = lines_of(text, suite, low, low)
    other = chance.choice([index for index in range(len(suite.nodes)) if index != low])
    if is_docstring(suite, other) or isinstance(suite.nodes[other], ast.Import | ast.ImportFrom):
        return None
    if not own_lines(lines, suite.nodes[other]):
        return None
    between = suite.nodes[min(low, other) : max(low, other) + 1]
    if any(for_mark(inner) for node in between for inner in ast.walk(node) if isinstance(inner, ast.stmt)):
        return None  # whoever moves a statement past the one in question, or what feeds it, makes its place arguable
    start = span(suite.nodes[other])[0] - 1
    moved = lines[first:last]
    if start >= last:
        return "\n".join([*lines[:first], *lines[last:start], *moved, *lines[start:]])
    return "\n".join([*lines[:start], *moved, *lines[start:first], *lines[last:]])


def move_function(text: str, chance: Random, near: bool) -> str | None:
    """Two functions of one suite that stand next to each other change places."""
    tree = parsed(text)
    if tree is None:
        return None
    lines = text.split("\n")
    pairs = [
        (one, two)
        for suite in suites(tree)
        for one, two in zip(suite.nodes, suite.nodes[1:], strict=False)
        if isinstance(one, (*FUNCTIONS, ast.ClassDef)) and isinstance(two, (*FUNCTIONS, ast.ClassDef))
    ]
    if not pairs:
        return None
    one, two = chance.choice(pairs)
    (first, end), (start, last) = span(one), span(two)
    middle = lines[end : start - 1]
    return "\n".join([*lines[: first - 1], *lines[start - 1 : last], *middle, *lines[first - 1 : end], *lines[last:]])


def swap_statements(text: str, chance: Random, near: bool) -> str | None:
    """Two neighbours that have nothing to do with each other change places."""
    tree = parsed(text)
    if tree is None:
        return None
    lines = text.split("\n")
    pairs = []
    for suite in suites(tree):
        for one, two in zip(suite.nodes, suite.nodes[1:], strict=False):
            if not (_plain(one) and _plain(two) and own_lines(lines, one) and own_lines(lines, two)):
                continue
            if not near and (is_mark(one) or is_mark(two)):
                continue  # it logs the same there, which only running shows
            binds = names_in(one, stored=True), names_in(two, stored=True)
            uses = binds[0] | names_in(one, stored=False), binds[1] | names_in(two, stored=False)
            if not (binds[0] & uses[1] or binds[1] & uses[0]):
                pairs.append((one, two))
    if not pairs:
        return None
    one, two = chance.choice(pairs)
    (first, end), (start, last) = span(one), span(two)
    return "\n".join(
        [*lines[: first - 1], *lines[start - 1 : last], *lines[end : start - 1], *lines[first - 1 : end], *lines[last:]]
    )


def _plain(node: ast.stmt) -> bool:
    """An assignment that calls nothing, or the statement in question."""
    if is_mark(node):
        return True
    return isinstance(node, ast.Assign | ast.AugAssign) and not any(
        isinstance(part, ast.Call | ast.Attribute | ast.Subscript | ast.Yield | ast.Await) for part in ast.walk(node)
    )


def delete_statement(text: str, chance: Random, near: bool) -> str | None:
    """A statement goes."""
    tree = parsed(text)
    run = find_run(text, tree, chance, near, beside=True) if tree is not None else None
    if run is None or len(run[0].nodes) < 2:
        return None
    suite, low, _ = run
    node = suite.nodes[low]
    if marked(node) or for_mark(node) or isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        return None
    if sum(not for_mark(one) for one in suite.nodes) < 2:
        return None
    lines, first, last = lines_of(text, suite, low, low)
    return "\n".join([*lines[:first], *lines[last:]])


def duplicate_statement(text: str, chance: Random, near: bool) -> str | None:
    """A statement stands twice."""
    tree = parsed(text)
    run = find_run(text, tree, chance, near) if tree is not None else None
    if run is None or marked(run[0].nodes[run[1]]) or for_mark(run[0].nodes[run[1]]):
        return None
    suite, low, _ = run
    if isinstance(suite.nodes[low], ast.Return | ast.Raise | ast.Break | ast.Continue):
        return None
    lines, first, last = lines_of(text, suite, low, low)
    return "\n".join([*lines[:last], *lines[first:last], *lines[last:]])


def insert_statement(text: str, chance: Random, near: bool) -> str | None:
    """A statement that has to do with nothing comes in, anywhere."""
    tree = parsed(text)
    run = find_run(text, tree, chance, near, beside=True) if tree is not None else None
    if run is None:
        return None
    suite, low, _ = run
    lines, first, _ = lines_of(text, suite, low, low)
    number = chance.randrange(100)
    what = chance.choice([f"unrelated_{number} = {number}", f'print("at {number}")', f'"""note {number}"""'])
    return "\n".join([*lines[:first], indent_of(lines[first]) + what, *lines[first:]])
