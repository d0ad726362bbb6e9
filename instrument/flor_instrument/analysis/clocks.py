"""What depends on the clock or on the machine, so that a replay cannot have it the same again: logged names, variables."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

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


def volatile_names(sources: Iterable[bytes]) -> frozenset[str]:
    """Names whose ``log`` expression reads a clock, the machine's load, or something else that is new each time.

    Followed through assignments by name, over all the sources together: a name too many is only not compared.
    """
    nodes = _nodes(sources)
    imported = _imported(nodes)
    tainted = _tainted(nodes, imported)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Call) and _last(node.func) == "log" and len(node.args) >= 2:
            name = node.args[0]
            if (
                isinstance(name, ast.Constant)
                and isinstance(name.value, str)
                and _reads(node.args[1], tainted, imported)
            ):
                found.add(name.value)
    return frozenset(found)


def clock_fed(sources: Iterable[bytes]) -> ClockFed:
    """Which state of a script tells the time, so that it says nothing about a replay when it is another.

    A name that is also bound to something which reads no clock (but a constant) is left out: what it holds may matter.
    """
    nodes = _nodes(sources)
    imported = _imported(nodes)
    tainted = _tainted(nodes, imported)
    numbers = set(tainted)
    for node in nodes:
        for target, value in _bindings(node):
            plain = isinstance(value, ast.Constant) or (
                isinstance(value, ast.UnaryOp) and isinstance(value.operand, ast.Constant)
            )
            if not plain and not _reads(value, tainted, imported):
                numbers.discard(target)
    fed: dict[str, set[str]] = {}  # methods that are given the time -> who is called
    lists: dict[str, bool] = {}  # whether all that is appended reads a clock
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            receiver, method = _last(node.func.value), node.func.attr
            given = any(_reads(argument, tainted, imported) for argument in node.args[:1])
            if receiver is None:
                continue
            if method in ("append", "appendleft"):
                lists[receiver] = lists.get(receiver, True) and given
            elif given:
                fed.setdefault(method, set()).add(receiver)
    inside: set[str] = set()
    meters: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name in fed and len(member.args.args) > 1:
                    meters |= fed[member.name]
                    inside |= _goes_into(member, imported)
    return ClockFed(
        frozenset(numbers),
        frozenset(name for name, only in lists.items() if only),
        frozenset(meters - tainted),
        frozenset(inside),
    )


def _goes_into(method: ast.FunctionDef, imported: set[str]) -> set[str]:
    """The attributes of its object that the first argument of a method flows into."""
    own = method.args.args[0].arg
    nodes = list(ast.walk(method))
    tainted = _tainted(nodes, imported, {method.args.args[1].arg})
    return {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == own
        and node.attr in tainted
    }


def _nodes(sources: Iterable[bytes]) -> list[ast.AST]:
    found: list[ast.AST] = []
    for source in sources:
        try:
            found += ast.walk(ast.parse(source))
        except (SyntaxError, ValueError, RecursionError):
            continue
    return found


def _tainted(nodes: Iterable[ast.AST], imported: set[str], known: Iterable[str] = ()) -> set[str]:
    """Names that are bound to what reads a clock, or one of `known`, or another such name."""
    bindings = [binding for node in nodes for binding in _bindings(node)]
    tainted = set(known)
    changed = True
    while changed:
        changed = False
        for target, value in bindings:
            if target not in tainted and _reads(value, tainted, imported):
                tainted.add(target)
                changed = True
    return tainted


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


def _bindings(node: ast.AST) -> list[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        return [(name, node.value) for target in node.targets for name in _targets(target)]
    if isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
        return [(name, node.value) for name in _targets(node.target)]
    if isinstance(node, ast.FunctionDef):
        returned = [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value is not None]
        return [(node.name, value) for value in returned]
    return []


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


def _reads(value: ast.expr, tainted: set[str], imported: set[str]) -> bool:
    for node in ast.walk(value):
        if isinstance(node, ast.Call) and _last(node.func) in _CALLS:
            return True
        if isinstance(node, ast.Name) and (node.id in tainted or node.id in imported):
            return True
        if isinstance(node, ast.Attribute) and node.attr in tainted:
            return True
    return False
