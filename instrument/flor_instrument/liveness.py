"""Which names of a scope may still be read after a restore point, before they are bound again.

A checkpoint may lack a variable (a closure, an iterator, a progress bar). Replay can start from it all the same if the
variable is dead there. Everything here errs on one side: a name too many only costs a checkpoint that could have been
used, a missing one would give a wrong value.

Two parts. `_Project` finds where in a function the restore point may be: at the loop itself, or in a statement that
calls, by name, what runs the loop. `_Flow` walks the statements of the function backwards, with an exception edge out
of every statement.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from .scopes_calls import reachable

Point = Literal["start", "exit", "end"]
Names: TypeAlias = frozenset[str]
Holder: TypeAlias = tuple[str, str | None, str]
"""A name: its file, the `co_qualname` of its function (None: it is global), the name itself."""
_Callable: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Event: TypeAlias = "tuple[Literal['read', 'bind'], str] | tuple[Literal['either'], list[_Event], list[_Event]]"

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FORS = (ast.For, ast.AsyncFor)
_NOTHING: Names = frozenset()
# Calls that use up a generator expression before they return.
_EAGER = frozenset({"sum", "list", "tuple", "set", "frozenset", "dict", "sorted", "max", "min", "any", "all"})
# Calls that pass a loop's items on one by one.
_WRAPPERS = frozenset({"tqdm", "trange", "enumerate", "zip", "track", "progress", "progress_bar", "alive_it", "iter"})
# Calls that run what they are given, there and then, on the same stack.
_CALL_THROUGH = frozenset({"fire.Fire", "Fire", "typer.run", "asyncio.run", "anyio.run", "trio.run", "app.run"})
# Methods that may look names up in the frame of their caller, by the words of a string.
_NAME_READERS = frozenset({"query", "eval", "evaluate", "sql", "execute", "from_query"})
# Context managers that let every exception pass.
_TRANSPARENT_MANAGERS = frozenset({
    "no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "autocast", "open", "tqdm", "trange", "profile",
    "record_function", "SummaryWriter", "no_sync", "accumulate", "device", "stream", "detect_anomaly", "Progress",
    "ThreadPoolExecutor", "ProcessPoolExecutor", "Pool", "Lock", "errstate", "catch_warnings", "checkpointing",
})  # fmt: skip
_TRANSPARENT_DECORATORS = frozenset({
    "staticmethod", "classmethod", "no_grad", "inference_mode", "enable_grad", "override", "final", "abstractmethod",
    "main", "hydra.main", "torch.no_grad", "torch.inference_mode", "torch.enable_grad", "typing.final",
})  # fmt: skip
_OWN_BASES = frozenset({"object", "ABC", "Protocol", "Generic", "Module", "NamedTuple"})
_LOOKS_AT_FRAMES = frozenset({"f_locals", "f_globals", "__globals__", "_getframe", "currentframe", "getouterframes"})
# Calls that use an argument without keeping it.
_BORROWERS = frozenset({
    "next", "len", "print", "isinstance", "id", "type", "repr", "str", "bool", "callable", "hasattr", "list", "tuple",
    "set", "sum", "any", "all", "sorted", "step",
})  # fmt: skip


def live_names(
    files: Mapping[str, bytes], path: str, function: str | None, loop: str, point: Point, nested: str | None = None
) -> frozenset[str] | None:
    """The names of a scope that may be read before they are bound again, from a restore point to the program's end.

    `function` is the `co_qualname` of the frame's function, None for the globals of the file. None means unknown:
    treat every name as live.
    """
    try:
        found = _judge(_Project(files, loop, point, nested), path, function)
    except RecursionError:
        return None
    return None if found is None else found[0]


def lost_but_dead(
    files: Mapping[str, bytes],
    script: str,
    holders: Iterable[Holder],
    loop: str,
    point: Point,
    nested: str | None = None,
) -> frozenset[Holder]:
    """Those of the names that hold a lost object which a replay from the restore point does not need.

    Each is dead in its scope, known to be bound there, and what it is bound to is not visibly handed to anything that
    could keep it out of a checkpoint's sight. A lost object is needed unless every name that holds it is among them.
    """
    wanted = list(holders)
    if not wanted:
        return frozenset()
    try:
        reached = reachable(files, script)
        project = _Project({path: files[path] for path in reached}, loop, point, nested)
        return frozenset(holder for holder in wanted if _judge_name(project, *holder))
    except RecursionError:
        return frozenset()


def _judge_name(project: _Project, path: str, function: str | None, name: str) -> bool:
    key = (path, function)
    if key not in project.judged:
        project.judged[key] = _judge(project, path, function)
    found = project.judged[key]
    if found is None or name in found[0] or name not in found[1]:
        return False
    file = project.files[path]
    return not any(_is_shared(project, unit, name) for unit in file.units if unit.qualname == function)


def _judge(project: _Project, path: str, function: str | None) -> tuple[Names, Names] | None:
    """The live names of a scope, and the names that it is seen to bind."""
    file = project.files.get(path)
    if file is None or project.lost:
        return None
    units = [unit for unit in file.units if unit.qualname == function]
    live, bound = _NOTHING, _NOTHING
    for unit in units:
        if function is None:
            elsewhere = project.read_elsewhere(file)
            if elsewhere is None or file.looks_up_globals():
                return None
            scope = _scan(unit.node, file)
            where = project.points_in(unit) or _Points(everywhere=True)
            live |= elsewhere | _deferred(scope, file) | scope.declared_global
        else:
            if project.looks_at_frames or file.looks_up_locals(unit):
                return None
            scope = _scan(unit.node, file)
            found = project.points_in(unit)
            if found is None:
                return None
            where = found
            own = scope.locals()
            live |= _deferred(scope, file) | _free(unit.node, file)[0] | (scope.reads - own) | scope.declared
        live |= _Flow(project, unit, where).run()
        bound |= scope.locals()
    if not units:
        return None
    mangled = {name for name in live if name.startswith("__") and not name.endswith("__")}
    live |= {f"_{cls.lstrip('_')}{name}" for cls in file.classes for name in mangled}
    return live, bound


# -- scopes ----------------------------------------------------------------------------------------------------------


@dataclass
class _Scope(ast.NodeVisitor):
    """What the code of one scope does with names, the scopes inside it left out."""

    file: _File
    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    declared_global: set[str] = field(default_factory=set)
    declared_nonlocal: set[str] = field(default_factory=set)
    inner: list[ast.AST] = field(default_factory=list)

    @property
    def declared(self) -> set[str]:
        return self.declared_global | self.declared_nonlocal

    def locals(self) -> Names:
        return frozenset(self.binds - self.declared)

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.binds.add(node.id)
        if not isinstance(node.ctx, ast.Store):
            self.reads.add(node.id)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, (*_FUNCTIONS, ast.Lambda, ast.ClassDef)):
            if not isinstance(node, ast.Lambda):
                self.binds.add(node.name)
            self.visit_all(_headers(node))
            self.inner.append(node)
            return
        if isinstance(node, _COMPREHENSIONS):
            self.visit(node.generators[0].iter)
            self.binds |= {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
            self.inner.append(node)
            return
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self.reads.add(node.target.id)
        elif isinstance(node, ast.Global):
            self.declared_global |= set(node.names)
        elif isinstance(node, ast.Nonlocal):
            self.declared_nonlocal |= set(node.names)
        elif isinstance(node, ast.Call):
            self.reads |= _words_read(node)
        self.binds |= set(_other_bindings(node))
        super().generic_visit(node)


def _other_bindings(node: ast.AST) -> Iterator[str]:
    """The names that a node itself binds in another way than by a Name to store to."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or (alias.name.split(".")[0] if isinstance(node, ast.Import) else alias.name)
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def _headers(node: ast.AST) -> list[ast.AST]:
    """What is evaluated where a function, lambda or class is defined, in order."""
    found: list[ast.AST | None] = []
    if isinstance(node, ast.ClassDef):
        found = [*node.decorator_list, *node.bases, *(k.value for k in node.keywords)]
    elif isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        if isinstance(node, _FUNCTIONS):
            found = [*node.decorator_list, node.returns]
            found += [a.annotation for a in ast.walk(node.args) if isinstance(a, ast.arg)]
        found += [*node.args.defaults, *node.args.kw_defaults]
    return [n for n in found if n is not None]


