"""What statements read, bind and change: dotted names ("chains") such as `self.model` or `args.lr`."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from .analysis.syntax import dotted
from .source import DEFINITIONS, FUNCTIONS, Block, Scope, Source, Stmt

BUILTINS = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__", "__class__", "__annotations__"}
FLOR_MODULES = frozenset({"flor", "flor_replay", "flordb"})


def prefixes(chain: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`."""
    while chain:
        yield chain
        chain = chain.rpartition(".")[0]


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


@lru_cache(maxsize=20_000)
def use_of(node: ast.AST) -> Use:
    """What the statement does to names, with all that it contains."""
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
        use = _uses[key] = _use_of_header(node) if statement.blocks else use_of(node)
    return use


_uses: dict[tuple[type, tuple[str, ...]], Use] = {}  # statements of equal tokens do the same
_MANY_USES = 100_000


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


# ---- where a name gets its value -------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def bindings(source: Source) -> dict[Scope, dict[str, list[Stmt]]]:
    """For each scope, the statements that bind each of its names."""
    out: dict[Scope, dict[str, list[Stmt]]] = {}
    for scope in source.scopes:
        table: dict[str, list[Stmt]] = {}
        for statement in scope.flat:
            for name in header_use(statement).binds:
                table.setdefault(name, []).append(statement)
            if isinstance(statement.node, ast.Global) and scope is not source.module:
                for name in statement.node.names:
                    table.setdefault(name, []).append(statement)
        out[scope] = table
    return out


def scope_parameters(scope: Scope) -> list[str]:
    node = scope.owner.node if scope.owner is not None else None
    return parameters(node.args) if isinstance(node, FUNCTIONS) else []


def excludes(binder: Stmt, block: Block) -> bool:
    """Whether `binder` stands in another branch of an `if`, `try` or `match` that also has `block` in it."""
    mine: dict[Stmt, Block] = {}
    walk: Block | None = block
    while walk is not None and walk.owner is not None:
        mine[walk.owner] = walk
        walk = walk.owner.block
    walk = binder.block
    while walk is not None and walk.owner is not None:
        other = mine.get(walk.owner)
        if other is not None:
            if other is walk:
                return False
            roles = {other.role, walk.role}
            if isinstance(walk.owner.node, ast.If):
                return True
            if isinstance(walk.owner.node, ast.Match):
                return True
            return any(role.startswith("handler") for role in roles) and walk.role not in {"body"}
        walk = walk.owner.block
    return False


Position = tuple[int, int]  # line (from 1) and column
END: Position = (1 << 30, 0)


def bound_at(source: Source, name: str, block: Block, position: Position) -> bool:
    """Whether `name` has a value where a statement is put into `block` at `position`."""
    if name in BUILTINS:
        return True
    table = bindings(source)
    scope = block.scope
    for depth, current in enumerate(scope.chain()):
        if depth and current.kind == "class":
            continue
        if name in scope_parameters(current):
            return True
        binders = table[current].get(name)
        if not binders:
            continue
        if depth:
            # Seen from inside a function the surrounding scope has run by the time of the call.
            return True
        usable = [binder for binder in binders if _reaches(binder, name, block, position)]
        if usable:
            return True
        if current.kind == "function":
            return False
    return False


def _reaches(binder: Stmt, name: str, block: Block, position: Position) -> bool:
    if isinstance(binder.node, ast.Global | ast.Nonlocal):
        return True
    if (binder.line, binder.col) >= position:
        return False
    if isinstance(binder.node, ast.Delete):
        return False
    if isinstance(binder.node, ast.Try) and any(handler.name == name for handler in binder.node.handlers):
        return any(inner.role.startswith("handler") and _within(block, inner) for inner in binder.blocks) or not all(
            handler.name == name for handler in binder.node.handlers
        )
    return not excludes(binder, block)


def _within(block: Block, outer: Block) -> bool:
    walk: Block | None = block
    while walk is not None:
        if walk is outer:
            return True
        walk = walk.owner.block if walk.owner is not None else None
    return False


# ---- imports ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One imported name: what it is bound to here (`name`) and what it stands for (`target`)."""

    name: str
    target: str
    text: str
    statement: Stmt


@lru_cache(maxsize=512)
def imports(source: Source) -> dict[str, list[Import]]:
    """Every import of the file under the name that it binds."""
    out: dict[str, list[Import]] = {}
    for statement in source.statements():
        for found in imports_of(statement):
            out.setdefault(found.name, []).append(found)
    return out


def imports_of(statement: Stmt) -> list[Import]:
    node = statement.node
    found: list[Import] = []
    if isinstance(node, ast.Import):
        for alias in node.names:
            suffix = f" as {alias.asname}" if alias.asname else ""
            bound = alias.asname or alias.name.partition(".")[0]
            found.append(Import(bound, alias.name, f"import {alias.name}{suffix}", statement))
    elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
        origin = "." * node.level + (node.module or "")
        for alias in node.names:
            suffix = f" as {alias.asname}" if alias.asname else ""
            text = f"from {origin} import {alias.name}{suffix}"
            found.append(Import(alias.asname or alias.name, f"{origin}.{alias.name}", text, statement))
    return found


def has_star_import(source: Source) -> bool:
    return any(
        isinstance(statement.node, ast.ImportFrom) and statement.node.names[0].name == "*"
        for statement in source.statements()
    )


# ---- log statements --------------------------------------------------------------------------------------------


def log_calls(source: Source, node: ast.AST) -> list[ast.Call]:
    """The calls of flor.log in `node`, under whatever name the file has imported it."""
    table = imports(source)

    def is_log(chain: str | None) -> bool:
        if chain is None:
            return False
        root, _, rest = chain.partition(".")
        for found in table.get(root, ()):
            module = found.target.partition(".")[0]
            if module in FLOR_MODULES:
                full = found.target + ("." + rest if rest else "")
                if full.partition(".")[2] == "log":
                    return True
        # A star import or a file that was given without its import: the name speaks for itself.
        return chain == "flor.log" and not table.get("flor")

    return [part for part in ast.walk(node) if isinstance(part, ast.Call) and is_log(dotted(part.func))]


def logged_name(call: ast.Call) -> str | None:
    """The name that a log call gives, if it stands there literally."""
    given: ast.expr | None = call.args[0] if call.args else None
    if given is None:
        given = next((keyword.value for keyword in call.keywords if keyword.arg == "name"), None)
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return given.value
    return None


def any_touch(chains: Iterable[str], others: Iterable[str]) -> bool:
    """Whether a change of one of `others` can be seen through one of `chains` (`a` and `a.b` touch)."""
    rest = tuple(others)
    return any(one == two or one.startswith(two + ".") or two.startswith(one + ".") for one in chains for two in rest)
