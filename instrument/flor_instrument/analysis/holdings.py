"""What may be in a name, followed through the whole project.

There is one node for each bare name, so that what flows into `model` anywhere may be in `model` everywhere.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flor_instrument.analysis.definitions import Class, Function, Module
from flor_instrument.analysis.syntax import FUNCTION_NODES, LEAVES, FunctionNode, children, dotted, tail, walk, words

if TYPE_CHECKING:
    from flor_instrument.analysis.index import Index


# Calls that give an object of a class that the source does not name.
REVIVING = words("load loads instantiate locate import_string")
INERT_CALLS = words("print len isinstance issubclass str repr int float bool id type hasattr format hash")


class Holdings:
    """Which classes' instances a name of the project may hold."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._holds: dict[str, set[Class]] = defaultdict(set)
        self._flows: dict[str, set[str]] = defaultdict(set)
        self._fed: set[str] = set()
        for module in index.modules.values():
            self._flow_module(module)
        self._spread()

    def holds(self, module: Module, function: Function | None, node: ast.expr) -> set[Class]:
        """The project classes whose instances an expression may give."""
        found: set[Class] = set()
        for name in self.values(module, function, node):
            found |= self._holds.get(name, set())
        return found

    def is_unknown(self, module: Module, function: Function | None, node: ast.expr) -> bool:
        """Whether nothing in the project says where an expression's value comes from."""
        names = self.values(module, function, node)
        return bool(names) and not names & self._fed and not any(self._holds.get(n) for n in names)

    def values(self, module: Module, function: Function | None, node: ast.expr | None) -> set[str]:
        """The nodes of the flow that an expression's value may come from."""
        if node is None or isinstance(node, ast.Constant | ast.JoinedStr | ast.Compare):
            return set()
        if isinstance(node, ast.Name):
            owner = self._self_of(function, node.id)
            return {f"self of {id(owner)}"} if owner is not None else {node.id}
        if isinstance(node, ast.Attribute):
            if self._index.external_name(module, node):
                return set()
            if (
                node.attr in self._index.stored_attributes
                or node.attr in self._index.named
                or node.attr in self._index.class_named
            ):
                return {node.attr}
            return {node.attr} | self.values(module, function, node.value)
        if isinstance(node, ast.Lambda):
            return self.values(module, function, node.body)
        if isinstance(node, ast.Call):
            name = tail(node.func)
            if self._index.named.get(name) or self._index.class_named.get(name):
                return {name}
            found = {name, "forward", "__call__"}
            if name in REVIVING:
                found.add("*any*")
            if name in INERT_CALLS:
                return set()
            if isinstance(node.func, ast.Attribute) and not self._index.external_name(module, node.func):
                found |= self.values(module, function, node.func.value)
            elif not isinstance(node.func, ast.Name | ast.Attribute):
                found |= self.values(module, function, node.func)
            for arg in (*node.args, *(k.value for k in node.keywords)):
                found |= self.values(module, function, arg)
            return found
        found = set()
        for child in children(node):
            if isinstance(child, ast.expr):
                found |= self.values(module, function, child)
            elif isinstance(child, ast.comprehension):
                found |= self.values(module, function, child.iter)
        return found

    def _self_of(self, function: Function | None, name: str) -> Class | None:
        while function is not None:
            if function.self_name == name:
                return function.owner
            if name in function.all_params:
                return None
            function = function.parent
        return None

    def self_class(self, function: Function | None, node: ast.expr) -> Class | None:
        """The class whose method's own `self` an expression is."""
        return self._self_of(function, node.id) if isinstance(node, ast.Name) else None

    def _link(self, targets: Iterable[str], sources: Iterable[str]) -> None:
        for source in sources:
            self._flows[source].update(targets)

    def _target_nodes(self, module: Module, function: Function | None, target: ast.expr) -> set[str]:
        if isinstance(target, ast.Name):
            return {target.id}
        if isinstance(target, ast.Attribute):
            return {target.attr}
        if isinstance(target, ast.Subscript):
            return self.values(module, function, target.value)
        if isinstance(target, ast.Starred):
            return self._target_nodes(module, function, target.value)
        if isinstance(target, ast.Tuple | ast.List):
            return {n for e in target.elts for n in self._target_nodes(module, function, e)}
        return set()

    def _flow_module(self, module: Module) -> None:
        for cls in module.classes:
            self._holds[cls.name].add(cls)
            self._holds["*any*"].add(cls)
            self._holds[f"self of {id(cls)}"] |= self._index.family(cls)
        for local, imported in module.imports.items():
            for one in imported:
                if one.member is not None and one.member != local:
                    self._link([local], [one.member])
        for function in module.functions:
            self._link(function.all_params, ["*handed out*"])
        self._flow(module, module.tree, None, {function.node: function for function in module.functions})

    def _flow(
        self, module: Module, node: ast.AST, function: Function | None, functions: dict[FunctionNode, Function]
    ) -> None:
        for child in children(node):
            if isinstance(child, LEAVES):
                continue
            self._flow_one(module, child, function)
            self._flow(module, child, functions[child] if isinstance(child, FUNCTION_NODES) else function, functions)

    def _flow_one(self, module: Module, node: ast.AST, function: Function | None) -> None:
        def values(expr: ast.expr | None) -> set[str]:
            return self.values(module, function, expr)

        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._link(self._target_nodes(module, function, target), values(node.value))
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            self._link(self._target_nodes(module, function, node.target), values(node.value))
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._link(self._target_nodes(module, function, node.target), values(node.iter))
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            nodes = self._target_nodes(module, function, node.optional_vars)
            self._link(nodes, {*values(node.context_expr), "__enter__"})
        elif isinstance(node, ast.Match):
            names = {n.name for n in walk(node) if isinstance(n, ast.MatchAs | ast.MatchStar) and n.name}
            self._link(names, values(node.subject))
        elif isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) and function is not None:
            self._link([function.name], values(node.value))
        elif isinstance(node, ast.Call):
            self._flow_call(module, node, function)

    def _flow_call(self, module: Module, node: ast.Call, function: Function | None) -> None:
        name = tail(node.func)
        callees: list[tuple[list[str], list[str]]] = []
        for target in self._index.named.get(name, ()):
            skip = 1 if target.self_name is not None else 0
            through_class = isinstance(node.func, ast.Attribute) and tail(node.func.value) in self._index.class_named
            callees.append((target.params[0 if through_class else skip :], target.all_params))
        for cls in self._index.class_named.get(name, ()):
            makers = self._index.construction(cls)
            callees += [(maker.params[1:], maker.all_params) for maker in makers]
            if not any(m.name == "__init__" for m in makers):
                fields = [
                    n.target.id
                    for c in ({cls} | self._index.ancestors(cls))
                    for n in c.node.body
                    if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
                ]
                callees.append((fields, fields))
        known = bool(callees) or name in INERT_CALLS
        arguments: list[tuple[int | str | None, ast.expr]] = list(enumerate(node.args))
        arguments += [(k.arg, k.value) for k in node.keywords]
        for key, value in arguments:
            sources = self.values(module, function, value)
            if not sources:
                continue
            for positional, everything in callees:
                if isinstance(key, int) and not isinstance(value, ast.Starred):
                    self._link(positional[key : key + 1] or everything, sources)
                elif isinstance(key, str) and key in everything:
                    self._link([key], sources)
                else:
                    self._link(everything, sources)
            if known:
                continue
            full = self._index.external_name(module, node.func) or dotted(node.func) or ""
            if full.startswith("flor.") and name != "loop":
                continue
            if (
                isinstance(node.func, ast.Attribute)
                and name != "load_state_dict"
                and self._index.external_name(module, node.func) is None
            ):
                self._link(self.values(module, function, node.func.value), sources)
            self._link(["*handed out*"], sources)
            for method in (*self._index.methods.get("__call__", ()), *self._index.methods.get("forward", ())):
                self._link(method.all_params[1:], sources)

    def _spread(self) -> None:
        self._fed = {target for targets in self._flows.values() for target in targets}
        waiting = list(self._holds)
        while waiting:
            source = waiting.pop()
            for target in self._flows.get(source, ()):
                before = len(self._holds[target])
                self._holds[target] |= self._holds[source]
                if len(self._holds[target]) != before:
                    waiting.append(target)
