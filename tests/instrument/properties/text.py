"""What edits of a source text need to know: its suites, its tokens, the lines that must not be indented."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

MARK = "hindsight"  # the name that the statement in question logs
SUPPORT = "hs_"  # how names begin that are bound for it only

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NAMED = (*FUNCTIONS, ast.ClassDef)


@dataclass(frozen=True)
class Suite:
    """Sibling statements, with the compound statements around them, outermost first."""

    nodes: list[ast.stmt]
    owners: tuple[ast.stmt, ...]
    role: str

    @property
    def function(self) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The function that runs these statements; None for a module's and a class's own."""
        for owner in reversed(self.owners):
            if isinstance(owner, FUNCTIONS):
                return owner
            if isinstance(owner, ast.ClassDef):
                return None
        return None

    @property
    def of_class(self) -> bool:
        return bool(self.owners) and isinstance(self.owners[-1], ast.ClassDef)


def parsed(text: str) -> ast.Module | None:
    """The tree, or None for a text that is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            compile(tree, "edited", "exec")
            return tree
    except (SyntaxError, ValueError):
        return None


def suites(tree: ast.Module) -> Iterator[Suite]:
    def visit(nodes: list[ast.stmt], owners: tuple[ast.stmt, ...], role: str) -> Iterator[Suite]:
        yield Suite(nodes, owners, role)
        for node in nodes:
            for inner_role, body in bodies(node):
                yield from visit(body, (*owners, node), inner_role)

    yield from visit(tree.body, (), "body")


def bodies(node: ast.AST) -> Iterator[tuple[str, list[ast.stmt]]]:
    for role in ("body", "orelse", "finalbody"):
        body = getattr(node, role, None)
        if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
            yield role, body
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield "handler", part.body


def span(node: ast.stmt) -> tuple[int, int]:
    """The first and the last line of a statement, its decorators among them."""
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
    return first, node.end_lineno or node.lineno


def is_mark(node: ast.AST) -> bool:
    """Whether this simple statement logs the name in question."""
    if not isinstance(node, ast.stmt) or any(True for _ in bodies(node)):
        return False
    return any(isinstance(part, ast.Constant) and part.value == MARK for part in ast.walk(node))


def marked(node: ast.AST) -> bool:
    """Whether the statement is, or has in it, the one in question."""
    return any(is_mark(part) for part in ast.walk(node))


def find_mark(tree: ast.Module) -> tuple[Suite, int] | None:
    """Where the statement in question stands; None where it does not stand exactly once."""
    found = [(suite, index) for suite in suites(tree) for index, node in enumerate(suite.nodes) if is_mark(node)]
    return found[0] if len(found) == 1 else None


def own_lines(lines: list[str], node: ast.stmt) -> bool:
    """Whether nothing else stands on the statement's lines."""
    first, last = span(node)
    end = lines[last - 1].encode()[node.end_col_offset or 0 :].decode()
    lead = lines[first - 1][: len(lines[first - 1]) - len(lines[first - 1].lstrip())]
    rest = end.strip()
    return len(lead) == node.col_offset and (not rest or rest.startswith("#"))


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def tokens(text: str) -> list[tokenize.TokenInfo]:
    try:
        return list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return []


def frozen_lines(text: str) -> set[int]:
    """The lines that begin inside a string (or after a backslash)."""
    found: set[int] = set()
    for token in tokens(text):
        if token.type == tokenize.STRING and token.end[0] > token.start[0]:
            found.update(range(token.start[0] + 1, token.end[0] + 1))
    for number, line in enumerate(text.split("\n"), 1):
        if line.endswith("\\"):
            found.add(number + 1)
    return found


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d]\w*", text))


def names_in(nodes: ast.AST | list[ast.stmt], *, stored: bool) -> set[str]:
    """The names that are read, or those that get a value."""
    kinds = (ast.Store, ast.Del) if stored else (ast.Load,)
    parts = [part for node in (nodes if isinstance(nodes, list) else [nodes]) for part in ast.walk(node)]
    found = {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, kinds)}
    if stored:
        found |= {part.name for part in parts if isinstance(part, NAMED)}
        found |= {part.name for part in parts if isinstance(part, ast.ExceptHandler) and part.name}
        found |= {part.asname or part.name.partition(".")[0] for part in parts if isinstance(part, ast.alias)}
    else:
        found |= {
            part.target.id for part in parts if isinstance(part, ast.AugAssign) and isinstance(part.target, ast.Name)
        }
    return found


def for_mark(node: ast.stmt) -> bool:
    """Whether it is the statement in question, or there for that only."""
    return is_mark(node) or _is_support(node)


def in_one_piece(tree: ast.Module) -> bool:
    """Whether the statement stands there once, with what is there for it before it in its suite."""
    found = find_mark(tree)
    if found is None:
        return False
    suite, index = found
    here = [node for node in suite.nodes[:index] if _is_support(node)]
    every = [part for part in ast.walk(tree) if isinstance(part, ast.stmt) and _is_support(part)]
    return len(here) == sum(not isinstance(one, (*FUNCTIONS, ast.Import)) for one in every)


def without_mark(text: str) -> str | None:
    """The text without the statement in question and without what is there for it only; None if nothing would be left."""
    tree = parsed(text)
    if tree is None:
        return None
    lines = text.split("\n")
    gone: set[int] = set()
    for suite in suites(tree):
        for_it = [node for node in suite.nodes if is_mark(node) or _is_support(node)]
        if for_it and len(for_it) == len(suite.nodes):
            return None
        for node in for_it:
            if not own_lines(lines, node):
                return None
            first, last = span(node)
            gone.update(range(first, last + 1))
    left = "\n".join(line for number, line in enumerate(lines, 1) if number not in gone)
    return left if parsed(left) is not None else None


def _is_support(node: ast.stmt) -> bool:
    names = (
        names_in(node, stored=True)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Import | ast.ImportFrom)
        else set()
    )
    if isinstance(node, FUNCTIONS):
        names = {node.name}
    return bool(names) and all(name.startswith(SUPPORT) for name in names)
