"""Does a hindsight patch keep something of its own from one iteration to the next?

A checkpoint of an old run has nothing in it that today's patch brings: a running mean, a list that grows, a
hook that counts. Replaying an iteration from such a checkpoint would give a wrong value, and silently. So
whatever is not proven to end with its iteration is reported as carried.
"""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flor_instrument.places import Place, loop_levels, where
from flor_instrument.scopes_calls import COMPREHENSIONS, FUNCTION_NODES, bound_names, own_nodes, tail, words

FUNCTIONS = (*FUNCTION_NODES, ast.Lambda)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
OUTSIDE = frozenset({Place.BEFORE, Place.BETWEEN, Place.AFTER})
READING = words(
    """
    norm item sum mean abs std var max min argmax argmin parameters named_parameters buffers named_buffers
    modules named_modules children named_children state_dict detach cpu numpy clone copy float double half
    int long bool pow sqrt square exp log log2 log10 size dim numel nelement view reshape flatten ravel
    squeeze unsqueeze t transpose permute dot matmul mm eq ne gt lt ge le any all unique sort topk softmax
    log_softmax sigmoid tanh relu isnan isinf isfinite nonzero count_nonzero median quantile cumsum prod to
    type astype tolist keys values items get index count split strip lower upper join format startswith
    endswith replace encode decode predict predict_proba predict_log_proba decision_function score loss diff
    clip clamp round ptp trace diagonal expand repeat bincount histc allclose equal item_size element_size
    data_ptr vector_norm logsumexp entropy log_prob most_common total total_seconds isoformat as_posix
    exists cosine_similarity sub add mul div neg sign
    """
) - {"add", "sort"}  # fmt: skip
READING_PREFIXES = ("get_", "is_", "has_", "predict", "num_", "to_", "as_")
MUTATING = words(
    """
    append extend insert add update pop popitem remove discard clear setdefault put push write writelines
    writerow appendleft popleft extendleft sort reverse fill send step observe record accumulate increment
    tick register add_scalar send put_nowait set reset zero_grad subtract partial_fit fit manual_seed seed
    shuffle load_state_dict
    """
)
STATEFUL_BUILTINS = frozenset({"next", "setattr", "delattr", "exec", "eval", "globals", "locals", "vars", "__import__"})
PURE_BUILTINS = words(
    """
    abs all any bool dict enumerate float format frozenset int isinstance len list max min print range repr
    reversed round set sorted str sum tuple zip type id hasattr divmod
    """
)
MODES = frozenset({"eval", "train", "no_grad", "parameters"})
TRANSPARENT = frozenset({"no_grad", "inference_mode", "enable_grad", "staticmethod", "classmethod", "property"})
GENERATOR_WORDS = frozenset({"generator", "rng", "random_state", "out", "key", "memo"})
FRESH_CONTAINERS = frozenset({"list", "dict", "set", "defaultdict", "deque", "Counter", "OrderedDict", "bytearray"})


