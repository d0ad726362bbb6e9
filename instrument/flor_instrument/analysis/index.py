"""Who may call whom: an index of all functions of a version, by name and on the safe side.

Nothing is executed or imported. A function that is *called* runs where the call stands; a function that is
only *mentioned* (handed on, stored, registered, decorated) may run at any time, and so may the methods that
the language or a framework calls by themselves.
"""

from __future__ import annotations

import ast
import functools
import posixpath
from collections import defaultdict
from collections.abc import Mapping

from flor_instrument.analysis.definitions import Class, Function, Import, Module
from flor_instrument.analysis.holdings import Holdings
from flor_instrument.analysis.syntax import (
    FUNCTION_NODES,
    LEAVES,
    FunctionNode,
    all_nodes,
    bindings,
    children,
    dotted,
    own_nodes,
    parsed,
    tail,
    words,
)

CONSTRUCTION = ("__new__", "__init__", "__post_init__", "__init_subclass__")
# Called by a framework or by the language on an object that it was given, whatever the class derives from.
IMPLICIT = frozenset({"forward", "state_dict", "load_state_dict", "write", "flush", "read", "emit", "collate_fn"})
# What torch.nn.Module calls on itself; a project's own version of it runs whenever torch likes.
MODULE_METHODS = words(
    """
    apply bfloat16 buffers children compile cpu cuda double eval extra_repr float get_buffer get_extra_state
    get_parameter get_submodule half modules named_buffers named_children named_modules named_parameters
    parameters register_buffer register_module register_parameter requires_grad_ reset_parameters
    set_extra_state share_memory to to_empty train type zero_grad
    """
)
MODULE_BASES = frozenset({"Module", "Sequential", "ModuleList", "ModuleDict"})
# Bases whose code calls back nothing but dunders.
PLAIN_BASES = words(
    """
    object ABC Enum IntEnum StrEnum Protocol Generic NamedTuple TypedDict Exception ValueError RuntimeError
    dict list tuple set str int float Dataset IterableDataset TensorDataset Subset Sampler BatchSampler
    """
)
TRANSPARENT = words(
    """
    staticmethod classmethod no_grad inference_mode enable_grad override final abstractmethod hydra.main
    main command option argument dataclass dataclasses.dataclass total_ordering typechecked
    """
)


