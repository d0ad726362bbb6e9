"""The names of a patched source: who binds them where, who reads them, and in which order within an iteration."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from flor_instrument.analysis.syntax import (
    COMPREHENSIONS,
    FUNCTION_NODES,
    all_nodes,
    bound_names,
    children,
    own_nodes,
    tail,
    walk,
)

FUNCTIONS = (*FUNCTION_NODES, ast.Lambda)
LOOPS = (ast.For, ast.AsyncFor, ast.While)


def root_of(node: ast.expr) -> ast.expr:
    """What a chain of attributes and subscripts begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node


def _suites(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for key in ("body", "orelse", "finalbody"):
        suite = getattr(node, key, None)
        if isinstance(suite, list) and suite:
            yield suite
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body


class PatchedFile:
    """A patched source, and which of its statements the patch inserted."""

    def __init__(self, tree: ast.Module, ranges: Sequence[tuple[int, int]]) -> None:
        self.tree = tree
        self.parent: dict[ast.AST, ast.AST] = {}
        nodes = all_nodes(tree)
        for node in nodes:
            for child in children(node):
                self.parent[child] = node
        self.top = self._inserted(ranges)
        self.inserted: set[ast.AST] = {n for s in self.top for n in walk(s)}
        self.functions: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
        for node in nodes:
            if isinstance(node, FUNCTION_NODES):
                self.functions.setdefault(node.name, []).append(node)
        self.imported = {
            (a.asname or a.name).split(".")[0]
            for n in nodes
            if isinstance(n, ast.Import | ast.ImportFrom)
            for a in n.names
        }

    def _inserted(self, ranges: Sequence[tuple[int, int]]) -> list[ast.stmt]:
        statements = [n for n in all_nodes(self.tree) if isinstance(n, ast.stmt)]
        found: list[ast.stmt] = []
        for first, last in ranges:
            inside = [s for s in statements if first <= s.lineno and (s.end_lineno or s.lineno) <= last]
            # decorators stand above the `def` line
            if not inside:
                around = [s for s in statements if s.lineno <= last and first <= (s.end_lineno or s.lineno)]
                around.sort(key=lambda s: (s.end_lineno or s.lineno) - s.lineno)
                inside = around[:1]
            found += [s for s in inside if s not in found]
        return [s for s in found if not any(self.parent.get(s) is o for o in found)]

    def scope(self, node: ast.AST) -> ast.AST:
        """The function, class or module whose names a node binds."""
        while node in self.parent:
            above = self.parent[node]
            if isinstance(above, FUNCTIONS) and (isinstance(above, ast.Lambda) or node in above.body):
                return above
            if isinstance(above, ast.ClassDef) and node in above.body:
                return above
            node = above
        return self.tree

    def in_comprehension(self, node: ast.AST) -> bool:
        """Whether a name belongs to a comprehension and not to the scope around it."""
        while node in self.parent and not isinstance(node, ast.stmt):
            node = self.parent[node]
            if isinstance(node, ast.NamedExpr):
                return False
            if isinstance(node, ast.comprehension):
                return True
        return False

    def statement_of(self, node: ast.AST) -> ast.stmt:
        """The innermost statement around a node."""
        while not isinstance(node, ast.stmt):
            node = self.parent[node]
        return node

    def is_own(self, name: ast.Name) -> bool:
        """Whether a name was bound by the patch, and by nothing else, in its own scope or around it."""
        scope: ast.AST | None = self.scope(name)
        while scope is not None:
            bound = self.binders(scope, name.id)
            if bound:
                return all(n in self.inserted for n in bound)
            scope = self.scope(scope) if scope is not self.tree else None
        return False

    def binders(self, scope: ast.AST, name: str) -> list[ast.AST]:
        """What binds a name in a scope: names stored to, parameters, definitions, imports."""
        found: list[ast.AST] = []
        args = getattr(scope, "args", None)
        if isinstance(args, ast.arguments):
            every = (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg)
            found += [a for a in every if a is not None and a.arg == name]
        for node in own_nodes(scope):
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store | ast.Del):
                if not self.in_comprehension(node):
                    found.append(node)
            elif (
                (isinstance(node, (*FUNCTION_NODES, ast.ClassDef)) and node.name == name)
                or (isinstance(node, ast.alias) and (node.asname or node.name).split(".")[0] == name)
                or (isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and node.name == name)
            ):
                found.append(node)
        return found

    def local(self, scope: ast.AST, name: str) -> bool:
        """Whether a name is a function's own."""
        return isinstance(scope, FUNCTIONS) and any(
            not isinstance(b, ast.alias) for b in self.binders(scope, name)
        )  # fmt: skip

    def uses(self, scope: ast.AST, name: str) -> list[ast.Name]:
        """Every read of a scope's name, also from functions inside it that do not bind it themselves."""
        found: list[ast.Name] = []
        waiting = [scope]
        while waiting:
            current = waiting.pop()
            for node in own_nodes(current):
                if isinstance(node, ast.Name) and node.id == name and self.is_read(node):
                    found.append(node)
                if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and (
                    isinstance(node, ast.ClassDef) or not self.local(node, name)
                ):
                    waiting.append(node)
        return found

    def is_read(self, name: ast.Name) -> bool:
        """Whether a use of a name reads it."""
        return isinstance(name.ctx, ast.Load) or isinstance(self.parent[name], ast.AugAssign)

    def bound_value(self, binder: ast.AST) -> ast.expr | None:
        """What an assignment gives to a name, if it is one."""
        statement = self.parent.get(binder)
        while isinstance(statement, ast.Tuple | ast.List | ast.Starred):
            statement = self.parent.get(statement)
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.AugAssign):
            return statement.value
        return None

    def alias_of(self, value: ast.expr | None) -> str | None:
        """The name whose object, or a part of it, an expression is."""
        if value is None:
            return None
        root = root_of(value)
        return root.id if isinstance(root, ast.Name) else None

    # -- order within an iteration ---------------------------------------------------------------------------

    def dominated(self, use: ast.AST, name: str, loop: ast.stmt, bound_here_only: bool = False) -> bool:
        """Whether a read inside a loop always comes after a binding of the same iteration.

        A `for` that binds a name counts when nothing outside binds it: should it not run once, the name is
        missing in a replay that starts here, which is an error and not a wrong value.
        """
        node = use
        while node is not loop:
            above = self.parent[node]
            for suite in _suites(above):
                if node in suite:
                    if above is loop and suite is not getattr(loop, "body", None):
                        return False
                    if any(_binds(s, name) for s in suite[: suite.index(node)]):
                        return True
                    earlier = suite[: suite.index(node)]
                    if bound_here_only and any(_for_binds(s, name) for s in earlier):
                        return True
                    if above is not loop and _header_binds(above, name, suite):
                        return True
            generators = above.generators if isinstance(above, COMPREHENSIONS) else []
            if any(name in bound_names(g.target) for g in generators):
                return True
            node = above
        return _header_binds(loop, name, getattr(loop, "body", [])) and use is not loop

    def dominated_after(self, use: ast.AST, name: str, loop: ast.stmt) -> bool:
        """Whether a read outside a loop always comes after a binding that is newer than the loop."""
        chain: set[ast.AST] = set()
        node: ast.AST = loop
        while node in self.parent:
            chain.add(node)
            node = self.parent[node]
        node = use
        while node in self.parent:
            above = self.parent[node]
            for suite in _suites(above):
                if node in suite:
                    position = suite.index(node)
                    since = next((i for i, s in enumerate(suite) if s in chain), -1)
                    if any(_binds(s, name) for s in suite[since + 1 : position]):
                        return True
                    if since >= 0:
                        return False
            if isinstance(above, (*FUNCTIONS, *LOOPS)):
                return False
            node = above
        return False


