"""Who may call whom: an index of all functions of a version, by name and on the safe side.

Nothing is executed or imported. A function that is *called* runs where the call stands; a function that is
only *mentioned* (handed on, stored, registered, decorated) may run at any time, and so may the methods that
the language or a framework calls by themselves. Which classes a receiver may belong to is followed through
names: one node for each bare name of the whole project, so that what flows into `model` anywhere may be in
`model` everywhere.
"""

from __future__ import annotations

import ast
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTION_NODES = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


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
# Calls that give an object of a class that the source does not name.
REVIVING = words("load loads instantiate locate import_string")
INERT_CALLS = words("print len isinstance issubclass str repr int float bool id type hasattr format hash")


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
        args = self.node.args
        return [a.arg for a in (*args.posonlyargs, *args.args)]

    @property
    def all_params(self) -> list[str]:
        args = self.node.args
        extra = [a.arg for a in (args.vararg, args.kwarg) if a is not None]
        return self.params + [a.arg for a in args.kwonlyargs] + extra

    @property
    def static(self) -> bool:
        return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in self.node.decorator_list)

    @property
    def self_name(self) -> str | None:
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


def dotted(node: ast.expr | None) -> str | None:
    """`a.b.c` of a chain of attributes on a name, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def tail(node: ast.expr) -> str:
    """The last name of a callee or base (`b` of `a.b[...]`), or an empty string."""
    if isinstance(node, ast.Subscript | ast.Call):
        return tail(node.value if isinstance(node, ast.Subscript) else node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node that runs as part of it: no bodies of nested functions, classes, lambdas."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*FUNCTION_NODES, ast.ClassDef, ast.Lambda)):
            yield from own_nodes(child)


def bound_names(target: ast.expr) -> Iterator[str]:
    """The plain names that an assignment target binds."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from bound_names(element)
    elif isinstance(target, ast.Starred):
        yield from bound_names(target.value)


