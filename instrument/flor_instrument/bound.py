"""Where a name gets its value, and whether it has one at a place."""

from __future__ import annotations

import ast
import builtins

from .source import FUNCTIONS, Block, Scope, Stmt, kept
from .uses import header_use, parameters

BUILTINS = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__", "__class__", "__annotations__"}


@kept
def bindings(scope: Scope) -> dict[str, list[Stmt]]:
    """The statements of the scope that bind each of its names."""
    table: dict[str, list[Stmt]] = {}
    for statement in scope.flat:
        for name in header_use(statement).binds:
            table.setdefault(name, []).append(statement)
        if isinstance(statement.node, ast.Global) and scope.kind != "module":
            for name in statement.node.names:
                table.setdefault(name, []).append(statement)
    return table


def scope_parameters(scope: Scope) -> list[str]:
    node = scope.owner.node if scope.owner is not None else None
    return parameters(node.args) if isinstance(node, FUNCTIONS) else []


def excludes(binder: Stmt, block: Block) -> bool:
    """Whether `binder` stands in another branch of an `if`, `try` or `match` that also has `block` in it."""
    mine: dict[Stmt, Block] = {}
    walk: Block | None = block
    while walk is not None and walk.owner is not None:
        mine[walk.owner] = walk
        walk = walk.owner.block
    walk = binder.block
    while walk is not None and walk.owner is not None:
        other = mine.get(walk.owner)
        if other is not None:
            if other is walk:
                return False
            roles = {other.role, walk.role}
            if isinstance(walk.owner.node, ast.If):
                return True
            if isinstance(walk.owner.node, ast.Match):
                return True
            return any(role.startswith("handler") for role in roles) and walk.role not in {"body"}
        walk = walk.owner.block
    return False


Position = tuple[int, int]  # line (from 1) and column
END: Position = (1 << 30, 0)


def bound_at(name: str, block: Block, position: Position) -> bool:
    """Whether `name` has a value where a statement is put into `block` at `position`."""
    if name in BUILTINS:
        return True
    scope = block.scope
    for depth, current in enumerate(scope.chain()):
        if depth and current.kind == "class":
            continue
        if name in scope_parameters(current):
            return True
        binders = bindings(current).get(name)
        if not binders:
            continue
        if depth:
            # Seen from inside a function the surrounding scope has run by the time of the call.
            return True
        usable = [binder for binder in binders if _reaches(binder, name, block, position)]
        if usable:
            return True
        if current.kind == "function":
            return False
    return False


def _reaches(binder: Stmt, name: str, block: Block, position: Position) -> bool:
    if isinstance(binder.node, ast.Global | ast.Nonlocal):
        return True
    if (binder.line, binder.col) >= position:
        return False
    if isinstance(binder.node, ast.Delete):
        return False
    if isinstance(binder.node, ast.Try) and any(handler.name == name for handler in binder.node.handlers):
        return any(inner.role.startswith("handler") and _within(block, inner) for inner in binder.blocks) or not all(
            handler.name == name for handler in binder.node.handlers
        )
    return not excludes(binder, block)


def _within(block: Block, outer: Block) -> bool:
    walk: Block | None = block
    while walk is not None:
        if walk is outer:
            return True
        walk = walk.owner.block if walk.owner is not None else None
    return False
