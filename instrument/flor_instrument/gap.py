"""The places that one block of a version offers to a statement, and how sure they are."""

from __future__ import annotations

import ast
from itertools import islice

from .align import SURE, Alignment
from .choice import EDGE, Side, another_value, choose
from .effects import binds, touches
from .loops import check_loop
from .neighbours import counterpart, neighbours, outline, unwrapped
from .source import Block, Stmt, innermost_loop
from .spots import Deeper, Spot, Unplaced, first_index
from .uses import any_touch, header_use, use_of
from .view import View

_ENOUGH = 0.75  # the evidence below which a place is refused
_HINT = 0.3  # the evidence below which a place is not even worth a person's look
_REACH = 40  # how many siblings on each side are looked at


class Gap:
    """The places that one block of the version offers to one statement."""

    def __init__(
        self,
        view: View,
        statement: Stmt,
        block: Block,
        owned: bool,
        alignment: Alignment,
        reads: frozenset[str],
        wanted: tuple[tuple[str, ...], ...],
    ) -> None:
        self.wanted = wanted
        self.view = view
        self.statement = statement
        self.block = block
        self.owned = owned
        self.alignment = alignment
        self.reads = reads
        # An import inside a function says nothing about the place, unless the version has it too.
        self.before, self.after = (
            [
                one
                for one in siblings
                if one in alignment.forward or not isinstance(one.node, ast.Import | ast.ImportFrom)
            ]
            for siblings in neighbours(view, statement)
        )

    def spot(self) -> Spot:
        if self.block.is_elif:
            raise Unplaced("The place is inside an `elif`, where nothing can be put before it.")
        check_loop(self.view, self.statement, self.block, self.owned, self.alignment)
        low, high = self._bounds()
        # What stands between today but not there makes no difference where the version leaves no choice.
        present = next((one for one in self.block.statements[low:high] if outline(one, {}) == self.wanted), None)
        fade = 0.95 if high - low == (present is not None) else 0.8
        left, left_score, left_near = self._side(self.before, low - 1, fade, last=True)
        right, right_score, right_near = self._side(self.after, high, fade, last=False)
        first = first_index(self.block)
        ends = self.owned and not self._is_body_of_another()
        if ends and not self.before and low == first:
            left_score, left_near = 0.8, True
        if ends and not self.after and high == len(self.block.statements):
            right_score, right_near = 0.8, True
        if not self.owned and not self.after and high == len(self.block.statements):
            right_score, right_near = 0.4, True
        evidence = left_score + right_score
        if present is not None:
            scope = self.statement.block.scope
            return Spot(self.block, present.index, low, high, evidence + 0.5, left, right, scope, present)
        if left is None and right is None and not self._ends_tell():
            raise Unplaced("None of the statements around it stands in this version.")
        nearest = low if left_score >= right_score else high
        unsure = self._at(nearest, low, high, evidence) if evidence >= _HINT else None
        if self.owned and (
            (self._gone(self.before) and not (right_near and right is not None))
            or (self._gone(self.after) and not (left_near and left is not None))
        ):
            raise Deeper("What stands next to it today stands in another block of this version.", unsure)
        # Neighbours that stand deeper than this block took the condition with them.
        beside = [
            score
            for match, score in ((left, left_score), (right, right_score))
            if match is not None and match.block is self.block
        ]
        if not self.owned and self._condition_lost() and max(beside, default=0.0) < 0.75:
            raise Unplaced("The condition that the statement stands under is not in this version.", unsure)
        if not self.owned and any(match is not None and self._under_its_header(match) for match in (left, right)):
            raise Unplaced("What the statement stands under today stands around its neighbour only there.", unsure)
        if evidence < _ENOUGH:
            raise Unplaced("Too little of the code around it stands in this version to be sure of the place.", unsure)
        # The end of a block is a weaker neighbour than a statement.
        near_left = (min(left_score, 1.0) if left is not None else EDGE) if left_near else 0.0
        near_right = (min(right_score, 1.0) if right is not None else EDGE) if right_near else 0.0
        sides = Side(near_left, bool(self.before)), Side(near_right, bool(self.after))
        try:
            if self.owned:
                self._check_deeper(left, right)
            else:
                self._check_other_block(low, high, left, right)
            given = self._given_before(low)
            index = choose(self.view, self.statement, self.block, low, high, self.reads, *sides, given)
            self._check_twins(low, high, left, right)
            self._check_beside(index)
        except Unplaced as refused:
            raise Unplaced(str(refused), unsure) from None
        return self._at(index, low, high, evidence)

    def _at(self, index: int, low: int, high: int, evidence: float) -> Spot:
        statements = self.block.statements
        left = statements[index - 1] if index else None
        right = statements[index] if index < len(statements) else None
        return Spot(self.block, index, low, high, evidence, left, right, self.statement.block.scope)

    def _under_its_header(self, match: Stmt) -> bool:
        """Whether a neighbour stands, inside of this block, under what the statement itself stands under today."""
        owner = self.statement.block.owner
        if owner is None or not isinstance(owner.node, ast.If | ast.While | ast.With | ast.AsyncWith):
            return False
        walk = match.block.owner
        while walk is not None and match.block is not self.block:
            if walk.key == owner.key:
                return True
            if walk.block is self.block:
                return False
            walk = walk.block.owner
        return False

    def _ends_tell(self) -> bool:
        """Whether the beginning and the end of the block are evidence by themselves: not of any function's body."""
        return self.owned and self.block.scope.kind != "module" and not self._is_body_of_another()

    def _is_body_of_another(self) -> bool:
        """Whether the block is the body of a function of another name: where that begins and ends tells nothing."""
        there = self.block.scope
        return self.block is there.body and there.kind == "function" and there.name != self.statement.block.scope.name

    def _gone(self, siblings: list[Stmt]) -> bool:
        """Whether the very next sibling is surely in the version, but not in this block."""
        nearest = siblings[0] if siblings else None
        if nearest is None:
            return False
        match = self.alignment.forward.get(nearest)
        if match is not None and self._index_of(match) is not None:
            return False
        if nearest.blocks and any(
            one.full_key == nearest.full_key and self._index_of(one) is None for one in self.block.scope.flat
        ):
            return True
        return nearest not in self.alignment.moved and self.alignment.score.get(nearest, 0.0) >= SURE

    def _condition_lost(self) -> bool:
        """Whether the statement stands under a condition today that the version does not have."""
        owner = self.statement.block.owner
        return owner is not None and isinstance(owner.node, ast.If | ast.While | ast.Match | ast.Try)

    def _bounds(self) -> tuple[int, int]:
        """The indexes between what stands before the statement today and what stands after it."""
        low, high = first_index(self.block), len(self.block.statements)
        moved: list[tuple[Stmt, int]] = []
        for new, old in self.alignment.forward.items():
            if new is self.statement or self.statement.inside(new):
                continue
            index = self._index_of(old)
            if index is None:
                continue
            if new in self.alignment.moved:
                moved.append((new, index))
            elif new.order < self.statement.order:
                low = max(low, index + 1)
            else:
                high = min(high, index)
        if low > high:
            raise Deeper("What stands before it and after it today is one statement in this version.")
        # What has changed places is kept on its side too, if that can be; what feeds the statement must be.
        block = self.statement.block
        moved = [entry for entry in moved if entry[0].block is block or self._matters(entry[0])]
        for wanted in (moved, [entry for entry in moved if self._matters(entry[0])]):
            before = [index + 1 for new, index in wanted if new.order < self.statement.order]
            after = [index for new, index in wanted if new.order > self.statement.order]
            bounds = max([low, *before]), min([high, *after])
            if bounds[0] <= bounds[1]:
                return bounds
        raise Unplaced("The order of the code around it has changed so that no place keeps it.")

    def _matters(self, new: Stmt) -> bool:
        """Whether a statement of today's file does something to what the statement reads."""
        use = header_use(new)
        mine = use_of(self.statement).reads
        return any_touch(mine, use.binds | use.changes)

    def _index_of(self, old: Stmt) -> int | None:
        walk: Stmt | None = old
        while walk is not None:
            if walk.block is self.block:
                return walk.index
            walk = walk.block.owner
        return None

    def _side(self, siblings: list[Stmt], index: int, fade: float, last: bool) -> tuple[Stmt | None, float, bool]:
        """The nearest sibling that is confirmed in this block, how sure it is, and whether it is the very next."""
        nearest = islice(unwrapped(siblings, self.alignment, last), _REACH)
        for distance, sibling in enumerate(nearest):
            match = counterpart(sibling, self.alignment, last)
            if match is None:
                continue
            found = self._index_of(match)
            if found is None:
                continue
            direct = self.alignment.forward.get(sibling) is match
            score = self.alignment.score.get(sibling, 0.6) if direct else 0.6
            if sibling in self.alignment.moved:
                score *= 0.7
            near = distance == 0 and found == index
            if found != index:
                score *= 0.8
            return match, score * fade**distance, near
        return None, 0.0, False

    def _check_twins(self, low: int, high: int, left: Stmt | None, right: Stmt | None) -> None:
        """The same two neighbours standing once more, unmatched, make the place ambiguous; or a whole block doing so."""
        owner = self.block.owner
        while owner is not None and owner is not self.block.scope.owner:
            for one in self.block.scope.flat:
                if one is owner or one.key != owner.key or one in self.alignment.backward:
                    continue
                if one.full_key == owner.full_key:
                    raise Unplaced(f"Its block stands twice in this version: at lines {owner.line} and {one.line}.")
            owner = owner.block.owner
        if left is None or right is None or left.block is not right.block:
            return
        mine = (left.key, right.key)
        scope = self.block.scope
        for one in scope.flat:
            if one.block.owner is None and one.index + 1 >= len(one.block.statements):
                continue
            if one is left or one.index + 1 >= len(one.block.statements):
                continue
            following = one.block.statements[one.index + 1]
            if (one.key, following.key) != mine or one in self.alignment.backward:
                continue
            if following in self.alignment.backward or following is right:
                continue
            if not self._as_good_a_loop(innermost_loop(one.block)):
                continue
            raise Unplaced(f"The code around it stands twice in this version: at lines {left.line} and {one.line}.")

    def _check_beside(self, index: int) -> None:
        """Two equal statements there, between which it would stand, and today two different ones."""
        if not 0 < index < len(self.block.statements):
            return
        left, right = self.block.statements[index - 1 : index + 1]
        today = [siblings[0].key for siblings in (self.before, self.after) if siblings]
        if left.key != right.key or (len(today) == 2 and today[0] == today[1]):
            return
        if touches(left, self.reads, self.statement.node):
            raise Unplaced(f"Its neighbour stands twice: it could be before or after line {right.line}.")

    def _given_before(self, low: int) -> bool:
        """Whether what gives a read name its value today stands before the place there, as it does today, or outside."""
        giver = next((one for one in self.before if binds(one, self.reads)), None)
        if giver is None:
            return True
        match = self.alignment.forward.get(giver)
        index = self._index_of(match) if match is not None else None
        return index is not None and index < low and self.alignment.score.get(giver, 0.0) >= SURE

    def _check_deeper(self, left: Stmt | None, right: Stmt | None) -> None:
        """A neighbour stands deeper there: what is on the statement's side of it down there must not matter."""
        for match, step in ((left, 1), (right, -1)):
            walk = match
            while walk is not None and walk.block is not self.block:
                loop = walk.block.owner
                if loop is not None and loop.is_loop and loop not in self.alignment.backward:
                    raise Unplaced(
                        f"Its neighbour stands in a loop there that today does not have, at line {loop.line}."
                    )
                siblings = walk.block.statements
                beyond = siblings[walk.index + 1 :] if step > 0 else siblings[: walk.index]
                giver = next((one for one in beyond if binds(one, self.reads)), None)
                if giver is not None:
                    raise another_value(giver)
                walk = walk.block.owner

    def _check_other_block(self, low: int, high: int, left: Stmt | None, right: Stmt | None) -> None:
        """A neighbour alone went into this block: what gives a read name another value up to its end is of the other side."""
        if (left is None and self.before) or (right is None and self.after):
            giver = next((one for one in self.block.statements[low:high] if binds(one, self.reads)), None)
            if giver is not None:
                raise another_value(giver)

    def _as_good_a_loop(self, loop: Stmt | None) -> bool:
        """Whether a loop of the version could as well be the one that the statement stands in today."""
        ours, theirs = self.statement.loop, innermost_loop(self.block)
        if loop is theirs:
            return True
        if loop is None or theirs is None or ours is None or loop in self.alignment.backward:
            return False
        return theirs.key != ours.key or loop.key == ours.key


__all__ = ["Gap"]
