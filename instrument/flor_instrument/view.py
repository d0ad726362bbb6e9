"""Today's file and one version of it: which scopes and statements are which, and what names have become."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from .align import Alignment, align, scope_grams
from .imported import flor_names
from .renames import Votes, compare_parameters, merged, votes_of, votes_of_arguments
from .source import FUNCTIONS, Scope, Source, Stmt, kept
from .tokens import plain

_SCOPES = 4  # how many scopes of a version are looked at for one statement


class View:
    """Today's file and one version of it, with everything that has been found out about the two."""

    def __init__(self, today: Source, target: Source, added: frozenset[Stmt]) -> None:
        self.today = today
        self.target = target
        self.added = added
        self._alignments: dict[tuple[Scope, Scope], tuple[Alignment, Votes]] = {}
        self._flat: dict[Scope, list[Stmt]] = {}
        self._candidates: dict[Scope, list[Scope]] = {}
        self._about: dict[tuple[str, str | None], Votes] = {}
        self._overall: Votes | None = None

    def flat(self, scope: Scope) -> list[Stmt]:
        found = self._flat.get(scope)
        if found is None:
            found = self._flat[scope] = [one for one in scope.flat if one not in self.added]
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

    def _scope_votes(self, alignment: Alignment, new: Scope, old: Scope) -> Votes:
        votes = votes_of(alignment)
        votes_of_arguments(new.flat, old.flat, alignment, votes)
        if new.owner is not None and old.owner is not None:
            left, right = new.owner.node, old.owner.node
            if isinstance(left, FUNCTIONS) and isinstance(right, FUNCTIONS):
                compare_parameters(left, right, votes, 0.5)
        # What printed in a version was not called flor there.
        votes.keep_apart(flor_names(self.today), flor_names(self.target))
        return votes

    def votes(self, new: Scope, old: Scope) -> Votes:
        return self.alignment(new, old)[1]

    def renames_of_lost(self, chains: Iterable[str]) -> dict[str, str]:
        """What the chains' first names have become, by the whole file: of those that are no word of the version."""
        lost = {chain.partition(".")[0] for chain in chains} - self.target.words
        return {new: old for name in lost for new, old in self.votes_about(name).renames().items()}

    def overall_votes(self) -> Votes:
        """The votes of all scopes that have the same name in both files, and of each leftover's best partner."""
        if self._overall is None:
            self._overall = self._votes_of(self.today.scopes)
        return self._overall

    def votes_about(self, new: str, old: str | None = None) -> Votes:
        """What `overall_votes` says of chains that begin with `new`, and of all that may have become `old`.

        Only scopes that mention today's name, or the version's, have a say in that: the rest of a long file need not
        be aligned for it. What other chains have become is not in it.
        """
        known = self._about.get((new, old))
        if known is None:
            known = self._about[new, old] = self._votes_of(
                one
                for one in self.today.scopes
                if new in words_of(one) or (old and (other := self._best(one)) and old in words_of(other))
            )
        return known

    def _best(self, scope: Scope) -> Scope | None:
        return self.namesake(scope) or next(iter(self.candidates(scope)), None)

    def _votes_of(self, scopes: Iterable[Scope]) -> Votes:
        parts = []
        for scope in scopes:
            other = self._best(scope)
            if other is not None:
                parts.append((self.votes(scope, other), 1.0))
        return merged(parts)

    def namesake(self, scope: Scope) -> Scope | None:
        """The scope of the same qualified name and kind in the version."""
        other = self.target.by_name.get(scope.qualname)
        return other if other is not None and other.kind == scope.kind else None

    def keeper_of_the_name(self, scope: Scope) -> Scope | None:
        """The namesake; else the one function that has its name in another class or in none, and that today does not have."""
        namesake = self.namesake(scope)
        if namesake is not None or scope.kind != "function":
            return namesake
        found = [
            other
            for other in self.target.scopes
            if other.name == scope.name and other.kind == scope.kind and other.qualname not in self.today.by_name
        ]
        return found[0] if len(found) == 1 else None

    def defined_again(self, scope: Scope) -> bool:
        """Whether the version has several scopes of that qualified name, of which the last is the one that counts."""
        return sum(other.qualname == scope.qualname for other in self.target.scopes) > 1

    def unclaimed(self, scope: Scope, other: Scope) -> Alignment:
        """The alignment with a scope of another name, without the statements that stand there today as well.

        What today's scope of that name has at least as surely has not come here from there: it stayed where it was,
        and says nothing about a statement of this scope.
        """
        found = self.alignment(scope, other)[0]
        keeper = self.today.by_name.get(other.qualname)
        if keeper is None or keeper is scope or keeper.kind != other.kind:
            return found
        kept_there = self.alignment(keeper, other)[0]
        forward = {
            new: old
            for new, old in found.forward.items()
            if old not in kept_there.backward
            or kept_there.score.get(kept_there.backward[old], 0.0) < found.score.get(new, 0.0)
        }
        return found if len(forward) == len(found.forward) else found.only(forward)

    def likeliest(self, scope: Scope) -> Iterator[Scope]:
        """The candidates; the others are only looked for if the one of the same name is not enough."""
        namesake = self.namesake(scope)
        if namesake is not None:
            yield namesake
        yield from (other for other in self.candidates(scope) if other is not namesake)

    def candidates(self, scope: Scope) -> list[Scope]:
        """The scopes of the version that may hold what stands in `scope` today, the likeliest first."""
        known = self._candidates.get(scope)
        if known is None:
            known = self._candidates[scope] = self._ranked(scope)
        return known

    def _ranked(self, scope: Scope) -> list[Scope]:
        grams = scope_grams(scope)
        wanted = {"class"} if scope.kind == "class" else {"module", "function"}

        def rank(other: Scope) -> float:
            shared = len(grams & scope_grams(other)) / max(1, len(grams))
            if other.qualname == scope.qualname:
                return shared + 1.0
            return shared + (0.3 if other.name == scope.name else 0.0)

        found = [(rank(other), other) for other in self.target.scopes if other.kind in wanted]
        found.sort(key=lambda entry: -entry[0])
        return [other for likely, other in found[:_SCOPES] if likely > 0.05]


@kept
def words_of(scope: Scope) -> frozenset[str]:
    """Every word in the lines of the scope, without the bodies of the functions and classes in it."""
    if not scope.flat:
        return frozenset()
    lines = scope.flat[0].source.lines
    first, last = (scope.owner.line, scope.owner.end_line) if scope.owner is not None else (1, len(lines))
    kept_lines: list[str] = []
    for statement in scope.flat:
        if statement.scope is not None:
            kept_lines += lines[first - 1 : max(statement.line, statement.head_line - 1)]
            first = max(first, statement.end_line + 1)
    kept_lines += lines[first - 1 : last]
    return frozenset(re.findall(r"\w+", "".join(kept_lines)))


def _loops_kept(alignment: Alignment) -> bool:
    """Whether all that was matched stands in matched loops, so that looking again would change nothing."""
    return all(
        new.loop is old.loop if new.loop is None or old.loop is None else alignment.forward.get(new.loop) is old.loop
        for new, old in alignment.forward.items()
    )