def bindings(scope: ast.AST) -> dict[str, list[ast.expr | None]]:
    """What each name of a scope is bound to: the value of a plain assignment, None for another binding."""
    found: dict[str, list[ast.expr | None]] = defaultdict(list)
    for node in own_nodes(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name in bound_names(target):
                    found[name].append(node.value if isinstance(target, ast.Name) else None)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name):
            if node.value is not None:
                found[node.target.id].append(node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found[node.id].append(None)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found[node.name].append(None)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found[node.rest].append(None)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            for name in node.names:
                found[name] += [None, None]
    # each Store name was counted once more by its ast.Name node
    for name, values in found.items():
        plain = [v for v in values if v is not None]
        others = len(values) - len(plain)
        found[name] = [*plain, *([None] * max(0, others - len(plain)))]
    return found


class Index:
    """All that is asked of a version's files by name."""

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
        self._holds: dict[str, set[Class]] = defaultdict(set)
        self._flows: dict[str, set[str]] = defaultdict(set)
        self._fed: set[str] = set()
        self._family: dict[Class, set[Class]] = {}
        self._suffixes: dict[str, list[str]] = defaultdict(list)
        for path in files:
            stem = path.removesuffix(".py").removesuffix("/__init__")
            parts = stem.split("/")
            for start in range(len(parts)):
                self._suffixes[".".join(parts[start:])].append(path)
        self._load(script)
        for module in self.modules.values():
            self._flow_module(module)
        self._spread()

    # -- loading ---------------------------------------------------------------------------------------------

    def _load(self, script: str) -> None:
        waiting = [script]
        while waiting:
            path = waiting.pop()
            if path in self.modules or path in self.broken or path not in self.files:
                continue
            try:
                tree = ast.parse(self.files[path])
            except (SyntaxError, ValueError, RecursionError):
                self.broken.append(path)
                continue
            module = Module(path, tree)
            self.modules[path] = module
            self._read(module, tree, None, None)
            for node in ast.walk(tree):
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
        for child in ast.iter_child_nodes(node):
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

    # -- names -----------------------------------------------------------------------------------------------

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

    # -- what may be in a name -------------------------------------------------------------------------------

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
            if self.external_name(module, node):
                return set()
            if node.attr in self.stored_attributes or node.attr in self.named or node.attr in self.class_named:
                return {node.attr}
            return {node.attr} | self.values(module, function, node.value)
        if isinstance(node, ast.Lambda):
            return self.values(module, function, node.body)
        if isinstance(node, ast.Call):
            name = tail(node.func)
            if self.named.get(name) or self.class_named.get(name):
                return {name}
            found = {name, "forward", "__call__"}
            if name in REVIVING:
                found.add("*any*")
            if name in INERT_CALLS:
                return set()
            if isinstance(node.func, ast.Attribute) and not self.external_name(module, node.func):
                found |= self.values(module, function, node.func.value)
            elif not isinstance(node.func, ast.Name | ast.Attribute):
                found |= self.values(module, function, node.func)
            for arg in (*node.args, *(k.value for k in node.keywords)):
                found |= self.values(module, function, arg)
            return found
        found = set()
        for child in ast.iter_child_nodes(node):
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
            self._holds[f"self of {id(cls)}"] |= self.family(cls)
        for local, imported in module.imports.items():
            for one in imported:
                if one.member is not None and one.member != local:
                    self._link([local], [one.member])
        for function in module.functions:
            self._link(function.all_params, ["*handed out*"])
        self._flow(module, module.tree, None)

    def _flow(self, module: Module, node: ast.AST, function: Function | None) -> None:
        for child in ast.iter_child_nodes(node):
            inside = function
            if isinstance(child, FUNCTION_NODES):
                inside = next(f for f in module.functions if f.node is child)
            self._flow_one(module, child, function)
            self._flow(module, child, inside)

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
            names = {n.name for n in ast.walk(node) if isinstance(n, ast.MatchAs | ast.MatchStar) and n.name}
            self._link(names, values(node.subject))
        elif isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) and function is not None:
            self._link([function.name], values(node.value))
        elif isinstance(node, ast.Call):
            self._flow_call(module, node, function)

    def _flow_call(self, module: Module, node: ast.Call, function: Function | None) -> None:
        name = tail(node.func)
        callees: list[tuple[list[str], list[str]]] = []
        for target in self.named.get(name, ()):
            skip = 1 if target.self_name is not None else 0
            through_class = isinstance(node.func, ast.Attribute) and tail(node.func.value) in self.class_named
            callees.append((target.params[0 if through_class else skip :], target.all_params))
        for cls in self.class_named.get(name, ()):
            makers = self.construction(cls)
            callees += [(maker.params[1:], maker.all_params) for maker in makers]
            if not any(m.name == "__init__" for m in makers):
                fields = [
                    n.target.id
                    for c in ({cls} | self._up(cls))
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
            full = self.external_name(module, node.func) or dotted(node.func) or ""
            if full.startswith("flor.") and name != "loop":
                continue
            if (
                isinstance(node.func, ast.Attribute)
                and name != "load_state_dict"
                and self.external_name(module, node.func) is None
            ):
                self._link(self.values(module, function, node.func.value), sources)
            self._link(["*handed out*"], sources)
            for method in (*self.methods.get("__call__", ()), *self.methods.get("forward", ())):
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


def only_value(scopes: Sequence[dict[str, list[ast.expr | None]]], name: str) -> ast.expr | None:
    """The one expression that a name is ever bound to in the first of the scopes that binds it."""
    for scope in scopes:
        if name in scope:
            values = scope[name]
            return values[0] if len(values) == 1 else None
    return None


def reachable(files: Mapping[str, bytes], script: str) -> frozenset[str]:
    """The files whose code may run when `script` is run, the unparsable ones among them."""
    index = Index(files, script)
    return frozenset(path for path in (*index.modules, *index.broken) if path in files)
