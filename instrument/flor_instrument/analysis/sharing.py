"""What else than a name may hold what the name is bound to, as far as its scope shows."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from flor_instrument.analysis.files import Unit, chain
from flor_instrument.analysis.scope_names import other_bindings
from flor_instrument.analysis.sites import ITEM_WRAPPERS, Project
from flor_instrument.analysis.syntax import COMPREHENSIONS, FORS, FUNCTION_NODES, tail, walk

# Calls that use an argument without keeping it.
_BORROWERS = frozenset({
    "next", "len", "print", "isinstance", "id", "type", "repr", "str", "bool", "callable", "hasattr", "list", "tuple",
    "set", "sum", "any", "all", "sorted", "step",
})  # fmt: skip


def is_shared(project: Project, unit: Unit, name: str) -> bool:
    """Whether something else than the name may hold what the name is bound to, as far as its scope shows."""
    parent = unit.file.parent
    mains = {loop for points in project.mains.values() for loop in points.loops}
    if not isinstance(unit.node, ast.Module) and any(
        isinstance(n, ast.arg) and n.arg == name for n in walk(unit.node.args)
    ):
        return True
    for node in unit.inline():
        if isinstance(node, ast.Name) and node.id == name:
            if isinstance(node.ctx, ast.Store) and not _binds_new(parent, node):
                return True
            if isinstance(node.ctx, ast.Load) and not _only_borrows(parent, node, mains):
                return True
        elif isinstance(node, (*FUNCTION_NODES, ast.ClassDef)):
            if node.name == name and node.decorator_list:
                return True
        elif name in other_bindings(node) and not isinstance(node, ast.Import | ast.ImportFrom):
            return True
    return False


def _binds_new(parent: Mapping[ast.AST, ast.AST], target: ast.Name) -> bool:
    above = parent[target]
    if isinstance(above, ast.Assign):
        return len(above.targets) == 1 and _makes_new(above.value)
    if isinstance(above, ast.AnnAssign):
        return above.value is None or _makes_new(above.value)
    if isinstance(above, ast.withitem):
        return isinstance(above.context_expr, ast.Call)
    return isinstance(above, ast.AugAssign)


def _makes_new(value: ast.expr) -> bool:
    if isinstance(value, ast.IfExp):
        return _makes_new(value.body) and _makes_new(value.orelse)
    if isinstance(value, ast.Await):
        return _makes_new(value.value)
    return isinstance(
        value, (ast.Call, ast.Lambda, ast.Constant, ast.JoinedStr, ast.BinOp, ast.UnaryOp, *COMPREHENSIONS)
    )


def _only_borrows(parent: Mapping[ast.AST, ast.AST], use: ast.AST, mains: set[ast.AST]) -> bool:
    above = parent[use]
    if isinstance(above, ast.keyword):
        call = parent[above]
        return isinstance(call, ast.Call) and tail(call.func) in _BORROWERS
    if isinstance(above, ast.Attribute):
        call = parent[above]
        return not isinstance(above.ctx, ast.Load) or (isinstance(call, ast.Call) and call.func is above)
    if isinstance(above, FORS):
        return above not in mains
    if isinstance(above, ast.Call):
        if above.func is use or tail(above.func) in _BORROWERS or chain(above.func) == "flor.log":
            return True
        return tail(above.func) in ITEM_WRAPPERS | {"loop"} and _is_iterated(parent, above, mains)
    return isinstance(
        above, ast.Compare | ast.comprehension | ast.UnaryOp | ast.YieldFrom | ast.FormattedValue | ast.If | ast.While
    )


def _is_iterated(parent: Mapping[ast.AST, ast.AST], node: ast.AST, mains: set[ast.AST]) -> bool:
    above = parent[node]
    while isinstance(above, ast.Call) and node in above.args and tail(above.func) in ITEM_WRAPPERS | {"loop"}:
        node, above = above, parent[above]
    return isinstance(above, ast.comprehension) or (isinstance(above, FORS) and above not in mains)
