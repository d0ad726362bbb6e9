"""The run on paper: each step of each function, in every loop position in which it may run.

Calls are followed by name, and whatever cannot be followed (a callback, a hook, a generator, a framework's own call)
may run at every place. More places than true cost time; a missing place would give a wrong value, so there is none.
"""

from __future__ import annotations

import enum
import functools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from flor_instrument.analysis.definitions import Function, Module
from flor_instrument.analysis.flow_graph import Builder
from flor_instrument.analysis.index import Index
from flor_instrument.analysis.points import Graph, LoopSite, Op, Point, Unit

DEEPEST = 5  # flor loops inside one another; more of them than this are recursion


class Place(enum.Enum):
    """A dynamic position in a run: a main loop is a `flor.loop` in no other, a nested one is in one."""

    BEFORE = "before the main loop"
    BEFORE_NESTED = "in an iteration, before the nested loop"
    ITERATION = "in an iteration, with no nested loop before or after it"
    NESTED = "in the nested loop"
    BETWEEN_NESTED = "in an iteration, between two nested loops"
    AFTER_NESTED = "in an iteration, after the nested loop"
    BETWEEN = "between two main loops"
    AFTER = "after the main loop"


@dataclass(frozen=True)
class _Stand:
    """The loops a step runs in, whether a nested one has run in this iteration, the last main loop."""

    stack: tuple[LoopSite, ...] = ()
    nested_ran: bool = False
    last: LoopSite | None = None


_Node = tuple[Unit, _Stand, Point, _Stand]  # function, how it was entered, step, how it stands now


class LostLoopError(Exception):
    """The loops cannot be followed; the message says why."""


