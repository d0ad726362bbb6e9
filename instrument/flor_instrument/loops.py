"""A statement stays in the loop that it stands in today."""

from __future__ import annotations

from .align import Alignment
from .source import Block, Scope, Source, Stmt, innermost_loop
from .spots import Unplaced
from .uses import header_use
from .view import View


def check_loop(view: View, statement: Stmt, block: Block, owned: bool, alignment: Alignment) -> None:
    """Raise Unplaced if `block` is run by another loop than the statement is today, or by one where there is none.

    `owned`: the block is what the statement's own block has become.
    """
    ours, theirs = statement.loop, innermost_loop(block)
    if ours is None and theirs is None:
        return
    if ours is not None and theirs is not None:
        match = alignment.forward.get(ours)
        if match is theirs:
            return
        if match is None and theirs not in alignment.backward and not owned:
            raise Unplaced("The loop that the statement stands in is not in this version.")
        raise Unplaced("The statement would land in another loop than the one it stands in.")
    new, old = statement.block.scope, block.scope
    if ours is None and theirs is not None:
        # A function that is called in a loop today may have been the body of that loop.
        matched = [match for match in alignment.forward.values() if not match.blocks]
        inlined = len(matched) >= 2 and all(match.inside(theirs) for match in matched)
        if new.kind == "function" and new.name != old.name and inlined and called_in_loop(view.today, new):
            return
        raise Unplaced("The statement would land inside a loop that it does not stand in.")
    assert ours is not None
    matched = [one for one in alignment.forward if not one.blocks]
    inlined = len(matched) >= 2 and all(one.inside(ours) for one in matched)
    if old.kind == "function" and new.name != old.name and inlined and called_in_loop(view.target, old):
        return
    raise Unplaced("The loop that the statement stands in is not in this version.")


def called_in_loop(source: Source, function: Scope) -> bool:
    """Whether any loop of the file calls the function."""
    for statement in source.statements():
        if statement.loop is None:
            continue
        if any(call.rpartition(".")[2] == function.name for call in header_use(statement).calls):
            return True
    return False


__all__ = ["called_in_loop", "check_loop"]
