"""The first stage: code around the statement that has not been touched since needs no alignment.

The place is sure where the statement's two neighbours stand next to each other in the version, nowhere else, in the
function of the same name and under the same headers, and where what it reads is given by the same statements. Anything
less is left to the alignment.
"""

from __future__ import annotations

import ast
import re
from itertools import pairwise

from .bound import bindings, scope_parameters
from .effects import touches
from .imported import imports
from .source import Block, Scope, Stmt
from .spots import Spot, first_index
from .uses import use_of
from .view import View

Pair = tuple[Stmt | None, Stmt | None]


def undisturbed(view: View, statement: Stmt) -> Spot | None:
    """The statement's place, if nothing near it has changed."""
    scope = statement.block.scope
    other = view.target.by_name.get(scope.qualname)
    if other is None or other.kind != scope.kind or _doubled(view, scope.qualname):
        return None
    before, after = _beside(statement, view.added)
    if before is None and after is None:
        return None
    found: list[tuple[Pair, Stmt | None]] = []
    for block in _blocks_of(other):
        if _same_way(statement.block, block):
            found += _pairs(block, before, after, statement)
    if len(found) != 1 or _stands_twice(view, statement, before, after):
        return None
    (left, right), present = found[0]
    known = left or right
    assert known is not None
    block = known.block
    if not _fed_alike(view, statement, block, known if left is not None else right):
        return None
    if _has_new_twin(statement, before, left, -1) or _has_new_twin(statement, after, right, 1):
        return None
    index = left.index + 1 if left is not None else first_index(block)
    return Spot(block, index, index, index, 2.0, left, right, scope, present, settled=True)


def _doubled(view: View, qualname: str) -> bool:
    return any(sum(scope.qualname == qualname for scope in source.scopes) > 1 for source in (view.today, view.target))


def _beside(statement: Stmt, added: frozenset[Stmt]) -> Pair:
    """Its nearest siblings that are not of the patch."""
    siblings = statement.block.statements
    before = next((one for one in reversed(siblings[: statement.index]) if one not in added), None)
    after = next((one for one in siblings[statement.index + 1 :] if one not in added), None)
    return before, after


def _blocks_of(scope: Scope) -> list[Block]:
    blocks: dict[int, Block] = {} if scope.body is None else {id(scope.body): scope.body}
    for statement in scope.flat:
        blocks.setdefault(id(statement.block), statement.block)
    return list(blocks.values())


def _same_way(new: Block, old: Block) -> bool:
    """Whether both stand under the same headers within their function, whose name is known to be the same."""
    while True:
        if new.role != old.role or new.header != old.header or new.is_elif != old.is_elif:
            return False
        if new is new.scope.body or old is old.scope.body:
            return new is new.scope.body and old is old.scope.body
        assert new.owner is not None and old.owner is not None
        if new.owner.key != old.owner.key:
            return False
        new, old = new.owner.block, old.owner.block


def _pairs(block: Block, before: Stmt | None, after: Stmt | None, statement: Stmt) -> list[tuple[Pair, Stmt | None]]:
    """Where in the block the two neighbours stand next to each other, or with nothing but the statement between."""
    out: list[tuple[Pair, Stmt | None]] = []
    statements = block.statements
    first = first_index(block)
    for low in range(first - 1, len(statements)):
        left = statements[low] if low >= first else None
        if (left is None) != (before is None) or (left is not None and before is not None and left.key != before.key):
            continue
        present: Stmt | None = None
        high = low + 1
        if high < len(statements) and statements[high].full_key == statement.full_key:
            present = statements[high]
            high += 1
        right = statements[high] if high < len(statements) else None
        if (right is None) == (after is None) and (right is None or after is None or right.key == after.key):
            out.append(((left, right), present))
    return out


def _stands_twice(view: View, statement: Stmt, before: Stmt | None, after: Stmt | None) -> bool:
    """Whether the neighbours are neighbours elsewhere, today or in the version: then more must be looked at."""
    for source in (view.today, view.target):
        scope = source.by_name[statement.block.scope.qualname]
        flat = [one for one in scope.flat if one not in view.added and one.full_key != statement.full_key]
        if before is None or after is None:
            one = before or after
            assert one is not None
            if sum(other.key == one.key for other in flat) != 1:
                return True
            continue
        count = 0
        for here, there in pairwise(flat):
            # Between the two in the order of the text may stand what the first one contains.
            count += here.key == before.key and not here.blocks and there.key == after.key
        if count > 1 or (before.blocks and sum(one.key == before.key for one in flat) != 1):
            return True
    return False


def _has_new_twin(statement: Stmt, today: Stmt | None, there: Stmt | None, step: int) -> bool:
    """Whether a neighbour that changes what the statement reads stands twice there: the place may be between the two."""
    if today is None or there is None or _equal_beside(today, step) or not _equal_beside(there, step):
        return False
    return touches(there, frozenset(use_of(statement).reads), statement.node)


def _equal_beside(statement: Stmt, step: int) -> bool:
    siblings = statement.block.statements
    place = statement.index + step
    return 0 <= place < len(siblings) and siblings[place].key == statement.key


def _fed_alike(view: View, statement: Stmt, block: Block, near: Stmt | None) -> bool:
    """Whether all that it reads gets its value from the same statements, under the same names."""
    scope, other = statement.block.scope, block.scope
    position = (near.line, near.col) if near is not None else (0, 0)
    text = "".join(view.target.lines)
    use = use_of(statement)
    for chain in use.reads | use.binds:
        root = chain.partition(".")[0]
        if "." in chain and root not in imports(view.today) and not re.search(rf"\b{re.escape(chain)}\b", text):
            return False
    for root in use.roots:
        ours, theirs = bindings(scope).get(root, []), bindings(other).get(root, [])
        ours = [one for one in ours if one not in view.added]
        if not ours and not theirs:
            if (root in scope_parameters(scope)) != (root in scope_parameters(other)):
                return False
            if _place_of(root, scope) != _place_of(root, other):
                return False  # its namesake may be another one's value
            continue
        last = [one.key for one in ours if (one.line, one.col) < (statement.line, statement.col)][-1:]
        then = [one.key for one in theirs if (one.line, one.col) <= position][-1:]
        if last != then:
            return False
    return True


def _place_of(parameter: str, scope: Scope) -> int | None:
    """Where a parameter stands among those that are given by position."""
    node = scope.owner.node if scope.owner is not None else None
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
    return names.index(parameter) if parameter in names else None


__all__ = ["undisturbed"]
