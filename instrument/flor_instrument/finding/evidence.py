"""What shows that code trains something: calls of optimizers and estimators, and parameters moved by hand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from flor_instrument.analysis.syntax import tail, words

GRADIENT = words(
    """
    backward zero_grad apply_gradients apply_updates partial_fit train_on_batch manual_backward
    value_and_grad train_batch fused_step partial_train optimizer_step
    """
)
_STEPPING = re.compile(r"opt|sched|scaler|adam|sgd|solver|engine", re.IGNORECASE)
_TRAINING = re.compile(
    r"^(train|fit|training|update)_(one_)?(step|epoch|batch|iter|iteration|model|params|parameters)s?$"
)

NOTHING, FITS, BY_HAND, GRADIENTS = 0, 1, 2, 3


def strength(nodes: Iterable[ast.AST], *, by_hand: bool) -> int:
    """How strongly nodes speak for training. `by_hand`: parameters may be moved without a library for it."""
    return max((_of(node, by_hand) for node in nodes), default=NOTHING)


def _of(node: ast.AST, by_hand: bool) -> int:
    if isinstance(node, ast.Call):
        return _of_call(node)
    if by_hand and isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Sub) and _is_moved_by(node.value):
        return BY_HAND
    if by_hand and isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.BinOp):
        value = node.value
        same = ast.unparse(node.targets[0]) == ast.unparse(value.left)
        if same and isinstance(value.op, ast.Sub) and _is_moved_by(value.right):
            return BY_HAND
    return NOTHING


def _is_moved_by(value: ast.expr) -> bool:
    """Whether something is a step: a product, as of a rate and a gradient, or a quotient."""
    return isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult | ast.Div | ast.MatMult)


def _of_call(node: ast.Call) -> int:
    name = tail(node.func)
    if name in GRADIENT and isinstance(node.func, ast.Attribute | ast.Name):
        return GRADIENTS
    if isinstance(node.func, ast.Attribute):
        if name == "step" and _STEPPING.search(ast.unparse(node.func.value)):
            return GRADIENTS
        if name == "minimize" and _STEPPING.search(ast.unparse(node.func.value)):
            return GRADIENTS
        if name == "fit":
            return FITS
    return FITS if _TRAINING.match(name) else NOTHING
