"""What a use of a name does to the value, as far as a source shows it."""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterator, Sequence

from flor_instrument.analysis.patched_file import FUNCTIONS, PatchedFile, root_of
from flor_instrument.analysis.syntax import FUNCTION_NODES, own_nodes, tail, words

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


class Kind(enum.IntEnum):
    """What a value is good for when it is read again in a later iteration."""

    FIXED = 0  # numbers, strings, tuples of them
    DATA = 1  # tensors, arrays and the like: only known mutators change them
    OBJECT = 2  # anything with a state of its own


class Changes(PatchedFile):
    """What of a patched source may change a value, or keep one."""

    def __init__(self, tree: ast.Module, ranges: Sequence[tuple[int, int]]) -> None:
        super().__init__(tree, ranges)
        self._summaries: dict[ast.AST, list[str]] = {}

    def call_problems(self, node: ast.Call, scope: ast.AST, strict: bool) -> Iterator[tuple[str, str]]:
        """What a call in `scope` may keep or change: the name, and why. `strict`: a call that is not known counts."""
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
                for reason in self.kept_by(function, strict=function in self.inserted):
                    yield name, reason
            return
        if not isinstance(node.func, ast.Attribute):
            return
        method, root = node.func.attr, root_of(node.func)
        if isinstance(root, ast.Name) and root.id in self.imported and not self.local(scope, root.id):
            if method.endswith("_") and method != "clip_grad_norm_":
                yield ast.unparse(node.func), f"line {line}: `{method}` changes its argument"
            return
        if isinstance(root, ast.Name) and self.is_own(root) and root in self.inserted:
            return  # judged with the name
        if isinstance(root, ast.Name) and self._is_fresh_local(scope, root.id):
            return
        own = self.functions.get(method, ()) if not isinstance(root, ast.Call | ast.Constant) else ()
        if own:
            for function in own:
                for reason in self.kept_by(function, strict=False):
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

    def kept_by(self, node: ast.AST, strict: bool) -> list[str]:
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
            if self.kind(default) is not Kind.FIXED:
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
                root = root_of(inner)
                if isinstance(root, ast.Name) and (root.id == own_self or self._is_fresh_local(node, root.id)):
                    continue
                found.append(f"line {inner.lineno}: {name} stores into `{ast.unparse(inner)}`")
            elif isinstance(inner, ast.AugAssign) and isinstance(inner.target, ast.Name):
                if strict and not self._is_fresh_local(node, inner.target.id):
                    found.append(f"line {inner.lineno}: {name} changes `{inner.target.id}`")
            elif isinstance(inner, ast.Call):
                root = root_of(inner.func)
                if isinstance(root, ast.Name) and root.id == own_self:
                    continue
                found += [reason for _, reason in self.call_problems(inner, node, strict)]
            elif isinstance(inner, FUNCTIONS):
                found += self.kept_by(inner, strict)
        return found

    def _is_fresh_local(self, scope: ast.AST, name: str) -> bool:
        """Whether a name of a function is only ever bound to what the function itself made."""
        if not isinstance(scope, FUNCTION_NODES):
            return False
        binders = self.binders(scope, name)
        if not binders:
            return False
        for binder in binders:
            statement = self.parent.get(binder)
            if isinstance(statement, ast.AugAssign):
                continue
            if not (isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None):
                return False
            if not self.fresh(statement.value):
                return False
        return True

    def fresh(self, node: ast.expr) -> bool:
        """Whether an expression makes a new value, rather than naming one that exists."""
        if isinstance(node, ast.Tuple):
            return all(self.fresh(e) for e in node.elts)
        if isinstance(node, ast.Call):
            name, root = tail(node.func), root_of(node.func)
            if name in FRESH_CONTAINERS or name in PURE_BUILTINS:
                return True
            return isinstance(root, ast.Name) and root.id in self.imported and name not in {"get", "getLogger"}
        return isinstance(
            node,
            ast.Constant | ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
            | ast.BinOp
            | ast.JoinedStr | ast.Compare | ast.UnaryOp,
        )  # fmt: skip

    def kind(self, node: ast.expr) -> Kind:
        """What the value of an expression is good for later."""
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.Compare):
            return Kind.FIXED
        if isinstance(node, ast.Tuple):
            return max((self.kind(e) for e in node.elts), default=Kind.FIXED)
        if isinstance(node, ast.UnaryOp):
            return self.kind(node.operand)
        if isinstance(node, ast.BinOp):
            return min(Kind.DATA, max(self.kind(node.left), self.kind(node.right)))
        if isinstance(node, ast.IfExp):
            return max(self.kind(node.body), self.kind(node.orelse))
        if isinstance(node, ast.Call):
            name = tail(node.func)
            if isinstance(node.func, ast.Name) and name in {"float", "int", "str", "len", "bool", "round"}:
                return Kind.FIXED
            if name == "next" or name.startswith(("zeros", "ones", "full", "empty", "tensor", "array", "as")):
                return Kind.DATA
            if isinstance(node.func, ast.Attribute) and name in READING:
                return Kind.DATA
            if name == "log":
                return self.kind(node.args[-1]) if node.args else Kind.OBJECT
            return Kind.OBJECT
        if isinstance(node, ast.Subscript):
            return Kind.DATA
        return Kind.OBJECT

    def changes(self, use: ast.Name, kind: Kind) -> bool:
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
        if kind is Kind.FIXED:
            return False
        if isinstance(above, ast.Call) and above.func is node:
            if isinstance(node, ast.Attribute):
                return self._mutates(node.attr) or (kind is Kind.OBJECT and not self._reads(node.attr))
            return kind is Kind.OBJECT and node is use and not self._is_plain_callable(use)
        if isinstance(above, ast.keyword):
            if above.arg in GENERATOR_WORDS:
                return True
            above = self.parent[above]
        if isinstance(above, ast.Starred):
            above = self.parent[above]
        if isinstance(above, ast.Call):
            return self._may_change_argument(above, kind)
        if kind is not Kind.OBJECT:
            return False
        if isinstance(above, ast.Yield | ast.YieldFrom | ast.Await | ast.withitem):
            return True
        # another name for the same object escapes this judgement
        return isinstance(above, ast.Assign | ast.NamedExpr | ast.Tuple | ast.List | ast.Dict) and node is use

    def _is_plain_callable(self, use: ast.Name) -> bool:
        """A name bound to a function, or to a loss of torch, keeps nothing when called."""
        for binder in self.binders(self.scope(use), use.id) or self.binders(self.tree, use.id):
            value = self.bound_value(binder)
            if isinstance(binder, ast.alias | ast.FunctionDef | ast.ClassDef) or isinstance(value, ast.Lambda):
                continue
            if isinstance(value, ast.Call) and tail(value.func).endswith(("Loss", "Softmax", "Flatten")):
                continue
            return False
        return True

    def _may_change_argument(self, call: ast.Call, kind: Kind) -> bool:
        name = tail(call.func)
        root = root_of(call.func)
        if isinstance(call.func, ast.Name):
            if name in STATEFUL_BUILTINS or name == "iter":
                return True
            if name in PURE_BUILTINS:
                return False
        if name == "log" and isinstance(root, ast.Name):
            return False
        if self._mutates(name) and name != "clip_grad_norm_":
            return True  # another object keeps it
        return kind is Kind.OBJECT and not (
            isinstance(root, ast.Name) and root.id in self.imported and isinstance(call.func, ast.Attribute)
        )
