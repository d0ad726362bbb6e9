"""Where a statement of today's file belongs in another version: between neighbours that both sides confirm."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from .align import SURE, Alignment, align, scope_grams
from .bound import Position
from .logs import log_calls
from .renames import Votes, compare_parameters, merged, votes_of, votes_of_arguments
from .source import DEFINITIONS, FUNCTIONS, Block, Scope, Source, SourceError, Stmt, innermost_loop, is_docstring, parse
from .splice import Unwritable, dedented, renamed
from .tokens import plain
from .uses import any_touch, header_use, use_of

_ENOUGH = 0.75  # the evidence below which a place is refused
_HINT = 0.3  # the evidence below which a place is not even worth a person's look
_ELSEWHERE = 1.7  # the evidence for another function than the one of the same name
_CLEAR = 0.15  # how much better the best scope must be than the next
_SURER = 0.15  # how much surer one neighbour must be than the other to decide over something that may matter
_EDGE = 0.5  # what the beginning or the end of a block counts against a statement
_REACH = 40  # how many siblings on each side are looked at
_SCOPES = 4  # how many scopes of a version are looked at for one statement


class Unplaced(Exception):  # noqa: N818 (an outcome, not an error)
    """There is no place that is sure; the message says why, in one sentence.

    `unsure` is the best place where there is one: for a person to look at, never to be taken by itself.
    """

    def __init__(self, reason: str, unsure: Spot | None = None) -> None:
        super().__init__(reason)
        self.unsure = unsure


class _Deeper(Unplaced):
    """The place is inside of one of the block's statements."""


@dataclass
class Spot:
    """A place before `block.statements[index]` (or at the block's end)."""

    block: Block
    index: int
    low: int  # the first and the last index that the neighbours allow
    high: int
    evidence: float
    left: Stmt | None  # the confirmed neighbours in the version
    right: Stmt | None
    scope: Scope  # today's scope
    present: Stmt | None = None  # the statement itself, where the version has it already
    settled: bool = False  # nothing near it has changed, names included

    @property
    def gap(self) -> list[Stmt]:
        return self.block.statements[self.low : self.high]

    @property
    def position(self) -> Position:
        """A position that everything before the place precedes."""
        statements = self.block.statements
        if self.index < len(statements):
            return statements[self.index].line, statements[self.index].col
        return (statements[-1].end_line, statements[-1].end_col) if statements else (1, 0)

    @property
    def line(self) -> int:
        return self.position[0]


