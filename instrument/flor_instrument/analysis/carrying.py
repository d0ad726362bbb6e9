"""Does a hindsight patch keep something of its own from one iteration to the next?

A checkpoint of an old run has nothing in it that today's patch brings: a running mean, a list that grows, a
hook that counts. Replaying an iteration from such a checkpoint would give a wrong value, and silently. So
whatever is not proven to end with its iteration is reported as carried.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from flor_instrument.analysis.changes import Changes, Kind
from flor_instrument.analysis.patched_file import FUNCTIONS, LOOPS, root_of
from flor_instrument.analysis.paths_taken import Place
from flor_instrument.analysis.places import loop_levels, where
from flor_instrument.analysis.syntax import FUNCTION_NODES, all_nodes, own_nodes, parsed, walk

OUTSIDE = frozenset({Place.BEFORE, Place.BETWEEN, Place.AFTER})


@dataclass(frozen=True)
class Carried:
    """What a patch keeps: over iterations of the main loop, and over those of a nested loop.

    Names in `across_main` make it wrong to start replay anywhere but at the beginning. Names in
    `across_nested` are made anew in each main iteration; they only make it wrong to skip the nested loop or
    to start inside it.
    """

    across_main: tuple[str, ...]
    across_nested: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that is carried over any loop."""
        return tuple(dict.fromkeys((*self.across_main, *self.across_nested)))


def carried(
    patched: bytes,
    inserted: Sequence[tuple[int, int]],
    *,
    files: Mapping[str, bytes] | None = None,
    script: str | None = None,
    path: str = "<patched>",
) -> Carried:
    """What the statements at `inserted` (first and last line, 1-based) carry over iterations.

    `files` and `script` (with `path`, the patched file's own) tell which loops are main loops when other
    files decide that; without them the patched file is taken for the script.
    """
    try:
        tree = parsed(patched)
    except (SyntaxError, ValueError, RecursionError) as error:
        return Carried(("<source>",), (), (f"the patched source cannot be parsed: {error}",))
    sources = {**(files or {}), path: patched}
    return _Check(tree, inserted, sources, script or path, path).result()


