"""What a statement between two neighbours does to what the hindsight statement reads."""

from __future__ import annotations

import ast

from .source import Stmt
from .uses import any_touch, header_use

_STEPS = frozenset(
    [
        "step",
        "backward",
        "zero_grad",
        "clip_grad_norm_",
        "clip_grad_value_",
        "load_state_dict",
        "unscale_",
        "apply_gradients",
        "update",
        "fit",
        "partial_fit",
        "optimizer_step",
        "train_step",
    ]
)
_SCALAR_CALLS = frozenset(["float", "int", "str", "len", "round", "abs", "repr", "print", "min", "max", "sum", "bool"])


def binds(statement: Stmt, reads: frozenset[str]) -> bool:
    """Whether the statement, or what stands in it, gives one of the chains `reads` its value."""
    found = {name for inner in statement.walk() for name in header_use(inner).binds}
    changed = {
        name
        for inner in statement.walk()
        if isinstance(inner.node, ast.AugAssign)
        for name in header_use(inner).changes
    }
    return any_touch(reads, found | changed)


def changes(statement: Stmt, reads: frozenset[str], state: bool) -> bool:
    """Whether it may change what stands behind the chains; `state`: their objects are looked into, too."""
    for inner in statement.walk():
        use = header_use(inner)
        if any_touch(reads, use.changes):
            return True
        if state and any(call.rpartition(".")[2] in _STEPS for call in use.calls):
            return True
    return False


def touches(statement: Stmt, reads: frozenset[str], node: ast.stmt) -> bool:
    """Whether it gives what the hindsight statement `node` reads another value, or may change what stands behind it."""
    return binds(statement, reads) or changes(statement, reads, reads_state(node))


def reads_state(node: ast.stmt) -> bool:
    """Whether the statement looks into an object, as `grad_norm(model)` or `model.parameters()` does."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            name = part.func.id if isinstance(part.func, ast.Name) else None
            if name in _SCALAR_CALLS:
                continue
            if isinstance(part.func, ast.Attribute) and part.func.attr in {"log", "item", "format"}:
                continue
            return True
    return False


def acts(statement: Stmt) -> bool:
    """Whether it is, or has in it, a call that is made for what it does."""
    nodes = [inner.node for inner in statement.walk()]
    return any(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) for node in nodes)


__all__ = ["acts", "binds", "changes", "reads_state", "touches"]
