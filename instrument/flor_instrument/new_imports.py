"""The imports that a unit needs and a version has not."""

from __future__ import annotations

import ast

from .bound import bindings
from .draft import Draft, Planned
from .imported import imports
from .source import Block, Stmt
from .splice import after_line, before_line
from .spots import Unplaced


def place_imports(draft: Draft) -> None:
    target = draft.view.target
    if not draft.needed:
        return
    body = target.module.body
    assert body is not None
    anchor = _last_import(body)
    order = 0
    for found in sorted(draft.needed.values(), key=lambda one: one.statement.line):
        if any(
            other.text == found.text for other in imports(target).get(found.name, ()) if other.statement.block is body
        ):
            continue
        if found.name in bindings(target.module):
            raise Unplaced(f"The name `{found.name}` means something else in this version.")
        first_use = draft.first_top
        if anchor is not None:
            if first_use is not None and first_use.line <= anchor.line:
                raise Unplaced(f"The name `{found.name}` is not bound here in this version.")
            edit = after_line(target, anchor.end_line, found.text)
        else:
            if not body.statements:
                raise Unplaced("The version has no statements at all.")
            edit = before_line(target, body.statements[0].line, found.text)
        after = anchor
        following = (
            body.statements[anchor.index + 1]
            if anchor is not None and anchor.index + 1 < len(body.statements)
            else (None if anchor is not None else body.statements[0])
        )
        draft.planned.append(
            Planned(
                draft.number,
                "support",
                edit,
                found.text,
                None,
                False,
                draft.first_line(after),
                draft.first_line(following),
                (),
                (0, order),
                after.line if after is not None else None,
                following.line if following is not None else None,
            )
        )
        order += 1


def _last_import(body: Block) -> Stmt | None:
    """The last of the imports that the file begins with; else its docstring."""
    anchor: Stmt | None = None
    for statement in body.statements:
        node = statement.node
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import | ast.ImportFrom) or (docstring and statement.index == 0):
            anchor = statement
            continue
        guarded = isinstance(node, ast.Try | ast.If) and all(
            isinstance(inner.node, ast.Import | ast.ImportFrom | ast.Pass)
            or inner.blocks
            or isinstance(inner.node, ast.Assign)
            for inner in statement.walk()
        )
        if not guarded:
            break
    return anchor


__all__ = ["place_imports"]
