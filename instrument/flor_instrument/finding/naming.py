"""What a wrapped loop is called: after its variable, as the person who wrote it would have called it."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

from flor_instrument.analysis.syntax import tail
from flor_instrument.finding.turns import Loop

_COUNTS = re.compile(
    r"epoch|step|iter|batch|fold|round|episode|seed|trial|generation|cycle|stage|phase|task|split", re.IGNORECASE
)
_WORDS = ("epoch", "episode", "fold", "round", "step", "batch", "iter", "trial", "generation")


def name_of(loop: Loop, *, has_nested: bool, taken: Collection[str]) -> str:
    """The name of a loop. `taken`: the names of the loops around it."""
    fallback = "epoch" if has_nested and "epoch" not in taken else "step"
    if isinstance(loop, ast.While):
        name = _of_counter(loop) or fallback
    else:
        name = _of_target(loop) or _of_range(loop.iter) or fallback
    if name in taken:
        name = fallback
    number = 2
    unique = name
    while unique in taken:
        unique = f"{name}_{number}"
        number += 1
    return unique


def _of_target(loop: ast.For) -> str | None:
    target = loop.target
    if isinstance(target, ast.Name):
        return _plain(target)
    if isinstance(target, ast.Tuple | ast.List) and target.elts:
        first = target.elts[0]
        if isinstance(first, ast.Name) and (_is_numbered(loop.iter) or _COUNTS.search(first.id)):
            return _plain(first)
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        return target.attr.strip("_") or None  # for self.epoch in range(n)
    return None


def _of_counter(loop: ast.While) -> str | None:
    """`while step < n: …; step += 1`: the variable that counts the iterations, one that the condition asks for first."""
    counted = [
        node.target
        for statement in loop.body
        for node in ast.walk(statement)
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.value, ast.Constant)
    ]
    names = [n.id if isinstance(n, ast.Name) else n.attr for n in counted if isinstance(n, ast.Name | ast.Attribute)]
    asked = {
        n.id if isinstance(n, ast.Name) else n.attr
        for n in ast.walk(loop.test)
        if isinstance(n, ast.Name | ast.Attribute)
    }
    name = next((n for n in names if n in asked), None) or next((n for n in names if _COUNTS.search(n)), None)
    return name.strip("_") or None if name else None


def _plain(name: ast.Name) -> str | None:
    return name.id.strip("_") or None


def _is_numbered(node: ast.expr) -> bool:
    return any(isinstance(n, ast.Call) and tail(n.func) == "enumerate" for n in ast.walk(node))


def _of_range(node: ast.expr) -> str | None:
    """`for _ in range(n_epochs)`: what is counted."""
    names = [
        n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)
    ]
    for name in names:
        for word in _WORDS:
            if word in name.lower():
                return "step" if word == "iter" else word
    return None
