"""Which statement of one file is which of another: an order-keeping alignment of two scopes.

The statements of a scope are taken in the order of the text, those of nested blocks among them. So a block that has
been wrapped or unwrapped since needs no rule of its own, and a statement beside an edited one is still aligned.
"""

from __future__ import annotations

import ast
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .source import DEFINITIONS, Scope, Stmt, kept
from .tokens import Face, Renames, dice, face_of, plain

ALIKE = 0.5  # below this two statements are not taken for the same one
SURE = 0.8  # from here on a pair counts as a confirmed neighbour by itself
_TWINS = 12  # how far a trimmed end is opened again
_CELLS = 40_000  # an alignment larger than this is cut at statements that stand once on both sides


@kept
def content_grams(statement: Stmt) -> frozenset[tuple[object, ...]]:
    """The features of everything inside a compound statement."""
    parts: set[tuple[object, ...]] = set()
    for inner in statement.walk():
        if inner is not statement:
            parts |= inner.face.grams
    return frozenset(parts)


@kept
def scope_grams(scope: Scope) -> frozenset[tuple[object, ...]]:
    """The features of a scope, without those of the functions and classes in it."""
    parts: set[tuple[object, ...]] = set()
    for statement in scope.flat:
        parts |= statement.face.grams
    return frozenset(parts)


class Likeness:
    """How alike statements of two files are, from 0 to 1, with the renames that are known by now."""

    def __init__(
        self,
        renames: Renames | None = None,
        ours: frozenset[str] = frozenset(),
        theirs: frozenset[str] = frozenset(),
    ) -> None:
        """`ours` and `theirs` are the names of the functions and classes on the two sides."""
        self._renames = renames or {}
        self._ours = ours
        self._theirs = theirs
        self._faces: dict[Stmt, Face] = {}

    def _new(self, statement: Stmt) -> Face:
        if not self._renames:
            return statement.face
        face = self._faces.get(statement)
        if face is None:
            face = self._faces[statement] = face_of(plain(statement.head, self._renames))
        return face

    def __call__(self, new: Stmt, old: Stmt) -> float:
        return self.row(new, (old,))[0]

    def row(self, new: Stmt, olds: Sequence[Stmt], least: float = ALIKE) -> list[float]:
        """How alike `new` is to each of `olds`; what cannot reach `least` counts as 0."""
        family = new.family
        if family in {"function", "class"}:
            return [self._definition(new, old) if old.family == family else 0.0 for old in olds]
        if new.blocks:
            return [self._compound(new, old, family) if old.family == family else 0.0 for old in olds]
        left = self._new(new)
        grams, shape = left.grams, left.shape
        # Sets of other sizes than these cannot be that alike.
        low, high = left.size * least / (2 - least), left.size * (2 - least) / least
        known: dict[Face, float] = {left: 1.0}
        out: list[float] = []
        for old in olds:
            if old.family != family:
                out.append(0.0)
                continue
            right = old.face
            score = known.get(right)
            if score is None:
                if shape == right.shape:
                    score = 1.0 if grams == right.grams else dice(grams, right.grams)
                    if score < 1.0 and family != "import":
                        score = max(score, (0.6 if left.telling >= 1 else 0.35) + 0.35 * score)
                    score = score if grams == right.grams else min(0.97, score)
                elif low <= right.size <= high:
                    score = min(0.97, dice(grams, right.grams))
                else:
                    score = 0.0
                known[right] = score
            if score == 0.0:
                out.append(score)
                continue
            if not self._renames and score < 1.0 and new.key == old.key:
                score = max(score, 0.9)
            elif score == 1.0 and not self._renames and new.key != old.key:
                score = 0.97
            out.append(score)
        return out

    def _compound(self, new: Stmt, old: Stmt, family: str) -> float:
        left, right = self._new(new), old.face
        if left.grams == right.grams:
            header = 1.0
        else:
            header = dice(left.grams, right.grams)
            if left.shape == right.shape and left.telling:
                header = max(header, 0.6 + 0.35 * header)
        if _same(new, old):
            return 1.0
        content = dice(content_grams(new), content_grams(old))
        if family == "loop" and (name := loop_name(new)) is not None and name == loop_name(old):
            header = max(header, 0.85)
        if family in {"Try", "with"}:
            return max(0.3 * header + 0.7 * content, 0.6 * header + 0.2 * content)
        score = 0.5 * header + 0.5 * content
        if header == 1.0:
            score = max(score, 0.7 + 0.3 * content)
        elif header >= 0.6:
            score = max(score, 0.55 + 0.3 * content)
        if content > 0.6:
            score = max(score, 0.5 + 0.4 * content)
        return min(score, 0.99)

    def _definition(self, new: Stmt, old: Stmt) -> float:
        """Functions and classes go by their names, and by their contents only if neither has a namesake."""
        name, other = getattr(new.node, "name", ""), getattr(old.node, "name", "")
        if name != other and (name in self._theirs or other in self._ours):
            return 0.0
        if name == other and _same(new, old):
            return 1.0
        ours, theirs = content_grams(new), content_grams(old)
        if name == other:
            return 0.8 + 0.2 * dice(ours, theirs)
        if 0.25 + 0.75 * _at_most(ours, theirs) < ALIKE:
            return 0.0
        left, right = self._new(new), old.face
        header = dice(left.grams, right.grams)
        if left.shape == right.shape and left.telling:
            header = max(header, 0.6 + 0.35 * header)
        return 0.25 * header + 0.75 * dice(ours, theirs)


