"""What today's file adds: its hindsight statements, with the new things that they need."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from .align import Alignment, align, scope_grams
from .bound import bindings, scope_parameters
from .imported import Import, imports, imports_of
from .logs import log_calls, logged_name
from .source import DEFINITIONS, FUNCTIONS, Scope, Source, SourceError, Stmt, parse
from .uses import any_touch, header_use, use_of


@dataclass(frozen=True)
class Unit:
    """One hindsight statement: what today's file logs and the recorded version does not."""

    name: str | None
    text: str
    line: int
    end_line: int
    changed: bool
    needs: tuple[str, ...]
    names: tuple[str, ...] = ()  # all names that it logs literally; one unit may be a loop with several logs


@dataclass(frozen=True)
class Part:
    """A unit as statements of today's tree. `replaced` is the recorded statement in whose place it stands today."""

    statement: Stmt
    support: tuple[Stmt, ...]
    imports: tuple[Import, ...]
    replaced: Stmt | None


@dataclass(frozen=True)
class Patch:
    """What today's file adds to the recorded one."""

    units: tuple[Unit, ...]
    base: Source | None = field(default=None, repr=False, compare=False)
    today: Source | None = field(default=None, repr=False, compare=False)
    parts: tuple[Part, ...] = field(default=(), repr=False, compare=False)
    any_statement: bool = False
    trails: dict[Stmt, Trail] = field(default_factory=dict, repr=False, compare=False, hash=False)

    @property
    def added(self) -> frozenset[Stmt]:
        """Today's statements that the patch carries: they are no evidence for where anything else stands."""
        carried: set[Stmt] = set()
        for part in self.parts:
            if part.replaced is None:
                carried.update(part.statement.walk())
            for statement in part.support:
                carried.update(statement.walk())
        return frozenset(carried)


@dataclass
class Trail:
    """How far a unit has been carried along a history (newest first), and how it reads there; None where it was lost."""

    path: list[bytes]
    step: Patch | None
    carried: bool = False  # whether any version of the path could take it, so that `step` is no longer today's
    refused: set[bytes] = field(default_factory=set)  # versions that are known not to take `step`


def hindsight(recorded: bytes, today: bytes, *, any_statement: bool = False) -> Patch:
    """The hindsight patch between a recorded file and today's.

    With `any_statement` every added or changed statement counts, not only those that log. Raises SourceError.
    """
    base, new = parse(recorded), parse(today)
    if recorded == today:
        return Patch((), base, new, (), any_statement)
    try:
        return _Finder(base, new, any_statement).patch()
    except RecursionError as error:
        raise SourceError("The file is nested too deeply to be analysed.") from error


def function_of(patch: Patch, unit: int) -> str | None:
    """The qualified name of the function that a unit stands in; None for one that stands in none."""
    scope = patch.parts[unit].statement.block.scope
    return scope.qualname if scope.kind == "function" else None


def functions_in(data: bytes, *, logging: bool = False) -> frozenset[str]:
    """The qualified names of a file's functions and methods, or of those that log. Raises SourceError."""
    source = parse(data)
    return frozenset(
        scope.qualname
        for scope in source.scopes
        if scope.kind == "function"
        and (not logging or any(not one.blocks and log_calls(source, one.node) for one in scope.flat))
    )


def pair_scopes(new: Source, old: Source) -> dict[Scope, Scope]:
    """Scopes by qualified name, then what is left by content."""
    pairs: dict[Scope, Scope] = {}
    taken: set[Scope] = set()
    named = _by_name(old)
    for name, ours in _by_name(new).items():
        theirs = named.get(name, [])
        # Of several of one name (a property and its setter) the first is the first, if none came or went.
        for scope, same in zip(ours if len(ours) == len(theirs) else ours[:1], theirs, strict=False):
            if same.kind == scope.kind:
                pairs[scope] = same
                taken.add(same)
    left = [scope for scope in new.scopes if scope not in pairs]
    for scope in left:
        grams = scope_grams(scope)
        best: tuple[float, Scope] | None = None
        for other in old.scopes:
            if other in taken or other.kind != scope.kind:
                continue
            shared = len(grams & scope_grams(other)) / max(1, len(grams))
            if shared >= 0.5 and (best is None or shared > best[0]):
                best = (shared, other)
        if best is not None:
            pairs[scope] = best[1]
            taken.add(best[1])
    return pairs


def _by_name(source: Source) -> dict[str, list[Scope]]:
    found: dict[str, list[Scope]] = {}
    for scope in source.scopes:
        found.setdefault(scope.qualname, []).append(scope)
    return found


