"""Renames are certain or none: a name is only replaced by what gets its value in the same way.

Votes of matched code say what a name is likely called in a version. That is not enough to write it down there: a loop
over epochs that took the place of a loop over iterations votes for `epoch` too. So a rename must be borne out by the
statements that bind the two names, or by both words being each other's exclusive counterpart.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping

from .align import SURE
from .bound import BUILTINS, bindings, scope_parameters
from .imported import FLOR_MODULES, imports
from .renames import Votes
from .source import FUNCTIONS, Scope, Source, Stmt
from .spots import Unplaced
from .tokens import plain
from .uses import header_use, use_of
from .view import View

_ONE = 0.9  # the votes of one statement that is matched for sure
_SEVERAL = 1.5  # votes that are more than one matched statement's
_MANY = 2.5  # and those of three


def confirm(view: View, statement: Stmt, place: Scope, renames: Mapping[str, str], votes: Votes) -> None:
    """Raise Unplaced for the first rename that nothing bears out."""
    for new, old in renames.items():
        if not _borne_out(view, statement.block.scope, place, new, old, votes):
            raise Unplaced(f"It is not certain that `{new}` is called `{old}` in this version.")


def confirm_kept(view: View, statement: Stmt, place: Scope, line: int, renames: Mapping[str, str]) -> None:
    """Raise Unplaced for the first name that is kept although it gets its value there as another of today's names does.

    That is: what binds it last before `line` is, for sure, what binds other names today, and nothing that binds it
    there is what binds it today.
    """
    scope = statement.block.scope
    alignment = view.alignment(scope, place)[0]
    for name in sorted(use_of(statement).roots - set(renames)):
        theirs = [one for one in bindings(place).get(name, []) if one.line < line]
        ours = [one for one in bindings(scope).get(name, []) if one not in view.added]
        if not theirs or not ours or any(alignment.backward.get(one) in ours for one in theirs):
            continue
        last = alignment.backward.get(theirs[-1])
        if last is None or alignment.score.get(last, 0.0) < SURE or last.is_loop or last.blocks:
            continue
        others = {one for one in header_use(last).binds if "." not in one}
        if others and name not in others and not isinstance(last.node, ast.Import | ast.ImportFrom):
            raise Unplaced(f"The name `{name}` stands for something else in this version.")


def _borne_out(view: View, scope: Scope, place: Scope, new: str, old: str, votes: Votes) -> bool:
    if _same_import(view, new, old):
        return True
    new, old = _without_equal_ends(new, old)
    root, _, rest = new.partition(".")
    other, _, tail = old.partition(".")
    if root in imports(view.today) and root not in BUILTINS:
        return False
    if new.removeprefix("self.") == old.removeprefix("self."):
        # Moved into or out of a class under its own name.
        return True
    exclusive = _exclusive(view, new, old)
    counter = votes.counts.get(new) or Counter[str]()
    weight = counter.get(old, 0.0)
    free = not _bound_anywhere(view.today, root)
    if exclusive and (weight >= _SEVERAL or (free and weight > 0.5)):
        return True
    if root == "self" and not tail and (exclusive or weight >= _ONE) and not _bound_anywhere(view.today, other):
        # The code was not in a class then: the attribute was a variable.
        return True
    if weight >= _MANY and sum(counter.values()) == weight and not _bound_anywhere(view.today, other):
        return True
    if root == other and rest and tail:
        return exclusive
    return _bound_alike(view, scope, place, new, old, exclusive)


def _without_equal_ends(new: str, old: str) -> tuple[str, str]:
    """`loss.item` is called `objective.item` where `loss` is called `objective`."""
    left, right = new.split("."), old.split(".")
    while len(left) > 1 and len(right) > 1 and left[-1] == right[-1]:
        left.pop()
        right.pop()
    return ".".join(left), ".".join(right)


def _bound_anywhere(source: Source, name: str) -> bool:
    return any(name in bindings(scope) or name in scope_parameters(scope) for scope in source.scopes)


def _same_import(view: View, new: str, old: str) -> bool:
    """Whether both are imported and stand for the same thing."""
    if old.count(".") > new.count(".") and old.rpartition(".")[2] not in view.target.words:
        # A package of the same name need not have the module: the version must have used it.
        return any(found.target.partition(".")[0] in FLOR_MODULES for found in imports(view.today).get(new, ()))
    ours = {_full(found.target, new) for found in imports(view.today).get(new.partition(".")[0], ())}
    theirs = {_full(found.target, old) for found in imports(view.target).get(old.partition(".")[0], ())}
    return bool(ours & theirs)


def _full(target: str, chain: str) -> str:
    rest = chain.partition(".")[2]
    return f"{target}.{rest}" if rest else target


def _exclusive(view: View, new: str, old: str) -> bool:
    """Whether the version has no such word as today's, and today's file no such word as the version's."""
    ours, theirs = new.rpartition(".")[2], old.rpartition(".")[2]
    if ours == theirs:
        ours, theirs = new.partition(".")[0], old.partition(".")[0]
    return ours not in view.target.words and theirs not in view.today.words


def _bound_alike(view: View, scope: Scope, place: Scope, new: str, old: str, exclusive: bool) -> bool:
    """Whether a statement that binds today's name is matched with one that binds the other."""
    pairs = [(scope, place), (view.today.module, view.target.module)]
    for here, there in pairs:
        ours, theirs = scope_parameters(here), scope_parameters(there)
        if new in ours and old in theirs:
            same_place = len(ours) == len(theirs) and ours.index(new) == theirs.index(old)
            return exclusive or (same_place and new not in theirs and old not in ours)
    for here in {*(mine for mine, _ in pairs), *(one for one in view.today.scopes if "." in new)}:
        for binder in bindings(here).get(new, []):
            for there in view.candidates(here):
                match = view.alignment(here, there)[0].forward.get(binder)
                if match is None or not _binds(view, there, match, old):
                    continue
                if isinstance(binder.node, FUNCTIONS):
                    return True
                if binder.is_loop and (exclusive or _same_iterable(binder, match)):
                    return exclusive or not _kept(view, here, there, old)
                if not binder.is_loop and _same_value(view, here, there, binder, match, {new: old}):
                    return exclusive or not _kept(view, here, there, old)
    return False


def _same_value(view: View, here: Scope, there: Scope, binder: Stmt, match: Stmt, renames: Mapping[str, str]) -> bool:
    """Whether two statements that bind the names are the same but for what things are called."""
    known = view.votes(here, there).renames()
    return any(plain(binder.head, {**table, **renames}) == plain(match.head) for table in ({}, known))


def _binds(view: View, scope: Scope, statement: Stmt, name: str) -> bool:
    return statement in bindings(scope).get(name, [])


def _same_iterable(new: Stmt, old: Stmt) -> bool:
    one, two = new.node, old.node
    if not isinstance(one, ast.For | ast.AsyncFor) or not isinstance(two, ast.For | ast.AsyncFor):
        return False
    return plain(tuple(ast.unparse(one.iter).split())) == plain(tuple(ast.unparse(two.iter).split()))


def _kept(view: View, here: Scope, there: Scope, old: str) -> bool:
    """Whether the version's name is one of today's as well, and stands for itself."""
    for binder in bindings(here).get(old, []):
        match = view.alignment(here, there)[0].forward.get(binder)
        if match is not None and _binds(view, there, match, old):
            return True
    return False


__all__ = ["confirm", "confirm_kept"]