class View:
    """Today's file and one version of it, with everything that has been found out about the two."""

    def __init__(self, today: Source, target: Source, added: frozenset[Stmt]) -> None:
        self.today = today
        self.target = target
        self.added = added
        self._alignments: dict[tuple[Scope, Scope], tuple[Alignment, Votes]] = {}
        self._flat: dict[Scope, list[Stmt]] = {}
        self._grams: dict[Scope, frozenset[tuple[object, ...]]] = {}
        self._overall: Votes | None = None

    def flat(self, scope: Scope) -> list[Stmt]:
        found = self._flat.get(scope)
        if found is None:
            found = self._flat[scope] = [one for one in scope.flat if one not in self.added]
        return found

    def grams(self, scope: Scope) -> frozenset[tuple[object, ...]]:
        found = self._grams.get(scope)
        if found is None:
            found = self._grams[scope] = scope_grams(scope)
        return found

    def alignment(self, new: Scope, old: Scope) -> tuple[Alignment, Votes]:
        """Align twice: what the first pass says about renames and loops makes the second one surer."""
        known = self._alignments.get((new, old))
        if known is None:
            ours = self.flat(new)
            first = align(ours, self._others(ours, old, {}))
            votes = self._scope_votes(first, new, old)
            renames = votes.renames()
            exact = len(first.forward) == len(ours) and all(score >= 1.0 for score in first.score.values())
            if not exact and (renames or not _loops_kept(first)):
                first = align(ours, self._others(ours, old, renames), renames, first)
                votes = self._scope_votes(first, new, old)
            known = self._alignments[(new, old)] = (first, votes)
        return known

    def _others(self, ours: list[Stmt], old: Scope, renames: Mapping[str, str]) -> list[Stmt]:
        """The version's statements without those that it has of the patch already: they match nothing else."""
        carried = {plain(one.head, table) for one in self.added for table in (renames, {})}
        lengths = {len(one) for one in carried}
        near = {length + more for length in lengths for more in (0, 2, 4, 6, 8)}
        twins = [one for one in old.flat if len(one.head) in near and plain(one.head) in carried]
        if not twins:
            return old.flat
        own = {plain(one.head, table) for one in ours if len(one.head) in near for table in (renames, {})}
        gone = {one for one in twins if plain(one.head) not in own}
        return [one for one in old.flat if one not in gone]

    @staticmethod
    def _scope_votes(alignment: Alignment, new: Scope, old: Scope) -> Votes:
        votes = votes_of(alignment)
        votes_of_arguments(new.flat, old.flat, alignment, votes)
        if new.owner is not None and old.owner is not None:
            left, right = new.owner.node, old.owner.node
            if isinstance(left, FUNCTIONS) and isinstance(right, FUNCTIONS):
                compare_parameters(left, right, votes, 0.5)
        return votes

    def votes(self, new: Scope, old: Scope) -> Votes:
        return self.alignment(new, old)[1]

    def overall_renames(self) -> dict[str, str]:
        """What the whole file says about renames; only asked for where the scopes' own votes need help."""
        return {} if self._overall is None else self._overall.renames()

    def overall_votes(self) -> Votes:
        """The votes of all scopes that have the same name in both files, and of each leftover's best partner."""
        if self._overall is None:
            parts = []
            for scope in self.today.scopes:
                other = self.target.by_name.get(scope.qualname)
                if other is None or other.kind != scope.kind:
                    other = next(iter(self.candidates(scope)), None)
                if other is not None:
                    parts.append((self.votes(scope, other), 1.0))
            self._overall = merged(parts)
        return self._overall

    def candidates(self, scope: Scope) -> list[Scope]:
        """The scopes of the version that may hold what stands in `scope` today, the likeliest first."""
        grams = self.grams(scope)
        wanted = {"class"} if scope.kind == "class" else {"module", "function"}

        def rank(other: Scope) -> float:
            shared = len(grams & self.grams(other)) / max(1, len(grams))
            if other.qualname == scope.qualname:
                return shared + 1.0
            return shared + (0.3 if other.name == scope.name else 0.0)

        found = [other for other in self.target.scopes if other.kind in wanted]
        found.sort(key=rank, reverse=True)
        return [other for other in found[:_SCOPES] if rank(other) > 0.05]


def _loops_kept(alignment: Alignment) -> bool:
    """Whether all that was matched stands in matched loops, so that looking again would change nothing."""
    return all(
        new.loop is old.loop if new.loop is None or old.loop is None else alignment.forward.get(new.loop) is old.loop
        for new, old in alignment.forward.items()
    )


Reads = Callable[[Scope, Scope], frozenset[str]]


def find_spot(view: View, statement: Stmt, reads: Reads, likely: Mapping[str, str]) -> Spot:
    """The one place for `statement`, or Unplaced. `likely` are renames that are known beforehand."""
    scope = statement.block.scope
    candidates = view.candidates(scope)
    reasons: list[str] = []
    unsure: list[Spot] = []
    found: list[tuple[float, Spot]] = []
    for other in candidates:
        try:
            spot = _spot_in(view, statement, other, reads(scope, other), likely)
        except Unplaced as reason:
            reasons.append(str(reason))
            unsure += [reason.unsure] if reason.unsure is not None else []
            continue
        same = other.qualname == scope.qualname
        if not same and spot.evidence < _ELSEWHERE and any(one.qualname == scope.qualname for one in candidates):
            # Its own function is there: for another one to be the place, both neighbours must have gone there.
            reasons.append("The function that it stands in has no sure place for it in this version.")
            unsure.append(spot)
            continue
        rank = spot.evidence + (0.5 if same else 0.15 if other.name == scope.name else 0.0)
        found.append((rank, spot))
        if same and spot.evidence >= 1.9:
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
    wanted = _wanted(view.today, statement, {**view.overall_renames(), **votes.renames(), **likely})
    best: Spot | None = None
    unsure: Spot | None = None
    reason = "Nothing in this version matches the code around the statement."
    for block, owned in _blocks(view, statement, other, alignment):
        try:
            spot = _Gap(view, statement, block, owned, alignment, reads, wanted).spot()
        except Unplaced as refused:
            reason = str(refused)
            unsure = unsure or refused.unsure
            if owned and not isinstance(refused, _Deeper):
                break
            continue
        if best is None or spot.evidence > best.evidence + 0.05:
            best = spot
    if best is None:
        raise Unplaced(reason, unsure)
    return best