def _insides(node: ast.AST) -> list[ast.AST]:
    """What belongs to the scope that a node opens."""
    if isinstance(node, _COMPREHENSIONS):
        first, *others = node.generators
        found: list[ast.AST] = [first.target, *first.ifs, *others]
        return [*found, node.key, node.value] if isinstance(node, ast.DictComp) else [*found, node.elt]
    if isinstance(node, ast.Lambda):
        return [node.body]
    return list(node.body) if isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.Module)) else []


def _scan(node: ast.AST, file: _File) -> _Scope:
    if node not in file.scopes:
        scope = file.scopes[node] = _Scope(file)
        scope.visit_all(_insides(node))
        if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
            scope.binds |= {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)}
    return file.scopes[node]


def _hidden(node: ast.AST, file: _File) -> Names:
    """The names that mean something else inside a scope than around it."""
    if isinstance(node, _COMPREHENSIONS):  # what `:=` binds there belongs to the scope around it
        return _scan(node, file).locals() - {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
    return _scan(node, file).locals()


def _free(node: ast.AST, file: _File) -> tuple[Names, Names]:
    """The names that a scope reads from the scopes around it, and those that it takes from the globals past them."""
    if node not in file.free:
        scope = _scan(node, file)
        inner = [_free(n, file) for n in scope.inner]
        reads = frozenset(scope.reads) - scope.declared_global
        below = frozenset(name for found, _ in inner for name in found) - scope.declared_global
        hidden = _hidden(node, file)
        past = frozenset(name for _, found in inner for name in found) | scope.declared_global
        if isinstance(node, ast.ClassDef):
            free = reads | below  # what a class binds is not seen by its methods
            past |= reads & hidden  # and is looked up among the globals where the class has not bound it yet
        else:
            free = (reads | below) - hidden
        file.free[node] = free, past
    return file.free[node]


def _deferred(scope: _Scope, file: _File) -> Names:
    """The names that functions, lambdas and generators made in a scope may read from it at any time."""
    found: set[str] = set()
    for node in scope.inner:
        if isinstance(node, (*_FUNCTIONS, ast.Lambda)) or node in file.lazy_generators:
            free, past = _free(node, file)
            found |= free
            if scope is file.scopes.get(file.tree):
                found |= past
        else:
            inside = _scan(node, file)
            below = _deferred(inside, file)
            found |= below if isinstance(node, ast.ClassDef) else below - _hidden(node, file)
            if scope is file.scopes.get(file.tree):
                found |= _free(node, file)[1]
    return frozenset(found)


def _words_read(call: ast.Call) -> set[str]:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _NAME_READERS:
        return set()
    arguments = (*call.args, *(k.value for k in call.keywords))
    texts = [
        n.value for a in arguments for n in ast.walk(a) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    return {word for text in texts for word in re.findall(r"\w+", text)}


def _inline(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node that runs where it stands: no bodies of functions and lambdas, but those of classes."""
    below = _headers(node) if isinstance(node, (*_FUNCTIONS, ast.Lambda)) else list(ast.iter_child_nodes(node))
    for child in below:
        yield child
        yield from _inline(child)


# -- files and who calls whom ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Unit:
    """A function, or the code of a module."""

    file: _File
    qualname: str | None
    node: _Callable | ast.Module
    owner: ast.ClassDef | None

    @property
    def body(self) -> list[ast.stmt]:
        return self.node.body

    def inline(self) -> Iterator[ast.AST]:
        for statement in self.body:
            yield statement
            yield from _inline(statement)


@dataclass
class _Points:
    """Where in a unit the restore point may be."""

    loops: set[ast.AST] = field(default_factory=set)
    calls: set[ast.AST] = field(default_factory=set)
    everywhere: bool = False


class _File:
    """One parsed file."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path = path
        self.tree = tree
        self.scopes: dict[ast.AST, _Scope] = {}
        self.free: dict[ast.AST, tuple[Names, Names]] = {}
        self.nodes = list(ast.walk(tree))
        self.parent = {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}
        self.units = [_Unit(self, None, tree, None)]
        self.classes = [n.name for n in self.nodes if isinstance(n, ast.ClassDef)]
        self._collect(tree, "", None)
        self.imported = {
            b for n in self.nodes if isinstance(n, ast.Import | ast.ImportFrom) for b in _other_bindings(n)
        }
        self.aliases = [
            (alias.name, alias.asname)
            for n in self.nodes
            if isinstance(n, ast.ImportFrom)
            for alias in n.names
            if alias.asname
        ]
        bound = {n.id for n in self.nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        bound |= {n.arg for n in self.nodes if isinstance(n, ast.arg)} | self.imported | set(self.classes)
        bound |= {n.name for n in self.nodes if isinstance(n, _FUNCTIONS)}
        self.bound = bound
        self.lazy_generators = {n for n in self.nodes if isinstance(n, ast.GeneratorExp) and not self._is_eager(n)}

    def _collect(self, node: ast.AST, prefix: str, owner: ast.ClassDef | None) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _FUNCTIONS):
                qualname = prefix + child.name
                self.units.append(_Unit(self, qualname, child, owner))
                self._collect(child, f"{qualname}.<locals>.", None)
            elif isinstance(child, ast.ClassDef):
                self._collect(child, f"{prefix}{child.name}.", child)
            elif isinstance(child, ast.Lambda):
                self._collect(child, f"{prefix}<lambda>.<locals>.", None)
            else:
                self._collect(child, prefix, owner)

    def _is_eager(self, node: ast.GeneratorExp) -> bool:
        call = self.parent[node]
        if not isinstance(call, ast.Call) or call.args != [node]:
            return False
        if isinstance(call.func, ast.Name):
            return call.func.id in _EAGER and call.func.id not in self.bound
        return isinstance(call.func, ast.Attribute) and call.func.attr == "join"

    def looks_up_locals(self, unit: _Unit) -> bool:
        names = _free(unit.node, self)[0] - _scan(self.tree, self).binds
        return bool(names & {"eval", "exec", "locals"}) or _has_bare_call(unit.node, self, {"vars", "dir"})

    def looks_up_globals(self) -> bool:
        top = _scan(self.tree, self)
        reads = (top.reads | _deferred(top, self) | _free(self.tree, self)[0]) - top.binds
        return bool(reads & {"eval", "exec", "globals", "locals"}) or _has_bare_call(self.tree, self, {"vars", "dir"})

    def refers(self, node: ast.AST, plain: set[str], methods: set[str]) -> bool:
        """Whether a node names one of the functions or methods."""
        if isinstance(node, ast.Name):
            return node.id in plain and isinstance(node.ctx, ast.Load)
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
            return False
        return node.attr in methods or (node.attr in plain and _root(node) in self.imported)


def _has_bare_call(node: ast.AST, file: _File, names: set[str]) -> bool:
    """Whether one of the built-in functions is called without an argument, or handed on."""
    for n in ast.walk(node):
        if isinstance(n, ast.Name) and n.id in names and n.id not in file.bound and isinstance(n.ctx, ast.Load):
            call = file.parent.get(n)
            if not (isinstance(call, ast.Call) and call.func is n and call.args):
                return True
    return False


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _root(node: ast.AST) -> str:
    return _dotted(node).partition(".")[0]


def _tail(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return _tail(node.func)
    return _dotted(node).rpartition(".")[2]


class _Project:
    """All files, with the loop whose restore point is asked about."""

    def __init__(self, files: Mapping[str, bytes], loop: str, point: Point, nested: str | None) -> None:
        self.point = point
        self.files: dict[str, _File] = {}
        self.judged: dict[tuple[str, str | None], tuple[Names, Names] | None] = {}
        for path, source in files.items():
            try:
                self.files[path] = _File(path, ast.parse(source))
            except (SyntaxError, ValueError, MemoryError):
                continue  # what cannot be parsed cannot be run either
        self.units = [unit for file in self.files.values() for unit in file.units]
        nodes = [n for file in self.files.values() for n in file.nodes]
        words = {n.attr for n in nodes if isinstance(n, ast.Attribute)}
        words |= {n.id for n in nodes if isinstance(n, ast.Name)} | {n for f in self.files.values() for n in f.imported}
        self.looks_at_frames = bool(words & _LOOKS_AT_FRAMES)
        self._words = words
        self.lost = False
        self.mains: dict[_Unit, _Points] = {}
        main = _Reach(self, self._sites(loop))
        self.mains = main.sites
        asked = nested if point == "exit" else loop
        if asked is None:
            self.lost = True
            return
        self.reach = _Reach(self, self._sites(asked)) if point == "exit" else main
        self._main = main

    # -- loops -----------------------------------------------------------------------------------------------

    def _sites(self, name: str) -> dict[_Unit, _Points]:
        """The `for` loops of a name by unit; `self.lost` where one of them cannot be told."""
        found: dict[_Unit, _Points] = {}
        for file in self.files.values():
            spelled = {"loop"} | {local for original, local in file.aliases if original == "loop"}
            calls = {n for n in file.nodes if isinstance(n, ast.Call) and self._is_loop(n, spelled, name)}
            for unit in file.units:
                for node in unit.inline():
                    if isinstance(node, ast.Call) and node in calls:
                        calls.discard(node)
                        self._site(unit, node, found.setdefault(unit, _Points()))
            if calls:
                self.lost = True  # in a lambda
            named = {n for n in file.nodes if isinstance(n, ast.Attribute) and _dotted(n) == "flor.loop"}
            if any(not (isinstance(p := file.parent[n], ast.Call) and p.func is n) for n in named):
                self.lost = True  # handed on, or given another name
        return found

    @staticmethod
    def _is_loop(node: ast.Call, spelled: set[str], name: str) -> bool:
        if _tail(node.func) not in spelled or not isinstance(node.func, ast.Name | ast.Attribute):
            return False
        given = node.args[0] if node.args else next((k.value for k in node.keywords if k.arg == "name"), None)
        if isinstance(given, ast.Constant):
            return given.value == name
        return given is not None

    def _site(self, unit: _Unit, call: ast.Call, points: _Points) -> None:
        parent = unit.file.parent
        node: ast.AST = call
        wrapped = True
        while True:
            above = parent[node]
            if isinstance(above, _FORS) and node is above.iter:
                points.loops.add(above)
            elif isinstance(above, ast.comprehension) and node is above.iter and wrapped:
                if parent[above] in unit.file.lazy_generators:
                    self.lost = True
                points.calls.add(parent[above])
            elif isinstance(above, ast.Call | ast.keyword | ast.Starred):
                wrapped = wrapped and (not isinstance(above, ast.Call) or _tail(above.func) in _WRAPPERS)
                node = above
                continue
            elif isinstance(above, ast.Assign) and wrapped and len(above.targets) == 1:
                self._named_loop(unit, above.targets[0], points)
            elif isinstance(above, ast.withitem) and wrapped:
                self._named_loop(unit, above.optional_vars, points)
            else:
                self.lost = True
            break
        while node is not unit.node:
            node = parent[node]
            if isinstance(node, ast.ClassDef) and node is not unit.owner:
                self.lost = True
                return

    def _named_loop(self, unit: _Unit, target: ast.expr | None, points: _Points) -> None:
        """The `for` over a name that holds the loop, where the name holds nothing else."""
        file = unit.file
        if not isinstance(target, ast.Name):
            self.lost = True
            return
        uses = [n for n in ast.walk(unit.node) if isinstance(n, ast.Name) and n.id == target.id and n is not target]
        inline = set(unit.inline())
        loops = set()
        for use in uses:
            above: ast.AST = file.parent[use]
            node: ast.AST = use
            while isinstance(above, ast.Call) and node in above.args and _tail(above.func) in _WRAPPERS:
                node, above = above, file.parent[above]
            if isinstance(above, _FORS) and above.iter is node and use in inline:
                loops.add(above)
            elif not isinstance(above, ast.Attribute) or node is not use:
                self.lost = True
        if not loops or any(target.id in n.names for n in file.nodes if isinstance(n, ast.Global | ast.Nonlocal)):
            self.lost = True
        points.loops |= loops

    # -- calls -----------------------------------------------------------------------------------------------

    def points_in(self, unit: _Unit) -> _Points | None:
        """Where in a unit the restore point may be; None if nothing shows that the unit runs then."""
        reach = self.reach
        found = _Points()
        if unit in reach.sites:
            found.loops |= reach.sites[unit].loops
            found.calls |= reach.sites[unit].calls
        calls = [n for n in unit.inline() if reach.is_call(unit.file, n)]
        found.calls |= set(calls)
        if not found.loops and not found.calls:
            return None
        if calls and reach.anywhere:
            found.everywhere = True
        if self.point == "exit" and not found.everywhere:
            self._inside_main(unit, found)
        return found if found.loops or found.calls else None

    def _inside_main(self, unit: _Unit, found: _Points) -> None:
        """Leave out what stands outside the main loop, where this unit alone has it and does not run inside itself."""
        if set(self.mains) != {unit} or not self.mains[unit].loops or self.mains[unit].calls:
            return
        if any(self._main.is_call(unit.file, n) for n in unit.inline()):
            return
        bodies = [s for loop in self.mains[unit].loops if isinstance(loop, _FORS) for s in loop.body]
        inside = {n for s in bodies for n in (s, *_inline(s))}
        found.loops &= inside
        found.calls &= inside

    # -- globals ---------------------------------------------------------------------------------------------

    def read_elsewhere(self, file: _File) -> Names | None:
        """The names of a file's globals that other files may read; None if any."""
        if self._words & (_LOOKS_AT_FRAMES - {"f_locals"}):
            return None
        parts = file.path.removesuffix(".py").removesuffix("/__init__").split("/")
        own = {parts[-1], "__main__"}
        dynamic = bool(self._words & {"import_module", "__import__", "runpy", "reload"})
        seen = dynamic
        for other in self.files.values():
            for node in other.nodes:
                if isinstance(node, ast.Attribute) and node.attr == "modules" and _root(node) == "sys":
                    return None
                if isinstance(node, ast.Import):
                    seen |= any(own & set(alias.name.split(".")) for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    inside = bool(own & set((node.module or "").split("."))) or not node.module
                    if inside and any(alias.name == "*" for alias in node.names):
                        return None
                    seen |= inside or any(alias.name in own for alias in node.names)
        if not seen:
            return _NOTHING
        found: set[str] = set()
        for other in self.files.values():
            for node in other.nodes:
                if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Store):
                    found.add(node.attr)
                elif isinstance(node, ast.ImportFrom):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
                    found |= set(node.value.split("."))
                if self._looks_into_module(other, node):
                    return None
        return frozenset(found)

    @staticmethod
    def _looks_into_module(file: _File, node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute) and node.attr == "__dict__":
            return _root(node) in file.imported
        if not isinstance(node, ast.Call) or not node.args or _root(node.args[0]) not in file.imported:
            return False
        name = _tail(node.func)
        return name in {"vars", "getmembers"} or (
            name == "getattr" and not (len(node.args) > 1 and isinstance(node.args[1], ast.Constant))
        )


class _Reach:
    """The names through which units may come to run a loop, and whether something may come to it in another way."""

    def __init__(self, project: _Project, sites: dict[_Unit, _Points]) -> None:
        self.sites = sites
        self.anywhere = False
        self._project = project
        self._plain: set[str] = set()
        self._methods: set[str] = set()
        self._modules: set[str] = set()
        self._inside: set[_Unit] = set()
        for unit in sites:
            self._add(unit)
        grown = True
        while grown:
            grown = False
            for unit in project.units:
                if unit not in self._inside and any(self.is_call(unit.file, n) for n in unit.inline()):
                    self._add(unit)
                    grown = True
        self.anywhere = self.anywhere or self._escapes()

    def is_call(self, file: _File, node: ast.AST) -> bool:
        """Whether a node may run the loop: it names a function that does, or imports a module that does."""
        if isinstance(node, ast.Import):
            return any(self._modules & set(alias.name.split(".")) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            return bool(self._modules & {*(node.module or "").split("."), *(alias.name for alias in node.names)})
        return file.refers(node, self._plain, self._methods)

    def _add(self, unit: _Unit) -> None:
        self._inside.add(unit)
        node = unit.node
        if isinstance(node, ast.Module):
            self._modules.add(unit.file.path.removesuffix(".py").removesuffix("/__init__").split("/")[-1])
            return
        if any(isinstance(n, ast.Yield | ast.YieldFrom) for n in unit.inline()):
            self.anywhere = True
        for decorator in node.decorator_list:
            name = _dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
            self.anywhere |= name not in _TRANSPARENT_DECORATORS
        if unit.owner is None:
            self._plain.add(node.name)
        elif node.name in {"__init__", "__new__", "__post_init__"}:
            self._methods.add(node.name)
            self._classes(unit.owner.name)
        else:
            self._methods.add(node.name)
            self.anywhere |= node.name.startswith("__") and node.name.endswith("__")
            local = {c for file in self._project.files.values() for c in file.classes}
            self.anywhere |= any(_tail(base) not in local | _OWN_BASES for base in unit.owner.bases)
        for file in self._project.files.values():
            self._plain |= {local for original, local in file.aliases if original in self._plain}

    def _classes(self, name: str) -> None:
        waiting = [name]
        while waiting:
            one = waiting.pop()
            if one not in self._plain:
                self._plain.add(one)
                nodes = [n for f in self._project.files.values() for n in f.nodes if isinstance(n, ast.ClassDef)]
                waiting += [n.name for n in nodes if any(_tail(b) == one for b in n.bases)]

    def _escapes(self) -> bool:
        """Whether a function is handed on, kept or looked up, so that a call of it need not name it."""
        asynchronous = {u.node.name for u in self._inside if isinstance(u.node, ast.AsyncFunctionDef)}
        for file in self._project.files.values():
            for node in file.nodes:
                if isinstance(node, ast.Call) and _tail(node.func) in {"getattr", "methodcaller", "attrgetter"}:
                    if self._may_get(file, node):
                        return True
                elif isinstance(node, ast.Name | ast.Attribute) and file.refers(node, self._plain, self._methods):
                    above = file.parent[node]
                    if isinstance(above, ast.Call) and above.func is node:
                        if _tail(node) in asynchronous and not self._runs_now(file, above):
                            return True
                        if self._in_lambda(file, node):
                            return True
                    elif not (isinstance(above, ast.Attribute | ast.ClassDef) or self._is_run(above)):
                        return True
        return False

    def _may_get(self, file: _File, call: ast.Call) -> bool:
        key = (*call.args, None)[1 if _tail(call.func) == "getattr" and len(call.args) > 1 else 0]
        if isinstance(key, ast.Constant):
            return key.value in self._plain | self._methods
        stems = {part for p in self._project.files for part in p.removesuffix(".py").split("/")}
        root = _root(call.args[0]) if call.args else "?"
        return not (root in file.imported and root not in stems)

    @staticmethod
    def _is_run(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and _dotted(node.func) in _CALL_THROUGH

    def _runs_now(self, file: _File, call: ast.Call) -> bool:
        above = file.parent[call]
        return isinstance(above, ast.Await) or self._is_run(above)

    @staticmethod
    def _in_lambda(file: _File, node: ast.AST) -> bool:
        while node in file.parent and not isinstance(node, ast.stmt):
            node = file.parent[node]
            if isinstance(node, ast.Lambda) or node in file.lazy_generators:
                return True
        return False


# -- names against the flow of control -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Exits:
    """The names live where the ways out of a block lead."""

    leave: Names = _NOTHING
    again: Names = _NOTHING
    back: Names = _NOTHING
    thrown: Names = _NOTHING


class _Flow:
    """One unit, walked backwards; what is live at the points in question is collected on the way."""

    def __init__(self, project: _Project, unit: _Unit, points: _Points) -> None:
        self._point = project.point
        self._points = points
        self._unit = unit
        self._file = unit.file
        self._defined = {
            n.name for f in project.files.values() for n in f.nodes if isinstance(n, (*_FUNCTIONS, ast.ClassDef))
        }
        self._found: set[str] = set()
        self._events: dict[ast.AST, list[_Event]] = {}
        self._marked: dict[ast.AST, bool] = {}

    def run(self) -> Names:
        first = self._block(self._unit.body, _NOTHING, _Exits())
        if self._points.everywhere:
            self._found |= first
        return frozenset(self._found)

    def _block(self, body: Sequence[ast.stmt], live: Names, exits: _Exits) -> Names:
        for statement in reversed(body):
            if self._points.everywhere:
                self._found |= live
            live = self._statement(statement, live, exits) | exits.thrown
        return live

    def _evaluate(self, nodes: Sequence[ast.AST | None], live: Names, exits: _Exits) -> Names:
        """Live before some expressions are evaluated one after the other."""
        for node in reversed(nodes):
            if node is None:
                continue
            if node not in self._events:
                self._events[node] = _events(node, self._file)
                calls = self._points.calls
                self._marked[node] = self._points.everywhere or any(n in calls for n in (node, *_inline(node)))
            events = self._events[node]
            if self._marked[node]:
                self._found |= live | exits.thrown | _reads(events)
            live = _before(events, live) | exits.thrown
        return live

    def _statement(self, node: ast.stmt, live: Names, exits: _Exits) -> Names:
        if isinstance(node, ast.Assign):
            return self._evaluate([node.value, *node.targets], live, exits)
        if isinstance(node, ast.AugAssign):
            return self._aug_assign(node, live, exits)
        if isinstance(node, ast.AnnAssign):
            if node.value is None:
                return self._evaluate([node.annotation, *_parts(node.target)], live, exits)
            return self._evaluate([node.value, node.target, node.annotation], live, exits) | (
                _reads(_events(node.annotation, self._file))
            )
        if isinstance(node, ast.Return):
            return self._evaluate([node.value], exits.back, exits)
        if isinstance(node, ast.Raise):
            return self._evaluate([node.exc, node.cause], exits.thrown, exits)
        if isinstance(node, ast.Break):
            return exits.leave
        if isinstance(node, ast.Continue):
            return exits.again
        if isinstance(node, ast.Assert):
            told = self._evaluate([node.msg], exits.thrown, exits)
            return self._evaluate([node.test], live | told, exits)
        if isinstance(node, ast.If):
            either = self._block(node.body, live, exits) | self._block(node.orelse, live, exits)
            return self._evaluate([node.test], either, exits)
        if isinstance(node, _FORS):
            return self._for(node, live, exits)
        if isinstance(node, ast.While):
            return self._while(node, live, exits)
        if isinstance(node, ast.Try | ast.TryStar):
            return self._try(node, live, exits)
        if isinstance(node, ast.With | ast.AsyncWith):
            return self._with(node, live, exits)
        if isinstance(node, ast.Match):
            return self._match(node, live, exits)
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            return self._definition(node, live, exits)
        if isinstance(node, ast.Import | ast.ImportFrom):
            if self._points.everywhere or node in self._points.calls:
                self._found |= live | exits.thrown
            return live - frozenset(_other_bindings(node))
        if isinstance(node, ast.Global | ast.Nonlocal | ast.Pass):
            return live
        children = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return self._evaluate(children, live, exits)

    def _aug_assign(self, node: ast.AugAssign, live: Names, exits: _Exits) -> Names:
        if isinstance(node.target, ast.Name):
            live = self._evaluate([node.value], live - {node.target.id}, exits)
            if self._marked[node.value]:
                self._found.add(node.target.id)
            return live | {node.target.id}
        return self._evaluate([node.target, node.value], live, exits)

    def _definition(self, node: _Callable | ast.ClassDef, live: Names, exits: _Exits) -> Names:
        live -= {node.name}
        if isinstance(node, ast.ClassDef):
            reads = _scan(node, self._file).reads | _free(node, self._file)[0]
            calls = self._points.calls
            if self._points.everywhere or any(n in calls for n in _inline(node)):
                self._found |= live | exits.thrown | reads
            live |= reads
        return self._evaluate(_headers(node), live, exits)

    def _for(self, node: ast.For | ast.AsyncFor, live: Names, exits: _Exits) -> Names:
        exhausted = self._block(node.orelse, live, exits)
        head = exhausted | exits.thrown
        while True:
            body = self._block(node.body, head, replace(exits, leave=live, again=head))
            grown = head | self._evaluate([node.target], body, exits)
            if grown == head:
                break
            head = grown
        if node in self._points.loops:
            self._found |= exits.thrown
            if self._point == "start":
                self._found |= head
            else:
                self._found |= exhausted | (live if self._point == "exit" else _NOTHING)
            calls = [n for n in ast.walk(node.iter) if isinstance(n, ast.Call)]
            if any(_tail(n.func) not in _WRAPPERS | {"loop", "range"} for n in calls):
                self._found |= _reads(_events(node.iter, self._file)) | head
        if self._points.everywhere:
            self._found |= head
        return self._evaluate([node.iter], head, exits)

    def _while(self, node: ast.While, live: Names, exits: _Exits) -> Names:
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        exhausted = self._block(node.orelse, live, exits)
        if endless:
            exhausted = _NOTHING
        head = exits.thrown
        while True:
            body = self._block(node.body, head, replace(exits, leave=live, again=head))
            grown = head | self._evaluate([node.test], body | exhausted, exits)
            if grown == head:
                return head
            head = grown

    def _try(self, node: ast.Try | ast.TryStar, live: Names, exits: _Exits) -> Names:
        cleaned: dict[Names, Names] = {}

        def after_cleaning(target: Names) -> Names:
            if target not in cleaned:
                cleaned[target] = self._block(node.finalbody, target, exits)
            return cleaned[target]

        done = after_cleaning(live)
        outward = _Exits(*(after_cleaning(t) for t in (exits.leave, exits.again, exits.back, exits.thrown)))
        handled = outward.thrown
        while True:
            # the handlers of `except*` run one after the other
            then = done | handled if isinstance(node, ast.TryStar) else done
            grown = handled
            types: list[ast.expr] = []
            for handler in node.handlers:
                types += [handler.type] if handler.type is not None else []
                bound = {handler.name} if handler.name else set()
                inside = self._block(handler.body, then - bound, outward) - bound
                grown |= self._evaluate(types, inside, outward) | inside
            if grown == handled:
                break
            handled = grown
        passed = self._block(node.orelse, done, outward)
        return self._block(node.body, passed, replace(outward, thrown=handled)) | handled

    def _with(self, node: ast.With | ast.AsyncWith, live: Names, exits: _Exits) -> Names:
        inside = exits
        if not all(self._lets_pass(item.context_expr) for item in node.items):
            inside = replace(exits, thrown=exits.thrown | live)
        if self._points.everywhere:
            self._found |= live
        body = self._block(node.body, live, inside)
        return self._evaluate([n for item in node.items for n in (item.context_expr, item.optional_vars)], body, inside)

    def _lets_pass(self, manager: ast.expr) -> bool:
        name = _tail(manager)
        return name in _TRANSPARENT_MANAGERS and name not in self._defined

    def _match(self, node: ast.Match, live: Names, exits: _Exits) -> Names:
        otherwise = live
        for case in reversed(node.cases):
            if case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None:
                otherwise = _NOTHING  # it matches everything
            matched = self._block(case.body, live, exits)
            if case.guard is not None:
                matched = self._evaluate([case.guard], matched | otherwise, exits)
            parts = list(ast.walk(case.pattern))
            captured = frozenset(name for n in parts for name in _other_bindings(n))
            otherwise = (matched - captured) | otherwise
            otherwise = self._evaluate([n for n in parts if isinstance(n, ast.expr)], otherwise, exits)
        return self._evaluate([node.subject], otherwise, exits)


def _parts(target: ast.expr) -> list[ast.expr]:
    """What is evaluated of a target to which nothing is assigned."""
    return [n for n in ast.iter_child_nodes(target) if isinstance(n, ast.expr)]


def _events(node: ast.AST, file: _File) -> list[_Event]:
    """What the evaluation of an expression does with names, in order."""
    found: list[_Event] = []

    def all_of(nodes: Iterable[ast.AST | None]) -> list[_Event]:
        return [event for n in nodes if n is not None for event in _events(n, file)]

    def chain(nodes: Sequence[ast.expr]) -> list[_Event]:
        """The rest of something that may end after each of its parts."""
        if not nodes:
            return []
        return [("either", _events(nodes[0], file) + chain(nodes[1:]), [])]

    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Store):
            found.append(("read", node.id))  # `del x` needs an x
        if not isinstance(node.ctx, ast.Load):
            found.append(("bind", node.id))
    elif isinstance(node, ast.NamedExpr):
        found = all_of([node.value, node.target])
    elif isinstance(node, ast.BoolOp):
        found = _events(node.values[0], file) + chain(node.values[1:])
    elif isinstance(node, ast.Compare):
        found = all_of([node.left, node.comparators[0]]) + chain(node.comparators[1:])
    elif isinstance(node, ast.IfExp):
        found = [*_events(node.test, file), ("either", _events(node.body, file), _events(node.orelse, file))]
    elif isinstance(node, ast.Lambda):
        found = all_of(_headers(node))
    elif isinstance(node, _COMPREHENSIONS):
        found = _events(node.generators[0].iter, file)
        found += [("read", name) for name in _free(node, file)[0]]
    elif isinstance(node, ast.Dict):
        found = all_of(n for pair in zip(node.keys, node.values, strict=True) for n in pair)
    else:
        found = all_of(ast.iter_child_nodes(node))
        if isinstance(node, ast.Call):
            found += [("read", word) for word in _words_read(node)]
    return found


def _before(events: Sequence[_Event], live: Names) -> Names:
    for event in reversed(events):
        if event[0] == "either":
            live = _before(event[1], live) | _before(event[2], live)
        elif event[0] == "bind":
            live -= {event[1]}
        else:
            live |= {event[1]}
    return live


def _reads(events: Sequence[_Event]) -> Names:
    found: set[str] = set()
    for event in events:
        if event[0] == "either":
            found |= _reads(event[1]) | _reads(event[2])
        elif event[0] == "read":
            found.add(event[1])
    return frozenset(found)


# -- what else may hold the object -----------------------------------------------------------------------------------


def _is_shared(project: _Project, unit: _Unit, name: str) -> bool:
    """Whether something else than the name may hold what the name is bound to, as far as its scope shows."""
    parent = unit.file.parent
    mains = {loop for points in project.mains.values() for loop in points.loops}
    if not isinstance(unit.node, ast.Module) and any(
        isinstance(n, ast.arg) and n.arg == name for n in ast.walk(unit.node.args)
    ):
        return True
    for node in unit.inline():
        if isinstance(node, ast.Name) and node.id == name:
            if isinstance(node.ctx, ast.Store) and not _binds_new(parent, node):
                return True
            if isinstance(node.ctx, ast.Load) and not _only_borrows(parent, node, mains):
                return True
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            if node.name == name and node.decorator_list:
                return True
        elif name in _other_bindings(node) and not isinstance(node, ast.Import | ast.ImportFrom):
            return True
    return False


def _binds_new(parent: Mapping[ast.AST, ast.AST], target: ast.Name) -> bool:
    above = parent[target]
    if isinstance(above, ast.Assign):
        return len(above.targets) == 1 and _makes_new(above.value)
    if isinstance(above, ast.AnnAssign):
        return above.value is None or _makes_new(above.value)
    if isinstance(above, ast.withitem):
        return isinstance(above.context_expr, ast.Call)
    return isinstance(above, ast.AugAssign)


def _makes_new(value: ast.expr) -> bool:
    if isinstance(value, ast.IfExp):
        return _makes_new(value.body) and _makes_new(value.orelse)
    if isinstance(value, ast.Await):
        return _makes_new(value.value)
    return isinstance(
        value, (ast.Call, ast.Lambda, ast.Constant, ast.JoinedStr, ast.BinOp, ast.UnaryOp, *_COMPREHENSIONS)
    )


def _only_borrows(parent: Mapping[ast.AST, ast.AST], use: ast.AST, mains: set[ast.AST]) -> bool:
    above = parent[use]
    if isinstance(above, ast.keyword):
        call = parent[above]
        return isinstance(call, ast.Call) and _tail(call.func) in _BORROWERS
    if isinstance(above, ast.Attribute):
        call = parent[above]
        return not isinstance(above.ctx, ast.Load) or (isinstance(call, ast.Call) and call.func is above)
    if isinstance(above, _FORS):
        return above not in mains
    if isinstance(above, ast.Call):
        if above.func is use or _tail(above.func) in _BORROWERS or _dotted(above.func) == "flor.log":
            return True
        return _tail(above.func) in _WRAPPERS | {"loop"} and _is_iterated(parent, above, mains)
    return isinstance(
        above, ast.Compare | ast.comprehension | ast.UnaryOp | ast.YieldFrom | ast.FormattedValue | ast.If | ast.While
    )


def _is_iterated(parent: Mapping[ast.AST, ast.AST], node: ast.AST, mains: set[ast.AST]) -> bool:
    above = parent[node]
    while isinstance(above, ast.Call) and node in above.args and _tail(above.func) in _WRAPPERS | {"loop"}:
        node, above = above, parent[above]
    return isinstance(above, ast.comprehension) or (isinstance(above, _FORS) and above not in mains)
