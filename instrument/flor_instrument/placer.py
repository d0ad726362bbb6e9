"""Placing one hindsight statement with everything that it needs into one version."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal

from .anchor import find_spot
from .bound import END, bindings
from .confirmed import confirm
from .imported import Import, imports
from .logs import log_calls, logged_name
from .patches import Part, Patch
from .renames import Votes, merged, votes_of_pair
from .resolve import Names, Resolver, import_renames
from .source import DEFINITIONS, Block, Scope, Stmt, parse
from .splice import (
    Edit,
    Unwritable,
    after_line,
    before_line,
    dedented,
    insertion,
    renamed,
    replacement,
    spaced,
)
from .spots import Spot, Unplaced
from .tokens import plain
from .undisturbed import undisturbed
from .uses import prefixes, use_of
from .view import View


@dataclass(frozen=True)
class Planned:
    """One edit to be made to a version."""

    unit: int
    kind: Literal["log", "support"]
    edit: Edit
    text: str
    name: str | None
    replaces: bool
    after: str | None
    before: str | None
    renames: tuple[tuple[str, str], ...]
    rank: tuple[int, int]  # the order among edits at the same byte
    after_line: int | None = None  # where `after` and `before` begin in the version
    before_line: int | None = None
    placed_by: Literal["tool", "accepted", "edited"] = "tool"


class Placer:
    """Places one unit with its support.

    `unsure`: take the best place there is and the likeliest names, for a person to look at.
    """

    def __init__(self, patch: Patch, view: View, number: int, part: Part, unsure: bool = False) -> None:
        self.unsure = unsure
        self.patch = patch
        self.view = view
        self.number = number
        self.part = part
        self.resolver = Resolver(view, part.imports, carry_safe_imports=not patch.any_statement)
        self.planned: list[Planned] = []
        self.needed: dict[str, Import] = {}
        self.first_top: Stmt | None = None
        self.definition_renames: dict[str, str] = {}
        self.definitions: list[Stmt] = []

    def place(self) -> list[Planned] | None:
        statement = self.part.statement
        support = [one for one in self.part.support if not self._is_definition(one)]
        self.definitions = [one for one in self.part.support if self._is_definition(one)]
        for definition in self.definitions:
            self._check_definition(definition)
        present = self._place_statement(statement, "log")
        if present:
            return None
        for one in support:
            self._place_statement(one, "support")
        for one in self.definitions:
            self._place_definition(one)
        self._place_imports()
        return self.planned

    # ---- statements

    def _provided(self) -> frozenset[str]:
        out: set[str] = set()
        for one in self.part.support:
            out |= use_of(one).binds
        for definition in self.definitions:
            owner = definition.block.scope
            if owner.kind == "class":
                name = getattr(definition.node, "name", "")
                out |= {f"self.{name}", f"cls.{name}"}
        return frozenset(out)

    def _place_statement(self, statement: Stmt, kind: Literal["log", "support"]) -> bool:
        """Plan the statement; True if the version has it already."""
        if kind == "log" and self.part.replaced is not None:
            done = self._replace(statement)
            if done is not None:
                return done
        if self._is_definition(statement):
            raise Unplaced("A function that logs is new today and nothing new calls it.")
        spot = undisturbed(self.view, statement)
        if spot is not None:
            try:
                return self._write(statement, kind, spot, None)
            except Unplaced:
                pass  # a name is missing: what has become of it is a matter for the alignment
        try:
            spot = self._aligned_spot(statement)
        except Unplaced:
            if (
                kind == "support"
                and statement.block is statement.block.scope.body
                and (statement.block.scope.kind == "module" and self.first_top is not None)
            ):
                self._place_before_top(statement)
                return False
            raise
        return self._write(statement, kind, spot, self.view.votes(spot.scope, spot.block.scope))

    def _aligned_spot(self, statement: Stmt) -> Spot:
        reads = use_of(statement).reads

        def reads_there(new: Scope, old: Scope) -> frozenset[str]:
            renames = self.view.votes(new, old).renames()
            return frozenset(_applied(chain, renames) for chain in reads)

        try:
            return find_spot(self.view, statement, reads_there, self._likely_renames(statement))
        except Unplaced as refused:
            if not self.unsure or refused.unsure is None:
                raise
            return refused.unsure

    def _write(self, statement: Stmt, kind: Literal["log", "support"], spot: Spot, votes: Votes | None) -> bool:
        """Plan the text for the place; True if the version has it already."""
        if spot.present is not None:
            return True
        names = self.resolver.names(statement, spot.block, spot.position, votes, self._provided())
        if not self.unsure:
            confirm(self.view, statement, spot.block.scope, names.renames, votes or Votes())
        self._check_new_names(statement, spot.block.scope, names)
        text = self._text(statement, names)
        self._need(names)
        edit = insertion(self.view.target, spot.block, spot.index, text, bool(statement.blocks))
        if kind == "log":
            self.first_top = _top(spot)
        self._add(statement, kind, edit, text, names, spot.left, spot.right)
        return False

    def _likely_renames(self, statement: Stmt) -> dict[str, str]:
        return import_renames(self.view, use_of(statement).reads)

    def _text(self, statement: Stmt, names: Names) -> str:
        renames = {**names.renames, **self.definition_renames}
        return renamed(dedented(self.view.today, statement), renames)

    def _need(self, names: Names) -> None:
        for found in names.imports:
            self.needed.setdefault(found.text, found)

    def _check_new_names(self, statement: Stmt, scope: Scope, names: Names) -> None:
        """A name that the statement introduces must not be somebody else's in this version."""
        if self.patch.any_statement or self.patch.base is None:
            return
        base = self.patch.base.by_name.get(statement.block.scope.qualname)
        known = bindings(base) if base is not None else {}
        for name in use_of(statement).binds:
            if "." in name or name in names.renames or name in known:
                continue
            if self._stands_already(statement, scope):
                continue
            if name in bindings(scope):
                raise Unplaced(f"The name `{name}` means something else in this version.")

    def _stands_already(self, statement: Stmt, scope: Scope) -> bool:
        return any(one.full_key == statement.full_key for one in scope.flat)

    def _add(
        self,
        statement: Stmt,
        kind: Literal["log", "support"],
        edit: Edit,
        text: str,
        names: Names,
        left: Stmt | None,
        right: Stmt | None,
        replaces: bool = False,
    ) -> None:
        self.planned.append(
            Planned(
                self.number,
                kind,
                edit,
                text,
                self.patch.units[self.number].name if kind == "log" else None,
                replaces,
                self._first_line(left),
                self._first_line(right),
                tuple(sorted({**names.renames, **self.definition_renames}.items())),
                (1, statement.line),
                left.line if left is not None else None,
                right.line if right is not None else None,
            )
        )

    def _first_line(self, statement: Stmt | None) -> str | None:
        return None if statement is None else self.view.target.lines[statement.line - 1].strip()

    # ---- a changed statement

    def _replace(self, statement: Stmt) -> bool | None:
        """Put a changed statement in place of the old one; None where this version has no old one."""
        old = self._old_statement(statement)
        if old is None:
            return None
        block = old.block
        scope = statement.block.scope
        # What was changed today is no evidence for what things were called: `x.max()` is not the new name of `x.mean()`.
        # What it was changed from is; and what it is, where the version has it so already.
        changed = {one for part in self.patch.parts if part.replaced is not None for one in part.statement.walk()}
        view = View(self.view.today, self.view.target, self.view.added | changed)
        resolver = Resolver(view, self.part.imports, carry_safe_imports=not self.patch.any_statement)
        recorded = self.part.replaced
        assert recorded is not None and self.patch.base is not None
        roots = use_of(statement).roots  # the recorded statement may have other names than today's
        pair = votes_of_pair(recorded, old)
        if not log_calls(self.patch.base, recorded.node) and plain(recorded.head, pair.renames()) != plain(old.head):
            pair = votes_of_pair(statement, old)
        pair.counts = {name: counter for name, counter in pair.counts.items() if name in roots}
        votes = merged([(view.votes(scope, block.scope), 1.0), (pair, 1.0)])
        names = resolver.names(statement, block, (old.line, old.col), votes, self._provided())
        if not self.unsure:
            confirm(view, statement, block.scope, names.renames, votes)
        text = self._text(statement, names)
        if parse(text.encode()).module.flat[0].full_key == old.full_key:
            return True
        self._need(names)
        if statement.blocks or old.blocks:
            raise Unplaced("What the changed statement replaces cannot be identified in this version.")
        edit = replacement(self.view.target, old, text)
        self.first_top = _top_of(old)
        siblings = block.statements
        left = siblings[old.index - 1] if old.index else None
        right = siblings[old.index + 1] if old.index + 1 < len(siblings) else None
        self._add(statement, "log", edit, text, names, left, right, replaces=True)
        return False

    def _old_statement(self, statement: Stmt) -> Stmt | None:
        assert self.part.replaced is not None and self.patch.base is not None
        target = self.view.target
        wanted = {logged_name(call) for call in log_calls(self.patch.base, self.part.replaced.node)}
        if not wanted:
            return self._old_unlogged(statement)
        same = [
            one
            for one in target.statements()
            if not one.blocks and {logged_name(call) for call in log_calls(target, one.node)} == wanted
        ]
        if len(same) > 1 or wanted == {None}:
            aligned = [one for one in self._aligned(statement) if one in same]
            named = [one for one in aligned if one.block.scope.qualname == statement.block.scope.qualname]
            if len(named or aligned) == 1:
                return (named or aligned)[0]
            if wanted == {None} and not same:
                return None
            raise Unplaced("What the changed statement replaces cannot be identified in this version.")
        if not same:
            return None
        if any(one is not same[0] and log_calls(target, one.node) for one in self._aligned(statement)[:1]):
            raise Unplaced("What the changed statement replaces cannot be identified in this version.")
        if (statement.loop is None) != (same[0].loop is None) and same[0].block.scope.qualname == (
            statement.block.scope.qualname
        ):
            raise Unplaced("The statement that logs the same name stands in another loop in this version.")
        return same[0]

    def _old_unlogged(self, statement: Stmt) -> Stmt:
        """`x = flor.log("x", f(y))` where `x = f(y)` stood: only the very same statement may be replaced."""
        assert self.part.replaced is not None
        for aligned in self._aligned(statement)[:1]:
            votes = self.view.votes(statement.block.scope, aligned.block.scope).renames()
            if plain(self.part.replaced.head, votes) == plain(aligned.head) or plain(statement.head, votes) == plain(
                aligned.head
            ):
                return aligned
        raise Unplaced("The statement that today's line replaces is not in this version.")

    def _aligned(self, statement: Stmt) -> list[Stmt]:
        """What the statement is matched with, in the likeliest scope first."""
        scope = statement.block.scope
        found = (self.view.alignment(scope, other)[0].forward.get(statement) for other in self.view.candidates(scope))
        return [one for one in found if one is not None]

    # ---- definitions and imports

    @staticmethod
    def _is_definition(statement: Stmt) -> bool:
        return isinstance(statement.node, DEFINITIONS)

    def _check_definition(self, definition: Stmt) -> None:
        """Use the version's own definition where it has an equal one, under whatever name."""
        if definition.block.scope.kind != "module":
            return
        name = getattr(definition.node, "name", "")
        target = self.view.target
        body = _body_key(definition)
        for one in target.module.flat:
            if isinstance(one.node, DEFINITIONS) and _body_key(one) == body:
                found = one.node.name
                if found != name:
                    self.definition_renames[name] = found
                self.definitions = [other for other in self.definitions if other is not definition]
                return
        if name in bindings(target.module):
            raise Unplaced(f"The name `{name}` means something else in this version.")

    def _place_definition(self, definition: Stmt) -> None:
        scope = definition.block.scope
        if scope.kind == "class":
            self._place_method(definition, scope)
        elif scope.kind == "module":
            self._place_before_top(definition)
        elif self._place_nested(definition):
            return

    def _place_nested(self, definition: Stmt) -> bool:
        spot = find_spot(self.view, definition, lambda _new, _old: frozenset(), {})
        if spot.present is not None:
            return True
        votes = self.view.votes(spot.scope, spot.block.scope)
        names = self.resolver.names(definition, spot.block, spot.position, votes, self._provided())
        text = self._text(definition, names)
        self._need(names)
        edit = insertion(self.view.target, spot.block, spot.index, text, True)
        self._add(definition, "support", edit, text, names, spot.left, spot.right)
        return True

    def _place_method(self, definition: Stmt, scope: Scope) -> None:
        other = next(
            (one for one in self.view.candidates(scope) if one.qualname == scope.qualname),
            next(iter(self.view.candidates(scope)), None),
        )
        if other is None or other.body is None:
            raise Unplaced(f"The class `{scope.name}` is not in this version.")
        name = getattr(definition.node, "name", "")
        existing = [one for one in other.flat if getattr(one.node, "name", None) == name]
        if existing:
            if existing[0].full_key == definition.full_key:
                return
            raise Unplaced(f"The name `{name}` means something else in this version.")
        votes = self.view.overall_votes()
        names = self.resolver.names(definition, other.body, END, votes, self._provided(), deferred=True)
        text = self._text(definition, names)
        self._need(names)
        statements = other.body.statements
        edit = spaced(self.view.target, insertion(self.view.target, other.body, len(statements), text, True))
        self._add(definition, "support", edit, text, names, statements[-1], None)

    def _place_before_top(self, statement: Stmt) -> None:
        """A definition (or constant) of the module goes before the top-level statement that holds its first user."""
        target = self.view.target
        assert target.module.body is not None
        top = self.first_top
        if top is None:
            raise Unplaced("The version has no statements at all.")
        body = target.module.body
        for name in use_of(statement).binds:
            if name in bindings(target.module):
                if any(one.full_key == statement.full_key for one in target.module.flat):
                    return
                raise Unplaced(f"The name `{name}` means something else in this version.")
        deferred = self._is_definition(statement)
        names = self.resolver.names(statement, body, (top.line, top.col), None, self._provided(), deferred=deferred)
        text = self._text(statement, names)
        self._need(names)
        lines = text + "\n\n" if deferred else text
        if top.index and body.statements[top.index - 1].end_line == top.line:
            raise Unwritable("The place is inside a line, which takes no compound statement.")
        edit = before_line(target, top.line, lines)
        left = body.statements[top.index - 1] if top.index else None
        self._add(statement, "support", edit, text, names, left, top)

    def _place_imports(self) -> None:
        target = self.view.target
        if not self.needed:
            return
        body = target.module.body
        assert body is not None
        anchor = _last_import(body)
        order = 0
        for found in sorted(self.needed.values(), key=lambda one: one.statement.line):
            if any(
                other.text == found.text
                for other in imports(target).get(found.name, ())
                if other.statement.block is body
            ):
                continue
            if found.name in bindings(target.module):
                raise Unplaced(f"The name `{found.name}` means something else in this version.")
            first_use = self.first_top
            if anchor is not None:
                if first_use is not None and first_use.line <= anchor.line:
                    raise Unplaced(f"The name `{found.name}` is not bound here in this version.")
                edit = after_line(target, anchor.end_line, found.text)
            else:
                if not body.statements:
                    raise Unplaced("The version has no statements at all.")
                edit = before_line(target, body.statements[0].line, found.text)
            after = anchor
            following = (
                body.statements[anchor.index + 1]
                if anchor is not None and anchor.index + 1 < len(body.statements)
                else (None if anchor is not None else body.statements[0])
            )
            self.planned.append(
                Planned(
                    self.number,
                    "support",
                    edit,
                    found.text,
                    None,
                    False,
                    self._first_line(after),
                    self._first_line(following),
                    (),
                    (0, order),
                    after.line if after is not None else None,
                    following.line if following is not None else None,
                )
            )
            order += 1


