"""What statements read, bind and change: dotted names ("chains") such as `self.model` or `args.lr`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .analysis.syntax import dotted
from .source import DEFINITIONS, Stmt, kept


def prefixes(chain: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`."""
    while chain:
        yield chain
        chain = chain.rpartition(".")[0]


def any_touch(chains: Iterable[str], others: Iterable[str]) -> bool:
    """Whether a change of one of `others` can be seen through one of `chains` (`a` and `a.b` touch)."""
    rest = tuple(others)
    return any(one == two or one.startswith(two + ".") or two.startswith(one + ".") for one in chains for two in rest)


@dataclass(frozen=True)
class Use:
    """What one statement (with all it contains) does to names that live outside of it."""

    reads: frozenset[str]  # maximal chains that are read
    calls: frozenset[str]  # those of them that are called
    binds: frozenset[str]  # names and attribute chains that get a value
    changes: frozenset[str]  # chains whose object may be changed in place
    inner: frozenset[str]  # names that live only inside: comprehension variables, lambda parameters

    @property
    def roots(self) -> frozenset[str]:
        return frozenset(chain.partition(".")[0] for chain in self.reads)


class _Visitor(ast.NodeVisitor):
    def __init__(self) -> None:
        self.reads: set[str] = set()
        self.calls: set[str] = set()
        self.binds: set[str] = set()
        self.changes: set[str] = set()
        self.inner: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        (self.reads if isinstance(node.ctx, ast.Load) else self.binds).add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = dotted(node)
        if chain is None:
            self.visit(node.value)
        elif isinstance(node.ctx, ast.Load):
            self.reads.add(chain)
        else:
            self.binds.add(chain)
            self.reads.add(chain.rpartition(".")[0])

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            target = dotted(node.value)
            if target is not None:
                self.changes.add(target)
                self.reads.add(target)
            else:
                self.visit(node.value)
        else:
            self.visit(node.value)
        self.visit(node.slice)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        target = dotted(node.target)
        if target is not None:
            self.reads.add(target)
            self.changes.add(target)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        chain = dotted(node.func)
        if chain is not None:
            self.calls.add(chain)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Call):
            # A call whose result nobody takes is made for what it changes: its object or its arguments.
            chain = dotted(value.func)
            if chain is not None and "." in chain:
                self.changes.add(chain.rpartition(".")[0])
            if chain != "print":
                for argument in value.args:
                    given = dotted(argument)
                    if given is not None:
                        self.changes.add(given)
        self.generic_visit(node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        inner = _Visitor()
        for part in ast.iter_child_nodes(node):
            inner.visit(part)
        walrus = {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
        self._close(inner, inner.binds - walrus)

    def _close(self, inner: _Visitor, own: set[str]) -> None:
        self.reads |= {chain for chain in inner.reads if chain.partition(".")[0] not in own}
        self.calls |= {chain for chain in inner.calls if chain.partition(".")[0] not in own}
        self.binds |= inner.binds - own
        self.inner |= inner.inner | own

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        inner = _Visitor()
        inner.visit(node.body)
        for default in (*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)):
            self.visit(default)
        self._close(inner, set(parameters(node.args)))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for outer in (*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)):
            self.visit(outer)
        inner = _Visitor()
        for statement in node.body:
            inner.visit(statement)
        outside = {name for n in ast.walk(node) if isinstance(n, ast.Global | ast.Nonlocal) for name in n.names}
        own = (set(parameters(node.args)) | {name for name in inner.binds if "." not in name}) - outside
        self._close(inner, own)
        self.binds = {name for name in self.binds if "." not in name or name.partition(".")[0] not in own}
        self.binds.add(node.name)

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for outer in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.visit(outer)
        inner = _Visitor()
        for statement in node.body:
            inner.visit(statement)
        self._close(inner, {name for name in inner.binds if "." not in name})
        self.binds.add(node.name)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self.binds.add(alias.asname or alias.name.partition(".")[0])

    visit_ImportFrom = visit_Import  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.binds.add(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.binds.add(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.binds.add(node.name)


def parameters(arguments: ast.arguments) -> list[str]:
    named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    stars = (star for star in (arguments.vararg, arguments.kwarg) if star is not None)
    return [argument.arg for argument in (*named, *stars)]


@kept
def use_of(statement: Stmt) -> Use:
    """What the statement does to names, with all that it contains."""
    node = statement.node
    visitor = _Visitor()
    visitor.visit(node)
    reads = visitor.reads
    if isinstance(node, ast.For | ast.AsyncFor | ast.While | ast.If | ast.With | ast.AsyncWith | ast.Try | ast.Match):
        # Names that the compound statement itself binds first are its own business.
        reads = {chain for chain in reads if not _bound_before_read(node, chain.partition(".")[0], visitor.binds)}
    return Use(
        frozenset(reads),
        frozenset(visitor.calls),
        frozenset(visitor.binds),
        frozenset(visitor.changes),
        frozenset(visitor.inner),
    )


def _bound_before_read(node: ast.AST, name: str, binds: set[str]) -> bool:
    if name not in binds:
        return False
    # In `x = f(x)` the read comes first although the name on the left has the smaller column.
    first: dict[str, tuple[int, int]] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id == name:
            where = (part.lineno, part.col_offset)
            context = "read" if isinstance(part.ctx, ast.Load) else "bind"
            first[context] = min(first.get(context, where), where)
    if "read" not in first:
        return True
    if "bind" not in first:
        return True
    return first["bind"][0] < first["read"][0]


def own_chains(statement: Stmt) -> frozenset[str]:
    """The chains of a method that begin with `self`."""
    found = (dotted(part) for part in ast.walk(statement.node) if isinstance(part, ast.Attribute))
    return frozenset(chain for chain in found if chain is not None and chain.startswith("self."))


def header_use(statement: Stmt) -> Use:
    """What a compound statement's header does, without what stands in its suites."""
    node = statement.node
    if isinstance(node, ast.Try | ast.Match):  # whose handlers and cases are no part of its header
        return _use_of_header(node)
    key = (type(node), statement.head)
    use = _uses.get(key)
    if use is None:
        if len(_uses) > _MANY_USES:
            _uses.clear()
        use = _uses[key] = _use_of_header(node) if statement.blocks else use_of(statement)
    return use


_uses: dict[tuple[type, tuple[str, ...]], Use] = {}  # statements of equal tokens do the same
_MANY_USES = 20_000


def _use_of_header(node: ast.stmt) -> Use:
    visitor = _Visitor()
    for field_name in ("test", "target", "iter", "items", "subject"):
        value = getattr(node, field_name, None)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                visitor.visit(part)
    for handler in getattr(node, "handlers", ()):
        if handler.name:
            visitor.binds.add(handler.name)
    for case in getattr(node, "cases", ()):
        visitor.visit(case.pattern)
    if isinstance(node, DEFINITIONS):
        visitor.binds.add(node.name)
    return Use(
        frozenset(visitor.reads),
        frozenset(visitor.calls),
        frozenset(visitor.binds),
        frozenset(visitor.changes),
        frozenset(visitor.inner),
    )