def _neighbours(view: View, statement: Stmt) -> tuple[list[Stmt], list[Stmt]]:
    """The statement's siblings before it, nearest first, and after it."""
    siblings = statement.block.statements
    before = [one for one in reversed(siblings[: statement.index]) if one not in view.added]
    after = [one for one in siblings[statement.index + 1 :] if one not in view.added]
    return before, after


def _unwrapped(siblings: list[Stmt], alignment: Alignment, last: bool) -> Iterator[Stmt]:
    """The siblings, with what stands in a `with` or `try` that the version has not in place of the whole."""
    for sibling in siblings:
        wraps = isinstance(sibling.node, ast.With | ast.AsyncWith | ast.Try) and sibling not in alignment.forward
        if not wraps:
            yield sibling
            continue
        inner = sibling.blocks[0].statements
        yield from _unwrapped(inner[::-1] if last else inner, alignment, last)


def _counterpart(sibling: Stmt, alignment: Alignment, last: bool) -> Stmt | None:
    """What a sibling is in the version; of an unmatched compound statement its last (or first) matched part."""
    match = alignment.forward.get(sibling)
    if match is not None and sibling not in alignment.moved:
        return match
    inner = [
        alignment.forward[part]
        for part in sibling.walk()
        if part is not sibling and part in alignment.forward and part not in alignment.moved
    ]
    if not inner:
        return match
    return max(inner, key=lambda one: one.order) if last else min(inner, key=lambda one: one.order)


def _blocks(view: View, statement: Stmt, other: Scope, alignment: Alignment) -> Iterable[tuple[Block, bool]]:
    """Blocks that may take the statement: the one that its own has become, then those of its neighbours."""
    seen: set[int] = set()
    own = _own_block(statement.block, other, alignment)
    if own is not None:
        seen.add(id(own))
        yield own, True
    before, after = _neighbours(view, statement)
    around: list[Block] = []
    for siblings, last in ((before, True), (after, False)):
        for sibling in siblings:
            match = _counterpart(sibling, alignment, last)
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


def first_index(block: Block) -> int:
    """Behind what must stay first: a docstring, the imports from `__future__`."""
    if block.scope.body is not block:
        return 0
    index = 0
    for statement in block.statements:
        future = isinstance(statement.node, ast.ImportFrom) and statement.node.module == "__future__"
        if not future and not (index == 0 and is_docstring(statement)):
            break
        index += 1
    return index


