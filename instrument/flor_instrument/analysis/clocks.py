"""What depends on the clock or on the machine, so that a replay cannot have it the same again: logged names, variables."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from dataclasses import dataclass

from flor_instrument.analysis.syntax import all_nodes, parsed, walk

_MODULES = {
    "time",
    "datetime",
    "timeit",
    "psutil",
    "pynvml",
    "GPUtil",
    "uuid",
    "resource",
    "tracemalloc",
    "socket",
    "platform",
}
_CALLS = {
    "perf_counter", "perf_counter_ns", "process_time", "process_time_ns", "monotonic", "monotonic_ns", "time_ns",
    "utcnow", "now", "today", "elapsed_time", "memory_allocated", "max_memory_allocated", "memory_reserved",
    "max_memory_reserved", "getpid", "uuid4", "uuid1", "urandom", "virtual_memory", "cpu_percent", "getrusage",
    "strftime", "default_timer", "gethostname", "token_hex", "mkdtemp", "mkstemp",
}  # fmt: skip


@dataclass(frozen=True)
class ClockFed:
    """Where a script keeps what it reads from clocks, by the last name of variables and attributes."""

    numbers: frozenset[str] = frozenset()  # `t0 = time.time()`, `self.elapsed = now - self.began`
    lists: frozenset[str] = frozenset()  # `times.append(now - t0)`, and nothing else is put there
    meters: frozenset[str] = frozenset()  # `batch_time.update(now - end)`: objects of the script's own classes …
    inside: frozenset[str] = frozenset()  # … and the attributes of theirs that this goes into


@dataclass(frozen=True)
class _Read:
    """What an expression looks at: names, attributes, and whether it asks a clock or the machine itself."""

    names: frozenset[str]
    attributes: frozenset[str]
    asks: bool

    def is_volatile(self, tainted: set[str], imported: set[str]) -> bool:
        """Whether it looks at something tainted, or at a module of clocks."""
        if self.asks or not (self.names.isdisjoint(tainted) and self.attributes.isdisjoint(tainted)):
            return True
        return not self.names.isdisjoint(imported)


@dataclass(frozen=True)
class _Call:
    """``receiver.method(first, …)``."""

    receiver: str
    method: str
    first: _Read


@dataclass(frozen=True)
class _Facts:
    """What is asked of one source."""

    imported: frozenset[str] = frozenset()  # names of clock modules, and of what comes from them
    bound: frozenset[tuple[str, _Read]] = frozenset()
    constant: frozenset[tuple[str, _Read]] = frozenset()  # those of `bound` that look at nothing: 0, -1.0, None
    logged: frozenset[tuple[str, _Read]] = frozenset()
    calls: frozenset[_Call] = frozenset()


class _Sources:
    """The facts of all the sources together; what is tainted is followed by name through their assignments."""

    def __init__(self, sources: Iterable[bytes]) -> None:
        self.facts = [_facts(source) for source in sources]
        self._imported = {name for one in self.facts for name in one.imported}
        self.tainted = _closed({binding for one in self.facts for binding in one.bound}, set(), self._imported)

    def is_volatile(self, read: _Read) -> bool:
        return read.is_volatile(self.tainted, self._imported)


def _closed(bound: set[tuple[str, _Read]], known: set[str], imported: set[str]) -> set[str]:
    """The names that are bound to what reads a clock, or one of `known`, or another such name."""
    rest, tainted = set(bound), set(known)
    while True:
        found = {binding for binding in rest if binding[1].is_volatile(tainted, imported)}
        if not found:
            return tainted
        rest -= found
        tainted |= {target for target, _ in found}


def volatile_names(sources: Iterable[bytes]) -> frozenset[str]:
    """Names whose ``log`` expression reads a clock, the machine's load, or something else that is new each time.

    Followed through assignments by name, over all the sources together: a name too many is only not compared.
    """
    all_of_them = _Sources(sources)
    logged = (one for facts in all_of_them.facts for one in facts.logged)
    return frozenset(name for name, read in logged if all_of_them.is_volatile(read))


def clock_fed(sources: Iterable[bytes]) -> ClockFed:
    """Which state of a script tells the time, so that it says nothing about a replay when it is another.

    A name that is also bound to something which reads no clock (but a constant) is left out: what it holds may matter.
    """
    sources = list(sources)
    all_of_them = _Sources(sources)
    other = {
        name
        for facts in all_of_them.facts
        for name, read in facts.bound - facts.constant
        if not all_of_them.is_volatile(read)
    }
    fed: dict[str, set[str]] = {}  # methods that are given the time -> whose
    lists: dict[str, bool] = {}  # whether all that is appended reads a clock
    for call in {call for facts in all_of_them.facts for call in facts.calls}:
        given = all_of_them.is_volatile(call.first)
        if call.method in ("append", "appendleft"):
            lists[call.receiver] = lists.get(call.receiver, True) and given
        elif given:
            fed.setdefault(call.method, set()).add(call.receiver)
    flows = {flow for source in sources for flow in _flows(source) if flow[0] in fed} if fed else set()
    return ClockFed(
        frozenset(all_of_them.tainted - other),
        frozenset(name for name, only in lists.items() if only),
        frozenset(name for method, _ in flows for name in fed[method]) - all_of_them.tainted,
        frozenset(attribute for _, attribute in flows),
    )


@functools.lru_cache(maxsize=256)
def _facts(source: bytes) -> _Facts:
    try:
        nodes = all_nodes(parsed(source))
    except (SyntaxError, ValueError, RecursionError):
        return _Facts()
    imported = _imported(nodes)
    bindings = [binding for node in nodes if isinstance(node, _BINDING) for binding in _bindings(node)]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    return _Facts(
        frozenset(imported),
        frozenset((target, _read(value)) for target, value in bindings),
        frozenset((target, _read(value)) for target, value in bindings if _is_constant(value)),
        frozenset(
            (node.args[0].value, _read(node.args[1]))
            for node in calls
            if _last(node.func) == "log" and len(node.args) >= 2
            if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
        ),
        frozenset(
            _Call(receiver, node.func.attr, _read(node.args[0]))
            for node in calls
            if isinstance(node.func, ast.Attribute) and node.args
            if (receiver := _last(node.func.value)) is not None
        ),
    )


@functools.lru_cache(maxsize=256)
def _flows(source: bytes) -> frozenset[tuple[str, str]]:
    """(method, attribute of its object that its first argument goes into), of all methods of a source's classes."""
    try:
        nodes = all_nodes(parsed(source))
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    imported = _imported(nodes)
    return frozenset(
        (member.name, attribute)
        for node in nodes
        if isinstance(node, ast.ClassDef)
        for member in node.body
        if isinstance(member, ast.FunctionDef) and len(member.args.args) > 1
        for attribute in _goes_into(member, imported)
    )


