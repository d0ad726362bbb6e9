"""Which logged names depend on the clock or on the machine, so that a replay cannot log them the same again."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from dataclasses import dataclass

from flor_instrument.analysis.syntax import all_nodes, parsed

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
class _Facts:
    """What is asked of one source."""

    imported: frozenset[str]  # names of clock modules, and of what comes from them
    bound: tuple[tuple[str, _Read], ...]
    logged: tuple[tuple[str, _Read], ...]


def volatile_names(sources: Iterable[bytes]) -> frozenset[str]:
    """Names whose ``log`` expression reads a clock, the machine's load, or something else that is new each time.

    Followed through assignments by name, over all the sources together: a name too many is only not compared.
    """
    facts = [_facts(source) for source in sources]
    imported = {name for one in facts for name in one.imported}
    rest = {binding for one in facts for binding in one.bound}
    tainted: set[str] = set()
    while True:
        found = {binding for binding in rest if binding[1].is_volatile(tainted, imported)}
        if not found:
            break
        rest -= found
        tainted |= {target for target, _ in found}
    return frozenset(name for one in facts for name, read in one.logged if read.is_volatile(tainted, imported))


@functools.lru_cache(maxsize=256)
def _facts(source: bytes) -> _Facts:
    try:
        nodes = all_nodes(parsed(source))
    except (SyntaxError, ValueError, RecursionError):
        return _Facts(frozenset(), (), ())
    bound = {
        (target, _read(value)) for node in nodes if isinstance(node, _BINDING) for target, value in _bindings(node)
    }
    logged = {
        (node.args[0].value, _read(node.args[1]))
        for node in nodes
        if isinstance(node, ast.Call) and _last(node.func) == "log" and len(node.args) >= 2
        if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }
    return _Facts(frozenset(_imported(nodes)), tuple(bound), tuple(logged))


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
        return [(name, node.value) for target in node.targets for name in _targets(target)]
    if isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
        return [(name, node.value) for name in _targets(node.target)]
    if isinstance(node, ast.FunctionDef):
        return [(node.name, value) for value in _returned(node)]
    return []


def _returned(function: ast.FunctionDef) -> list[ast.expr]:
    """What it returns, and what the functions in it do."""
    found: list[ast.expr] = []
    rest: list[ast.AST] = [function]
    while rest:
        node = rest.pop()
        if isinstance(node, ast.Return) and node.value is not None:
            found.append(node.value)
        for key in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, key, None)
            rest += inner if isinstance(inner, list) else ()
    return found


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
    names, attributes, asks = set(), set(), False
    for node in ast.walk(value):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            attributes.add(node.attr)
        elif isinstance(node, ast.Call):
            asks = asks or _last(node.func) in _CALLS
    return _Read(frozenset(names), frozenset(attributes), asks)