class _Finder:
    def __init__(self, base: Source, today: Source, any_statement: bool) -> None:
        self.base = base
        self.today = today
        self.any_statement = any_statement
        self.pairs = pair_scopes(today, base)
        self.alignments: dict[Scope, Alignment] = {}
        self.counterpart: dict[Stmt, Stmt] = {}
        self.likeness: dict[Stmt, float] = {}
        for scope in today.scopes:
            other = self.pairs.get(scope)
            if other is None:
                other = self._source_of_moved(scope)
                if other is None:
                    continue
            found = align(scope.flat, other.flat)
            self.alignments[scope] = found
            for statement, match in found.forward.items():
                self.counterpart[statement] = match
                self.likeness[statement] = found.score[statement]
        self._unmatch_foreign_logs()

    def _source_of_moved(self, scope: Scope) -> Scope | None:
        """Where the body of a function that is new today may have stood before."""
        grams = scope_grams(scope)
        best = max(
            self.base.scopes, key=lambda other: len(grams & scope_grams(other)) / max(1, len(grams)), default=None
        )
        if best is None or len(grams & scope_grams(best)) < 0.5 * len(grams):
            return None
        return best

    def _unmatch_foreign_logs(self) -> None:
        """A log of one name is not an edited form of a log of another name."""
        for statement, match in list(self.counterpart.items()):
            if self.likeness[statement] >= 0.999:
                continue
            ours, theirs = self._logs(self.today, statement), self._logs(self.base, match)
            if not ours and not theirs:
                continue
            names = {logged_name(call) for call in ours}, {logged_name(call) for call in theirs}
            wraps = ours and not theirs and _same_targets(statement, match)
            if not (names[0] == names[1] and ours and theirs) and not wraps:
                del self.counterpart[statement]

    @staticmethod
    def _logs(source: Source, statement: Stmt) -> list[ast.Call]:
        return [] if statement.blocks else log_calls(source, statement.node)

    def is_added(self, statement: Stmt) -> bool:
        return statement not in self.counterpart

    def wholly_added(self, statement: Stmt) -> bool:
        return all(self.is_added(inner) for inner in statement.walk())

    def outermost(self, statement: Stmt) -> Stmt:
        """The largest compound statement around it in the same scope that is new with all it contains."""
        while True:
            owner = statement.block.owner
            if owner is None or isinstance(owner.node, DEFINITIONS) or not self.wholly_added(owner):
                return statement
            statement = owner

    def patch(self) -> Patch:
        found: dict[Stmt, Stmt | None] = {}  # statement -> what it replaces
        for statement in self._wanted():
            match = self.counterpart.get(statement)
            if match is not None:
                found[statement] = match
                continue
            old = self._same_log_elsewhere(statement)
            if old is not None:
                found[statement] = old
                continue
            whole = self.outermost(statement)
            definition = self._new_definition(whole)
            if definition is not None:
                callers = list(self._callers(definition))
                for caller in callers:
                    found.setdefault(self.outermost(caller), None)
                if not callers:
                    found.setdefault(definition, None)
                continue
            found.setdefault(whole, None)
        ordered = sorted(found, key=lambda statement: statement.line)
        parts = [self._part(statement, found[statement]) for statement in ordered]
        if self.any_statement:
            carried = {statement for part in parts for statement in part.support}
            parts = [part for part in parts if part.statement not in carried]
        units = tuple(self._unit(part) for part in parts)
        return Patch(units, self.base, self.today, tuple(parts), self.any_statement)

    def _wanted(self) -> Iterator[Stmt]:
        """Statements that are new or changed and that log (or, if any statement counts, all of them)."""
        for statement in self.today.statements():
            if self.likeness.get(statement, 0.0) >= 1.0 and statement in self.counterpart:
                continue
            if statement.blocks:
                if self.any_statement and self.is_added(statement) and self.wholly_added(statement):
                    yield statement
                continue
            if isinstance(statement.node, ast.Import | ast.ImportFrom):
                continue
            match = self.counterpart.get(statement)
            if match is not None and match.key == statement.key:
                continue
            if self._logs(self.today, statement) or self.any_statement:
                yield statement

    def _same_log_elsewhere(self, statement: Stmt) -> Stmt | None:
        """The recorded statement that logs the same name, if today's takes its place: each the only one left."""
        calls = self._logs(self.today, statement)
        names = {logged_name(call) for call in calls} - {None}
        if len(names) != 1 or len(calls) != 1:
            return None
        taken = set(self.counterpart.values())
        scope = self.pairs.get(statement.block.scope)
        old = [
            other
            for other in (scope.flat if scope is not None else ())
            if other not in taken and {logged_name(call) for call in self._logs(self.base, other)} == names
        ]
        new = [
            other
            for other in statement.block.scope.flat
            if self.is_added(other) and {logged_name(call) for call in self._logs(self.today, other)} == names
        ]
        return old[0] if len(old) == 1 and len(new) == 1 else None

    def _new_definition(self, statement: Stmt) -> Stmt | None:
        """The function or class around it, where that is new as a whole."""
        outer: Stmt | None = None
        scope: Scope | None = statement.block.scope
        while scope is not None:
            if scope.owner is not None and self.wholly_added(scope.owner):
                outer = scope.owner
            scope = scope.parent
        return outer

    def _callers(self, definition: Stmt) -> Iterator[Stmt]:
        name = getattr(definition.node, "name", "")
        for statement in self.today.statements():
            if statement.blocks or statement is definition or statement.inside(definition):
                continue
            if not self.is_added(statement):
                continue
            if any(name in call.split(".") for call in use_of(statement).calls):
                owner: Stmt | None = statement
                inside = False
                while owner is not None:
                    inside = inside or owner is definition
                    owner = owner.block.owner
                if not inside:
                    yield statement

    # ---- what a unit needs

    def _part(self, statement: Stmt, replaced: Stmt | None) -> Part:
        support: dict[Stmt, None] = {}
        wanted_imports: dict[str, Import] = {}
        todo = [statement]
        seen: set[Stmt] = {statement}
        while todo:
            current = todo.pop()
            for chain in sorted(use_of(current).reads):
                for need in self._feeding(chain, current):
                    if isinstance(need, Import):
                        wanted_imports.setdefault(need.text, need)
                        continue
                    whole = self.outermost(need)
                    if whole in seen or whole.inside(statement) or statement.inside(whole):
                        continue
                    seen.add(whole)
                    support[whole] = None
                    todo.append(whole)
        ordered = sorted(support, key=lambda need: need.line)
        ordered = [one for one in ordered if not any(one.inside(other) for other in ordered)]
        return Part(statement, tuple(ordered), tuple(wanted_imports.values()), replaced)

    def _feeding(self, chain: str, reader: Stmt) -> Iterator[Stmt | Import]:
        """Everything new today that gives the chain its value or changes it."""
        root, _, rest = chain.partition(".")
        scope = self._binding_scope(root, reader.block.scope)
        if scope is not None:
            binders = bindings(scope).get(root, [])
            if all(isinstance(binder.node, ast.Import | ast.ImportFrom) for binder in binders):
                for found in imports(self.today).get(root, ()):
                    if found.statement in binders and self._import_is_new(found):
                        yield found
            elif self._name_is_new(root, scope, binders):
                yield from self._new_statements(root, scope)
        if rest and root in {"self", "cls"}:
            yield from self._feeding_attribute(chain, rest.partition(".")[0], reader)

    def _binding_scope(self, name: str, scope: Scope) -> Scope | None:
        for depth, current in enumerate(scope.chain()):
            if depth and current.kind == "class":
                continue
            if name in scope_parameters(current):
                return None
            if name in bindings(current):
                return current
        return None

    def _import_is_new(self, found: Import) -> bool:
        return not any(old.target == found.target for old in imports(self.base).get(found.name, ()))

    def _name_is_new(self, name: str, scope: Scope, binders: list[Stmt]) -> bool:
        if not all(self.is_added(binder) for binder in binders):
            return False
        old = self.pairs.get(scope)
        return old is None or (name not in bindings(old) and name not in scope_parameters(old))

    def _new_statements(self, name: str, scope: Scope) -> Iterator[Stmt]:
        for statement in scope.flat:
            if not self.is_added(statement):
                continue
            use = header_use(statement)
            if name in use.binds or any_touch((name,), use.changes):
                yield statement

    def _feeding_attribute(self, chain: str, attribute: str, reader: Stmt) -> Iterator[Stmt]:
        owner: Scope | None = reader.block.scope
        while owner is not None and owner.kind != "class":
            owner = owner.parent
        if owner is None:
            return
        old = self.pairs.get(owner)
        own = f"{chain.partition('.')[0]}.{attribute}"
        members = [scope for scope in self.today.scopes if _within(scope, owner)]
        if old is not None:
            for scope in self.base.scopes:
                if _within(scope, old) and (own in bindings(scope) or attribute in bindings(old)):
                    return
        for statement in owner.flat:
            if attribute in header_use(statement).binds and self.is_added(statement):
                yield statement
        for scope in members:
            for statement in scope.flat:
                if not self.is_added(statement) or isinstance(statement.node, FUNCTIONS):
                    continue
                use = header_use(statement)
                if own in use.binds or own in use.changes:
                    yield statement

    def _unit(self, part: Part) -> Unit:
        statement = part.statement
        calls = [call for inner in statement.walk() for call in self._logs(self.today, inner)]
        if not calls:
            for need in part.support:
                calls += [call for inner in need.walk() for call in self._logs(self.today, inner)]
        names = [logged_name(call) for call in calls]
        literal = tuple(dict.fromkeys(name for name in names if name is not None))
        needs = tuple(found.text for found in part.imports) + tuple(self.today.text_of(need) for need in part.support)
        changed = part.replaced is not None and bool(self._logs(self.base, part.replaced))
        return Unit(
            name=literal[0] if len(literal) == 1 and len(set(names)) == 1 else None,
            text=self.today.text_of(statement),
            line=statement.line,
            end_line=statement.end_line,
            changed=changed,
            needs=needs,
            names=literal,
        )


def _within(scope: Scope, outer: Scope) -> bool:
    return any(one is outer for one in scope.chain())


def _same_targets(new: Stmt, old: Stmt) -> bool:
    """`x = flor.log("x", f(y))` where `x = f(y)` stood: the same names are bound."""
    ours, theirs = use_of(new).binds, use_of(old).binds
    return bool(ours) and ours == theirs


__all__ = ["Part", "Patch", "Unit", "function_of", "functions_in", "hindsight", "imports_of", "pair_scopes"]