def _goes_into(method: ast.FunctionDef, imported: set[str]) -> set[str]:
    """The attributes of its object that the first argument of a method flows into."""
    own = method.args.args[0].arg
    nodes = walk(method)
    bound = {(target, _read(value)) for node in nodes for target, value in _bindings(node)}
    tainted = _closed(bound, {method.args.args[1].arg}, imported)
    return {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in tainted
        if isinstance(node.value, ast.Name) and node.value.id == own
    }


def _is_constant(value: ast.expr) -> bool:
    return isinstance(value.operand if isinstance(value, ast.UnaryOp) else value, ast.Constant)


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Local names of the clock modules and of what is imported from them."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in _MODULES:
                    names.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _MODULES:
            names.update(alias.asname or alias.name for alias in node.names)
    return names


_BINDING = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr, ast.FunctionDef)


def _bindings(node: ast.AST) -> list[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        return [
            (name, value)
            for target in node.targets
            for place, value in _paired(target, node.value)
            for name in _targets(place)
        ]
    if isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
        return [(name, node.value) for name in _targets(node.target)]
    if isinstance(node, ast.FunctionDef):
        returned = [n.value for n in walk(node) if isinstance(n, ast.Return) and n.value is not None]
        return [(node.name, value) for value in returned]
    return []


def _paired(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """``a, b = f(), 1`` gives each its own value."""
    if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        starred = any(isinstance(one, ast.Starred) for one in (*target.elts, *value.elts))
        if len(target.elts) == len(value.elts) and not starred:
            return [pair for a, b in zip(target.elts, value.elts, strict=True) for pair in _paired(a, b)]
    return [(target, value)]


def _targets(node: ast.expr) -> list[str]:
    if isinstance(node, (ast.Tuple, ast.List)):
        return [name for element in node.elts for name in _targets(element)]
    if isinstance(node, ast.Starred):
        return _targets(node.value)
    if isinstance(node, ast.Subscript):
        return _targets(node.value)
    last = _last(node)
    return [last] if last else []


def _last(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return None


def _read(value: ast.expr) -> _Read:
    nodes = walk(value)
    return _Read(
        frozenset(node.id for node in nodes if isinstance(node, ast.Name)),
        frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute)),
        any(isinstance(node, ast.Call) and _last(node.func) in _CALLS for node in nodes),
    )
