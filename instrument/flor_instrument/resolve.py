"""What the names that a statement reads are called in another version, and whether they have a value there."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from .attributes import check_attributes
from .bound import BUILTINS, Position, bindings, bound_at, scope_parameters
from .imported import FLOR_MODULES, Import, has_star_import, imports
from .renames import Votes
from .source import Block, Scope, Source, Stmt, kept
from .spots import Unplaced
from .uses import header_use, own_chains, prefixes, use_of
from .view import View

_CLEAR = 1.5  # how many times the votes of the runner-up a rename must have
# flor-replay itself depends on these, so they can be imported wherever a replay runs.
_PRESENT = frozenset({"torch", "numpy", "pandas"}) | FLOR_MODULES


@dataclass(frozen=True)
class Names:
    """How to write a statement in the version: what to rename and what to import first."""

    renames: dict[str, str]
    imports: tuple[Import, ...]


def import_renames(view: View, chains: Iterable[str]) -> dict[str, str]:
    """What today's imported names are called by the version's own imports of the same things."""
    out: dict[str, str] = {}
    ours, theirs = imports(view.today), imports(view.target)
    for chain in chains:
        root, _, rest = chain.partition(".")
        for found in ours.get(root, ()):
            if any(other.target == found.target for other in theirs.get(root, ())):
                break
            same = [
                other.name
                for others in theirs.values()
                for other in others
                if other.target == found.target and _binds_target(other)
            ]
            if same and _binds_target(found):
                out[root] = same[0]
                break
            # `flor.log` today, `from flor import log` then.
            first = rest.partition(".")[0]
            member = [
                other.name
                for others in theirs.values()
                for other in others
                if first and other.target == f"{found.target}.{first}"
            ]
            if member and not theirs.get(root):
                out[f"{root}.{first}"] = member[0]
                break
            # `log` today (from flor import log), `flor.log` then.
            owner, _, leaf = found.target.rpartition(".")
            holder = [
                other.name
                for others in theirs.values()
                for other in others
                if owner and other.target == owner and _binds_target(other)
            ]
            if holder and not theirs.get(root):
                out[root] = f"{holder[0]}.{leaf}"
                break
    return out


def _binds_target(found: Import) -> bool:
    """`import a.b` binds `a`, not what it is the target of."""
    return not found.text.startswith("import ") or " as " in found.text or "." not in found.target


class Resolver:
    """Looks up today's names in the version, at one place."""

    def __init__(self, view: View, new_imports: Iterable[Import], carry_safe_imports: bool) -> None:
        self._view = view
        self._new_imports = tuple(new_imports)
        self._carry_safe_imports = carry_safe_imports
        self._free: frozenset[str] = frozenset()  # names of the statement that today's file does not bind either

    def names(
        self,
        statement: Stmt,
        block: Block,
        position: Position,
        votes: Votes | None,
        provided: frozenset[str],
        deferred: bool = False,
    ) -> Names:
        """Names for `statement` in `block` at `position`; raises Unplaced with the name that is missing.

        `provided` are names that the patch itself brings along. `deferred`: a definition, whose names are looked up
        when it is called.
        """
        renames: dict[str, str] = {}
        needed: dict[str, Import] = {}
        use = use_of(statement)
        self._free = frozenset(
            root for root in use.roots if not _bound_today(self._view.today, root, statement.block.scope)
        )
        from_imports = import_renames(self._view, use.reads)
        own = _own_attributes(statement)
        chains = use.reads | {bound for bound in use.binds if "." in bound}
        member = deferred and statement.block.scope.kind == "class"
        if member:
            # A method looks at its object: its attributes may have other names there.
            chains |= own_chains(statement)
            renames.update(self._attributes(own_chains(statement), votes))
        for chain in sorted(chains):
            if member and chain.partition(".")[0] == "self":
                if not any(part in renames for part in prefixes(chain)):
                    check_attributes(self._view, chain, use.calls)
                continue
            if any(part in provided for part in prefixes(chain)):
                continue
            rename = self._rename(chain, block, position, votes, from_imports, deferred)
            if rename is not None:
                renames[rename[0]] = rename[1]
                if chain not in own and rename[0] not in from_imports:
                    check_attributes(self._view, chain, use.calls, rename[0].count(".") + 1)
                continue
            self._check_bound(chain, statement, block, position, needed, deferred)
            if chain not in own:
                check_attributes(self._view, chain, use.calls)
        for bound in sorted(use.binds):
            if "." not in bound and bound not in provided and votes is not None and not deferred:
                found = votes.best(bound)
                if found and found[0] != bound and found[1] >= _CLEAR * found[2] and bound not in renames:
                    renames[bound] = found[0]
        for new, old in renames.items():
            if member and new.startswith("self.") and old.startswith("self."):
                continue
            if old.partition(".")[0] in use.inner or new.partition(".")[0] in use.inner:
                raise Unplaced(f"The name `{old}` has another meaning inside the statement.")
        return Names(renames, tuple(needed.values()))

    @staticmethod
    def _attributes(chains: frozenset[str], votes: Votes | None) -> dict[str, str]:
        """The attributes of `self` that are called otherwise there."""
        found: dict[str, str] = {}
        known = votes.renames() if votes is not None else {}
        for chain in chains:
            for part in prefixes(chain):
                new = known.get(part)
                if new is not None and part.startswith("self.") and new.startswith("self."):
                    found[part] = new
                    break
        return found

    def _bound(self, name: str, block: Block, position: Position, deferred: bool, instead_of: str = "") -> bool:
        target = self._view.target
        if (instead_of or name) in self._free and _is_free(target, name):
            # From a star import or from elsewhere, in both versions.
            return True
        if deferred:
            return name in BUILTINS or name in bindings(target.module)
        return bound_at(name, block, position)

    def _rename(
        self,
        chain: str,
        block: Block,
        position: Position,
        votes: Votes | None,
        from_imports: dict[str, str],
        deferred: bool,
    ) -> tuple[str, str] | None:
        """What part of the chain has another name here; None if it has its own."""
        for part in prefixes(chain):
            if part in from_imports:
                return part, from_imports[part]
        if imports(self._view.today).get(chain.partition(".")[0]):
            root = chain.partition(".")[0]
            if "." not in chain or self._bound(root, block, position, deferred):
                voted = self._voted(chain, block, position, votes, deferred)
                # An imported name keeps its meaning; only another version's own name for a function may differ.
                return voted if voted is not None and not self._bound(root, block, position, deferred) else None
        voted = self._voted(chain, block, position, votes, deferred)
        if voted is not None:
            return voted
        root = chain.partition(".")[0]
        if self._bound(root, block, position, deferred):
            return None
        voted = self._voted(chain, block, position, self._view.votes_about(root), deferred)
        if voted is not None:  # that nothing else has become the same is seen where the version says it
            votes = self._view.votes_about(root, voted[1].partition(".")[0])
            voted = self._voted(chain, block, position, votes, deferred)
        if voted is None and root == "self" and "." in chain:
            # Code that was not in a class yet: `self.model` was the variable `model`.
            name = chain.split(".")[1]
            if name not in BUILTINS and self._bound(name, block, position, deferred):
                return f"self.{name}", name
        return voted

    def _voted(
        self, chain: str, block: Block, position: Position, votes: Votes | None, deferred: bool
    ) -> tuple[str, str] | None:
        if votes is None:
            return None
        for part in prefixes(chain):
            counter = votes.counts.get(part)
            if not counter:
                continue
            usable = {
                old: weight
                for old, weight in counter.items()
                if self._bound(old.partition(".")[0], block, position, deferred, chain.partition(".")[0])
            }
            if not usable:
                continue
            ranked = sorted(usable.items(), key=lambda entry: (-entry[1], entry[0] != part))
            best, weight = ranked[0]
            second = ranked[1][1] if len(ranked) > 1 else 0.0
            if best == part:
                self._check_own(part, weight, votes)
                return None
            if weight < 0.25:
                continue
            if weight < _CLEAR * second:
                if part in usable:
                    self._check_own(part, usable[part], votes)
                    return None
                raise Unplaced(f"It is not clear what `{part}` is called in this version.")
            rival = self._rival(part, best, weight, votes)
            if rival is not None:
                if self._bound(part.partition(".")[0], block, position, deferred):
                    return None
                raise Unplaced(f"It is not clear whether `{best}` is `{part}` or `{rival}` in this version.")
            return part, best
        return None

    def _check_own(self, part: str, weight: float, votes: Votes) -> None:
        """Raises Unplaced where a name that is kept is what something else of today's file is called there."""
        rival = self._rival(part, part, weight, votes)
        if rival is not None and "." not in rival + part:
            raise Unplaced(f"It is not clear whether `{part}` is `{rival}` in this version.")

    @staticmethod
    def _rival(part: str, old: str, weight: float, votes: Votes) -> str | None:
        """Another of today's names for which the same name of the version speaks more strongly."""
        for new, counter in votes.counts.items():
            if new == part or new.endswith("." + part) or part.endswith("." + new):
                continue
            if counter.get(old, 0.0) > weight and max(counter, key=lambda one: counter[one]) == old:
                return new
        return None

    def _check_bound(
        self,
        chain: str,
        statement: Stmt,
        block: Block,
        position: Position,
        needed: dict[str, Import],
        deferred: bool,
    ) -> None:
        root = chain.partition(".")[0]
        if self._bound(root, block, position, deferred):
            return
        found = self._import_for(root)
        if found is not None:
            if root in bindings(self._view.target.module):
                if not self._imported_later(root):
                    raise Unplaced(f"The name `{root}` means something else in this version.")
                raise Unplaced(f"The name `{root}` is not bound here in this version.")
            needed[found.text] = found
            return
        if has_star_import(self._view.target) and not _bound_today(self._view.today, root, statement.block.scope):
            return
        raise Unplaced(f"The name `{root}` is not bound here in this version.")

    def _imported_later(self, root: str) -> bool:
        return bool(imports(self._view.target).get(root))

    def _import_for(self, root: str) -> Import | None:
        """The import that today's file has for a name, where it may be carried."""
        for found in self._new_imports:
            if found.name == root:
                return found
        target_roots = {
            other.target.partition(".")[0] for others in imports(self._view.target).values() for other in others
        }
        for found in imports(self._view.today).get(root, ()):
            package = found.target.partition(".")[0]
            if package in FLOR_MODULES:
                return found
            if not self._carry_safe_imports or not package:
                continue
            if package in sys.stdlib_module_names or package in _PRESENT or package in target_roots:
                return found
        return None


def _is_free(target: Source, name: str) -> bool:
    """Whether the file reads a name that nothing in it binds."""
    return name in _free_reads(target)


@kept
def _free_reads(target: Source) -> frozenset[str]:
    bound = {name for scope in target.scopes for name in bindings(scope)}
    bound.update(name for scope in target.scopes for name in scope_parameters(scope))
    read = {name for one in target.statements() for name in header_use(one).roots}
    return frozenset(read - bound)


def _own_attributes(statement: Stmt) -> frozenset[str]:
    return frozenset(bound for bound in use_of(statement).binds if "." in bound)


def _bound_today(today: Source, name: str, scope: Scope) -> bool:
    return any(name in bindings(one) or name in scope_parameters(one) for one in scope.chain())


__all__ = ["Names", "Resolver", "import_renames"]
