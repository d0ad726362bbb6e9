"""How the functions of a project may come to run a loop."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from flor_instrument.analysis.files import File, Points, Unit, chain, root_name
from flor_instrument.analysis.syntax import tail

if TYPE_CHECKING:
    from flor_instrument.analysis.sites import Project


# Calls that run what they are given, there and then, on the same stack.
_CALL_THROUGH = frozenset({"fire.Fire", "Fire", "typer.run", "asyncio.run", "anyio.run", "trio.run", "app.run"})
_TRANSPARENT_DECORATORS = frozenset({
    "staticmethod", "classmethod", "no_grad", "inference_mode", "enable_grad", "override", "final", "abstractmethod",
    "main", "hydra.main", "torch.no_grad", "torch.inference_mode", "torch.enable_grad", "typing.final",
})  # fmt: skip
_OWN_BASES = frozenset({"object", "ABC", "Protocol", "Generic", "Module", "NamedTuple"})


class Reach:
    """The names through which units may come to run a loop, and whether something may come to it in another way."""

    def __init__(self, project: Project, sites: dict[Unit, Points]) -> None:
        self.sites = sites
        self.anywhere = False
        self._project = project
        self._plain: set[str] = set()
        self._methods: set[str] = set()
        self._modules: set[str] = set()
        self._inside: set[Unit] = set()
        for unit in sites:
            self._add(unit)
        grown = True
        while grown:
            grown = False
            for unit in project.units:
                if unit not in self._inside and any(self.is_call(unit.file, n) for n in unit.inline()):
                    self._add(unit)
                    grown = True
        self.anywhere = self.anywhere or self._escapes()

    def is_call(self, file: File, node: ast.AST) -> bool:
        """Whether a node may run the loop: it names a function that does, or imports a module that does."""
        if isinstance(node, ast.Import):
            return any(self._modules & set(alias.name.split(".")) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            return bool(self._modules & {*(node.module or "").split("."), *(alias.name for alias in node.names)})
        return file.refers(node, self._plain, self._methods)

    def _add(self, unit: Unit) -> None:
        self._inside.add(unit)
        node = unit.node
        if isinstance(node, ast.Module):
            self._modules.add(unit.file.path.removesuffix(".py").removesuffix("/__init__").split("/")[-1])
            return
        if any(isinstance(n, ast.Yield | ast.YieldFrom) for n in unit.inline()):
            self.anywhere = True
        for decorator in node.decorator_list:
            name = chain(decorator.func if isinstance(decorator, ast.Call) else decorator)
            self.anywhere |= name not in _TRANSPARENT_DECORATORS
        if unit.owner is None:
            self._plain.add(node.name)
        elif node.name in {"__init__", "__new__", "__post_init__"}:
            self._methods.add(node.name)
            self._classes(unit.owner.name)
        else:
            self._methods.add(node.name)
            self.anywhere |= node.name.startswith("__") and node.name.endswith("__")
            local = {c for file in self._project.files.values() for c in file.classes}
            self.anywhere |= any(tail(base) not in local | _OWN_BASES for base in unit.owner.bases)
        for file in self._project.files.values():
            self._plain |= {local for original, local in file.aliases if original in self._plain}

    def _classes(self, name: str) -> None:
        waiting = [name]
        while waiting:
            one = waiting.pop()
            if one not in self._plain:
                self._plain.add(one)
                nodes = [n for f in self._project.files.values() for n in f.nodes if isinstance(n, ast.ClassDef)]
                waiting += [n.name for n in nodes if any(tail(b) == one for b in n.bases)]

    def _escapes(self) -> bool:
        """Whether a function is handed on, kept or looked up, so that a call of it need not name it."""
        asynchronous = {u.node.name for u in self._inside if isinstance(u.node, ast.AsyncFunctionDef)}
        for file in self._project.files.values():
            for node in file.nodes:
                if isinstance(node, ast.Call) and tail(node.func) in {"getattr", "methodcaller", "attrgetter"}:
                    if self._may_get(file, node):
                        return True
                elif isinstance(node, ast.Name | ast.Attribute) and file.refers(node, self._plain, self._methods):
                    above = file.parent[node]
                    if isinstance(above, ast.Call) and above.func is node:
                        if tail(node) in asynchronous and not self._runs_now(file, above):
                            return True
                        if self._in_lambda(file, node):
                            return True
                    elif not (isinstance(above, ast.Attribute | ast.ClassDef) or self._is_run(above)):
                        return True
        return False

    def _may_get(self, file: File, call: ast.Call) -> bool:
        key = (*call.args, None)[1 if tail(call.func) == "getattr" and len(call.args) > 1 else 0]
        if isinstance(key, ast.Constant):
            return key.value in self._plain | self._methods
        stems = {part for p in self._project.files for part in p.removesuffix(".py").split("/")}
        root = root_name(call.args[0]) if call.args else "?"
        return not (root in file.imported and root not in stems)

    @staticmethod
    def _is_run(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and chain(node.func) in _CALL_THROUGH

    def _runs_now(self, file: File, call: ast.Call) -> bool:
        above = file.parent[call]
        return isinstance(above, ast.Await) or self._is_run(above)

    @staticmethod
    def _in_lambda(file: File, node: ast.AST) -> bool:
        while node in file.parent and not isinstance(node, ast.stmt):
            node = file.parent[node]
            if isinstance(node, ast.Lambda) or node in file.lazy_generators:
                return True
        return False