def _binds(statement: ast.stmt, name: str) -> bool:
    """Whether a statement, when it is over, has certainly bound a name afresh."""
    if isinstance(statement, ast.Assign):
        return any(name in bound_names(t) for t in statement.targets)
    if isinstance(statement, ast.AnnAssign):
        return statement.value is not None and name in bound_names(statement.target)
    if isinstance(statement, ast.With | ast.AsyncWith):
        if any(i.optional_vars and name in bound_names(i.optional_vars) for i in statement.items):
            return True
        swallows_nothing = {"no_grad", "inference_mode", "enable_grad", "open"}
        return all(tail(i.context_expr) in swallows_nothing for i in statement.items) and any(
            _binds(s, name) for s in statement.body
        )
    if isinstance(statement, ast.If):
        return all(suite and any(_binds(s, name) for s in suite) for suite in (statement.body, statement.orelse))
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return any((a.asname or a.name).split(".")[0] == name for a in statement.names)
    return isinstance(statement, (*FUNCTION_NODES, ast.ClassDef)) and statement.name == name


def _for_binds(statement: ast.stmt, name: str) -> bool:
    """Whether each round of a `for` binds a name before it can end."""
    if not isinstance(statement, ast.For):
        return False
    for inner in statement.body:
        if _binds(inner, name):
            return True
        if any(isinstance(n, ast.Break | ast.Continue | ast.Return) for n in walk(inner)):
            return False
    return False


def _header_binds(node: ast.AST, name: str, suite: Iterable[ast.stmt]) -> bool:
    """Whether a compound statement's head binds a name before the suite runs."""
    if isinstance(node, ast.For | ast.AsyncFor):
        return suite is node.body and name in bound_names(node.target)
    if isinstance(node, ast.With | ast.AsyncWith):
        return any(i.optional_vars is not None and name in bound_names(i.optional_vars) for i in node.items)
    return False