@dataclass(frozen=True)
class Carried:
    """What a patch keeps: over iterations of the main loop, and over those of a nested loop.

    Names in `across_main` make it wrong to start replay anywhere but at the beginning. Names in
    `across_nested` are made anew in each main iteration; they only make it wrong to skip the nested loop or
    to start inside it.
    """

    across_main: tuple[str, ...]
    across_nested: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that is carried over any loop."""
        return tuple(dict.fromkeys((*self.across_main, *self.across_nested)))


class _Kind(enum.IntEnum):
    """What a value is good for when it is read again in a later iteration."""

    FIXED = 0  # numbers, strings, tuples of them
    DATA = 1  # tensors, arrays and the like: only known mutators change them
    OBJECT = 2  # anything with a state of its own


def carried(
    patched: bytes,
    inserted: Sequence[tuple[int, int]],
    *,
    files: Mapping[str, bytes] | None = None,
    script: str | None = None,
    path: str = "<patched>",
) -> Carried:
    """What the statements at `inserted` (first and last line, 1-based) carry over iterations.

    `files` and `script` (with `path`, the patched file's own) tell which loops are main loops when other
    files decide that; without them the patched file is taken for the script.
    """
    try:
        tree = ast.parse(patched)
    except (SyntaxError, ValueError, RecursionError) as error:
        return Carried(("<source>",), (), (f"the patched source cannot be parsed: {error}",))
    sources = {**(files or {}), path: patched}
    return _Check(tree, inserted, sources, script or path, path).result()


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node


def _suites(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for key in ("body", "orelse", "finalbody"):
        suite = getattr(node, key, None)
        if isinstance(suite, list) and suite:
            yield suite
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body


class _Check:
    def __init__(
        self,
        tree: ast.Module,
        ranges: Sequence[tuple[int, int]],
        files: Mapping[str, bytes],
        script: str,
        path: str,
    ) -> None:
        self.tree, self.files, self.script, self.path = tree, files, script, path
        self.parent: dict[ast.AST, ast.AST] = {}
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self.parent[child] = node
        self.main: dict[str, None] = {}
        self.nested: dict[str, None] = {}
        self.reasons: dict[str, None] = {}
        self.top = self._inserted(ranges)
        self.inserted: set[ast.AST] = {n for s in self.top for n in ast.walk(s)}
        self.functions: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
        for node in ast.walk(tree):
            if isinstance(node, FUNCTION_NODES):
                self.functions.setdefault(node.name, []).append(node)
        self.imported = {
            (a.asname or a.name).split(".")[0]
            for n in ast.walk(tree)
            if isinstance(n, ast.Import | ast.ImportFrom)
            for a in n.names
        }
        self.levels = loop_levels(files, script, path)
        self._summaries: dict[ast.AST, list[str]] = {}
        self._places: dict[int, bool] = {}

    def _inserted(self, ranges: Sequence[tuple[int, int]]) -> list[ast.stmt]:
        statements = [n for n in ast.walk(self.tree) if isinstance(n, ast.stmt)]
        found: list[ast.stmt] = []
        for first, last in ranges:
            inside = [s for s in statements if first <= s.lineno and (s.end_lineno or s.lineno) <= last]
            # decorators stand above the `def` line
            if not inside:
                around = [s for s in statements if s.lineno <= last and first <= (s.end_lineno or s.lineno)]
                around.sort(key=lambda s: (s.end_lineno or s.lineno) - s.lineno)
                inside = around[:1]
            found += [s for s in inside if s not in found]
        return [s for s in found if not any(self.parent.get(s) is o for o in found)]

    # -- reporting -------------------------------------------------------------------------------------------

    def _carry(self, name: str, reason: str, nested_only: bool = False) -> None:
        (self.nested if nested_only else self.main)[name] = None
        self.reasons[reason] = None

    def result(self) -> Carried:
        for statement in self.top:
            self._statement(statement)
        for scope, names in self._bound().items():
            for name in names:
                self._name(scope, name)
        nested = tuple(n for n in self.nested if n not in self.main)
        return Carried(tuple(self.main), nested, tuple(self.reasons))

    # -- where things stand ----------------------------------------------------------------------------------

    def _scope(self, node: ast.AST) -> ast.AST:
        """The function, class or module whose names a node binds."""
        while node in self.parent:
            above = self.parent[node]
            if isinstance(above, FUNCTIONS) and (isinstance(above, ast.Lambda) or node in above.body):
                return above
            if isinstance(above, ast.ClassDef) and node in above.body:
                return above
            node = above
        return self.tree

    def _runs_once(self, node: ast.AST) -> bool:
        """Whether a statement certainly runs in no iteration of a flor loop."""
        line = getattr(node, "lineno", 0)
        if line not in self._places:
            self._places[line] = where(self.files, self.script, (self.path, line)).places <= OUTSIDE
        return self._places[line]

    def _bound(self) -> dict[ast.AST, list[str]]:
        found: dict[ast.AST, list[str]] = {}
        for node in self.inserted:
            name: str | None = None
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
                name = node.id
            elif isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler):
                name = node.name
            if name is None or self._in_comprehension(node):
                continue
            scope = self._scope(node)
            names = found.setdefault(scope, [])
            if name not in names:
                names.append(name)
        return {scope: sorted(names) for scope, names in found.items()}

    def _in_comprehension(self, node: ast.AST) -> bool:
        while node in self.parent and not isinstance(node, ast.stmt):
            node = self.parent[node]
            if isinstance(node, ast.NamedExpr):
                return False
            if isinstance(node, ast.comprehension):
                return True
        return False

    # -- statements that act on what is there already --------------------------------------------------------

    def _statement(self, statement: ast.stmt) -> None:
        if isinstance(statement, FUNCTION_NODES):
            for reason in self._function(statement, strict=True):
                self._carry(statement.name, reason)
            return
        if isinstance(statement, ast.ClassDef):
            self._class(statement)
            return
        once = self._runs_once(statement)
        for node in [statement, *own_nodes(statement)]:
            if isinstance(node, FUNCTIONS):
                for reason in self._function(node, strict=True):
                    self._carry(getattr(node, "name", "lambda"), reason)
            elif isinstance(node, ast.ClassDef):
                self._class(node)
            elif isinstance(node, ast.Global | ast.Nonlocal):
                for name in node.names:
                    self._carry(name, f"line {node.lineno}: `{name}` is bound outside the function")
            elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                self._store(node, once)
            elif isinstance(node, ast.Call) and not once:
                self._call(node, self._scope(node), strict=True)

    def _store(self, node: ast.Attribute | ast.Subscript, once: bool) -> None:
        root = _root(node)
        if isinstance(root, ast.Name) and self._is_own(root):
            return  # judged with the name
        value = getattr(self._statement_of(node), "value", None)
        plain = isinstance(self._statement_of(node), ast.Assign | ast.AnnAssign)
        scope = self._scope(node)
        built = getattr(scope, "name", "") == "__init__" or once
        if plain and built and value is not None and self._kind(value) is _Kind.FIXED:
            if not (isinstance(node, ast.Attribute) and self._stores_of(node.attr) == 1):
                self._carry(ast.unparse(node), f"line {node.lineno}: `{ast.unparse(node)}` is bound more than once")
            return
        self._carry(ast.unparse(node), f"line {node.lineno}: `{ast.unparse(node)}` outlives the iteration")

    def _stores_of(self, attribute: str) -> int:
        return sum(
            isinstance(n, ast.Attribute) and n.attr == attribute and isinstance(n.ctx, ast.Store)
            for n in ast.walk(self.tree)
        )

    def _statement_of(self, node: ast.AST) -> ast.stmt:
        while not isinstance(node, ast.stmt):
            node = self.parent[node]
        return node

    def _is_own(self, name: ast.Name) -> bool:
        """Whether a name was bound by the patch, and by nothing else, in its own scope or around it."""
        scope: ast.AST | None = self._scope(name)
        while scope is not None:
            bound = self._binders(scope, name.id)
            if bound:
                return all(n in self.inserted for n in bound)
            scope = self._scope(scope) if scope is not self.tree else None
        return False

    def _binders(self, scope: ast.AST, name: str) -> list[ast.AST]:
        found: list[ast.AST] = []
        args = getattr(scope, "args", None)
        if isinstance(args, ast.arguments):
            every = (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg)
            found += [a for a in every if a is not None and a.arg == name]
        for node in own_nodes(scope):
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store | ast.Del):
                if not self._in_comprehension(node):
                    found.append(node)
            elif (
                (isinstance(node, (*FUNCTION_NODES, ast.ClassDef)) and node.name == name)
                or (isinstance(node, ast.alias) and (node.asname or node.name).split(".")[0] == name)
                or (isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and node.name == name)
            ):
                found.append(node)
        return found

    def _call(self, node: ast.Call, scope: ast.AST, strict: bool) -> None:
        for name, reason in self._call_problems(node, scope, strict):
            self._carry(name, reason)

    def _call_problems(self, node: ast.Call, scope: ast.AST, strict: bool) -> Iterator[tuple[str, str]]:
        line = node.lineno
        if isinstance(node.func, ast.Name):
            name = node.func.id
            if name in STATEFUL_BUILTINS:
                first = node.args[0] if node.args else None
                if not (name == "next" and isinstance(first, ast.Call)):
                    yield (
                        ast.unparse(first) if first is not None else name,
                        f"line {line}: `{name}` changes state",
                    )
            for function in self.functions.get(name, ()):
                for reason in self._function(function, strict=function in self.inserted):
                    yield name, reason
            return
        if not isinstance(node.func, ast.Attribute):
            return
        method, root = node.func.attr, _root(node.func)
        if isinstance(root, ast.Name) and root.id in self.imported and not self._local(scope, root.id):
            if method.endswith("_") and method != "clip_grad_norm_":
                yield ast.unparse(node.func), f"line {line}: `{method}` changes its argument"
            return
        if isinstance(root, ast.Name) and self._is_own(root) and root in self.inserted:
            return  # judged with the name
        if isinstance(root, ast.Name) and self._is_fresh_local(scope, root.id):
            return
        own = self.functions.get(method, ()) if not isinstance(root, ast.Call | ast.Constant) else ()
        if own:
            for function in own:
                for reason in self._function(function, strict=False):
                    yield method, reason
        elif self._mutates(method) and not isinstance(root, ast.Constant | ast.Call | ast.BinOp | ast.List):
            yield (
                ast.unparse(node.func.value),
                f"line {line}: `{ast.unparse(node.func)}` keeps what it is given",
            )
        elif strict and not self._reads(method) and not isinstance(root, ast.Call | ast.Constant | ast.BinOp):
            yield (
                ast.unparse(node.func.value),
                f"line {line}: it is not known that `{ast.unparse(node.func)}` keeps nothing",
            )

    @staticmethod
    def _mutates(method: str) -> bool:
        hook = method.startswith("register_")
        return method in MUTATING or hook or (method.endswith("_") and not method.endswith("__"))

    @staticmethod
    def _reads(method: str) -> bool:
        return method in READING or method in MODES or method.startswith(READING_PREFIXES)

    # -- functions and classes -------------------------------------------------------------------------------

    def _class(self, node: ast.ClassDef) -> None:
        for inner in node.body:
            if isinstance(inner, FUNCTION_NODES):
                for reason in self._function(inner, strict=True):
                    self._carry(node.name, reason)
            elif isinstance(inner, ast.Assign | ast.AnnAssign):
                if inner.value is not None and self._kind(inner.value) is not _Kind.FIXED:
                    self._carry(node.name, f"line {inner.lineno}: an attribute of class {node.name} lives on")
            elif not isinstance(inner, ast.Pass | ast.Expr):
                self._carry(node.name, f"line {inner.lineno}: the class body of {node.name} is not plain")

    def _function(self, node: ast.AST, strict: bool) -> list[str]:
        """Why a function may keep something from call to call; empty when it does not."""
        if node in self._summaries:
            return self._summaries[node]
        found: list[str] = []
        self._summaries[node] = found
        assert isinstance(node, FUNCTIONS)
        name = getattr(node, "name", "lambda")
        if strict and not isinstance(node, ast.Lambda):
            for decorator in node.decorator_list:
                if tail(decorator) not in TRANSPARENT:
                    found.append(f"line {node.lineno}: the decorator of {name} may keep something")
        for default in (*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)):
            if self._kind(default) is not _Kind.FIXED:
                found.append(f"line {node.lineno}: a default argument of {name} lives on from call to call")
        if strict and not isinstance(node, ast.Lambda) and any(
            isinstance(n, ast.Yield | ast.YieldFrom) for n in own_nodes(node)
        ):  # fmt: skip
            found.append(f"line {node.lineno}: {name} is a generator, which remembers where it is")
        method_of_own = isinstance(self.parent.get(node), ast.ClassDef) and node in self.inserted
        own_self = node.args.args[0].arg if method_of_own and node.args.args else None
        for inner in own_nodes(node):
            if isinstance(inner, ast.Global | ast.Nonlocal):
                found.append(f"line {inner.lineno}: {name} binds {', '.join(inner.names)} outside itself")
            elif isinstance(inner, ast.Attribute | ast.Subscript) and isinstance(inner.ctx, ast.Store | ast.Del):
                root = _root(inner)
                if isinstance(root, ast.Name) and (root.id == own_self or self._is_fresh_local(node, root.id)):
                    continue
                found.append(f"line {inner.lineno}: {name} stores into `{ast.unparse(inner)}`")
            elif isinstance(inner, ast.AugAssign) and isinstance(inner.target, ast.Name):
                if strict and not self._is_fresh_local(node, inner.target.id):
                    found.append(f"line {inner.lineno}: {name} changes `{inner.target.id}`")
            elif isinstance(inner, ast.Call):
                root = _root(inner.func)
                if isinstance(root, ast.Name) and root.id == own_self:
                    continue
                found += [reason for _, reason in self._call_problems(inner, node, strict)]
            elif isinstance(inner, FUNCTIONS):
                found += self._function(inner, strict)
        return found

    def _local(self, scope: ast.AST, name: str) -> bool:
        return isinstance(scope, FUNCTIONS) and any(
            not isinstance(b, ast.alias) for b in self._binders(scope, name)
        )  # fmt: skip

    def _is_fresh_local(self, scope: ast.AST, name: str) -> bool:
        """Whether a name of a function is only ever bound to what the function itself made."""
        if not isinstance(scope, FUNCTION_NODES):
            return False
        binders = self._binders(scope, name)
        if not binders:
            return False
        for binder in binders:
            statement = self.parent.get(binder)
            if isinstance(statement, ast.AugAssign):
                continue
            if not (isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None):
                return False
            if not self._fresh(statement.value):
                return False
        return True

    def _fresh(self, node: ast.expr) -> bool:
        """Whether an expression makes a new value, rather than naming one that exists."""
        if isinstance(node, ast.Tuple):
            return all(self._fresh(e) for e in node.elts)
        if isinstance(node, ast.Call):
            name, root = tail(node.func), _root(node.func)
            if name in FRESH_CONTAINERS or name in PURE_BUILTINS:
                return True
            return isinstance(root, ast.Name) and root.id in self.imported and name not in {"get", "getLogger"}
        return isinstance(
            node,
            ast.Constant | ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
            | ast.BinOp
            | ast.JoinedStr | ast.Compare | ast.UnaryOp,
        )  # fmt: skip

    def _kind(self, node: ast.expr) -> _Kind:
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.Compare):
            return _Kind.FIXED
        if isinstance(node, ast.Tuple):
            return max((self._kind(e) for e in node.elts), default=_Kind.FIXED)
        if isinstance(node, ast.UnaryOp):
            return self._kind(node.operand)
        if isinstance(node, ast.BinOp):
            return min(_Kind.DATA, max(self._kind(node.left), self._kind(node.right)))
        if isinstance(node, ast.IfExp):
            return max(self._kind(node.body), self._kind(node.orelse))
        if isinstance(node, ast.Call):
            name = tail(node.func)
            if isinstance(node.func, ast.Name) and name in {"float", "int", "str", "len", "bool", "round"}:
                return _Kind.FIXED
            if name == "next" or name.startswith(("zeros", "ones", "full", "empty", "tensor", "array", "as")):
                return _Kind.DATA
            if isinstance(node.func, ast.Attribute) and name in READING:
                return _Kind.DATA
            if name == "log":
                return self._kind(node.args[-1]) if node.args else _Kind.OBJECT
            return _Kind.OBJECT
        if isinstance(node, ast.Subscript):
            return _Kind.DATA
        return _Kind.OBJECT

    # -- names -----------------------------------------------------------------------------------------------

    def _uses(self, scope: ast.AST, name: str) -> list[ast.Name]:
        """Every read of a scope's name, also from functions inside it that do not bind it themselves."""
        found: list[ast.Name] = []
        waiting = [scope]
        while waiting:
            current = waiting.pop()
            for node in own_nodes(current):
                if isinstance(node, ast.Name) and node.id == name and self._is_read(node):
                    found.append(node)
                if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and (
                    isinstance(node, ast.ClassDef) or not self._local(node, name)
                ):
                    waiting.append(node)
        return found

    def _is_read(self, name: ast.Name) -> bool:
        return isinstance(name.ctx, ast.Load) or isinstance(self.parent[name], ast.AugAssign)

    def _loops(self, scope: ast.AST) -> list[tuple[ast.stmt, bool, bool]]:
        """The loops of a scope whose iterations count, and whether each may be main, and may be nested."""
        lazy = isinstance(scope, FUNCTION_NODES) and any(
            isinstance(n, ast.Yield | ast.YieldFrom | ast.Await) for n in own_nodes(scope)
        )
        found: list[tuple[ast.stmt, bool, bool]] = []
        for node in own_nodes(scope):
            if not isinstance(node, LOOPS):
                continue
            level = self.levels.get(node.lineno) if isinstance(node, ast.For | ast.AsyncFor) else None
            if level is not None:
                found.append((node, *level))
            elif lazy:
                found.append((node, True, True))
        return found

    def _name(self, scope: ast.AST, name: str) -> None:
        if isinstance(scope, ast.ClassDef):
            return  # judged with the class
        uses = self._uses(scope, name)
        binders = self._binders(scope, name)
        loops = self._loops(scope)
        inner = {node for loop, _, _ in loops for node in ast.walk(loop)}
        outside = [b for b in binders if b not in inner]
        kept = [b for b in binders if not isinstance(self.parent.get(b), ast.AugAssign)]
        values = [self._bound_value(b) for b in kept]
        if scope is self.tree and not loops and len(outside) > 1 and any(not self._runs_once(b) for b in outside):
            self._carry(name, f"`{name}` is bound more than once at module level")
        # A change to what the patch did not make itself lasts, wherever it stands.
        for use in uses:
            if self._changes(use, _Kind.DATA) and use in self.inserted:
                alias = [v for v in values if v is not None and not self._fresh(v)]
                if alias and not all(isinstance(v, ast.Call) for v in alias):
                    self._carry(name, f"line {use.lineno}: `{name}` changes something that outlives the iteration")
        judged = loops
        for loop, may_main, may_nested in judged:
            self._name_over(scope, name, loop, uses, binders, may_main, may_nested)
        # A module's name lives as long as the run; the functions that use it may run in any iteration.
        if scope is self.tree:
            kind = max((self._kind(v) if v is not None else _Kind.OBJECT for v in values), default=_Kind.OBJECT)
            for use in uses:
                if self._scope(use) is not self.tree and self._changes(use, kind):
                    self._carry(name, f"line {use.lineno}: `{name}` is changed in a function and lives on")

    def _name_over(
        self,
        scope: ast.AST,
        name: str,
        loop: ast.stmt,
        uses: Sequence[ast.Name],
        binders: Sequence[ast.AST],
        may_main: bool,
        may_nested: bool,
    ) -> None:
        inside = set(ast.walk(loop)) - {loop}
        values = [self._bound_value(b) for b in binders if b not in inside]
        kind = max((self._kind(v) if v is not None else _Kind.OBJECT for v in values), default=_Kind.FIXED)
        rebound = [b for b in binders if b in inside]
        changed = [u for u in uses if u in inside and self._changes(u, kind)]
        # a function of the scope may run in the loop, wherever it is defined
        changed += [u for u in uses if self._scope(u) is not scope and self._changes(u, kind)]
        if not rebound and not changed:
            for value in values:
                source = self._alias_of(value)
                if source and any(b in inside for b in self._binders(scope, source)):
                    self._report(name, loop, f"holds `{source}`, which the loop binds anew", may_main, may_nested)
            return
        around = self.parent.get(loop)
        again = False
        while around is not None and around is not scope:
            again = again or isinstance(around, LOOPS)
            around = self.parent.get(around)
        end = loop.end_lineno or loop.lineno
        for use in uses:
            if use in inside and self._scope(use) is scope:
                if self._dominated(use, name, loop, all(b in inside for b in binders)):
                    continue
            elif use not in inside and self._scope(use) is scope:
                if use.lineno <= end and not again:
                    continue
                if self._dominated_after(use, name, loop):
                    continue
            why = f"is read at line {use.lineno} as an earlier iteration left it"
            self._report(name, loop, why, may_main, may_nested)
            return

    def _report(self, name: str, loop: ast.stmt, why: str, may_main: bool, may_nested: bool) -> None:
        reason = f"`{name}` {why} (loop at line {loop.lineno})"
        if may_main:
            self._carry(name, reason)
        if may_nested:
            self._carry(name, reason, nested_only=True)

    def _bound_value(self, binder: ast.AST) -> ast.expr | None:
        statement = self.parent.get(binder)
        while isinstance(statement, ast.Tuple | ast.List | ast.Starred):
            statement = self.parent.get(statement)
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.AugAssign):
            return statement.value
        return None

    def _alias_of(self, value: ast.expr | None) -> str | None:
        if value is None:
            return None
        root = _root(value)
        return root.id if isinstance(root, ast.Name) else None

    def _changes(self, use: ast.Name, kind: _Kind) -> bool:
        """Whether a use of a name may change the value itself."""
        node: ast.AST = use
        above = self.parent[node]
        if isinstance(above, ast.AugAssign) and above.target is node:
            return True
        while isinstance(above, ast.Attribute | ast.Subscript) and above.value is node:
            if isinstance(above.ctx, ast.Store | ast.Del):
                return True
            node, above = above, self.parent[above]
        if isinstance(above, ast.AugAssign) and above.target is node:
            return True
        if kind is _Kind.FIXED:
            return False
        if isinstance(above, ast.Call) and above.func is node:
            if isinstance(node, ast.Attribute):
                return self._mutates(node.attr) or (kind is _Kind.OBJECT and not self._reads(node.attr))
            return kind is _Kind.OBJECT and node is use and not self._is_plain_callable(use)
        if isinstance(above, ast.keyword):
            if above.arg in GENERATOR_WORDS:
                return True
            above = self.parent[above]
        if isinstance(above, ast.Starred):
            above = self.parent[above]
        if isinstance(above, ast.Call):
            return self._may_change_argument(above, kind)
        if kind is not _Kind.OBJECT:
            return False
        if isinstance(above, ast.Yield | ast.YieldFrom | ast.Await | ast.withitem):
            return True
        # another name for the same object escapes this judgement
        return isinstance(above, ast.Assign | ast.NamedExpr | ast.Tuple | ast.List | ast.Dict) and node is use

    def _is_plain_callable(self, use: ast.Name) -> bool:
        """A name bound to a function, or to a loss of torch, keeps nothing when called."""
        for binder in self._binders(self._scope(use), use.id) or self._binders(self.tree, use.id):
            value = self._bound_value(binder)
            if isinstance(binder, ast.alias | ast.FunctionDef | ast.ClassDef) or isinstance(value, ast.Lambda):
                continue
            if isinstance(value, ast.Call) and tail(value.func).endswith(("Loss", "Softmax", "Flatten")):
                continue
            return False
        return True

    def _may_change_argument(self, call: ast.Call, kind: _Kind) -> bool:
        name = tail(call.func)
        root = _root(call.func)
        if isinstance(call.func, ast.Name):
            if name in STATEFUL_BUILTINS or name == "iter":
                return True
            if name in PURE_BUILTINS:
                return False
        if name == "log" and isinstance(root, ast.Name):
            return False
        if self._mutates(name) and name != "clip_grad_norm_":
            return True  # another object keeps it
        return kind is _Kind.OBJECT and not (
            isinstance(root, ast.Name) and root.id in self.imported and isinstance(call.func, ast.Attribute)
        )

    # -- order within an iteration ---------------------------------------------------------------------------

    def _dominated(self, use: ast.AST, name: str, loop: ast.stmt, bound_here_only: bool = False) -> bool:
        """Whether a read inside a loop always comes after a binding of the same iteration.

        A `for` that binds a name counts when nothing outside binds it: should it not run once, the name is
        missing in a replay that starts here, which is an error and not a wrong value.
        """
        node = use
        while node is not loop:
            above = self.parent[node]
            for suite in _suites(above):
                if node in suite:
                    if above is loop and suite is not getattr(loop, "body", None):
                        return False
                    if any(self._binds(s, name) for s in suite[: suite.index(node)]):
                        return True
                    earlier = suite[: suite.index(node)]
                    if bound_here_only and any(self._for_binds(s, name) for s in earlier):
                        return True
                    if above is not loop and self._header_binds(above, name, suite):
                        return True
            generators = above.generators if isinstance(above, COMPREHENSIONS) else []
            if any(name in bound_names(g.target) for g in generators):
                return True
            node = above
        return self._header_binds(loop, name, getattr(loop, "body", [])) and use is not loop

    def _dominated_after(self, use: ast.AST, name: str, loop: ast.stmt) -> bool:
        """Whether a read outside a loop always comes after a binding that is newer than the loop."""
        chain: set[ast.AST] = set()
        node: ast.AST = loop
        while node in self.parent:
            chain.add(node)
            node = self.parent[node]
        node = use
        while node in self.parent:
            above = self.parent[node]
            for suite in _suites(above):
                if node in suite:
                    position = suite.index(node)
                    since = next((i for i, s in enumerate(suite) if s in chain), -1)
                    if any(self._binds(s, name) for s in suite[since + 1 : position]):
                        return True
                    if since >= 0:
                        return False
            if isinstance(above, (*FUNCTIONS, *LOOPS)):
                return False
            node = above
        return False

    @staticmethod
    def _binds(statement: ast.stmt, name: str) -> bool:
        """Whether a statement, when it is over, has certainly bound a name afresh."""
        if isinstance(statement, ast.Assign):
            return any(name in bound_names(t) for t in statement.targets)
        if isinstance(statement, ast.AnnAssign):
            return statement.value is not None and name in bound_names(statement.target)
        if isinstance(statement, ast.With | ast.AsyncWith):
            if any(i.optional_vars and name in bound_names(i.optional_vars) for i in statement.items):
                return True
            swallows_nothing = {"no_grad", "inference_mode", "enable_grad", "open"}
            return all(tail(i.context_expr) in swallows_nothing for i in statement.items) and any(
                _Check._binds(s, name) for s in statement.body
            )
        if isinstance(statement, ast.If):
            return all(
                suite and any(_Check._binds(s, name) for s in suite) for suite in (statement.body, statement.orelse)
            )
        if isinstance(statement, ast.Import | ast.ImportFrom):
            return any((a.asname or a.name).split(".")[0] == name for a in statement.names)
        return isinstance(statement, (*FUNCTION_NODES, ast.ClassDef)) and statement.name == name

    @staticmethod
    def _for_binds(statement: ast.stmt, name: str) -> bool:
        """Whether each round of a `for` binds a name before it can end."""
        if not isinstance(statement, ast.For):
            return False
        for inner in statement.body:
            if _Check._binds(inner, name):
                return True
            if any(isinstance(n, ast.Break | ast.Continue | ast.Return) for n in ast.walk(inner)):
                return False
        return False

    @staticmethod
    def _header_binds(node: ast.AST, name: str, suite: Iterable[ast.stmt]) -> bool:
        """Whether a compound statement's head binds a name before the suite runs."""
        if isinstance(node, ast.For | ast.AsyncFor):
            return suite is node.body and name in bound_names(node.target)
        if isinstance(node, ast.With | ast.AsyncWith):
            return any(i.optional_vars is not None and name in bound_names(i.optional_vars) for i in node.items)
        return False
