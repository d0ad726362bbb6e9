"""One parsed file, its functions, and what of its names is looked up in ways that no name shows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from flor_instrument.analysis.scope_names import (
    Names,
    ScopeNames,
    deferred_names,
    free_names,
    inline,
    other_bindings,
    scan,
)
from flor_instrument.analysis.syntax import FUNCTION_NODES, FunctionNode, children, dotted, walk

# Calls that use up a generator expression before they return.
_EAGER = frozenset({"sum", "list", "tuple", "set", "frozenset", "dict", "sorted", "max", "min", "any", "all"})


@dataclass(eq=False)
class Unit:
    """A function, or the code of a module."""

    file: File
    qualname: str | None
    node: FunctionNode | ast.Module
    owner: ast.ClassDef | None

    @property
    def body(self) -> list[ast.stmt]:
        """Its statements."""
        return self.node.body

    def inline(self) -> Iterator[ast.AST]:
        """Everything that runs as part of it."""
        for statement in self.body:
            yield statement
            yield from inline(statement)


@dataclass
class Points:
    """Where in a unit the restore point may be."""

    loops: set[ast.AST] = field(default_factory=set)
    calls: set[ast.AST] = field(default_factory=set)
    everywhere: bool = False


class File:
    """One parsed file."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path = path
        self.tree = tree
        self.scopes: dict[ast.AST, ScopeNames] = {}
        self.free: dict[ast.AST, tuple[Names, Names]] = {}
        self.nodes = walk(tree)
        self.parent = {child: node for node in self.nodes for child in children(node)}
        self.units = [Unit(self, None, tree, None)]
        self.classes = [n.name for n in self.nodes if isinstance(n, ast.ClassDef)]
        self._collect(tree, "", None)
        self.imported = {b for n in self.nodes if isinstance(n, ast.Import | ast.ImportFrom) for b in other_bindings(n)}
        self.aliases = [
            (alias.name, alias.asname)
            for n in self.nodes
            if isinstance(n, ast.ImportFrom)
            for alias in n.names
            if alias.asname
        ]
        bound = {n.id for n in self.nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        bound |= {n.arg for n in self.nodes if isinstance(n, ast.arg)} | self.imported | set(self.classes)
        bound |= {n.name for n in self.nodes if isinstance(n, FUNCTION_NODES)}
        self.bound = bound
        self.lazy_generators = {n for n in self.nodes if isinstance(n, ast.GeneratorExp) and not self._is_eager(n)}

    def _collect(self, node: ast.AST, prefix: str, owner: ast.ClassDef | None) -> None:
        for child in children(node):
            if isinstance(child, FUNCTION_NODES):
                qualname = prefix + child.name
                self.units.append(Unit(self, qualname, child, owner))
                self._collect(child, f"{qualname}.<locals>.", None)
            elif isinstance(child, ast.ClassDef):
                self._collect(child, f"{prefix}{child.name}.", child)
            elif isinstance(child, ast.Lambda):
                self._collect(child, f"{prefix}<lambda>.<locals>.", None)
            else:
                self._collect(child, prefix, owner)

    def _is_eager(self, node: ast.GeneratorExp) -> bool:
        call = self.parent[node]
        if not isinstance(call, ast.Call) or call.args != [node]:
            return False
        if isinstance(call.func, ast.Name):
            return call.func.id in _EAGER and call.func.id not in self.bound
        return isinstance(call.func, ast.Attribute) and call.func.attr == "join"

    def looks_up_locals(self, unit: Unit) -> bool:
        """Whether it may read its variables by names that do not stand there."""
        names = free_names(unit.node, self)[0] - scan(self.tree, self).binds
        return bool(names & {"eval", "exec", "locals"}) or _has_bare_call(unit.node, self, {"vars", "dir"})

    def looks_up_globals(self) -> bool:
        """Whether anything in the file may read globals by names that do not stand there."""
        top = scan(self.tree, self)
        reads = (top.reads | deferred_names(top, self) | free_names(self.tree, self)[0]) - top.binds
        return bool(reads & {"eval", "exec", "globals", "locals"}) or _has_bare_call(self.tree, self, {"vars", "dir"})

    def refers(self, node: ast.AST, plain: set[str], methods: set[str]) -> bool:
        """Whether a node names one of the functions or methods."""
        if isinstance(node, ast.Name):
            return node.id in plain and isinstance(node.ctx, ast.Load)
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
            return False
        return node.attr in methods or (node.attr in plain and root_name(node) in self.imported)


def _has_bare_call(node: ast.AST, file: File, names: set[str]) -> bool:
    """Whether one of the built-in functions is called without an argument, or handed on."""
    for n in walk(node):
        if isinstance(n, ast.Name) and n.id in names and n.id not in file.bound and isinstance(n.ctx, ast.Load):
            call = file.parent.get(n)
            if not (isinstance(call, ast.Call) and call.func is n and call.args):
                return True
    return False


def chain(node: ast.AST) -> str:
    """`a.b.c` of a chain of attributes on a name, else an empty string."""
    return (dotted(node) if isinstance(node, ast.expr) else None) or ""


def root_name(node: ast.AST) -> str:
    """The name that a chain of attributes begins with, or an empty string."""
    return chain(node).partition(".")[0]