class PaperRun:
    """Every step of the project in every position in which it may execute."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.graphs: dict[Unit, Graph] = {}
        for module in index.modules.values():
            units: list[Unit] = [module, *module.functions]
            for unit in units:
                self.graphs[unit] = Builder(index, unit).graph
        self.anytime = self._anytime()
        self._refuse_lost_loops()
        self.after: dict[_Node, set[_Node]] = defaultdict(set)
        self.before: dict[_Node, set[_Node]] = defaultdict(set)
        self._callers: dict[tuple[Unit, _Stand], set[_Node]] = defaultdict(set)
        self._ends: dict[tuple[Unit, _Stand], set[_Stand]] = defaultdict(set)
        self._throws: dict[tuple[Unit, _Stand], set[_Stand]] = defaultdict(set)
        self._waiting: list[_Node] = []
        self.seen: set[_Node] = set()
        self._explore(index.modules[index.script])

    def _anytime(self) -> dict[Unit, str]:
        """The functions that may run at a time that the calls do not show, each with the reason."""
        why: dict[Unit, str] = {}
        for unit, graph in self.graphs.items():
            for handed in graph.escapes:
                name = handed.name if isinstance(handed, Function) else handed.path
                why.setdefault(handed, f"{name} is handed on or kept, so it may be called at any time")
            if not isinstance(unit, Function):
                continue
            if unit.lazy:
                why[unit] = f"{unit.name} is a generator or coroutine, which runs whenever it is asked for a value"
            elif self.index.is_implicit(unit):
                why[unit] = f"{unit.name} may be called by the language or a framework at any time"
            elif self.index.dynamic:
                why[unit] = f"{self.index.dynamic}, so {unit.name} may be called from anywhere"
        waiting = list(why)
        while waiting:
            unit = waiting.pop()
            for called in self.graphs[unit].calls if unit in self.graphs else ():
                if called not in why:
                    why[called] = f"it is called by something that may run at any time: {why[unit]}"
                    waiting.append(called)
        return why

    def _refuse_lost_loops(self) -> None:
        for graph in self.graphs.values():
            if graph.odd:
                raise LostLoopError(graph.odd)
        for unit, reason in self.anytime.items():
            if unit in self.graphs and self.graphs[unit].loops:
                site = self.graphs[unit].loops[0]
                raise LostLoopError(
                    f"the loop {site.name!r} ({site.path} line {site.line}) cannot be followed: {reason}"
                )

    # -- exploring -------------------------------------------------------------------------------------------

    def _add(self, source: _Node | None, node: _Node) -> None:
        if source is not None:
            self.after[source].add(node)
            self.before[node].add(source)
        if node not in self.seen:
            self.seen.add(node)
            self._waiting.append(node)

    def _explore(self, script: Module) -> None:
        stand = _Stand()
        self._add(None, (script, stand, self.graphs[script].start, stand))
        while self._waiting:
            self._visit(self._waiting.pop())

    def _visit(self, node: _Node) -> None:
        unit, entered, point, stand = node
        graph = self.graphs[unit]
        if point is graph.end or point is graph.thrown:
            outcome = self._ends if point is graph.end else self._throws
            outcome[unit, entered].add(stand)
            for caller in self._callers[unit, entered]:
                self._back(node, caller, thrown=point is graph.thrown)
            return
        if point.thrown is not None:
            self._add(node, (unit, entered, point.thrown, stand))
        if point.op is Op.CALL:
            for callee in point.callees:
                self._enter(node, callee, stand)
            if point.certain:
                return
        for now in self._moved(point, stand):
            for follower in point.after:
                self._add(node, (unit, entered, follower, now))

    def _enter(self, caller: _Node, callee: Unit, stand: _Stand) -> None:
        graph = self.graphs[callee]
        self._add(caller, (callee, stand, graph.start, stand))
        self._callers[callee, stand].add(caller)
        for outcome, exit_point in ((self._ends, graph.end), (self._throws, graph.thrown)):
            for left in tuple(outcome[callee, stand]):
                self._back((callee, stand, exit_point, left), caller, thrown=exit_point is graph.thrown)

    def _back(self, left: _Node, caller: _Node, thrown: bool) -> None:
        unit, entered, point, _ = caller
        followers = [point.thrown] if thrown else point.after
        for follower in followers:
            if follower is not None:
                self._add(left, (unit, entered, follower, left[3]))

    def _moved(self, point: Point, stand: _Stand) -> Iterable[_Stand]:
        """How things stand after a step."""
        loop = point.loop
        if loop is None:
            return [stand]
        if point.op is Op.ENTER:
            if len(stand.stack) >= DEEPEST:
                raise LostLoopError(f"the loop {loop.name!r} runs inside itself ({loop.path} line {loop.line})")
            return [_Stand((*stand.stack, loop), stand.nested_ran)]
        if point.op is Op.NEXT:
            return [_Stand(stand.stack, stand.nested_ran and len(stand.stack) > 1)]
        stack = stand.stack[:-1]
        return [_Stand(stack, bool(stack), None) if stack else _Stand((), False, loop)]

    # -- asking ----------------------------------------------------------------------------------------------

    def _led_to(self, ends: Iterable[_Node], level: int, through: bool) -> set[_Node]:
        """The steps from which one of `ends` may come: within the run (level 0) or the iteration (1)."""
        found = set(ends)
        waiting = list(found)
        while waiting:
            for previous in self.before[waiting.pop()]:
                stack, op = previous[3].stack, previous[2].op
                if previous in found or len(stack) < level:
                    continue
                if level and len(stack) == level and op in {Op.NEXT, Op.LEAVE}:
                    continue  # another iteration
                if not through and len(stack) == level and op is Op.ENTER:
                    continue  # not a way around the loop
                found.add(previous)
                waiting.append(previous)
        return found

    def places(self, nodes: Iterable[_Node]) -> set[Place]:
        """The places of these steps."""
        nodes = list(nodes)
        found: set[Place] = set()
        for level in (0, 1):
            at = [n for n in nodes if len(n[3].stack) == level]
            if not at:
                continue
            entries = [n for n in self.seen if n[2].op is Op.ENTER and len(n[3].stack) == level]
            script = self.index.modules[self.index.script]
            if level:
                steps = [n for n in self.seen if len(n[3].stack) == 1 and not n[2].unwinds]
                ends = [n for n in steps if n[2].op in {Op.NEXT, Op.LEAVE}]
            else:
                ends = [n for n in self.seen if n[0] is script and n[2] is self.graphs[script].end]
            follows = self._led_to(entries, level, through=True)
            avoids = self._led_to(ends, level, through=False)
            for node in at:
                stand = node[3]
                ran = stand.nested_ran if level else stand.last is not None
                if node in follows:
                    found.add((Place.BETWEEN_NESTED if ran else Place.BEFORE_NESTED) if level else
                              (Place.BETWEEN if ran else Place.BEFORE))  # fmt: skip
                if node in avoids or node not in follows:
                    found.add((Place.AFTER_NESTED if ran else Place.ITERATION) if level else
                              (Place.AFTER if ran else Place.BEFORE))  # fmt: skip
        if any(len(n[3].stack) > 1 for n in nodes):
            found.add(Place.NESTED)
        return found

    def all_mains(self) -> tuple[LoopSite, ...]:
        """The main loops that the run may enter, in order of file and line."""
        found = {n[2].loop for n in self.seen if n[2].op is Op.ENTER and not n[3].stack}
        return tuple(sorted((s for s in found if s is not None), key=lambda s: (s.path, s.line)))


def paper_run(index: Index) -> PaperRun:
    """The run of these files. Several questions are asked of one version: the last runs are kept. Raises LostLoopError."""
    found = _paper_run(index)
    if isinstance(found, LostLoopError):
        raise found
    return found


@functools.lru_cache(maxsize=4)
def _paper_run(index: Index) -> PaperRun | LostLoopError:
    try:
        return PaperRun(index)
    except LostLoopError as error:
        return error
