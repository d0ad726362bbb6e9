"""What the code of one scope does with names: reads, binds, declares, and leaves to the scopes inside it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from flor_instrument.analysis.syntax import COMPREHENSIONS, FUNCTION_NODES, children, walk

if TYPE_CHECKING:
    from flor_instrument.analysis.files import File


Names: TypeAlias = frozenset[str]
NOTHING: Names = frozenset()
# Methods that may look names up in the frame of their caller, by the words of a string.
_NAME_READERS = frozenset({"query", "eval", "evaluate", "sql", "execute", "from_query"})


@dataclass
class ScopeNames(ast.NodeVisitor):
    """What the code of one scope does with names, the scopes inside it left out."""

    file: File
    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    declared_global: set[str] = field(default_factory=set)
    declared_nonlocal: set[str] = field(default_factory=set)
    inner: list[ast.AST] = field(default_factory=list)

    @property
    def declared(self) -> set[str]:
        """Names that belong to another scope."""
        return self.declared_global | self.declared_nonlocal

    def locals(self) -> Names:
        """Names that belong to this scope."""
        return frozenset(self.binds - self.declared)

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.binds.add(node.id)
        if not isinstance(node.ctx, ast.Store):
            self.reads.add(node.id)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, (*FUNCTION_NODES, ast.Lambda, ast.ClassDef)):
            if not isinstance(node, ast.Lambda):
                self.binds.add(node.name)
            self.visit_all(headers(node))
            self.inner.append(node)
            return
        if isinstance(node, COMPREHENSIONS):
            self.visit(node.generators[0].iter)
            self.binds |= {n.target.id for n in walk(node) if isinstance(n, ast.NamedExpr)}
            self.inner.append(node)
            return
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self.reads.add(node.target.id)
        elif isinstance(node, ast.Global):
            self.declared_global |= set(node.names)
        elif isinstance(node, ast.Nonlocal):
            self.declared_nonlocal |= set(node.names)
        elif isinstance(node, ast.Call):
            self.reads |= words_read(node)
        self.binds |= set(other_bindings(node))
        super().generic_visit(node)


def other_bindings(node: ast.AST) -> Iterator[str]:
    """The names that a node itself binds in another way than by a Name to store to."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or (alias.name.split(".")[0] if isinstance(node, ast.Import) else alias.name)
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def headers(node: ast.AST) -> list[ast.AST]:
    """What is evaluated where a function, lambda or class is defined, in order."""
    found: list[ast.AST | None] = []
    if isinstance(node, ast.ClassDef):
        found = [*node.decorator_list, *node.bases, *(k.value for k in node.keywords)]
    elif isinstance(node, (*FUNCTION_NODES, ast.Lambda)):
        if isinstance(node, FUNCTION_NODES):
            found = [*node.decorator_list, node.returns]
            found += [a.annotation for a in walk(node.args) if isinstance(a, ast.arg)]
        found += [*node.args.defaults, *node.args.kw_defaults]
    return [n for n in found if n is not None]


def _insides(node: ast.AST) -> list[ast.AST]:
    """What belongs to the scope that a node opens."""
    if isinstance(node, COMPREHENSIONS):
        first, *others = node.generators
        found: list[ast.AST] = [first.target, *first.ifs, *others]
        return [*found, node.key, node.value] if isinstance(node, ast.DictComp) else [*found, node.elt]
    if isinstance(node, ast.Lambda):
        return [node.body]
    return list(node.body) if isinstance(node, (*FUNCTION_NODES, ast.ClassDef, ast.Module)) else []


def scan(node: ast.AST, file: File) -> ScopeNames:
    """The names of the scope that a node opens."""
    if node not in file.scopes:
        scope = file.scopes[node] = ScopeNames(file)
        scope.visit_all(_insides(node))
        if isinstance(node, (*FUNCTION_NODES, ast.Lambda)):
            scope.binds |= {arg.arg for arg in walk(node.args) if isinstance(arg, ast.arg)}
    return file.scopes[node]


def _hidden(node: ast.AST, file: File) -> Names:
    """The names that mean something else inside a scope than around it."""
    if isinstance(node, COMPREHENSIONS):  # what `:=` binds there belongs to the scope around it
        return scan(node, file).locals() - {n.target.id for n in walk(node) if isinstance(n, ast.NamedExpr)}
    return scan(node, file).locals()


def free_names(node: ast.AST, file: File) -> tuple[Names, Names]:
    """The names that a scope reads from the scopes around it, and those that it takes from the globals past them."""
    if node not in file.free:
        scope = scan(node, file)
        inner = [free_names(n, file) for n in scope.inner]
        reads = frozenset(scope.reads) - scope.declared_global
        below = frozenset(name for found, _ in inner for name in found) - scope.declared_global
        hidden = _hidden(node, file)
        past = frozenset(name for _, found in inner for name in found) | scope.declared_global
        if isinstance(node, ast.ClassDef):
            free = reads | below  # what a class binds is not seen by its methods
            past |= reads & hidden  # and is looked up among the globals where the class has not bound it yet
        else:
            free = (reads | below) - hidden
        file.free[node] = free, past
    return file.free[node]


def deferred_names(scope: ScopeNames, file: File) -> Names:
    """The names that functions, lambdas and generators made in a scope may read from it at any time."""
    found: set[str] = set()
    for node in scope.inner:
        if isinstance(node, (*FUNCTION_NODES, ast.Lambda)) or node in file.lazy_generators:
            free, past = free_names(node, file)
            found |= free
            if scope is file.scopes.get(file.tree):
                found |= past
        else:
            inside = scan(node, file)
            below = deferred_names(inside, file)
            found |= below if isinstance(node, ast.ClassDef) else below - _hidden(node, file)
            if scope is file.scopes.get(file.tree):
                found |= free_names(node, file)[1]
    return frozenset(found)


def words_read(call: ast.Call) -> set[str]:
    """The words of a call's strings, where the call may look them up as names."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _NAME_READERS:
        return set()
    arguments = (*call.args, *(k.value for k in call.keywords))
    texts = [n.value for a in arguments for n in walk(a) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return {word for text in texts for word in re.findall(r"\w+", text)}


def inline(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node that runs where it stands: no bodies of functions and lambdas, but those of classes."""
    below = headers(node) if isinstance(node, (*FUNCTION_NODES, ast.Lambda)) else children(node)
    for child in below:
        yield child
        yield from inline(child)
