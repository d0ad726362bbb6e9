"""A changed statement takes the place of the version's own: `flor.log("acc", f(x))` that of `flor.log("acc", g(x))`."""

from __future__ import annotations

from .confirmed import confirm
from .draft import Draft
from .logs import log_calls, logged_name
from .renames import merged, votes_of_pair
from .resolve import Resolver
from .source import Stmt, parse
from .splice import replacement
from .spots import Unplaced, top_of
from .tokens import plain
from .uses import use_of
from .view import View


def replace_old(draft: Draft, statement: Stmt) -> bool | None:
    """Put a changed statement in place of the old one; None where this version has no old one."""
    old = _old_statement(draft, statement)
    if old is None:
        return None
    block = old.block
    scope = statement.block.scope
    # What was changed today is no evidence for what things were called: `x.max()` is not the new name of `x.mean()`.
    # What it was changed from is; and what it is, where the version has it so already.
    changed = {one for part in draft.patch.parts if part.replaced is not None for one in part.statement.walk()}
    view = View(draft.view.today, draft.view.target, draft.view.added | changed)
    resolver = Resolver(view, draft.part.imports, carry_safe_imports=not draft.patch.any_statement)
    recorded = draft.part.replaced
    assert recorded is not None and draft.patch.base is not None
    roots = use_of(statement).roots  # the recorded statement may have other names than today's
    pair = votes_of_pair(recorded, old)
    if not log_calls(draft.patch.base, recorded.node) and plain(recorded.head, pair.renames()) != plain(old.head):
        pair = votes_of_pair(statement, old)
    pair.counts = {name: counter for name, counter in pair.counts.items() if name in roots}
    votes = merged([(view.votes(scope, block.scope), 1.0), (pair, 1.0)])
    names = resolver.names(statement, block, (old.line, old.col), votes, draft.provided())
    if not draft.unsure:
        confirm(view, statement, block.scope, names.renames, votes)
    text = draft.text(statement, names)
    if parse(text.encode()).module.flat[0].full_key == old.full_key:
        return True
    draft.need(names)
    if statement.blocks or old.blocks:
        raise Unplaced("What the changed statement replaces cannot be identified in this version.")
    edit = replacement(draft.view.target, old, text)
    draft.first_top = top_of(old)
    siblings = block.statements
    left = siblings[old.index - 1] if old.index else None
    right = siblings[old.index + 1] if old.index + 1 < len(siblings) else None
    draft.add(statement, "log", edit, text, names, left, right, replaces=True)
    return False


def _old_statement(draft: Draft, statement: Stmt) -> Stmt | None:
    assert draft.part.replaced is not None and draft.patch.base is not None
    target = draft.view.target
    wanted = {logged_name(call) for call in log_calls(draft.patch.base, draft.part.replaced.node)}
    if not wanted:
        return _old_unlogged(draft, statement)
    same = [
        one
        for one in target.statements()
        if not one.blocks and {logged_name(call) for call in log_calls(target, one.node)} == wanted
    ]
    if len(same) > 1 or wanted == {None}:
        aligned = [one for one in _aligned(draft, statement) if one in same]
        named = [one for one in aligned if one.block.scope.qualname == statement.block.scope.qualname]
        if len(named or aligned) == 1:
            return (named or aligned)[0]
        if wanted == {None} and not same:
            return None
        raise Unplaced("What the changed statement replaces cannot be identified in this version.")
    if not same:
        return None
    if any(one is not same[0] and log_calls(target, one.node) for one in _aligned(draft, statement)[:1]):
        raise Unplaced("What the changed statement replaces cannot be identified in this version.")
    if (statement.loop is None) != (same[0].loop is None) and same[0].block.scope.qualname == (
        statement.block.scope.qualname
    ):
        raise Unplaced("The statement that logs the same name stands in another loop in this version.")
    return same[0]


def _old_unlogged(draft: Draft, statement: Stmt) -> Stmt:
    """`x = flor.log("x", f(y))` where `x = f(y)` stood: only the very same statement may be replaced."""
    assert draft.part.replaced is not None
    for aligned in _aligned(draft, statement)[:1]:
        votes = draft.view.votes(statement.block.scope, aligned.block.scope).renames()
        if plain(draft.part.replaced.head, votes) == plain(aligned.head) or plain(statement.head, votes) == plain(
            aligned.head
        ):
            return aligned
    raise Unplaced("The statement that today's line replaces is not in this version.")


def _aligned(draft: Draft, statement: Stmt) -> list[Stmt]:
    """What the statement is matched with, in the likeliest scope first."""
    scope = statement.block.scope
    found = (draft.view.alignment(scope, other)[0].forward.get(statement) for other in draft.view.candidates(scope))
    return [one for one in found if one is not None]


__all__ = ["replace_old"]
