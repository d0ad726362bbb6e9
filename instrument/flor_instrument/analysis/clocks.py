"""Which logged names depend on the clock or on the machine, so that a replay cannot log them the same again."""

from __future__ import annotations

import ast
from collections.abc import Iterable

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


def clock_bound(sources: Iterable[bytes]) -> frozenset[str]:
    """Names of variables and attributes, anywhere in the sources, that may hold what a clock or the machine said."""
    nodes = _nodes(sources)
    imported = _imported(nodes)
    found = _tainted(nodes, imported)
    changed = True
    while changed:
        changed = False
        for node in nodes:  # what is given to a method is kept by its object: times.append(now - began)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                holder = node.func.value
                while isinstance(holder, ast.Subscript | ast.Call):
                    holder = holder.value if isinstance(holder, ast.Subscript) else holder.func
                last = _last(holder)
                if last and last not in found | imported and any(_reads(a, found, imported) for a in node.args):
                    found.add(last)
                    changed = True
    return frozenset(found)


def _nodes(sources: Iterable[bytes]) -> list[ast.AST]:
    trees = []
    for source in sources:
        try:
            trees.append(ast.parse(source))
        except (SyntaxError, ValueError, RecursionError):
            continue
    return [node for tree in trees for node in ast.walk(tree)]


def _tainted(nodes: Iterable[ast.AST], imported: set[str]) -> set[str]:
    """Names that are bound to what a clock said, directly or through others."""
    nodes = list(nodes)
    tainted: set[str] = set()
    changed = True
    while changed:
        changed = False
        for node in nodes:
            for target, value in _bindings(node):
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
