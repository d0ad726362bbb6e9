"""The statements of one function (or module) as a graph of points, with the flor loops that they enter and
leave.

A point does at most one thing: enters a flor loop, begins its next iteration, leaves it, or calls functions
of the project. Every way out of a block is there: the end, `break`, `continue`, `return`, and an exception
from any point, each through the `finally` blocks on its way and out of the flor loops that it leaves.
"""

from __future__ import annotations

import ast
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flor_instrument.scopes_calls import (
    COMPREHENSIONS,
    FUNCTION_NODES,
    Class,
    Function,
    Import,
    Index,
    Module,
    bindings,
    dotted,
    only_value,
    own_nodes,
    tail,
    words,
)

Unit = Function | Module
WRAPPERS = words("enumerate zip tqdm trange track progress_bar progress islice takewhile alive_it")
EAGER = words("sum list tuple set dict sorted max min any all join fsum mean array stack cat tensor")
CALL_THROUGH = frozenset({"fire.Fire", "typer.run", "absl.app.run", "asyncio.run", "cProfile.run"})
SWALLOWING = frozenset({"suppress", "raises", "ExitStack", "assertRaises"})


class Op(enum.Enum):
    """What a point does."""

    NOTHING = enum.auto()
    ENTER = enum.auto()
    NEXT = enum.auto()
    LEAVE = enum.auto()
    CALL = enum.auto()


@dataclass(frozen=True)
class LoopSite:
    """One `for … in flor.loop(…)` of the source."""

    path: str
    line: int
    name: str


@dataclass(eq=False)
class Point:
    """One step of a unit."""

    op: Op = Op.NOTHING
    loop: LoopSite | None = None
    callees: tuple[Unit, ...] = ()
    certain: bool = True
    marked: bool = False
    unwinds: bool = False
    after: list[Point] = field(default_factory=list)
    thrown: Point | None = None


@dataclass(eq=False)
class Graph:
    """The points of one unit."""

    unit: Unit
    start: Point
    end: Point
    thrown: Point
    calls: set[Unit] = field(default_factory=set)
    escapes: set[Unit] = field(default_factory=set)
    loops: list[LoopSite] = field(default_factory=list)
    odd: str | None = None


@dataclass
class _Frame:
    """What a jump crosses on its way out."""

    loop: LoopSite | None = None
    final: Sequence[ast.stmt] | None = None
    jumps: tuple[Point, Point] | None = None  # where `continue` and `break` lead
    copies: dict[Point, Point] = field(default_factory=dict)