def _at_most(left: frozenset[tuple[object, ...]], right: frozenset[tuple[object, ...]]) -> float:
    """What the dice of two sets cannot exceed, by their sizes."""
    total = len(left) + len(right)
    return 2 * min(len(left), len(right)) / total if total else 1.0


def _definitions(statements: Sequence[Stmt]) -> frozenset[str]:
    return frozenset(one.node.name for one in statements if isinstance(one.node, DEFINITIONS))


def loop_name(statement: Stmt) -> str | None:
    """The name in `for … in flor.loop("name", …)`."""
    node = statement.node
    if not isinstance(node, ast.For | ast.AsyncFor):
        return None
    for part in ast.walk(node.iter):
        if (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and part.func.attr == "loop"
            and isinstance(part.func.value, ast.Name)
            and part.args
            and isinstance(part.args[0], ast.Constant)
            and isinstance(part.args[0].value, str)
        ):
            return part.args[0].value
    return None


@dataclass
class Alignment:
    """Pairs of statements that are taken for the same, with how alike they are."""

    forward: dict[Stmt, Stmt] = field(default_factory=dict)
    backward: dict[Stmt, Stmt] = field(default_factory=dict)
    score: dict[Stmt, float] = field(default_factory=dict)  # by the new statement
    moved: set[Stmt] = field(default_factory=set)  # new statements matched out of order

    def add(self, new: Stmt, old: Stmt, score: float) -> None:
        self.forward[new] = old
        self.backward[old] = new
        self.score[new] = score

    def drop(self, new: Stmt) -> None:
        old = self.forward.pop(new)
        del self.backward[old], self.score[new]

    def only(self, forward: Mapping[Stmt, Stmt]) -> Alignment:
        """The alignment with these of its pairs only."""
        backward = {old: new for new, old in forward.items()}
        return Alignment(dict(forward), backward, {new: self.score[new] for new in forward}, self.moved & set(forward))

    def weight(self) -> float:
        """How much of the two scopes is the same."""
        return sum(score * _worth(new) for new, score in self.score.items())


def _worth(statement: Stmt) -> float:
    return min(1.0, 0.4 + 0.08 * len(statement.head)) * (1.5 if statement.blocks else 1.0)


def align(
    new: Sequence[Stmt], old: Sequence[Stmt], renames: Renames | None = None, hint: Alignment | None = None
) -> Alignment:
    """Align two runs of statements, keeping their order; then pair up what has only changed places.

    `hint` is an earlier alignment: pairs whose loops it has matched to other loops are made less likely.
    """
    likeness = Likeness(renames, _definitions(new), _definitions(old))
    result = Alignment()
    start = 0
    while start < min(len(new), len(old)) and _same(new[start], old[start]):
        result.add(new[start], old[start], 1.0)
        start += 1
    new_end, old_end = len(new), len(old)
    while new_end > start and old_end > start and _same(new[new_end - 1], old[old_end - 1]):
        result.add(new[new_end - 1], old[old_end - 1], 1.0)
        new_end -= 1
        old_end -= 1
    # A twin of what was trimmed may be the better partner: leave the choice to the alignment.
    for _ in range(_TWINS):
        if new_end == len(new) or not (
            any(_same(new[new_end], one) for one in old[start:old_end])
            or any(_same(one, old[old_end]) for one in new[start:new_end])
        ):
            break
        result.drop(new[new_end])
        new_end += 1
        old_end += 1
    for left, right in _pieces(list(new[start:new_end]), list(old[start:old_end])):
        _align_piece(left, right, likeness, hint, result)
    _pair_moved(new, old, likeness, result)
    return result


def _same(new: Stmt, old: Stmt) -> bool:
    if new.blocks and new.same_text(old):  # most functions are, from version to version: their tokens need not be read
        return True
    return new.key == old.key and new.full_key == old.full_key


