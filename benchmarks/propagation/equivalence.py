"""Two places that differ only by statements that have nothing to do with what was placed."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flor_instrument import Propagation


def equivalent(result: Propagation, truth: bytes) -> bool:
    """The same statement in the same block, with only plain assignments of names it does not read between the two.

    An assignment counts as plain if it calls nothing but functions whose result it takes, and binds names only.
    """
    texts = [placement.text for placement in result.placed if placement.kind == "log"]
    if len(texts) != 1:
        return False
    wanted = ast.parse(texts[0]).body[0]
    text = ast.unparse(wanted)
    reads = {part.id for part in ast.walk(wanted) if isinstance(part, ast.Name)}
    ours, theirs = list(_blocks(ast.parse(result.source))), list(_blocks(ast.parse(truth)))
    if len(ours) != len(theirs):
        return False
    for one, two in zip(ours, theirs, strict=True):
        mine, other = [ast.unparse(node) for node in one], [ast.unparse(node) for node in two]
        if mine == other or (len(mine) == len(other) and text not in mine and text not in other):
            continue
        if sorted(mine) != sorted(other) or text not in mine:
            return False
        low, high = sorted((mine.index(text), other.index(text)))
        if not all(_independent(node, reads) for node in one[low : high + 1] if ast.unparse(node) != text):
            return False
    return True


def _independent(node: ast.stmt, reads: set[str]) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if not isinstance(node, ast.Assign):
        return False
    bound = {part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return all(isinstance(target, ast.Name) for target in node.targets) and not bound & reads


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                yield body
