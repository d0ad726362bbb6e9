"""The loops of a project's functions, which of them train, and which run inside which."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flor_instrument.analysis.calls import Calls
from flor_instrument.analysis.definitions import Class, Function, Module
from flor_instrument.analysis.index import MODULE_METHODS, Index
from flor_instrument.analysis.points import Unit
from flor_instrument.analysis.syntax import FUNCTION_NODES, dotted, tail, words
from flor_instrument.finding import evidence
from flor_instrument.finding.turns import Loop, may_be_wrapped

# What compiles a function from its source or bytecode: a call that it does not know must not appear in one.
COMPILING = words(
    "jit njit pjit script compile cfunc vectorize guvectorize vmap pmap function kernel stencil autojit checkpoint_wrapper"
)
_BY_HAND = ("numpy", "jax", "cupy", "torch", "mxnet", "autograd")
_RUNNERS = ("trainer", "runner", "engine", "learner", "solver", "agent", "experiment", "self", "super", "main", "loop")


@dataclass(eq=False)
class Candidate:
    """One `for` or `while` statement."""

    unit: Unit
    node: Loop
    strength: int = evidence.NOTHING
    inside: set[Candidate] = field(default_factory=set)  # the training loops that run in it, at any depth

    @property
    def path(self) -> str:
        return self.module.path

    @property
    def module(self) -> Module:
        return self.unit.module if isinstance(self.unit, Function) else self.unit

    @property
    def function(self) -> str | None:
        """The name of the function that it stands in."""
        if not isinstance(self.unit, Function):
            return None
        owner = self.unit.owner
        return f"{owner.name}.{self.unit.name}" if owner is not None else self.unit.name

    @property
    def children(self) -> list[Candidate]:
        """Those that run in it and in none of the others that do."""
        deeper = {inner for one in self.inside for inner in one.inside if self not in one.inside}
        return sorted(self.inside - deeper, key=lambda one: (one.path, one.node.lineno))


class Candidates:
    """All loops that a script may run, and what they reach."""

    def __init__(self, index: Index, script: str) -> None:
        self._index = index
        self._script = script
        self._resolvers: dict[Unit, Calls] = {}
        self._reached: dict[Unit, set[Unit]] = {}
        self._strengths: dict[Unit, int] = {}
        self._compiled = set(self._compiled_names())
        self._by_hand = any(
            name.partition(".")[0] in _BY_HAND for module in index.modules.values() for name in module.external.values()
        )
        start = index.modules[script]
        self.units: set[Unit] = {start, *self._closure(self._own(start), start)}
        self.all = [Candidate(unit, node) for unit in sorted(self.units, key=_order) for node in self._loops(unit)]
        if not self.training():  # what leads there cannot be followed: look at all that is imported
            every: list[Unit] = [f for module in index.modules.values() for f in module.functions]
            self.units.update(every)
            self.all = [Candidate(unit, node) for unit in sorted(self.units, key=_order) for node in self._loops(unit)]
            self.training()

    def training(self) -> list[Candidate]:
        """The loops in which something is trained."""
        reached: dict[Candidate, tuple[set[ast.AST], set[Unit]]] = {}
        for one in self.all:
            nodes = list(self._body(one))
            units = self._closure(nodes, one.unit) | self._drawn_from(one)
            one.strength = max(
                evidence.strength(nodes, by_hand=self._by_hand),
                *(self._strength(unit) for unit in units),
                evidence.NOTHING,
            )
            reached[one] = set(nodes), units
        found = [one for one in self.all if one.strength]
        for one in found:
            nodes_in, units = reached[one]
            one.inside = {
                other
                for other in found
                if other is not one and (other.node in nodes_in or (other.unit in units and other.unit is not one.unit))
            }
        for one in found:  # who contains whom must be told: a call that is not known for certain does not say it
            for other in list(one.inside):
                if one in other.inside and other.node not in reached[one][0]:
                    one.inside.discard(other)
        return found

    # -- units ---------------------------------------------------------------------------------------------------------

    def _own(self, unit: Unit) -> Iterator[ast.AST]:
        node = unit.node if isinstance(unit, Function) else unit.tree
        for statement in node.body:
            yield from self._walk(statement, unit)

    def _body(self, one: Candidate) -> Iterator[ast.AST]:
        for statement in one.node.body:
            yield from self._walk(statement, one.unit)

    def _walk(self, node: ast.AST, unit: Unit) -> Iterator[ast.AST]:
        """A statement and all in it that runs as part of `unit`."""
        if isinstance(unit, Module) and unit.path != self._script and isinstance(node, ast.If) and _asks_for_main(node):
            return
        yield node
        if isinstance(node, (*FUNCTION_NODES, ast.Lambda)):
            return
        for child in ast.iter_child_nodes(node):
            yield from self._walk(child, unit)

    def _strength(self, unit: Unit) -> int:
        if unit not in self._strengths:
            self._strengths[unit] = evidence.strength(self._own(unit), by_hand=self._by_hand)
        return self._strengths[unit]

    def _closure(self, nodes: Sequence[ast.AST] | Iterator[ast.AST], unit: Unit) -> set[Unit]:
        """The functions that these nodes of `unit` lead to."""
        found: set[Unit] = set()
        waiting = list(self._called(nodes, unit))
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                if one not in self._reached:
                    self._reached[one] = set(self._called(self._own(one), one))
                waiting += self._reached[one]
        return found

    def _drawn_from(self, one: Candidate) -> set[Unit]:
        """The generators that the loop runs over, and what they lead to: their code runs between its iterations."""
        drawn = one.node.iter if isinstance(one.node, ast.For) else one.node.test
        calls = [node for node in self._walk(drawn, one.unit) if isinstance(node, ast.Call)]
        lazy = {unit for unit in self._called(calls, one.unit) if isinstance(unit, Function) and unit.lazy}
        return lazy.union(*(self._closure(self._own(unit), unit) for unit in lazy))

    def _called(self, nodes: Sequence[ast.AST] | Iterator[ast.AST], unit: Unit) -> Iterator[Unit]:
        if unit not in self._resolvers:
            self._resolvers[unit] = Calls(self._index, unit)
        resolver = self._resolvers[unit]
        nested = [f for f in resolver.module.functions if f.parent is unit] if isinstance(unit, Function) else []
        for node in nodes:
            if isinstance(node, ast.Call):
                units, certain = resolver.resolve(node.func)
                if certain or not _is_of_model(node.func):
                    yield from units
                if tail(node.func) == "__call__" or not units:
                    yield from self._called_instance(resolver, node.func)
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(getattr(node, "ctx", None), ast.Load):
                if isinstance(node, ast.Name):
                    yield from (f for f in nested if f.name == node.id)
                    found, _ = self._index.lookup(resolver.module, node.id)
                    yield from (f for f in found if isinstance(f, Function) and f.owner is None and f.parent is None)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                paths = self._index.imported_paths(resolver.module, node)
                yield from (m for p in paths if (m := self._index.modules.get(p)) is not None and m is not unit)

    def _called_instance(self, resolver: Calls, func: ast.expr) -> Iterator[Unit]:
        """`trainer(...)` of a class with `__call__`."""
        if not isinstance(func, ast.Name | ast.Attribute):
            return
        held: set[Class] = self._index.holdings.holds(resolver.module, resolver.function, func)
        for one in held:
            for cls in self._index.family(one):
                yield from cls.methods.get("__call__", ())

    # -- loops ---------------------------------------------------------------------------------------------------------

    def _loops(self, unit: Unit) -> list[Loop]:
        if isinstance(unit, Function) and (unit.lazy or self._is_compiled(unit)):
            return []
        own = list(self._own(unit))
        # A function around the test would not see the names of a class body.
        hidden = {node for one in own if isinstance(one, ast.ClassDef) for node in ast.walk(one)}
        loops = [node for node in own if isinstance(node, Loop) and may_be_wrapped(node)]
        return [node for node in loops if isinstance(node, ast.For) or node not in hidden]

    def why_not(self, function: Function) -> str | None:
        """Why loops of a function are left alone, or None."""
        if isinstance(function.node, ast.AsyncFunctionDef):
            return "it stands in an async function"
        if function.lazy:
            return "it stands in a generator"
        return "its function is compiled by a library" if self._is_compiled(function) else None

    def _is_compiled(self, function: Function | None) -> bool:
        while function is not None:
            if function.name in self._compiled:
                return True
            for decorator in function.node.decorator_list:
                names = [dotted(n) or "" for n in ast.walk(decorator) if isinstance(n, ast.Name | ast.Attribute)]
                if any(part in COMPILING for name in names for part in name.split(".")):
                    return True
            function = function.parent
        return False

    def _compiled_names(self) -> Iterator[str]:
        """Functions that are handed to a compiler by name: ``step = torch.compile(step)``."""
        for module in self._index.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and tail(node.func) in COMPILING:
                    yield from (tail(a) for a in (*node.args, *(k.value for k in node.keywords)) if _is_named(a))


def _is_named(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def _is_of_model(func: ast.expr) -> bool:
    """`net.train()` is a method of the model, not of a trainer that has one of that name."""
    if not isinstance(func, ast.Attribute) or func.attr not in MODULE_METHODS:
        return False
    receiver = ast.unparse(func.value).lower()
    return not any(word in receiver.rpartition(".")[2] for word in _RUNNERS)


def _asks_for_main(node: ast.If) -> bool:
    return any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(node.test))


def _order(unit: Unit) -> tuple[str, int]:
    return (unit.module.path, unit.node.lineno) if isinstance(unit, Function) else (unit.path, 0)
