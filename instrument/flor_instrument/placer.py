"""Placing one hindsight statement with everything that it needs into one version."""

from __future__ import annotations

from typing import Literal

from .anchor import find_spot
from .bound import bindings
from .changed import replace_old
from .confirmed import confirm, confirm_kept
from .definitions import check_definition, place_before_top, place_definition
from .draft import Draft, Planned
from .imported import imports
from .new_imports import place_imports
from .on_every_path import check_paths
from .patches import Part, Patch
from .renames import Votes
from .resolve import Names, import_renames
from .source import DEFINITIONS, Scope, Stmt
from .splice import insertion
from .spots import Spot, Unplaced, top_statement
from .undisturbed import undisturbed
from .uses import prefixes, use_of
from .view import View


def place(patch: Patch, view: View, number: int, part: Part, unsure: bool = False) -> list[Planned] | None:
    """The edits of one unit with its support; None where the version has the statement already. Raises Unplaced.

    `unsure`: take the best place there is and the likeliest names, for a person to look at.
    """
    draft = Draft(patch, view, number, part, unsure)
    draft.definitions = [one for one in part.support if isinstance(one.node, DEFINITIONS)]
    for definition in list(draft.definitions):
        check_definition(draft, definition)
    if _place_statement(draft, part.statement, "log"):
        return None
    for one in part.support:
        if not isinstance(one.node, DEFINITIONS):
            _place_statement(draft, one, "support")
    for one in draft.definitions:
        place_definition(draft, one)
    place_imports(draft)
    return draft.planned


def _place_statement(draft: Draft, statement: Stmt, kind: Literal["log", "support"]) -> bool:
    """Plan the statement; True if the version has it already."""
    if kind == "log" and draft.part.replaced is not None:
        done = replace_old(draft, statement)
        if done is not None:
            return done
    if isinstance(statement.node, DEFINITIONS):
        raise Unplaced("A function that logs is new today and nothing new calls it.")
    spot = undisturbed(draft.view, statement)
    if spot is not None:
        try:
            return _write(draft, statement, kind, spot, None)
        except Unplaced:
            pass  # a name is missing: what has become of it is a matter for the alignment
    try:
        spot = _aligned_spot(draft, statement)
    except Unplaced:
        if (
            kind == "support"
            and statement.block is statement.block.scope.body
            and (statement.block.scope.kind == "module" and draft.first_top is not None)
        ):
            place_before_top(draft, statement)
            return False
        raise
    return _write(draft, statement, kind, spot, draft.view.votes(spot.scope, spot.block.scope))


def _aligned_spot(draft: Draft, statement: Stmt) -> Spot:
    use = use_of(statement)
    # A method looks at more of its object than its name says.
    owners = {call.rpartition(".")[0] for call in use.calls if "." in call}
    known = imports(draft.view.today)
    reads = use.reads | {owner for owner in owners if owner.partition(".")[0] not in known}

    def reads_there(new: Scope, old: Scope) -> frozenset[str]:
        renames = draft.view.votes(new, old).renames()
        return frozenset(_applied(chain, renames) for chain in reads)

    try:
        return find_spot(draft.view, statement, reads_there, import_renames(draft.view, use.reads))
    except Unplaced as refused:
        if not draft.unsure or refused.unsure is None:
            raise
        return refused.unsure


def _write(draft: Draft, statement: Stmt, kind: Literal["log", "support"], spot: Spot, votes: Votes | None) -> bool:
    """Plan the text for the place; True if the version has it already."""
    if spot.present is not None:
        return True
    names = draft.resolver.names(statement, spot.block, spot.position, votes, draft.provided())
    if not draft.unsure:
        confirm(draft.view, statement, spot.block.scope, names.renames, votes or Votes())
        if not spot.settled:
            confirm_kept(draft.view, statement, spot.block.scope, spot.line, names.renames)
        if not draft.part.support:
            check_paths(statement, spot.block, spot.position, names.renames)
    _check_new_names(draft, statement, spot.block.scope, names)
    text = draft.text(statement, names)
    draft.need(names)
    edit = insertion(draft.view.target, spot.block, spot.index, text, bool(statement.blocks))
    if kind == "log":
        draft.first_top = top_statement(spot)
    draft.add(statement, kind, edit, text, names, spot.left, spot.right)
    return False


def _check_new_names(draft: Draft, statement: Stmt, scope: Scope, names: Names) -> None:
    """A name that the statement introduces must not be somebody else's in this version."""
    if draft.patch.any_statement or draft.patch.base is None:
        return
    base = draft.patch.base.by_name.get(statement.block.scope.qualname)
    known = bindings(base) if base is not None else {}
    for name in use_of(statement).binds:
        if "." in name or name in names.renames or name in known:
            continue
        if _stands_already(statement, scope):
            continue
        if name in bindings(scope):
            raise Unplaced(f"The name `{name}` means something else in this version.")


def _stands_already(statement: Stmt, scope: Scope) -> bool:
    return any(one.full_key == statement.full_key for one in scope.flat)


def _applied(chain: str, renames: dict[str, str]) -> str:
    for part in prefixes(chain):
        if part in renames:
            return renames[part] + chain[len(part) :]
    return chain


__all__ = ["place"]
