"""What names have become: a map from today's names to a version's, by the votes of matched statements."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from .align import Alignment
from .analysis.syntax import dotted
from .source import DEFINITIONS, FUNCTIONS, Stmt, kept
from .uses import parameters


@dataclass
class Votes:
    """For each chain of today's file, how often matched code has which chain in its place."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, new: str, old: str, weight: float) -> None:
        self.counts.setdefault(new, Counter())[old] += weight  # type: ignore[assignment]

    def merge(self, other: Votes, share: float = 1.0) -> None:
        for new, counter in other.counts.items():
            for old, weight in counter.items():
                self.add(new, old, weight * share)

    def keep_apart(self, ours: Collection[str], theirs: Collection[str]) -> None:
        """Forget that chains of today's names `ours` may be called by other names there than `theirs`."""
        for new, counter in self.counts.items():
            if new.partition(".")[0] in ours:
                for old in [old for old in counter if old.partition(".")[0] not in theirs]:
                    del counter[old]

    def best(self, new: str) -> tuple[str, float, float] | None:
        """The likeliest counterpart, its weight, and the weight of the runner-up."""
        counter = self.counts.get(new)
        if not counter:
            return None
        ranked = counter.most_common(2)
        second = float(ranked[1][1]) if len(ranked) > 1 else 0.0
        return ranked[0][0], float(ranked[0][1]), second

    def renames(self, margin: float = 1.5) -> dict[str, str]:
        """The clear ones, no two of today's plain names sharing one name of the version."""
        out: dict[str, str] = {}
        for new in self.counts:
            found = self.best(new)
            if found is not None and found[0] != new and found[1] >= margin * found[2]:
                out[new] = found[0]
        strongest: dict[str, str] = {}
        for new, old in out.items():
            rival = strongest.get(old)
            if rival is None or self.counts[new][old] > self.counts[rival][old]:
                strongest[old] = new
        return {
            new: old
            for new, old in out.items()
            if strongest[old] == new or new.endswith("." + strongest[old]) or strongest[old].endswith("." + new)
        }


def votes_of(alignment: Alignment) -> Votes:
    """The votes of all matched statements, the less alike the weaker."""
    votes = Votes()
    for new, old in alignment.forward.items():
        score = alignment.score[new]
        weight = 0.3 if score < 0.6 else score
        if new.key == old.key and not new.blocks:
            for chain, times in _its_own(new):
                votes.add(chain, chain, weight * times)
        else:
            _compare_statements(new, old, votes, weight)
    return votes


def votes_of_pair(new: Stmt, old: Stmt) -> Votes:
    """The votes of two statements known to be the same, for plain names: their attributes may have been edited."""
    found, votes = Votes(), Votes()
    _compare_statements(new, old, found, 1.0)
    for name, counter in found.counts.items():
        for other, weight in counter.items():
            if "." not in name and "." not in other:
                votes.add(name, other, weight)
    return votes


@kept
def _its_own(statement: Stmt) -> tuple[tuple[str, float], ...]:
    """The chains that a statement votes for when its counterpart is its equal, and how often."""
    votes = Votes()
    _compare_statements(statement, statement, votes, 1.0)
    return tuple((chain, counter[chain]) for chain, counter in votes.counts.items())


def votes_of_arguments(new: Iterable[Stmt], old: Iterable[Stmt], alignment: Alignment, votes: Votes) -> None:
    """What is called with the very same arguments, once on each side, is likely the same: `net(xb)`, `model(xb)`.

    This sees through statements that have been joined or split, which have no counterpart as a whole.
    """
    ours = _calls_by_arguments(one for one in new if alignment.score.get(one, 0.0) < 0.9)
    theirs = _calls_by_arguments(one for one in old if alignment.score.get(alignment.backward.get(one, one), 0.0) < 0.9)
    for arguments, chains in ours.items():
        others = theirs.get(arguments, set())
        if len(chains) == 1 and len(others) == 1:
            _compare_chains(next(iter(chains)), next(iter(others)), votes, 0.4)


def _calls_by_arguments(statements: Iterable[Stmt]) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for statement in statements:
        for arguments, callee in () if statement.blocks else _calls_of(statement):
            out.setdefault(arguments, set()).add(callee)
    return out


@kept
def _calls_of(statement: Stmt) -> tuple[tuple[str, str], ...]:
    """The calls in a statement whose arguments are all names: those, and what is called with them."""
    found: list[tuple[str, str]] = []
    for part in ast.walk(statement.node):
        if isinstance(part, ast.Call) and part.args and not part.keywords:
            callee = dotted(part.func)
            arguments = [dotted(argument) for argument in part.args]
            if callee is not None and None not in arguments:
                found.append((",".join(map(str, arguments)), callee))
    return tuple(found)


