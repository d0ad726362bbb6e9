"""Does added code leave what training computes alone? Shown from the source where everything in it is known to only read.

Whatever is not known counts as a possible effect: it is then tried. A dropout layer, a data loader, a generator, a mode that
is switched, a name that the file uses elsewhere, a function of the project: all of these may change the run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flor_instrument.analysis.changes import PURE_BUILTINS
from flor_instrument.analysis.syntax import all_nodes, children, parsed, tail, walk, words

# Of tensors, arrays, numbers, strings and modules alike.
_METHODS = words(
    """
    norm item sum mean abs std var max min argmax argmin parameters named_parameters buffers named_buffers
    named_modules named_children state_dict detach numpy clone pow sqrt square exp log log2 log10 size dim numel nelement
    view reshape flatten ravel squeeze unsqueeze t transpose permute dot matmul mm eq ne gt lt ge le any all unique
    topk softmax log_softmax sigmoid tanh relu isnan isinf isfinite nonzero count_nonzero median quantile cumsum prod
    astype tolist keys values items split strip lower upper join format startswith endswith clamp clip round trace
    diagonal expand bincount histc item_size element_size data_ptr logsumexp total_seconds get_last_lr get_lr
    """
) - {"add", "sort"}  # fmt: skip
# In place of a module, a copy of a tensor: only where what they are called on can only be a tensor.
_OF_TENSORS = words("cpu cuda to float double half long int bool")
_TENSOR_PARTS = frozenset({"grad", "data", "weight", "bias"})
_TENSOR_METHODS = _METHODS - words(
    "parameters named_parameters buffers named_buffers named_modules state_dict keys items"
)
_FUNCTIONS = words(
    """
    norm vector_norm matrix_norm sum mean std var max min abs sqrt square exp log log2 log10 log1p stack cat concat
    concatenate dot matmul mm einsum isnan isinf isfinite argmax argmin argsort median quantile percentile cosine_similarity
    softmax log_softmax sigmoid tanh relu cross_entropy mse_loss nll_loss l1_loss binary_cross_entropy
    binary_cross_entropy_with_logits kl_div allclose equal array asarray tensor as_tensor zeros ones zeros_like ones_like
    arange linspace full eye where unique bincount count_nonzero histogram trace diag outer cumsum prod clip clamp maximum
    minimum floor ceil round isclose hypot fsum mean_squared_error accuracy_score f1_score precision_score recall_score
    roc_auc_score confusion_matrix log_loss mean_absolute_error r2_score svdvals det pow
    """
)
_DRAWING = words(
    """
    random rand rand_like randn randn_like randint randint_like randrange randperm permutation sample shuffle choice choices
    uniform normal standard_normal gauss bernoulli multinomial dropout
    """
)
_COMPUTING = words("spectral_norm register_parametrization")
"""Where a source has one of these, a parameter may be computed, and a state of its own moved on, whenever it is read."""
_PURE = PURE_BUILTINS - {"print"}
_LIBRARIES = frozenset({"torch", "numpy", "math", "statistics", "sklearn", "scipy"})
_CONTEXTS = frozenset({"no_grad", "inference_mode"})
_ITERABLES = words("parameters named_parameters buffers named_buffers named_modules named_children keys values items")
_OPERATORS = (ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.expr_context)


def possible_effect(files: Mapping[str, bytes], placed: Mapping[str, Sequence[tuple[int, int]]]) -> str | None:
    """Why the code on these lines of these files may change the run; None where the sources show that it does not.

    `placed`: for each file the first and last lines of what was added. Everything that is not known is a reason; of several
    the one is told that draws random numbers.
    """
    try:
        trees = {path: parsed(source) for path, source in files.items()}
    except (SyntaxError, ValueError, RecursionError):
        return "a source cannot be parsed"
    defined = {
        node.name
        for tree in trees.values()
        for node in all_nodes(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    computing = any(
        (node.name if isinstance(node, ast.alias) else tail(node)) in _COMPUTING
        for tree in trees.values()
        for node in all_nodes(tree)
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
    )
    first = None
    for path, ranges in placed.items():
        if path not in trees:
            return "a source cannot be parsed"
        for drawing, problem in _File(trees[path], ranges, defined, computing).problems():
            if drawing:
                return problem
            first = first or problem
    return first


class _File:
    def __init__(self, tree: ast.Module, ranges: Sequence[tuple[int, int]], defined: set[str], computing: bool) -> None:
        self._nodes = all_nodes(tree)
        self._ranges = ranges
        self._defined = defined
        self._computing = computing
        self._added = [n for n in self._nodes if isinstance(n, ast.stmt) and self._is_added(n)]
        self._libraries = self._imported()
        self._own = self._bound_by_added()
        self._lists = self._only_displays()

    def problems(self) -> Iterator[tuple[bool, str]]:
        """Of each statement that has one, and whether the statement looks as if it drew random numbers."""
        inner = {id(child) for node in self._added for child in walk(node) if child is not node}
        for node in self._added:
            if id(node) not in inner:
                found = self._statement(node)
                if found is not None:
                    drawing = any(isinstance(n, ast.Call) and tail(n.func) in _DRAWING for n in walk(node))
                    yield drawing, f"line {node.lineno}: {found}"

    def _is_added(self, node: ast.stmt) -> bool:
        return any(first <= node.lineno and (node.end_lineno or node.lineno) <= last for first, last in self._ranges)

    def _imported(self) -> dict[str, str]:
        """Names that stand for a library or something of it, with the library."""
        found = {}
        for node in self._nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.asname or alias.name.partition(".")[0]] = alias.name.partition(".")[0]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                for alias in node.names:
                    found[alias.asname or alias.name] = (node.module or "").partition(".")[0]
        return found

    def _bound_by_added(self) -> set[str]:
        """Names that the added code alone binds and uses."""
        mine = {id(n) for node in self._added for n in walk(node)}
        names: set[str] = set()
        others: set[str] = set()
        for node in self._nodes:
            if isinstance(node, ast.Name):
                if id(node) not in mine:
                    others.add(node.id)
                elif isinstance(node.ctx, ast.Store):
                    names.add(node.id)
            elif isinstance(node, ast.arg) and id(node) not in mine:
                others.add(node.arg)
            elif isinstance(node, ast.Global | ast.Nonlocal):
                others.update(node.names)
        return names - others

    def _only_displays(self) -> set[str]:
        """Names that are only ever bound to a list, tuple or dict written out: to run over them changes nothing."""
        shown: dict[str, bool] = {}
        for node in self._nodes:
            if isinstance(node, ast.Assign):
                plain = isinstance(node.value, ast.List | ast.Tuple | ast.Dict | ast.ListComp | ast.DictComp)
                for target in node.targets:
                    for name in walk(target):
                        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                            shown[name.id] = shown.get(name.id, True) and plain and name is target
        stored = [
            n.id
            for node in self._nodes
            if isinstance(node, ast.For | ast.With | ast.AugAssign | ast.NamedExpr | ast.comprehension)
            for n in walk(getattr(node, "target", node))
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and not isinstance(node, ast.With)
        ]
        given = [node.arg for node in self._nodes if isinstance(node, ast.arg)]
        return {name for name, plain in shown.items() if plain} - {*stored, *given}

    # -- statements ----------------------------------------------------------------------------------------------------

    def _statement(self, node: ast.stmt) -> str | None:
        if isinstance(node, ast.Pass):
            return None
        if isinstance(node, ast.Import | ast.ImportFrom):
            roots = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
            strange = [root for root in roots if root.partition(".")[0] not in _LIBRARIES | {"flor"}]
            return f"it imports {strange[0]}" if strange else None
        if isinstance(node, ast.Expr):
            return self._expression(node.value)
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            strange_target = self._targets(targets)
            return strange_target or (self._expression(node.value) if node.value is not None else None)
        if isinstance(node, ast.If):
            return self._expression(node.test) or self._body([*node.body, *node.orelse])
        if isinstance(node, ast.For):
            return self._targets([node.target]) or self._runs_over(node.iter) or self._body([*node.body, *node.orelse])
        if isinstance(node, ast.With):
            for item in node.items:
                if not isinstance(item.context_expr, ast.Call) or tail(item.context_expr.func) not in _CONTEXTS:
                    return f"`with {ast.unparse(item.context_expr)}`"
            return self._body(node.body)
        return f"it is not known what `{ast.unparse(node).splitlines()[0]}` does"

    def _body(self, body: Iterable[ast.stmt]) -> str | None:
        return next((found for node in body if (found := self._statement(node)) is not None), None)

    def _targets(self, targets: Iterable[ast.expr]) -> str | None:
        for target in targets:
            for node in walk(target):
                if isinstance(node, ast.Name):
                    if node.id not in self._own:
                        return f"it binds {node.id}, which is used elsewhere"
                elif not isinstance(node, ast.Tuple | ast.List | ast.Starred | ast.expr_context):
                    return f"it stores into `{ast.unparse(target)}`"
        return None

    # -- expressions ---------------------------------------------------------------------------------------------------

    def _expression(self, node: ast.AST) -> str | None:
        if isinstance(node, (ast.Constant, ast.Name, *_OPERATORS)):
            return None
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Attribute):
            if node.attr in self._defined:
                return f"`{node.attr}` is a function of the project"
            if self._computing and node.attr in _TENSOR_PARTS:
                return f"`{ast.unparse(node)}` may be computed when it is read"
            return self._expression(node.value)
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            for generator in node.generators:
                found = self._runs_over(generator.iter)
                if found is not None:
                    return found
                parts += generator.ifs
            return self._all(parts)
        known = (
            ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr, ast.FormattedValue, ast.Tuple,
            ast.List, ast.Dict, ast.Set, ast.Slice, ast.keyword,
        )  # fmt: skip
        if isinstance(node, known):
            return self._all(children(node))
        return f"it is not known what `{ast.unparse(node)}` does"

    def _all(self, nodes: Iterable[ast.AST | None]) -> str | None:
        return next((f for node in nodes if node is not None and (f := self._expression(node)) is not None), None)

    def _subscript(self, node: ast.Subscript) -> str | None:
        base = node.value
        known = (
            isinstance(base, ast.Call | ast.Subscript | ast.BinOp)
            or (isinstance(base, ast.Attribute) and base.attr in ("shape", "param_groups", "state", *_TENSOR_PARTS))
            or (isinstance(base, ast.Name) and base.id in self._lists | self._own)
            or (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str))
        )
        if not known:
            return f"`{ast.unparse(node)}` may load an item anew"
        return self._all([base, node.slice])

    def _runs_over(self, node: ast.expr) -> str | None:
        """Running over something uses up a generator, and draws from a loader."""
        if isinstance(node, ast.List | ast.Tuple | ast.ListComp | ast.Constant):
            return self._expression(node)
        if isinstance(node, ast.Name) and node.id in self._lists:
            return None
        if isinstance(node, ast.Attribute) and node.attr == "param_groups":
            return self._expression(node.value)
        if isinstance(node, ast.Call):
            name = tail(node.func)
            if isinstance(node.func, ast.Name) and name in ("zip", "enumerate", "reversed", "list", "sorted"):
                return next((f for a in node.args if (f := self._runs_over(a)) is not None), None)
            if (isinstance(node.func, ast.Name) and name == "range") or (
                isinstance(node.func, ast.Attribute) and name in _ITERABLES
            ):
                return self._expression(node)
        return f"it runs over `{ast.unparse(node)}`"

    def _call(self, node: ast.Call) -> str | None:
        function, name = node.func, tail(node.func)
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        shown = f"it calls `{ast.unparse(function)}`"
        if any(keyword.arg in ("out", "generator", "key", None) for keyword in node.keywords):
            return shown
        if isinstance(function, ast.Name):
            if name in self._defined:
                return shown
            library = self._libraries.get(name)
            if library == "flor" and name == "log":
                return self._all(arguments)
            if library in _LIBRARIES and name in _FUNCTIONS:
                return self._all(arguments)
            if name not in _PURE or library is not None:
                return shown
            if name in ("len", "float", "int", "str", "bool", "abs", "round", "repr", "format", "isinstance", "type", "hasattr",
                        "id", "range", "divmod"):  # fmt: skip
                return self._all(arguments)
            if name in ("max", "min") and len(node.args) > 1:
                return self._all(arguments)
            return next((f for a in node.args if (f := self._aggregated(a)) is not None), None) or self._all(
                keyword.value for keyword in node.keywords
            )
        if not isinstance(function, ast.Attribute):
            return shown
        root = function.value
        while isinstance(root, ast.Attribute):
            root = root.value
        library = self._libraries.get(root.id) if isinstance(root, ast.Name) else None
        if library == "flor":
            return self._all(arguments) if name == "log" else shown
        if library is not None:
            known = library in _LIBRARIES and (name in _FUNCTIONS or name in _CONTEXTS)
            return self._all(arguments) if known else shown
        if name in self._defined:
            return shown
        if name in _METHODS or (name in _OF_TENSORS and self._is_tensor(function.value)):
            return self._all([function.value, *arguments])
        return shown

    def _aggregated(self, node: ast.expr) -> str | None:
        """What `sum(x)` or `max(x)` runs over."""
        if isinstance(node, ast.GeneratorExp | ast.SetComp | ast.DictComp | ast.Set | ast.Dict):
            return self._expression(node)
        if isinstance(node, ast.BinOp | ast.Compare):
            return self._expression(node)
        return self._runs_over(node)

    def _is_tensor(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call):
            return isinstance(node.func, ast.Attribute) and tail(node.func) in _TENSOR_METHODS
        return isinstance(node, ast.BinOp | ast.Compare) or (
            isinstance(node, ast.Attribute) and node.attr in _TENSOR_PARTS
        )