def _wanted(today: Source, statement: Stmt, renames: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """The statement as it would read in the version."""
    formatted = any(token[0] in "fFrR" and token[-1] == '"' for one in statement.walk() for token in one.head)
    if formatted and renames:
        try:
            text = renamed(dedented(today, statement), renames)
            return _outline(parse(text.encode()).module.flat[0], {})
        except (Unwritable, SourceError, IndexError):
            pass
    return _outline(statement, renames)


def _outline(statement: Stmt, renames: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    return tuple(plain(one.head, renames) for one in statement.walk())


class _Gap:
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
            for siblings in _neighbours(view, statement)
        )

    def spot(self) -> Spot:
        if self.block.is_elif:
            raise Unplaced("The place is inside an `elif`, where nothing can be put before it.")
        self._check_loop()
        low, high = self._bounds()
        # What stands between today but not there makes no difference where the version leaves no choice.
        present = next((one for one in self.block.statements[low:high] if _outline(one, {}) == self.wanted), None)
        fade = 0.95 if high - low == (present is not None) else 0.8
        left, left_score, left_near = self._side(self.before, low - 1, fade, last=True)
        right, right_score, right_near = self._side(self.after, high, fade, last=False)
        first = first_index(self.block)
        if self.owned and not self.before and low == first:
            left_score, left_near = 0.8, True
        if self.owned and not self.after and high == len(self.block.statements):
            right_score, right_near = 0.8, True
        if not self.owned and not self.after and high == len(self.block.statements):
            right_score, right_near = 0.4, True
        evidence = left_score + right_score
        if present is not None:
            scope = self.statement.block.scope
            return Spot(self.block, present.index, low, high, evidence + 0.5, left, right, scope, present)
        if left is None and right is None and (not self.owned or self.block.scope.kind == "module"):
            raise Unplaced("None of the statements around it stands in this version.")
        nearest = low if left_score >= right_score else high
        unsure = self._at(nearest, low, high, evidence) if evidence >= _HINT else None
        if not self.owned and self._condition_lost() and max(left_score, right_score) < 0.75:
            raise Unplaced("The condition that the statement stands under is not in this version.", unsure)
        if evidence < _ENOUGH:
            raise Unplaced("Too little of the code around it stands in this version to be sure of the place.", unsure)
        # The end of a block is a weaker neighbour than a statement.
        near_left = min(left_score, 1.0 if left is not None else _EDGE) if left_near else 0.0
        near_right = min(right_score, 1.0 if right is not None else _EDGE) if right_near else 0.0
        try:
            index = self._choose(low, high, near_left, near_right)
            self._check_twins(low, high, left, right)
        except Unplaced as refused:
            raise Unplaced(str(refused), unsure) from None
        return self._at(index, low, high, evidence)

    def _at(self, index: int, low: int, high: int, evidence: float) -> Spot:
        statements = self.block.statements
        left = statements[index - 1] if index else None
        right = statements[index] if index < len(statements) else None
        return Spot(self.block, index, low, high, evidence, left, right, self.statement.block.scope)

    def _condition_lost(self) -> bool:
        """Whether the statement stands under a condition today that the version does not have."""
        owner = self.statement.block.owner
        return owner is not None and isinstance(owner.node, ast.If | ast.While | ast.Match | ast.Try)

    def _check_loop(self) -> None:
        ours, theirs = self.statement.loop, innermost_loop(self.block)
        if ours is None and theirs is None:
            return
        if ours is not None and theirs is not None:
            match = self.alignment.forward.get(ours)
            if match is theirs:
                return
            if match is None and theirs not in self.alignment.backward and not self.owned:
                raise Unplaced("The loop that the statement stands in is not in this version.")
            raise Unplaced("The statement would land in another loop than the one it stands in.")
        new, old = self.statement.block.scope, self.block.scope
        if ours is None and theirs is not None:
            # A function that is called in a loop today may have been the body of that loop.
            matched = [match for match in self.alignment.forward.values() if not match.blocks]
            inlined = len(matched) >= 2 and all(match.inside(theirs) for match in matched)
            if new.kind == "function" and new.name != old.name and inlined and called_in_loop(self.view.today, new):
                return
            raise Unplaced("The statement would land inside a loop that it does not stand in.")
        assert ours is not None
        matched = [one for one in self.alignment.forward if not one.blocks]
        inlined = len(matched) >= 2 and all(one.inside(ours) for one in matched)
        if old.kind == "function" and new.name != old.name and inlined and called_in_loop(self.view.target, old):
            return
        raise Unplaced("The loop that the statement stands in is not in this version.")

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
            raise _Deeper("What stands before it and after it today is one statement in this version.")
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
        mine = use_of(self.statement.node).reads
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
        unwrapped = islice(_unwrapped(siblings, self.alignment, last), _REACH)
        for distance, sibling in enumerate(unwrapped):
            match = _counterpart(sibling, self.alignment, last)
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

    def _choose(self, low: int, high: int, left: float, right: float) -> int:
        """Among the indexes that the neighbours allow, the one that keeps what the statement reads as it was."""
        gap = self.block.statements[low:high]
        if not gap:
            return low
        binding = [one for one in gap if self._binds(one)]
        touching = [one for one in gap if one in binding or self._changes(one)]
        if left and not right:
            if left < SURE and binding:
                return max(one.index for one in binding) + 1
            return low
        if right and not left:
            return high
        if not left:
            if touching:
                raise Unplaced("Neither of its neighbours stands in this version, and what does may matter.")
            return low if self.before else high
        # Both neighbours are there, with something between them: the one that has changed less decides.
        if _EDGE < left < SURE and binding:
            return max(one.index for one in binding) + 1
        if not touching and self._feed_next(gap, high):
            return low
        edge = _EDGE in {left, right}
        if abs(left - right) >= (_SURER if touching else 0.02) and (touching or not edge):
            return low if left > right else high
        if not touching:
            side = self._grouped()
            if side is None and not self._is_log() and any(_acts(one) for one in gap):
                raise Unplaced(f"It could stand before or after line {gap[0].line}, and their order may matter.")
            return high if side == "right" else low
        first = touching[0]
        raise Unplaced(f"It could stand before or after line {first.line}, which may change what it reads.")

    def _is_log(self) -> bool:
        return bool(log_calls(self.view.today, self.statement.node))

    def _feed_next(self, gap: list[Stmt], high: int) -> bool:
        """Whether all that stands between the neighbours prepares the next one, and so belongs to it."""
        statements = self.block.statements
        return high < len(statements) and all(
            any_touch(use_of(statements[high].node).reads, use_of(one.node).binds) for one in gap
        )

    def _grouped(self) -> str | None:
        """Which neighbour the statement is written together with: blank lines separate it from the other."""
        lines = self.view.today.lines
        line = self.statement.line - 1
        while line >= 1 and lines[line - 1].lstrip().startswith("#"):
            # A comment above the statement introduces it.
            line -= 1
        above = line >= 1 and not lines[line - 1].strip()
        below = self.statement.end_line < len(lines) and not lines[self.statement.end_line].strip()
        if above == below:
            return None
        return "right" if above else "left"

    def _binds(self, old: Stmt) -> bool:
        binds = {name for inner in old.walk() for name in header_use(inner).binds}
        changed = {
            name for inner in old.walk() if isinstance(inner.node, ast.AugAssign) for name in header_use(inner).changes
        }
        return any_touch(self.reads, binds | changed)

    def _changes(self, old: Stmt) -> bool:
        for inner in old.walk():
            use = header_use(inner)
            if any_touch(self.reads, use.changes):
                return True
            if self._reads_state() and any(call.rpartition(".")[2] in _STEPS for call in use.calls):
                return True
        return False

    def _reads_state(self) -> bool:
        """Whether the statement looks into an object, as `grad_norm(model)` or `model.parameters()` does."""
        node = self.statement.node
        for part in ast.walk(node):
            if isinstance(part, ast.Call):
                name = part.func.id if isinstance(part.func, ast.Name) else None
                if name in _SCALAR_CALLS:
                    continue
                if isinstance(part.func, ast.Attribute) and part.func.attr in {"log", "item", "format"}:
                    continue
                return True
        return False

    def _check_twins(self, low: int, high: int, left: Stmt | None, right: Stmt | None) -> None:
        """The same two neighbours standing once more, unmatched, make the place ambiguous."""
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
            if innermost_loop(one.block) is not innermost_loop(self.block):
                continue
            raise Unplaced(f"The code around it stands twice in this version: at lines {left.line} and {one.line}.")


_STEPS = frozenset(
    [
        "step",
        "backward",
        "zero_grad",
        "clip_grad_norm_",
        "clip_grad_value_",
        "load_state_dict",
        "unscale_",
        "apply_gradients",
        "update",
        "fit",
        "partial_fit",
        "optimizer_step",
        "train_step",
    ]
)
_SCALAR_CALLS = frozenset(["float", "int", "str", "len", "round", "abs", "repr", "print", "min", "max", "sum", "bool"])


def _acts(statement: Stmt) -> bool:
    """Whether it is, or has in it, a call that is made for what it does."""
    nodes = [inner.node for inner in statement.walk()]
    return any(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) for node in nodes)


def called_in_loop(source: Source, function: Scope) -> bool:
    """Whether any loop of the file calls the function."""
    for statement in source.statements():
        if statement.loop is None:
            continue
        if any(call.rpartition(".")[2] == function.name for call in header_use(statement).calls):
            return True
    return False


__all__ = ["Spot", "Unplaced", "View", "find_spot", "first_index"]