class Index:
    """All that is asked of a version's files by name. Made by `index_of`, and not changed after that."""

    def __init__(self, files: Mapping[str, bytes], script: str) -> None:
        self.files = files
        self.script = script
        self.modules: dict[str, Module] = {}
        self.broken: list[str] = []
        self.dynamic: str | None = None
        self.methods: dict[str, list[Function]] = defaultdict(list)
        self.named: dict[str, list[Function]] = defaultdict(list)
        self.class_named: dict[str, list[Class]] = defaultdict(list)
        self.stored_attributes: set[str] = set()
        self._family: dict[Class, set[Class]] = {}
        self._bindings: dict[ast.AST, dict[str, list[ast.expr | None]]] = {}
        self._suffixes: dict[str, list[str]] = defaultdict(list)
        for path in files:
            stem = path.removesuffix(".py").removesuffix("/__init__")
            parts = stem.split("/")
            for start in range(len(parts)):
                self._suffixes[".".join(parts[start:])].append(path)
        self._load(script)
        self.holdings = Holdings(self)

    def _load(self, script: str) -> None:
        waiting = [script]
        while waiting:
            path = waiting.pop()
            if path in self.modules or path in self.broken or path not in self.files:
                continue
            try:
                tree = parsed(self.files[path])
            except (SyntaxError, ValueError, RecursionError):
                self.broken.append(path)
                continue
            module = Module(path, tree)
            self.modules[path] = module
            self._read(module, tree, None, None)
            for node in all_nodes(tree):
                for target in self.imported_paths(module, node):
                    waiting.append(target)
                if self._is_dynamic(module, node):
                    self.dynamic = f"{path} line {getattr(node, 'lineno', '?')} looks names up at run time"
            if self.dynamic:
                waiting += self.files

    def _is_dynamic(self, module: Module, node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        name = dotted(node.func) or ""
        if name in {
            "exec",
            "eval",
            "__import__",
            "importlib.import_module",
            "import_module",
            "runpy.run_path",
        }:
            return True
        if name in {"globals", "locals"} or name.endswith(("run_module", "exec_module")):
            return True
        if name == "getattr" and len(node.args) >= 2:
            root = (dotted(node.args[0]) or "").split(".")[0]
            if module.external.get(root) and root not in module.bound:
                return False
            return not isinstance(node.args[1], ast.Constant)
        return name.endswith(("methodcaller", "attrgetter"))

    def _read(self, module: Module, node: ast.AST, owner: Class | None, parent: Function | None) -> None:
        for child in children(node):
            if isinstance(child, FUNCTION_NODES):
                lazy = isinstance(child, ast.AsyncFunctionDef) or any(
                    isinstance(n, ast.Yield | ast.YieldFrom) for n in own_nodes(child)
                )
                function = Function(child.name, child, module, owner, parent, lazy)
                module.functions.append(function)
                module.anywhere[child.name].append(function)
                self.named[child.name].append(function)
                if owner is not None:
                    owner.methods[child.name].append(function)
                    self.methods[child.name].append(function)
                elif parent is None:
                    module.top[child.name].append(function)
                self._read(module, child, None, function)
            elif isinstance(child, ast.ClassDef):
                found = Class(child.name, child, module, [dotted(b) or tail(b) for b in child.bases])
                module.classes.append(found)
                module.anywhere[child.name].append(found)
                self.class_named[child.name].append(found)
                if parent is None and owner is None:
                    module.top[child.name].append(found)
                self._read(module, child, found, parent)
            else:
                if isinstance(child, ast.Import | ast.ImportFrom):
                    self._read_import(module, child)
                elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store | ast.Del):
                    module.bound.add(child.id)
                    if parent is None and owner is None:
                        module.rebound.add(child.id)
                elif isinstance(child, ast.Global):
                    module.rebound.update(child.names)
                elif isinstance(child, ast.arg):
                    module.bound.add(child.arg)
                elif isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
                    self.stored_attributes.add(child.attr)
                elif isinstance(child, ast.Call) and tail(child.func) == "setattr" and len(child.args) > 1:
                    key = child.args[1]
                    self.stored_attributes.add(key.value if isinstance(key, ast.Constant) else "*")  # type: ignore[arg-type]
                if not isinstance(child, LEAVES):
                    self._read(module, child, owner, parent)

    def _base(self, module: Module, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        folder = posixpath.dirname(module.path)
        for _ in range(node.level - 1):
            folder = posixpath.dirname(folder)
        prefix = folder.replace("/", ".")
        return ".".join(p for p in (prefix, node.module or "") if p)

    def _paths(self, name: str) -> tuple[str, ...]:
        return tuple(self._suffixes.get(name, ())) if name else ()

    def _read_import(self, module: Module, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                local = alias.asname or root
                paths = self._paths(alias.name)
                if paths:
                    module.imports[local].append(Import(paths if alias.asname else self._paths(root), None))
                    module.whole_imports[alias.name] = paths
                elif self._paths(root):
                    module.imports[local].append(Import(self._paths(root), None))
                else:
                    module.external[local] = alias.name if alias.asname else root
            return
        base = self._base(module, node)
        paths = self._paths(base)
        for alias in node.names:
            local = alias.asname or alias.name
            if alias.name == "*":
                if paths:
                    module.stars.append(paths)
                continue
            inner = self._paths(f"{base}.{alias.name}" if base else alias.name)
            if inner:
                module.imports[local].append(Import(inner, None))
            if paths:
                module.imports[local].append(Import(paths, alias.name))
            if not inner and not paths:
                module.external[local] = f"{base}.{alias.name}"

    def imported_paths(self, module: Module, node: ast.AST) -> list[str]:
        """The project files whose bodies an import statement may run."""
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = self._base(module, node)
            names = [base, *(f"{base}.{a.name}" if base else a.name for a in node.names)]
        found: list[str] = []
        for name in names:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                found += [p for p in self._paths(".".join(parts[:end])) if p not in found]
        return found

    def external_name(self, module: Module, node: ast.expr) -> str | None:
        """The full dotted name of something that is reached through an import from outside the project.

        None when anything in the file binds the name to something else.
        """
        root = (dotted(node) or "").partition(".")[0]
        return None if root in module.bound else self._imported_name(module, node)

    def _imported_name(self, module: Module, node: ast.expr) -> str | None:
        name = dotted(node)
        if name is None:
            return None
        root, _, rest = name.partition(".")
        if root in module.imports or root not in module.external:
            return None
        return f"{module.external[root]}.{rest}" if rest else module.external[root]

    def is_flor(self, module: Module, node: ast.expr, name: str) -> bool:
        """Whether an expression is `flor.<name>`, however flor was imported."""
        full = self._imported_name(module, node)
        if full is None:
            root = (dotted(node) or "").split(".")
            return root[0] == "flor" and root[1:] == [name] and root[0] not in module.imports
        return full in {f"flor.{name}", f"flor_replay.{name}"} or (
            full.startswith("flor") and full.endswith("." + name)
        )

    def lookup(self, module: Module, name: str) -> tuple[list[Function | Class | Module], bool]:
        """What a bare name may stand for, and whether that is certain."""
        found: list[Function | Class | Module] = list(module.anywhere.get(name, ()))
        certain = name not in module.rebound
        for imported in module.imports.get(name, ()):
            for path in imported.paths:
                target = self.modules.get(path)
                if target is None:
                    continue
                if imported.member is None:
                    found.append(target)
                else:
                    found += self.members(target, imported.member)
        if not found:
            for paths in module.stars:
                certain = False
                for path in paths:
                    if path in self.modules:
                        found += self.members(self.modules[path], name)
        return found, certain and len(found) == 1 and name not in module.external

    def members(self, module: Module, name: str, depth: int = 0) -> list[Function | Class | Module]:
        """What `module.name` may be, also when the module itself imported it."""
        found: list[Function | Class | Module] = list(module.top.get(name, ()))
        if depth > 8:
            return found
        for imported in module.imports.get(name, ()):
            for path in imported.paths:
                target = self.modules.get(path)
                if target is not None and imported.member is None:
                    found.append(target)
                elif target is not None and imported.member is not None and target is not module:
                    found += self.members(target, imported.member, depth + 1)
        for paths in module.stars:
            for path in paths:
                if path in self.modules and self.modules[path] is not module:
                    found += self.members(self.modules[path], name, depth + 1)
        if not found:
            for path in self._suffixes.get(name, ()):
                folder = posixpath.dirname(module.path)
                if path in self.modules and module.path.endswith("__init__.py") and path.startswith(folder + "/"):
                    found.append(self.modules[path])
        return found

    def bindings(self, scope: ast.AST) -> dict[str, list[ast.expr | None]]:
        """What each name of a function or module is bound to. Every function of a file asks for the file's own."""
        if scope not in self._bindings:
            self._bindings[scope] = bindings(scope)
        return self._bindings[scope]

    def family(self, cls: Class) -> set[Class]:
        """A class with its ancestors and descendants in the project."""
        if cls not in self._family:
            self._family[cls] = {cls} | self._up(cls) | {d for d in self._all() if cls in self._up(d)}
        return self._family[cls]

    def _all(self) -> list[Class]:
        return [c for group in self.class_named.values() for c in group]

    def _up(self, cls: Class) -> set[Class]:
        found: set[Class] = set()
        waiting = [cls]
        while waiting:
            for base in waiting.pop().bases:
                for parent in self.class_named.get(base.split(".")[-1], ()):
                    if parent not in found and parent is not cls:
                        found.add(parent)
                        waiting.append(parent)
        return found

    def ancestors(self, cls: Class) -> set[Class]:
        """The project classes that a class derives from."""
        return self._up(cls)

    def construction(self, cls: Class) -> list[Function]:
        """The functions that making an instance of a class runs."""
        return [f for c in ({cls} | self._up(cls)) for name in CONSTRUCTION for f in c.methods.get(name, ())]

    def is_implicit(self, function: Function) -> bool:
        """Whether the language or a framework may call a method by itself."""
        cls, name = function.owner, function.name
        if cls is None:
            return False
        if name in IMPLICIT or (name.startswith("__") and name.endswith("__") and name not in CONSTRUCTION):
            return True
        for decorator in function.node.decorator_list:
            if tail(decorator) in {"property", "cached_property", "setter", "getter", "deleter"}:
                return True
        bases = {b.split(".")[-1] for c in ({cls} | self._up(cls)) for b in c.bases}
        bases -= {b for b in bases if b in self.class_named}
        if bases & MODULE_BASES and name in MODULE_METHODS:
            return True
        return bool(bases - MODULE_BASES - PLAIN_BASES)

    def is_decorated(self, node: FunctionNode | ast.ClassDef) -> bool:
        """Whether a decorator may keep the function for itself or call it in its own time."""
        names = [(dotted(d.func if isinstance(d, ast.Call) else d) or "") for d in node.decorator_list]
        return any(n not in TRANSPARENT and n.split(".")[-1] not in TRANSPARENT for n in names)


def index_of(files: Mapping[str, bytes], script: str) -> Index:
    """The index of these files. Many questions are asked of one version in a row: the last ones are kept."""
    return _index_of(tuple(files.items()), script)


@functools.lru_cache(maxsize=4)
def _index_of(files: tuple[tuple[str, bytes], ...], script: str) -> Index:
    return Index(dict(files), script)


def reachable(files: Mapping[str, bytes], script: str) -> frozenset[str]:
    """The files whose code may run when `script` is run, the unparsable ones among them."""
    index = index_of(files, script)
    return frozenset(path for path in (*index.modules, *index.broken) if path in files)
