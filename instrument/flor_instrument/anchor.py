"""Where a statement of today's file belongs in another version: between neighbours that both sides confirm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .align import SURE, Alignment
from .gap import Gap
from .neighbours import counterpart, neighbours, outline
from .source import DEFINITIONS, Block, Scope, Source, SourceError, Stmt, parse
from .splice import Unwritable, dedented, renamed
from .spots import Deeper, Spot, Unplaced
from .uses import use_of
from .view import View

_ELSEWHERE = 1.7  # the evidence for another function than the one of the same name
_CLEAR = 0.15  # how much better the best scope must be than the next

Reads = Callable[[Scope, Scope], frozenset[str]]


def find_spot(view: View, statement: Stmt, reads: Reads, likely: Mapping[str, str]) -> Spot:
    """The one place for `statement`, or Unplaced. `likely` are renames that are known beforehand."""
    scope = statement.block.scope
    namesake = view.keeper_of_the_name(scope)
    reasons: list[str] = []
    unsure: list[Spot] = []
    found: list[tuple[float, Spot]] = []
    for other in view.likeliest(scope):
        try:
            spot = _spot_in(view, statement, other, reads(scope, other), likely)
        except Unplaced as reason:
            reasons.append(str(reason))
            unsure += [reason.unsure] if reason.unsure is not None else []
            continue
        same = other.qualname == scope.qualname
        if not same and other is not namesake and spot.evidence < _ELSEWHERE and namesake is not None:
            # Its own function is there: for another one to be the place, both neighbours must have gone there.
            reasons.append("The function that it stands in has no sure place for it in this version.")
            unsure.append(spot)
            continue
        rank = spot.evidence + (0.5 if same else 0.15 if other.name == scope.name else 0.0)
        found.append((rank, spot))
        if same and spot.evidence >= 1.9 and not view.defined_again(scope):
            break
    if not found:
        why = reasons[0] if reasons else "Nothing in this version matches the code around the statement."
        raise Unplaced(why, max(unsure, key=lambda spot: spot.evidence, default=None))
    found.sort(key=lambda entry: -entry[0])
    if len(found) > 1 and found[0][0] - found[1][0] < _CLEAR:
        lines = sorted(spot.line for _, spot in found[:2])
        raise Unplaced(
            f"Two places are about equally good: near line {lines[0]} and near line {lines[1]}.",
            found[0][1] if found[0][0] > found[1][0] else None,
        )
    return found[0][1]


def _spot_in(view: View, statement: Stmt, other: Scope, reads: frozenset[str], likely: Mapping[str, str]) -> Spot:
    alignment, votes = view.alignment(statement.block.scope, other)
    if other.qualname != statement.block.scope.qualname:
        alignment = view.unclaimed(statement.block.scope, other)
        if _stayed(view, statement, other, alignment):
            raise Unplaced("What stands around the statement is in the function of its own name in this version.")
    lost = view.renames_of_lost(use_of(statement).reads)
    wanted = _wanted(view.today, statement, {**lost, **votes.renames(), **likely})
    best: Spot | None = None
    unsure: Spot | None = None
    reason = "Nothing in this version matches the code around the statement."
    for block, owned in _blocks(view, statement, other, alignment):
        try:
            spot = Gap(view, statement, block, owned, alignment, reads, wanted).spot()
        except Unplaced as refused:
            reason = str(refused)
            unsure = unsure or refused.unsure
            if owned and not isinstance(refused, Deeper):
                break
            continue
        if best is None or spot.evidence > best.evidence + 0.05:
            best = spot
    if best is None:
        raise Unplaced(reason, unsure)
    return best


def _stayed(view: View, statement: Stmt, other: Scope, elsewhere: Alignment) -> bool:
    """Whether its neighbours stand in the function of its own name as surely as in another one.

    One of them is enough there, unless both stand in the other one without a change.
    """
    own = view.keeper_of_the_name(statement.block.scope)
    if own is None or own is other:
        return False
    here = view.alignment(statement.block.scope, own)[0]
    nearest = [siblings[0] for siblings in neighbours(view, statement) if siblings]
    known = [here.score.get(one, 0.0) for one in nearest]
    there = [elsewhere.score.get(one, 0.0) for one in nearest]
    if any(score >= SURE for score in known) and (sum(known) >= sum(there) or min(there) < SURE):
        return True
    # What it stands under is where it was: a neighbour that looks like one elsewhere, at a block's edge, is not enough.
    owner = statement.block.owner
    under = owner is not None and not isinstance(owner.node, DEFINITIONS) and here.score.get(owner, 0.0) >= SURE
    return under and (len(there) < 2 or min(there) < SURE)


def _blocks(view: View, statement: Stmt, other: Scope, alignment: Alignment) -> Iterable[tuple[Block, bool]]:
    """Blocks that may take the statement: the one that its own has become, then those of its neighbours."""
    seen: set[int] = set()
    own = _own_block(statement.block, other, alignment)
    if own is not None:
        seen.add(id(own))
        yield own, True
    before, after = neighbours(view, statement)
    around: list[Block] = []
    for siblings, last in ((before, True), (after, False)):
        for sibling in siblings:
            match = counterpart(sibling, alignment, last)
            if match is not None:
                around.append(match.block)
                break
    for block in around:
        walk: Block | None = block
        while walk is not None and walk.scope is other:
            if id(walk) not in seen:
                seen.add(id(walk))
                yield walk, False
            walk = walk.owner.block if walk.owner is not None else None


def _own_block(block: Block, other: Scope, alignment: Alignment) -> Block | None:
    owner = block.owner
    if owner is None or isinstance(owner.node, DEFINITIONS):
        return other.body if other.kind == block.scope.kind else None
    match = alignment.forward.get(owner)
    if match is None:
        return None
    for candidate in match.blocks:
        if candidate.role == block.role:
            return None if candidate.is_elif else candidate
    return None


def _wanted(today: Source, statement: Stmt, renames: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """The statement as it would read in the version."""
    formatted = any(token[0] in "fFrR" and token[-1] == '"' for one in statement.walk() for token in one.head)
    if formatted and renames:
        try:
            text = renamed(dedented(today, statement), renames)
            return outline(parse(text.encode()).module.flat[0], {})
        except (Unwritable, SourceError, IndexError):
            pass
    return outline(statement, renames)


__all__ = ["find_spot"]