def _applied(chain: str, renames: dict[str, str]) -> str:
    for part in prefixes(chain):
        if part in renames:
            return renames[part] + chain[len(part) :]
    return chain


def _top(spot: Spot) -> Stmt | None:
    """The statement of the module's own block that holds the place (or follows it)."""
    owner = spot.block.owner
    if owner is None:
        statements = spot.block.statements
        if spot.index < len(statements):
            return statements[spot.index]
        return statements[-1] if statements else None
    return _top_of(owner)


def _top_of(statement: Stmt) -> Stmt:
    while statement.block.owner is not None:
        statement = statement.block.owner
    return statement


def _last_import(body: Block) -> Stmt | None:
    """The last of the imports that the file begins with; else its docstring."""
    anchor: Stmt | None = None
    for statement in body.statements:
        node = statement.node
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import | ast.ImportFrom) or (docstring and statement.index == 0):
            anchor = statement
            continue
        guarded = isinstance(node, ast.Try | ast.If) and all(
            isinstance(inner.node, ast.Import | ast.ImportFrom | ast.Pass)
            or inner.blocks
            or isinstance(inner.node, ast.Assign)
            for inner in statement.walk()
        )
        if not guarded:
            break
    return anchor


def _body_key(definition: Stmt) -> str:
    """What a definition is, whatever its name."""
    name = getattr(definition.node, "name", "")
    head = list(definition.head)
    for index, token in enumerate(head[:-1]):
        if token in {"def", "class"} and head[index + 1] == name:
            head[index + 1] = "·"
            break
    inner = definition.full_key[len(definition.key) :]
    return "\x1f".join(head) + inner.replace(f"\x1f{name}\x1f", "\x1f·\x1f")