class Builder:
    """Builds the graph of one unit."""

    def __init__(self, index: Index, unit: Unit, marked: set[ast.stmt]) -> None:
        self.index = index
        self.unit = unit
        self.marked = marked
        self.function = unit if isinstance(unit, Function) else None
        self.module = unit.module if isinstance(unit, Function) else unit
        self.frames: list[_Frame] = []
        self.here: Point | None
        self.graph = Graph(unit, Point(), Point(), Point())
        self.throw = self.graph.thrown
        self.handled: set[ast.AST] = set()
        node: ast.AST = unit.node if isinstance(unit, Function) else unit.tree
        self.scopes = [bindings(node)]
        outer = self.function
        if outer is not None:
            for name in outer.all_params:
                self.scopes[0].setdefault(name, []).append(None)
            while outer.parent is not None:
                outer = outer.parent
                self.scopes.append({**bindings(outer.node), **{p: [None] for p in outer.all_params}})
            self.scopes.append(bindings(self.module.tree))
        self.in_class: list[ast.ClassDef] = []
        self.here = self.graph.start
        self.body(unit.node.body if isinstance(unit, Function) else unit.tree.body)
        self._to(self.graph.end)

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

    def _mark(self) -> None:
        self._step().marked = True

    def _route(self, target: Point, depth: int, unwinds: bool = False) -> Point:
        """Where a jump from here must go first, to arrive at `target` outside the frames above `depth`."""
        saved_frames, saved_here, saved_throw = self.frames, self.here, self.throw
        entry = target
        for level in range(depth, len(saved_frames)):
            frame = saved_frames[level]
            if frame.loop is not None:
                leave = Point(Op.LEAVE, frame.loop, unwinds=unwinds)
                leave.after.append(entry)
                entry = leave
            elif frame.final is not None:
                if entry not in frame.copies:
                    first = Point()
                    frame.copies[entry] = first
                    self.frames = saved_frames[:level]
                    self.throw = self._throw_target()
                    first.thrown = self.throw
                    self.here = first
                    self.body(frame.final)
                    self._to(entry)
                entry = frame.copies[entry]
        self.frames, self.here, self.throw = saved_frames, saved_here, saved_throw
        return entry

    def _throw_target(self) -> Point:
        target, depth = self._handler or (self.graph.thrown, 0)
        return self._route(target, depth, unwinds=True)

    _handler: tuple[Point, int] | None = None

    # -- statements ------------------------------------------------------------------------------------------

    def body(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if self.here is None:
                self.here = Point(thrown=self.throw)  # nothing leads here, yet what stands here is indexed
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        compound = {
            ast.If: self._if,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.While: self._while,
            ast.Try: self._try,
            ast.TryStar: self._try,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Match: self._match,
        }.get(type(node))
        self._step().marked = node in self.marked
        if compound is not None:
            compound(node)  # type: ignore[operator]
            return
        if isinstance(node, FUNCTION_NODES):
            self._definition(node)
        elif isinstance(node, ast.ClassDef):
            for expr in (*node.decorator_list, *(k.value for k in node.keywords)):
                self.expr(expr)
            if self.index.is_decorated(node):
                for cls in self.module.classes:
                    if cls.node is node:
                        self.graph.escapes.update(self.index.construction(cls))
            self.in_class.append(node)
            self.body(node.body)
            self.in_class.pop()
        elif isinstance(node, ast.Import | ast.ImportFrom):
            paths = self.index.imported_paths(self.module, node)
            for path in paths:
                module = self.index.modules.get(path)
                if module is not None and module is not self.module:
                    self._call((module,), certain=False)
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr) and not (isinstance(node, ast.AnnAssign) and child is node.annotation):
                    self.expr(child)
        if node in self.marked:
            self._mark()
        if isinstance(node, ast.Return):
            self._to(self._route(self.graph.end, 0))
        elif isinstance(node, ast.Raise):
            self._to(self.throw)
        elif isinstance(node, ast.Break | ast.Continue):
            for depth in range(len(self.frames) - 1, -1, -1):
                jumps = self.frames[depth].jumps
                if jumps is not None:
                    self._to(self._route(jumps[isinstance(node, ast.Break)], depth + 1))
                    break

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None]
        for expr in (*node.decorator_list, *defaults):
            self.expr(expr)
        if self.index.is_decorated(node):
            self.graph.escapes.update(f for f in self.module.functions if f.node is node)

    def _if(self, node: ast.If) -> None:
        self.expr(node.test)
        if node in self.marked:
            self._mark()
        before = self.here
        done = self._point()
        chosen = self._is_main(node.test)
        if chosen is not False:
            self.here = before
            self._step()
            self.body(node.body)
            self._to(done)
        if chosen is not True:
            self.here = before
            self._step()
            self.body(node.orelse)
            self._to(done)
        self.here = done

    def _is_main(self, test: ast.expr) -> bool | None:
        if isinstance(test, ast.Constant):
            return bool(test.value)
        if (
            isinstance(test, ast.Compare)
            and len(test.ops) == 1
            and isinstance(test.ops[0], ast.Eq)
            and {ast.unparse(test.left), ast.unparse(test.comparators[0])} == {"__name__", "'__main__'"}
        ):
            return self.module.path == self.index.script
        return None

    def _while(self, node: ast.While) -> None:
        again, done = self._point(), self._point()
        self._to(again)
        self.here = again
        self.expr(node.test)
        if node in self.marked:
            self._mark()
        test = self.here
        self.frames.append(_Frame(jumps=(again, done)))
        self.body(node.body)
        self.frames.pop()
        self._to(again)
        self.here = test
        if not (isinstance(node.test, ast.Constant) and node.test.value):
            self._step()
            self.body(node.orelse)
            self._to(done)
        self.here = done

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        loop = self._flor_loop(node)
        self.expr(node.iter)
        if node in self.marked:
            self._mark()
        done, again, out = self._point(), self._point(), self._point()
        if loop is not None:
            self.graph.loops.append(loop)
            self._step(Op.ENTER, loop)
            again.op, again.loop = Op.NEXT, loop
            out.op, out.loop, out.thrown = Op.LEAVE, loop, None
        self._to(again)
        leave_by_break = self._point(Op.LEAVE, loop) if loop is not None else done
        if loop is not None:
            leave_by_break.after.append(done)
            leave_by_break.thrown = None
        outer_throw = self.throw
        if loop is not None:
            self.frames.append(_Frame(loop=loop))
            self.throw = self._throw_target()
            again.thrown = self.throw
        self.frames.append(_Frame(jumps=(again, leave_by_break)))
        self.here = again
        self._step()
        self.expr(node.target)
        self.body(node.body)
        self._to(again)
        self.frames.pop()
        if loop is not None:
            self.frames.pop()
        self.throw = outer_throw
        self.here = again
        self._to(out)
        self.here = out
        self.body(node.orelse)
        self._to(done)
        self.here = done

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        outer_throw, outer_handler = self.throw, self._handler
        done = self._point()
        if node.finalbody:
            self.frames.append(_Frame(final=node.finalbody))
            self.throw = self._throw_target()
        after_body = self._route(done, len(self.frames) - bool(node.finalbody))
        if node.handlers:
            caught = self._point()
            kept_throw = self.throw
            self._handler = (caught, len(self.frames))
            self.throw = caught
            self.body(node.body)
            self._handler, self.throw = outer_handler, kept_throw
            self.body(node.orelse)
            self._to(after_body)
            caught.after.append(self.throw)  # what no handler names goes on
            for handler in node.handlers:
                self.here = caught
                self._step()
                self.body(handler.body)
                self._to(after_body)
        else:
            self.body([*node.body, *node.orelse])
            self._to(after_body)
        if node.finalbody:
            self.frames.pop()
        self.throw, self._handler = outer_throw, outer_handler
        self.here = done

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        swallows = False
        for item in node.items:
            self.expr(item.context_expr)
            if item.optional_vars is not None:
                self.expr(item.optional_vars)
            context = item.context_expr
            name = tail(context)
            local = bool(self.index.named.get(name) or self.index.class_named.get(name))
            external = self.index.external_name(self.module, context.func) if isinstance(context, ast.Call) else None
            swallows = swallows or name in SWALLOWING or (local and not external)
            if self.index.methods.get("__exit__") and self.index.holds(self.module, self.function, context):
                swallows = True
        if node in self.marked:
            self._mark()
        if not swallows:
            self.body(node.body)
            return
        outer_throw, outer_handler = self.throw, self._handler
        done = self._point()
        self._handler, self.throw = (done, len(self.frames)), done
        self.body(node.body)
        self.throw, self._handler = outer_throw, outer_handler
        self._to(done)
        self.here = done

    def _match(self, node: ast.Match) -> None:
        self.expr(node.subject)
        if node in self.marked:
            self._mark()
        before, done = self.here, self._point()
        for case in node.cases:
            self.here = before
            self._step()
            if case.guard is not None:
                self.expr(case.guard)
            self.body(case.body)
            self._to(done)
        self.here = before
        self._to(done)
        self.here = done

    # -- flor loops ------------------------------------------------------------------------------------------

    def _loop_calls(self, node: ast.AST) -> list[ast.Call]:
        return [
            n for n in ast.walk(node) if isinstance(n, ast.Call) and self.index.is_flor(self.module, n.func, "loop")
        ]

    def _flor_loop(self, node: ast.For | ast.AsyncFor) -> LoopSite | None:
        source: ast.expr = node.iter
        if isinstance(source, ast.Name):
            value = only_value(self.scopes[:1], source.id)
            uses = [n for n in ast.walk(self._node()) if isinstance(n, ast.Name) and n.id == source.id]
            if value is not None and len(uses) == 2:
                source = value
        calls = self._loop_calls(source)
        if not calls:
            return None
        if len(calls) > 1:
            self._odd(node, "two flor.loop in one for")
        inner = source
        while inner is not calls[0]:
            if not (isinstance(inner, ast.Call) and tail(inner.func) in WRAPPERS):
                self._odd(node, f"flor.loop is wrapped in `{ast.unparse(inner)[:60]}`")
                break
            within = [a for a in (*inner.args, *(k.value for k in inner.keywords)) if calls[0] in ast.walk(a)]
            if not within:
                self._odd(node, "flor.loop stands in an unknown expression")
                break
            inner = within[0]
        self.handled.add(calls[0].func)
        first = calls[0].args[0] if calls[0].args else None
        first = next((k.value for k in calls[0].keywords if k.arg == "name"), first)
        name = "?" if first is None else ast.unparse(first)
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            name = first.value
        return LoopSite(self.module.path, node.lineno, name)

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
            for child in ast.iter_child_nodes(node):
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
        for child in ast.iter_child_nodes(node):
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
            if len(values) == 1 and values[0] is not None and node in ast.walk(values[0]):
                uses = [n for n in ast.walk(self._node()) if isinstance(n, ast.Name) and n.id == name]
                loops = [
                    n
                    for n in ast.walk(self._node())
                    if isinstance(n, ast.For) and isinstance(n.iter, ast.Name) and n.iter.id == name
                ]
                return len(uses) == 2 and len(loops) == 1
        return False

    # -- who is meant ----------------------------------------------------------------------------------------

    def _is_variable(self, name: str) -> bool:
        """Whether a name is a parameter or plain variable of this function or of one around it."""
        function = self.function
        while function is not None:
            for node in own_nodes(function.node):
                if isinstance(node, ast.Global | ast.Nonlocal) and name in node.names:
                    return False
                if isinstance(node, (*FUNCTION_NODES, ast.ClassDef)) and node.name == name:
                    return False
                if isinstance(node, ast.alias) and (node.asname or node.name).split(".")[0] == name:
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
        own = index.self_class(self.function, func.value)
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
        classes = {c for held in index.holds(self.module, self.function, receiver) for c in index.family(held)}
        if not classes and index.is_unknown(self.module, self.function, receiver):
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


__all__ = ["Builder", "Function", "Graph", "Import", "LoopSite", "Module", "Op", "Point", "Unit"]