def _compare_statements(new: Stmt, old: Stmt, votes: Votes, weight: float) -> None:
    left, right = new.node, old.node
    if isinstance(left, FUNCTIONS) and isinstance(right, FUNCTIONS):
        votes.add(left.name, right.name, weight)
        compare_parameters(left, right, votes, weight)
        return
    if isinstance(left, DEFINITIONS) and isinstance(right, DEFINITIONS):
        votes.add(left.name, right.name, weight)
        return
    if isinstance(left, ast.Import | ast.ImportFrom):
        return
    if new.blocks:
        for name in ("target", "iter", "test", "subject", "items"):
            one, two = getattr(left, name, None), getattr(right, name, None)
            if one is not None and two is not None:
                _compare(one, two, votes, weight)
        if len(new.blocks) == len(old.blocks):
            for name in ("cases", "handlers"):
                pairs = zip(getattr(left, name, ()), getattr(right, name, ()), strict=False)
                for case, other in pairs:
                    _compare_bound_names(case, other, votes, weight)
        return
    _compare(left, right, votes, weight)


def compare_parameters(
    left: ast.FunctionDef | ast.AsyncFunctionDef,
    right: ast.FunctionDef | ast.AsyncFunctionDef,
    votes: Votes,
    weight: float,
) -> None:
    """Parameters stand for each other by name, else by position where the counts agree."""
    ours, theirs = parameters(left.args), parameters(right.args)
    for name in set(ours) & set(theirs):
        votes.add(name, name, weight)
    if len(ours) == len(theirs):
        for one, two in zip(ours, theirs, strict=True):
            if one not in theirs and two not in ours:
                votes.add(one, two, weight)


def _compare_bound_names(left: ast.AST, right: ast.AST, votes: Votes, weight: float) -> None:
    """The names that `case` patterns and `except … as` bind, which are no expressions."""
    names = [[part.name for part in _pattern(side) if getattr(part, "name", None)] for side in (left, right)]
    if len(names[0]) == len(names[1]):
        for one, two in zip(*names, strict=True):
            votes.add(one, two, weight)


def _pattern(node: ast.AST) -> Iterator[ast.MatchAs | ast.MatchStar | ast.ExceptHandler]:
    if isinstance(node, ast.ExceptHandler):
        yield node
    elif isinstance(node, ast.match_case):
        for part in ast.walk(node.pattern):
            if isinstance(part, ast.MatchAs | ast.MatchStar):
                yield part


def _compare(left: object, right: object, votes: Votes, weight: float) -> None:
    if isinstance(left, list) and isinstance(right, list):
        _compare_lists(left, right, votes, weight)
        return
    if not isinstance(left, ast.AST) or not isinstance(right, ast.AST):
        return
    one, two = dotted(left), dotted(right)
    if one is not None and two is not None:
        _compare_chains(one, two, votes, weight)
        return
    if (one is None) != (two is None):
        # One side has a name where the other has an expression: says nothing about what the name is called.
        if isinstance(left, ast.Attribute) and isinstance(right, ast.Attribute) and left.attr == right.attr:
            _compare(left.value, right.value, votes, weight)
        return
    if type(left) is not type(right):
        pair = (getattr(left, "value", None), getattr(right, "value", None))
        if (
            isinstance(left, ast.stmt)
            and isinstance(right, ast.stmt)
            and all(isinstance(value, ast.expr) for value in pair)
        ):
            _compare(pair[0], pair[1], votes, weight * 0.5)
        return
    if isinstance(left, ast.Call) and isinstance(right, ast.Call):
        _compare(left.func, right.func, votes, weight)
        same_length = len(left.args) == len(right.args)
        if same_length:
            _compare_lists(list(left.args), list(right.args), votes, weight)
        theirs = {keyword.arg: keyword.value for keyword in right.keywords}
        for keyword in left.keywords:
            if keyword.arg in theirs:
                _compare(keyword.value, theirs[keyword.arg], votes, weight)
        return
    for name, value in ast.iter_fields(left):
        if name not in {"ctx", "type_comment", "annotation"}:
            _compare(value, getattr(right, name, None), votes, weight)


def _compare_lists(left: list[object], right: list[object], votes: Votes, weight: float) -> None:
    if len(left) == len(right):
        for one, two in zip(left, right, strict=True):
            _compare(one, two, votes, weight)


def _compare_chains(one: str, two: str, votes: Votes, weight: float) -> None:
    """`self.model.parameters` against `net.parameters`: take off the equal end, the rest stands for the rest."""
    left, right = one.split("."), two.split(".")
    votes.add(one, two, weight)
    while len(left) > 1 and len(right) > 1 and left[-1] == right[-1]:
        left.pop()
        right.pop()
        votes.add(".".join(left), ".".join(right), weight)
    if len(left) > 1 and len(right) > 1 and left[0] == right[0]:
        votes.add(left[0], right[0], weight)


def merged(all_votes: Iterable[tuple[Votes, float]]) -> Votes:
    out = Votes()
    for votes, share in all_votes:
        out.merge(votes, share)
    return out
