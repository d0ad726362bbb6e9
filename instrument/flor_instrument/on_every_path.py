"""Whether a name has its value on every path that leads to a place, as far as branches and `del` decide it.

Loops are taken to run, and what is tried to succeed: so does whoever reads a name behind them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from .bound import Position, bindings, scope_parameters
from .source import FUNCTIONS, Block, Stmt
from .spots import Unplaced
from .uses import header_use, use_of

_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def check_paths(statement: Stmt, block: Block, position: Position, renames: Mapping[str, str]) -> None:
    """Raise Unplaced for a name that has a value on every path today, and on some paths only in the version.

    And for one that the version has deleted by then.
    """
    for name in sorted(use_of(statement).roots):
        there = renames.get(name, name).partition(".")[0]
        found = _has_value(there, block, position)
        if found is None:
            raise Unplaced(f"The name `{there}` is deleted before the place in this version.")
        if not found and _has_value(name, statement.block, (statement.line, statement.col)):
            raise Unplaced(f"The name `{there}` is bound on some paths to the place only in this version.")


def _has_value(name: str, block: Block, position: Position) -> bool | None:
    """Whether the name has a value on every path to the position; None where it was deleted."""
    scope = block.scope
    binders = bindings(scope).get(name)
    if not binders or any(isinstance(one.node, ast.Global | ast.Nonlocal) for one in binders):
        return True  # not of this scope: there the order of calls decides
    if name in scope_parameters(scope) and not any(isinstance(one.node, ast.Delete) for one in binders):
        return True
    walk: Block | None = block
    while walk is not None and walk.scope is scope:
        before = [
            one for one in walk.statements if (one.line, one.col) < position and (one.end_line, one.end_col) <= position
        ]
        for one in reversed(before):
            if isinstance(one.node, ast.Delete) and one in binders:
                return None
            if _gives(name, one):
                return True
        owner = walk.owner
        if owner is None or isinstance(owner.node, FUNCTIONS) or owner.scope is scope:
            break
        if name in header_use(owner).binds:
            return True
        if isinstance(owner.node, ast.Try) and walk.role in {"orelse", "finalbody"}:
            body = owner.blocks[0]
            if _all_give(name, body.statements):
                return True
        position = (owner.line, owner.col)
        walk = owner.block
    return name in scope_parameters(scope)


def _gives(name: str, statement: Stmt) -> bool:
    """Whether the name has a value once the statement is done."""
    node = statement.node
    if isinstance(node, ast.Delete):
        return False
    if not statement.blocks or statement.scope is not None:
        return name in header_use(statement).binds
    if name in header_use(statement).binds and not isinstance(node, ast.Try | ast.Match):
        return True
    suites = {block.role: block.statements for block in statement.blocks}
    if isinstance(node, ast.If):
        return all(_all_give(name, suites.get(role, [])) for role in ("body", "orelse"))
    if isinstance(node, ast.Try):
        handlers = [inner for role, inner in suites.items() if role.startswith("handler")]
        tried = _all_give(name, suites["body"]) or _all_give(name, suites.get("orelse", []), alone=True)
        return (tried and all(_all_give(name, one) for one in handlers)) or _all_give(
            name, suites.get("finalbody", []), alone=True
        )
    return any(_all_give(name, inner, alone=True) for inner in suites.values())


def _all_give(name: str, statements: Iterable[Stmt], alone: bool = False) -> bool:
    """Whether a suite gives the name a value, or (not `alone`) does not come to its end."""
    return any(_gives(name, one) or (not alone and isinstance(one.node, _LEAVES)) for one in statements)


__all__ = ["check_paths"]