def _pieces(new: list[Stmt], old: list[Stmt]) -> list[tuple[list[Stmt], list[Stmt]]]:
    """Cut a large alignment at statements that stand exactly once on both sides, in the same order."""
    if len(new) * len(old) <= _CELLS:
        return [(new, old)]
    once_new = _once(new)
    once_old = _once(old)
    pairs = [(index, once_old[key]) for key, index in once_new.items() if key in once_old]
    pairs.sort()
    chain = _increasing(pairs)
    pieces: list[tuple[list[Stmt], list[Stmt]]] = []
    last_new = last_old = 0
    for new_index, old_index in [*chain, (len(new), len(old))]:
        if (new_index - last_new) * (old_index - last_old) > 4_000_000:
            return []
        # The cut statement is the last of its piece, so that it is scored like any other.
        pieces.append((new[last_new : new_index + 1], old[last_old : old_index + 1]))
        last_new, last_old = new_index + 1, old_index + 1
    return pieces


def _once(statements: list[Stmt]) -> dict[str, int]:
    seen: dict[str, int] = {}
    for index, statement in enumerate(statements):
        seen[statement.key] = -1 if statement.key in seen else index
    return {key: index for key, index in seen.items() if index >= 0}


def _increasing(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs that increase on both sides (patience)."""
    import bisect

    tops: list[int] = []
    at: list[int] = []
    back: list[int] = []
    for number, (_, value) in enumerate(pairs):
        place = bisect.bisect_left(tops, value)
        back.append(at[place - 1] if place else -1)
        if place == len(tops):
            tops.append(value)
            at.append(number)
        else:
            tops[place] = value
            at[place] = number
    out: list[tuple[int, int]] = []
    number = at[-1] if at else -1
    while number >= 0:
        out.append(pairs[number])
        number = back[number]
    return out[::-1]


def _align_piece(
    new: list[Stmt], old: list[Stmt], likeness: Likeness, hint: Alignment | None, result: Alignment
) -> None:
    rows, columns = len(new), len(old)
    if not rows or not columns:
        return
    alike = [likeness.row(left, old) for left in new]
    if hint is not None:
        for i, left in enumerate(new):
            row = alike[i]
            loop = left.loop
            expected = hint.forward.get(loop) if loop is not None else None
            for j, right in enumerate(old):
                if row[j] < ALIKE:
                    continue
                actual = right.loop
                if (expected is not None and actual is not expected) or (
                    loop is None and actual is not None and actual in hint.backward
                ):
                    row[j] -= 0.3
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        row, below, likes = best[i], best[i + 1], alike[i]
        after = alike[i + 1] if i + 1 < rows else None
        worth = _worth(new[i])
        for j in range(columns - 1, -1, -1):
            value = below[j] if below[j] >= row[j + 1] else row[j + 1]
            score = likes[j]
            if score >= ALIKE:
                taken = below[j + 1] + worth * (score - 0.3)
                if after is not None and j + 1 < columns and after[j + 1] >= SURE:
                    taken += 0.02
                value = max(taken, value)
            row[j] = value
    i = j = 0
    while i < rows and j < columns:
        score = alike[i][j]
        if score >= ALIKE:
            taken = best[i + 1][j + 1] + _worth(new[i]) * (score - 0.3)
            if i + 1 < rows and j + 1 < columns and alike[i + 1][j + 1] >= SURE:
                taken += 0.02
            if taken >= best[i][j] - 1e-9:
                result.add(new[i], old[j], score)
                i += 1
                j += 1
                continue
        if best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1


def _pair_moved(new: Sequence[Stmt], old: Sequence[Stmt], likeness: Likeness, result: Alignment) -> None:
    """Pair statements that stand elsewhere on the other side, where there is exactly one good partner."""
    left = [statement for statement in new if statement not in result.forward]
    right = [statement for statement in old if statement not in result.backward]
    if not left or not right or len(left) * len(right) > _CELLS:
        return
    found: list[tuple[float, Stmt, Stmt]] = []
    for one in left:
        scored = heapq.nlargest(
            2, ((score, other.order, other) for score, other in zip(likeness.row(one, right, SURE), right, strict=True))
        )
        if scored and scored[0][0] >= SURE and (len(scored) == 1 or scored[1][0] < scored[0][0] - 0.05):
            found.append((scored[0][0], one, scored[0][2]))
    found.sort(key=lambda entry: -entry[0])
    for score, one, other in found:
        if one not in result.forward and other not in result.backward:
            result.add(one, other, score)
            result.moved.add(one)
