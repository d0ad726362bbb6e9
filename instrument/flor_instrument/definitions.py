"""New functions, classes and constants that a unit needs: where they go, or which of the version's own serve."""

from __future__ import annotations

from .anchor import find_spot
from .bound import END, bindings
from .draft import Draft
from .source import DEFINITIONS, Scope, Stmt
from .splice import Unwritable, before_line, insertion, spaced
from .spots import Unplaced
from .uses import use_of


def check_definition(draft: Draft, definition: Stmt) -> None:
    """Use the version's own definition where it has an equal one, under whatever name."""
    if definition.block.scope.kind != "module":
        return
    name = getattr(definition.node, "name", "")
    target = draft.view.target
    body = _body_key(definition)
    for one in target.module.flat:
        if isinstance(one.node, DEFINITIONS) and _body_key(one) == body:
            found = one.node.name
            if found != name:
                draft.definition_renames[name] = found
            draft.definitions = [other for other in draft.definitions if other is not definition]
            return
    if name in bindings(target.module):
        raise Unplaced(f"The name `{name}` means something else in this version.")


def place_definition(draft: Draft, definition: Stmt) -> None:
    """Plan a new function or class: in its class, before the first that uses it, or where its neighbours stand."""
    scope = definition.block.scope
    if scope.kind == "class":
        _place_method(draft, definition, scope)
    elif scope.kind == "module":
        place_before_top(draft, definition)
    else:
        _place_nested(draft, definition)


def _place_nested(draft: Draft, definition: Stmt) -> None:
    spot = find_spot(draft.view, definition, lambda _new, _old: frozenset(), {})
    if spot.present is not None:
        return
    votes = draft.view.votes(spot.scope, spot.block.scope)
    names = draft.resolver.names(definition, spot.block, spot.position, votes, draft.provided())
    text = draft.text(definition, names)
    draft.need(names)
    edit = insertion(draft.view.target, spot.block, spot.index, text, True)
    draft.add(definition, "support", edit, text, names, spot.left, spot.right)


def _place_method(draft: Draft, definition: Stmt, scope: Scope) -> None:
    other = next(
        (one for one in draft.view.candidates(scope) if one.qualname == scope.qualname),
        next(iter(draft.view.candidates(scope)), None),
    )
    if other is None or other.body is None:
        raise Unplaced(f"The class `{scope.name}` is not in this version.")
    name = getattr(definition.node, "name", "")
    existing = [one for one in other.flat if getattr(one.node, "name", None) == name]
    if existing:
        if existing[0].full_key == definition.full_key:
            return
        raise Unplaced(f"The name `{name}` means something else in this version.")
    votes = draft.view.overall_votes()
    names = draft.resolver.names(definition, other.body, END, votes, draft.provided(), deferred=True)
    text = draft.text(definition, names)
    draft.need(names)
    statements = other.body.statements
    edit = spaced(draft.view.target, insertion(draft.view.target, other.body, len(statements), text, True))
    draft.add(definition, "support", edit, text, names, statements[-1], None)


def place_before_top(draft: Draft, statement: Stmt) -> None:
    """A definition (or constant) of the module goes before the top-level statement that holds its first user."""
    target = draft.view.target
    assert target.module.body is not None
    top = draft.first_top
    if top is None:
        raise Unplaced("The version has no statements at all.")
    body = target.module.body
    for name in use_of(statement).binds:
        if name in bindings(target.module):
            if any(one.full_key == statement.full_key for one in target.module.flat):
                return
            raise Unplaced(f"The name `{name}` means something else in this version.")
    deferred = isinstance(statement.node, DEFINITIONS)
    names = draft.resolver.names(statement, body, (top.line, top.col), None, draft.provided(), deferred=deferred)
    text = draft.text(statement, names)
    draft.need(names)
    lines = text + "\n\n" if deferred else text
    if top.index and body.statements[top.index - 1].end_line == top.line:
        raise Unwritable("The place is inside a line, which takes no compound statement.")
    edit = before_line(target, top.line, lines)
    left = body.statements[top.index - 1] if top.index else None
    draft.add(statement, "support", edit, text, names, left, top)


def _body_key(definition: Stmt) -> str:
    """What a definition is, whatever its name."""
    name = getattr(definition.node, "name", "")
    head = list(definition.head)
    for index, token in enumerate(head[:-1]):
        if token in {"def", "class"} and head[index + 1] == name:
            head[index + 1] = "·"
            break
    inner = definition.full_key[len(definition.key) :]
    return "\x1f".join(head) + inner.replace(f"\x1f{name}\x1f", "\x1f·\x1f")


__all__ = ["check_definition", "place_before_top", "place_definition"]
