"""Names against the flow of control: one unit walked backwards, with an exception edge out of every statement."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from flor_instrument.analysis.files import File, Points, Unit
from flor_instrument.analysis.scope_names import (
    NOTHING,
    Names,
    free_names,
    headers,
    inline,
    other_bindings,
    scan,
    words_read,
)
from flor_instrument.analysis.sites import ITEM_WRAPPERS, Project
from flor_instrument.analysis.syntax import COMPREHENSIONS, FORS, FUNCTION_NODES, FunctionNode, children, tail, walk

_Event: TypeAlias = "tuple[Literal['read', 'bind'], str] | tuple[Literal['either'], list[_Event], list[_Event]]"
# Context managers that let every exception pass.
_TRANSPARENT_MANAGERS = frozenset({
    "no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "autocast", "open", "tqdm", "trange", "profile",
    "record_function", "SummaryWriter", "no_sync", "accumulate", "device", "stream", "detect_anomaly", "Progress",
    "ThreadPoolExecutor", "ProcessPoolExecutor", "Pool", "Lock", "errstate", "catch_warnings", "checkpointing",
})  # fmt: skip


@dataclass(frozen=True)
class _Exits:
    """The names live where the ways out of a block lead."""

    leave: Names = NOTHING
    again: Names = NOTHING
    back: Names = NOTHING
    thrown: Names = NOTHING


class Backwards:
    """One unit, walked backwards; what is live at the points in question is collected on the way."""

    def __init__(self, project: Project, unit: Unit, points: Points) -> None:
        self._point = project.point
        self._points = points
        self._unit = unit
        self._file = unit.file
        self._defined = {
            n.name for f in project.files.values() for n in f.nodes if isinstance(n, (*FUNCTION_NODES, ast.ClassDef))
        }
        self._found: set[str] = set()
        self._events: dict[ast.AST, list[_Event]] = {}
        self._marked: dict[ast.AST, bool] = {}

    def run(self) -> Names:
        """The names that are live at one of the points."""
        first = self._block(self._unit.body, NOTHING, _Exits())
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
                self._marked[node] = self._points.everywhere or any(n in calls for n in (node, *inline(node)))
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
        if isinstance(node, FORS):
            return self._for(node, live, exits)
        if isinstance(node, ast.While):
            return self._while(node, live, exits)
        if isinstance(node, ast.Try | ast.TryStar):
            return self._try(node, live, exits)
        if isinstance(node, ast.With | ast.AsyncWith):
            return self._with(node, live, exits)
        if isinstance(node, ast.Match):
            return self._match(node, live, exits)
        if isinstance(node, (*FUNCTION_NODES, ast.ClassDef)):
            return self._definition(node, live, exits)
        if isinstance(node, ast.Import | ast.ImportFrom):
            if self._points.everywhere or node in self._points.calls:
                self._found |= live | exits.thrown
            return live - frozenset(other_bindings(node))
        if isinstance(node, ast.Global | ast.Nonlocal | ast.Pass):
            return live
        operands = [child for child in children(node) if isinstance(child, ast.expr)]
        return self._evaluate(operands, live, exits)

    def _aug_assign(self, node: ast.AugAssign, live: Names, exits: _Exits) -> Names:
        if isinstance(node.target, ast.Name):
            live = self._evaluate([node.value], live - {node.target.id}, exits)
            if self._marked[node.value]:
                self._found.add(node.target.id)
            return live | {node.target.id}
        return self._evaluate([node.target, node.value], live, exits)

    def _definition(self, node: FunctionNode | ast.ClassDef, live: Names, exits: _Exits) -> Names:
        live -= {node.name}
        if isinstance(node, ast.ClassDef):
            reads = scan(node, self._file).reads | free_names(node, self._file)[0]
            calls = self._points.calls
            if self._points.everywhere or any(n in calls for n in inline(node)):
                self._found |= live | exits.thrown | reads
            live |= reads
        return self._evaluate(headers(node), live, exits)

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
                self._found |= exhausted | (live if self._point == "exit" else NOTHING)
            calls = [n for n in walk(node.iter) if isinstance(n, ast.Call)]
            if any(tail(n.func) not in ITEM_WRAPPERS | {"loop", "range"} for n in calls):
                self._found |= _reads(_events(node.iter, self._file)) | head
        if self._points.everywhere:
            self._found |= head
        return self._evaluate([node.iter], head, exits)

    def _while(self, node: ast.While, live: Names, exits: _Exits) -> Names:
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        exhausted = self._block(node.orelse, live, exits)
        if endless:
            exhausted = NOTHING
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
        name = tail(manager)
        return name in _TRANSPARENT_MANAGERS and name not in self._defined

    def _match(self, node: ast.Match, live: Names, exits: _Exits) -> Names:
        otherwise = live
        for case in reversed(node.cases):
            if case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None:
                otherwise = NOTHING  # it matches everything
            matched = self._block(case.body, live, exits)
            if case.guard is not None:
                matched = self._evaluate([case.guard], matched | otherwise, exits)
            parts = walk(case.pattern)
            captured = frozenset(name for n in parts for name in other_bindings(n))
            otherwise = (matched - captured) | otherwise
            otherwise = self._evaluate([n for n in parts if isinstance(n, ast.expr)], otherwise, exits)
        return self._evaluate([node.subject], otherwise, exits)


def _parts(target: ast.expr) -> list[ast.expr]:
    """What is evaluated of a target to which nothing is assigned."""
    return [n for n in children(target) if isinstance(n, ast.expr)]


def _events(node: ast.AST, file: File) -> list[_Event]:
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
        found = all_of(headers(node))
    elif isinstance(node, COMPREHENSIONS):
        found = _events(node.generators[0].iter, file)
        found += [("read", name) for name in free_names(node, file)[0]]
    elif isinstance(node, ast.Dict):
        found = all_of(n for pair in zip(node.keys, node.values, strict=True) for n in pair)
    else:
        found = all_of(children(node))
        if isinstance(node, ast.Call):
            found += [("read", word) for word in words_read(node)]
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
