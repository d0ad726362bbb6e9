"""The statements of one function (or module) as a graph of points, with the flor loops that they enter and
leave.

Every way out of a block is there: the end, `break`, `continue`, `return`, and an exception from any point, each
through the `finally` blocks on its way and out of the flor loops that it leaves.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from flor_instrument.analysis.calls import Calls
from flor_instrument.analysis.definitions import Function
from flor_instrument.analysis.index import Index
from flor_instrument.analysis.points import LoopSite, Op, Point, Unit
from flor_instrument.analysis.syntax import FUNCTION_NODES, children, only_value, tail, walk, words

WRAPPERS = words("enumerate zip tqdm trange track progress_bar progress islice takewhile alive_it")
SWALLOWING = frozenset({"suppress", "raises", "ExitStack", "assertRaises"})


@dataclass
class _Frame:
    """What a jump crosses on its way out."""

    loop: LoopSite | None = None
    final: Sequence[ast.stmt] | None = None
    jumps: tuple[Point, Point] | None = None  # where `continue` and `break` lead
    copies: dict[Point, Point] = field(default_factory=dict)


class Builder(Calls):
    """Builds the graph of one unit."""

    def __init__(self, index: Index, unit: Unit) -> None:
        super().__init__(index, unit)
        self.frames: list[_Frame] = []
        self.body(unit.node.body if isinstance(unit, Function) else unit.tree.body)
        self._to(self.graph.end)

    # -- ways out --------------------------------------------------------------------------------------------

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
        """Build a block."""
        for statement in statements:
            if self.here is None:
                self.here = Point(thrown=self.throw)  # nothing leads here, yet what stands here is indexed
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        """Build one statement."""
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
        self._step().statement = node
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
            self.body(node.body)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            paths = self.index.imported_paths(self.module, node)
            for path in paths:
                module = self.index.modules.get(path)
                if module is not None and module is not self.module:
                    self._call((module,), certain=False)
        else:
            for child in children(node):
                if isinstance(child, ast.expr) and not (isinstance(node, ast.AnnAssign) and child is node.annotation):
                    self.expr(child)
        self._evaluated(node)
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

    def _evaluated(self, node: ast.stmt) -> None:
        """One more step, after the expressions, where they have made steps of their own."""
        if self.here is None or self.here.statement is not node:
            self._step().statement = node

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None]
        for expr in (*node.decorator_list, *defaults):
            self.expr(expr)
        if self.index.is_decorated(node):
            self.graph.escapes.update(f for f in self.module.functions if f.node is node)

    def _if(self, node: ast.If) -> None:
        self.expr(node.test)
        self._evaluated(node)
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
        self._evaluated(node)
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
        self._evaluated(node)
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
            if self.index.methods.get("__exit__") and self.index.holdings.holds(self.module, self.function, context):
                swallows = True
        self._evaluated(node)
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
        self._evaluated(node)
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

    def _flor_loop(self, node: ast.For | ast.AsyncFor) -> LoopSite | None:
        source: ast.expr = node.iter
        if isinstance(source, ast.Name):
            value = only_value(self.scopes[:1], source.id)
            uses = [n for n in walk(self._node()) if isinstance(n, ast.Name) and n.id == source.id]
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
            within = [a for a in (*inner.args, *(k.value for k in inner.keywords)) if calls[0] in walk(a)]
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
