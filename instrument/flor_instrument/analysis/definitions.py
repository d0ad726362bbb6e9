"""The files, classes, functions and imports of a version."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from dataclasses import dataclass, field

from flor_instrument.analysis.syntax import FUNCTION_NODES, FunctionNode, own_nodes


@dataclass(eq=False)
class Class:
    """A class of the project, with the names of its bases."""

    name: str
    node: ast.ClassDef
    module: Module
    bases: list[str] = field(default_factory=list)
    methods: dict[str, list[Function]] = field(default_factory=lambda: defaultdict(list))


@dataclass(eq=False)
class Function:
    """A function or method of the project."""

    name: str
    node: FunctionNode
    module: Module
    owner: Class | None
    parent: Function | None
    lazy: bool

    @property
    def params(self) -> list[str]:
        """Names of the positional parameters."""
        args = self.node.args
        return [a.arg for a in (*args.posonlyargs, *args.args)]

    @property
    def all_params(self) -> list[str]:
        """Names of all parameters."""
        args = self.node.args
        extra = [a.arg for a in (args.vararg, args.kwarg) if a is not None]
        return self.params + [a.arg for a in args.kwonlyargs] + extra

    @functools.cached_property
    def declared(self) -> frozenset[str]:
        """Names of its scope that are no plain variables: global or nonlocal, nested functions and classes, imports."""
        found: set[str] = set()
        for node in own_nodes(self.node):
            if isinstance(node, ast.Global | ast.Nonlocal):
                found.update(node.names)
            elif isinstance(node, (*FUNCTION_NODES, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, ast.alias):
                found.add((node.asname or node.name).split(".")[0])
        return frozenset(found)

    @property
    def static(self) -> bool:
        """Whether it is a staticmethod."""
        return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in self.node.decorator_list)

    @property
    def self_name(self) -> str | None:
        """What a method calls its instance, or class."""
        return self.params[0] if self.owner is not None and self.params and not self.static else None


@dataclass(frozen=True)
class Import:
    """One binding made by an import of a module of the project: the module itself, or a member of it."""

    paths: tuple[str, ...]
    member: str | None


@dataclass(eq=False)
class Module:
    """One file, parsed."""

    path: str
    tree: ast.Module
    imports: dict[str, list[Import]] = field(default_factory=lambda: defaultdict(list))
    external: dict[str, str] = field(default_factory=dict)
    whole_imports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stars: list[tuple[str, ...]] = field(default_factory=list)
    rebound: set[str] = field(default_factory=set)  # at module level, or through `global`
    bound: set[str] = field(default_factory=set)  # anywhere in the file
    top: dict[str, list[Function | Class]] = field(default_factory=lambda: defaultdict(list))
    anywhere: dict[str, list[Function | Class]] = field(default_factory=lambda: defaultdict(list))
    functions: list[Function] = field(default_factory=list)
    classes: list[Class] = field(default_factory=list)
