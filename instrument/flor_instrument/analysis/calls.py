"""The calls that an expression makes, in order, and the functions that it hands on."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from flor_instrument.analysis.definitions import Class, Function, Module
from flor_instrument.analysis.index import Index
from flor_instrument.analysis.points import Graph, LoopSite, Op, Point, Unit
from flor_instrument.analysis.syntax import COMPREHENSIONS, children, dotted, only_value, tail, walk, words

EAGER = words("sum list tuple set dict sorted max min any all join fsum mean array stack cat tensor")
CALL_THROUGH = frozenset({"fire.Fire", "typer.run", "absl.app.run", "asyncio.run", "cProfile.run"})


class Calls:
    """Builds the points of one unit's expressions: the calls that they make, and what they hand out."""

    def __init__(self, index: Index, unit: Unit) -> None:
        self.index = index
        self.unit = unit
        self.function = unit if isinstance(unit, Function) else None
        self.module = unit.module if isinstance(unit, Function) else unit
        self.here: Point | None
        self.graph = Graph(unit, Point(), Point(), Point())
        self.throw = self.graph.thrown
        self.handled: set[ast.AST] = set()
        node: ast.AST = unit.node if isinstance(unit, Function) else unit.tree
        self.scopes = [index.bindings(node)]
        outer = self.function
        if outer is not None:
            own = dict(self.scopes[0])
            for name in outer.all_params:
                own[name] = [*own.get(name, ()), None]
            self.scopes = [own]
            while outer.parent is not None:
                outer = outer.parent
                self.scopes.append({**index.bindings(outer.node), **{p: [None] for p in outer.all_params}})
            self.scopes.append(index.bindings(self.module.tree))
        self.here = self.graph.start

    # -- points ----------------------------------------------------------------------------------------------

    def _point(self, op: Op = Op.NOTHING, loop: LoopSite | None = None) -> Point:
        return Point(op, loop, thrown=self.throw)

    def _to(self, point: Point) -> None:
        if self.here is not None:
            self.here.after.append(point)
        self.here = None

    def _step(self, op: Op = Op.NOTHING, loop: LoopSite | None = None) -> Point:
        point = self._point(op, loop)
        self._to(point)
        self.here = point
        return point

    def _loop_calls(self, node: ast.AST) -> list[ast.Call]:
        return [n for n in walk(node) if isinstance(n, ast.Call) and self.index.is_flor(self.module, n.func, "loop")]

    def _node(self) -> ast.AST:
        return self.unit.node if isinstance(self.unit, Function) else self.unit.tree

    def _odd(self, node: ast.AST, why: str) -> None:
        self.graph.odd = f"{why} ({self.module.path} line {getattr(node, 'lineno', '?')})"

    # -- expressions -----------------------------------------------------------------------------------------

    def expr(self, node: ast.expr) -> None:
        """The calls that evaluating an expression makes, in order, and what it hands out."""
        if isinstance(node, (ast.Lambda, ast.GeneratorExp)):
            self._aside(node)
        elif isinstance(node, ast.IfExp):
            self.expr(node.test)
            self._either([lambda: self.expr(node.body), lambda: self.expr(node.orelse)])
        elif isinstance(node, ast.BoolOp):
            self.expr(node.values[0])
            rest = node.values[1:]
            self._either([lambda: self._exprs(rest), lambda: None])
        elif isinstance(node, COMPREHENSIONS):
            self._comprehension(node)
        elif isinstance(node, ast.Call):
            self._call_expr(node)
        elif isinstance(node, ast.Name | ast.Attribute):
            if isinstance(node, ast.Attribute):
                self.expr(node.value) if not isinstance(node.value, ast.Name) else None
            if isinstance(node.ctx, ast.Load):
                self._mention(node)
        else:
            for child in children(node):
                if isinstance(child, ast.expr):
                    self.expr(child)

    def _exprs(self, nodes: Sequence[ast.expr]) -> None:
        for node in nodes:
            self.expr(node)

    def _either(self, ways: Sequence[Callable[[], object]]) -> None:
        before, done = self.here, self._point()
        for way in ways:
            self.here = before
            self._step()
            way()
            self._to(done)
        self.here = done

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.expr(node.generators[0].iter)
        again, done = self._point(), self._point()
        self._to(again)
        again.after.append(done)
        self.here = again
        self._step()
        for part in node.generators[1:]:
            self.expr(part.iter)
        for part in node.generators:
            for test in part.ifs:
                self.expr(test)
        values = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for value in values:
            self.expr(value)
        self._to(again)
        self.here = done

    def _aside(self, node: ast.expr) -> None:
        """What is evaluated later, at a time that is not known here: everything in it is handed out."""
        if self._loop_calls(node):
            self._odd(node, "flor.loop stands in a lambda or generator expression")
        saved_here, saved_graph = self.here, self.graph
        self.graph = Graph(self.unit, Point(), Point(), Point())
        self.here = Point()
        for child in children(node):
            if isinstance(child, ast.expr):
                self.expr(child)
            elif isinstance(child, ast.comprehension):
                for part in (child.iter, *child.ifs):
                    self.expr(part)
        aside, self.graph, self.here = self.graph, saved_graph, saved_here
        self.graph.escapes |= aside.calls | aside.escapes
        self.graph.odd = self.graph.odd or aside.odd

    def _call(self, callees: Sequence[Unit], certain: bool) -> None:
        point = self._step(Op.CALL)
        point.callees, point.certain = tuple(callees), certain
        self.graph.calls.update(callees)
        self._step()

    def _call_expr(self, node: ast.Call) -> None:
        index, module = self.index, self.module
        is_loop = index.is_flor(module, node.func, "loop") and node.func not in self.handled
        # a name that a `for` uses once is handled where the `for` stands
        if is_loop and not self._loop_is_named(node):
            self._odd(node, "flor.loop is not the iterable of a for statement")
        name = tail(node.func)
        eager = name in EAGER and not index.named.get(name)
        if isinstance(node.func, ast.Attribute):
            self.expr(node.func.value) if not isinstance(node.func.value, ast.Name) else None
        elif not isinstance(node.func, ast.Name):
            self.expr(node.func)
        through = index.external_name(module, node.func) in CALL_THROUGH
        for position, arg in enumerate((*node.args, *(k.value for k in node.keywords))):
            if eager and isinstance(arg, ast.GeneratorExp):
                self._comprehension(arg)
            elif through and position == 0 and isinstance(arg, ast.Name):
                callees, _ = self.resolve(arg)
                self._call(callees, certain=False)
            elif name in {"isinstance", "issubclass"} and position == 1:
                continue
            else:
                self.expr(arg)
        if name == "getattr" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            self.graph.escapes.update(index.named.get(str(node.args[1].value), ()))
        callees, certain = self.resolve(node.func)
        if callees:
            self._call(callees, certain)

    def _loop_is_named(self, node: ast.Call) -> bool:
        for name, values in self.scopes[0].items():
            if len(values) == 1 and values[0] is not None and node in walk(values[0]):
                uses = [n for n in walk(self._node()) if isinstance(n, ast.Name) and n.id == name]
                loops = [
                    n
                    for n in walk(self._node())
                    if isinstance(n, ast.For) and isinstance(n.iter, ast.Name) and n.iter.id == name
                ]
                return len(uses) == 2 and len(loops) == 1
        return False

    # -- who is meant ----------------------------------------------------------------------------------------

    def _is_variable(self, name: str) -> bool:
        """Whether a name is a parameter or plain variable of this function or of one around it."""
        function = self.function
        while function is not None:
            if name in function.declared:
                return False
            function = function.parent
        return any(name in scope for scope in self.scopes[:-1])

    def _as_units(self, found: Sequence[Function | Class | Module]) -> list[Unit]:
        units: list[Unit] = []
        for one in found:
            if isinstance(one, Function):
                units.append(one)
            elif isinstance(one, Class):
                units += self.index.construction(one)
        return units

    def resolve(self, func: ast.expr) -> tuple[list[Unit], bool]:
        """The functions of the project that a callee may be, and whether it certainly is one of them."""
        index = self.index
        if isinstance(func, ast.Name):
            if self._is_variable(func.id):
                return [], False  # what was put into the variable was handed out there
            found, certain = index.lookup(self.module, func.id)
            certain = certain and not any(func.id in scope for scope in self.scopes[:-1])
            units = self._as_units(found)
            if found and isinstance(found[0], Class):
                # instances are built by several functions, each of which may be there or not
                return units, certain and len(units) == 1
            return units, certain and len(units) == 1 and not self._unsure(units[0])
        if not isinstance(func, ast.Attribute):
            return [], False
        return self._resolve_attribute(func)

    def _unsure(self, unit: Unit) -> bool:
        return isinstance(unit, Function) and (unit.lazy or self.index.is_decorated(unit.node))

    def _module_of(self, node: ast.expr) -> list[Module]:
        """The project modules that an expression names."""
        if isinstance(node, ast.Name):
            if self._is_variable(node.id):
                return []
            found, _ = self.index.lookup(self.module, node.id)
            return [m for m in found if isinstance(m, Module)]
        if isinstance(node, ast.Attribute):
            whole = self.module.whole_imports.get(dotted(node) or "", ())
            if whole:
                return [self.index.modules[p] for p in whole if p in self.index.modules]
            return [
                m
                for parent in self._module_of(node.value)
                for m in self.index.members(parent, node.attr)
                if isinstance(m, Module)
            ]
        return []

    def _resolve_attribute(self, func: ast.Attribute) -> tuple[list[Unit], bool]:
        index, name = self.index, func.attr
        if index.external_name(self.module, func) is not None:
            return [], False
        modules = self._module_of(func.value)
        if modules:
            found = [one for m in modules for one in index.members(m, name)]
            units = self._as_units(found)
            return units, len(units) == 1 and not self._unsure(units[0])
        replaced = name in index.stored_attributes or "*" in index.stored_attributes
        own = index.holdings.self_class(self.function, func.value)
        if own is not None:
            units = self._methods(index.family(own), name)
            return units, len(units) == 1 and not replaced and not self._unsure(units[0])
        receiver = func.value
        if isinstance(receiver, ast.Call) and tail(receiver.func) == "super":
            owner = self.function.owner if self.function is not None else None
            groups = index.ancestors(owner) if owner is not None else set()
            units = self._methods(groups, name)
            if name in {"__init__", "__new__"}:
                return units, False
            return units, len(units) == 1 and not self._unsure(units[0])
        built = receiver
        if isinstance(receiver, ast.Name):
            value = only_value(self.scopes, receiver.id)
            built = value if value is not None else receiver
        if isinstance(built, ast.Call):
            found, certain = (
                index.lookup(self.module, built.func.id)
                if isinstance(built.func, ast.Name)
                else (
                    [one for m in self._module_of(built.func.value) for one in index.members(m, built.func.attr)]
                    if isinstance(built.func, ast.Attribute)
                    else [],
                    True,
                )
            )
            if certain and len(found) == 1 and isinstance(found[0], Class):
                classes = {found[0]} | index.ancestors(found[0])
                units = self._methods(classes, name)
                return units, len(units) == 1 and not replaced and not self._unsure(units[0])
        classes = {c for held in index.holdings.holds(self.module, self.function, receiver) for c in index.family(held)}
        if not classes and index.holdings.is_unknown(self.module, self.function, receiver):
            return list(index.methods.get(name, ())), False
        return self._methods(classes, name), False

    def _methods(self, classes: set[Class], name: str) -> list[Unit]:
        return [f for c in classes for f in c.methods.get(name, ())]

    def _mention(self, node: ast.Name | ast.Attribute) -> None:
        """A name that is read without being called hands out the function that it stands for."""
        if isinstance(node, ast.Name):
            if self._is_variable(node.id):
                return
            found, _ = self.index.lookup(self.module, node.id)
            units = self._as_units([f for f in found if not isinstance(f, Module)])
            for one in found:
                if isinstance(one, Module):  # a module that is handed on takes all of its functions along
                    units += [f for f in one.functions if f.owner is None]
        else:
            units, _ = self.resolve(node)
        self.graph.escapes.update(units)