class _Check(Changes):
    def __init__(
        self,
        tree: ast.Module,
        ranges: Sequence[tuple[int, int]],
        files: Mapping[str, bytes],
        script: str,
        path: str,
    ) -> None:
        super().__init__(tree, ranges)
        self.files, self.script, self.path = files, script, path
        self.main: dict[str, None] = {}
        self.nested: dict[str, None] = {}
        self.reasons: dict[str, None] = {}
        self._places: dict[int, bool] = {}

    @cached_property
    def levels(self) -> dict[int, tuple[bool, bool]]:
        """The flor loops of the file. Not asked for where the patch binds no name."""
        return loop_levels(self.files, self.script, self.path)

    def _carry(self, name: str, reason: str, nested_only: bool = False) -> None:
        (self.nested if nested_only else self.main)[name] = None
        self.reasons[reason] = None

    def result(self) -> Carried:
        """What the inserted statements carry."""
        for statement in self.top:
            self._statement(statement)
        for scope, names in self._bound().items():
            for name in names:
                self._name(scope, name)
        nested = tuple(n for n in self.nested if n not in self.main)
        return Carried(tuple(self.main), nested, tuple(self.reasons))

    def _runs_once(self, node: ast.AST) -> bool:
        """Whether a statement certainly runs in no iteration of a flor loop."""
        line = getattr(node, "lineno", 0)
        if line not in self._places:
            self._places[line] = where(self.files, self.script, (self.path, line)).places <= OUTSIDE
        return self._places[line]

    def _bound(self) -> dict[ast.AST, list[str]]:
        found: dict[ast.AST, list[str]] = {}
        for node in self.inserted:
            name: str | None = None
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
                name = node.id
            elif isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler):
                name = node.name
            if name is None or self.in_comprehension(node):
                continue
            scope = self.scope(node)
            names = found.setdefault(scope, [])
            if name not in names:
                names.append(name)
        return {scope: sorted(names) for scope, names in found.items()}

    def _statement(self, statement: ast.stmt) -> None:
        if isinstance(statement, FUNCTION_NODES):
            for reason in self.kept_by(statement, strict=True):
                self._carry(statement.name, reason)
            return
        if isinstance(statement, ast.ClassDef):
            self._class(statement)
            return
        once = self._runs_once(statement)
        for node in [statement, *own_nodes(statement)]:
            if isinstance(node, FUNCTIONS):
                for reason in self.kept_by(node, strict=True):
                    self._carry(getattr(node, "name", "lambda"), reason)
            elif isinstance(node, ast.ClassDef):
                self._class(node)
            elif isinstance(node, ast.Global | ast.Nonlocal):
                for name in node.names:
                    self._carry(name, f"line {node.lineno}: `{name}` is bound outside the function")
            elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                self._store(node, once)
            elif isinstance(node, ast.Call) and not once:
                self._call(node, self.scope(node), strict=True)

    def _store(self, node: ast.Attribute | ast.Subscript, once: bool) -> None:
        root = root_of(node)
        if isinstance(root, ast.Name) and self.is_own(root):
            return  # judged with the name
        value = getattr(self.statement_of(node), "value", None)
        plain = isinstance(self.statement_of(node), ast.Assign | ast.AnnAssign)
        scope = self.scope(node)
        built = getattr(scope, "name", "") == "__init__" or once
        if plain and built and value is not None and self.kind(value) is Kind.FIXED:
            if not (isinstance(node, ast.Attribute) and self._stores_of(node.attr) == 1):
                self._carry(ast.unparse(node), f"line {node.lineno}: `{ast.unparse(node)}` is bound more than once")
            return
        self._carry(ast.unparse(node), f"line {node.lineno}: `{ast.unparse(node)}` outlives the iteration")

    def _stores_of(self, attribute: str) -> int:
        return sum(
            isinstance(n, ast.Attribute) and n.attr == attribute and isinstance(n.ctx, ast.Store)
            for n in all_nodes(self.tree)
        )

    def _call(self, node: ast.Call, scope: ast.AST, strict: bool) -> None:
        for name, reason in self.call_problems(node, scope, strict):
            self._carry(name, reason)

    def _class(self, node: ast.ClassDef) -> None:
        for inner in node.body:
            if isinstance(inner, FUNCTION_NODES):
                for reason in self.kept_by(inner, strict=True):
                    self._carry(node.name, reason)
            elif isinstance(inner, ast.Assign | ast.AnnAssign):
                if inner.value is not None and self.kind(inner.value) is not Kind.FIXED:
                    self._carry(node.name, f"line {inner.lineno}: an attribute of class {node.name} lives on")
            elif not isinstance(inner, ast.Pass | ast.Expr):
                self._carry(node.name, f"line {inner.lineno}: the class body of {node.name} is not plain")

    def _loops(self, scope: ast.AST) -> list[tuple[ast.stmt, bool, bool]]:
        """The loops of a scope whose iterations count, and whether each may be main, and may be nested."""
        lazy = isinstance(scope, FUNCTION_NODES) and any(
            isinstance(n, ast.Yield | ast.YieldFrom | ast.Await) for n in own_nodes(scope)
        )
        found: list[tuple[ast.stmt, bool, bool]] = []
        for node in own_nodes(scope):
            if not isinstance(node, LOOPS):
                continue
            level = self.levels.get(node.lineno) if isinstance(node, ast.For | ast.AsyncFor) else None
            if level is not None:
                found.append((node, *level))
            elif lazy:
                found.append((node, True, True))
        return found

    def _name(self, scope: ast.AST, name: str) -> None:
        if isinstance(scope, ast.ClassDef):
            return  # judged with the class
        uses = self.uses(scope, name)
        binders = self.binders(scope, name)
        loops = self._loops(scope)
        inner = {node for loop, _, _ in loops for node in walk(loop)}
        outside = [b for b in binders if b not in inner]
        kept = [b for b in binders if not isinstance(self.parent.get(b), ast.AugAssign)]
        values = [self.bound_value(b) for b in kept]
        if scope is self.tree and not loops and len(outside) > 1 and any(not self._runs_once(b) for b in outside):
            self._carry(name, f"`{name}` is bound more than once at module level")
        # A change to what the patch did not make itself lasts, wherever it stands.
        for use in uses:
            if self.changes(use, Kind.DATA) and use in self.inserted:
                alias = [v for v in values if v is not None and not self.fresh(v)]
                if alias and not all(isinstance(v, ast.Call) for v in alias):
                    self._carry(name, f"line {use.lineno}: `{name}` changes something that outlives the iteration")
        judged = loops
        for loop, may_main, may_nested in judged:
            self._name_over(scope, name, loop, uses, binders, may_main, may_nested)
        # A module's name lives as long as the run; the functions that use it may run in any iteration.
        if scope is self.tree:
            kind = max((self.kind(v) if v is not None else Kind.OBJECT for v in values), default=Kind.OBJECT)
            for use in uses:
                if self.scope(use) is not self.tree and self.changes(use, kind):
                    self._carry(name, f"line {use.lineno}: `{name}` is changed in a function and lives on")

    def _name_over(
        self,
        scope: ast.AST,
        name: str,
        loop: ast.stmt,
        uses: Sequence[ast.Name],
        binders: Sequence[ast.AST],
        may_main: bool,
        may_nested: bool,
    ) -> None:
        inside = set(walk(loop)) - {loop}
        values = [self.bound_value(b) for b in binders if b not in inside]
        kind = max((self.kind(v) if v is not None else Kind.OBJECT for v in values), default=Kind.FIXED)
        rebound = [b for b in binders if b in inside]
        changed = [u for u in uses if u in inside and self.changes(u, kind)]
        # a function of the scope may run in the loop, wherever it is defined
        changed += [u for u in uses if self.scope(u) is not scope and self.changes(u, kind)]
        if not rebound and not changed:
            for value in values:
                source = self.alias_of(value)
                if source and any(b in inside for b in self.binders(scope, source)):
                    self._report(name, loop, f"holds `{source}`, which the loop binds anew", may_main, may_nested)
            return
        around = self.parent.get(loop)
        again = False
        while around is not None and around is not scope:
            again = again or isinstance(around, LOOPS)
            around = self.parent.get(around)
        end = loop.end_lineno or loop.lineno
        for use in uses:
            if use in inside and self.scope(use) is scope:
                if self.dominated(use, name, loop, all(b in inside for b in binders)):
                    continue
            elif use not in inside and self.scope(use) is scope:
                if use.lineno <= end and not again:
                    continue
                if self.dominated_after(use, name, loop):
                    continue
            why = f"is read at line {use.lineno} as an earlier iteration left it"
            self._report(name, loop, why, may_main, may_nested)
            return

    def _report(self, name: str, loop: ast.stmt, why: str, may_main: bool, may_nested: bool) -> None:
        reason = f"`{name}` {why} (loop at line {loop.lineno})"
        if may_main:
            self._carry(name, reason)
        if may_nested:
            self._carry(name, reason, nested_only=True)
