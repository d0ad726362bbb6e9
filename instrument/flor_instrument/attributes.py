"""Whether an attribute that a statement reads exists in a version."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from .imported import imports
from .logs import log_calls
from .source import DEFINITIONS, Source, Stmt, kept
from .spots import Unplaced
from .view import View

# What objects of the libraries have whether or not a script ever mentions it: tensors, arrays, modules, optimizers,
# loaders, frames, and every object. Only what declares one of that name (`--weight`, `self.weight =`) makes it a
# script's own.
_LIBRARY = """
T mT H data grad grad_fn requires_grad is_leaf is_cuda is_sparse shape dtype device layout ndim size itemsize nbytes
real imag flat base strides flags names weight bias training running_mean running_var num_batches_tracked
in_features out_features in_channels out_channels hidden_size num_layers normalized_shape weight_g weight_v
param_groups state defaults last_epoch base_lrs dataset sampler batch_sampler batch_size num_workers drop_last
values index columns iloc loc at iat dtypes name args step start stop year month day hour minute second
coef_ intercept_ classes_ n_iter_ feature_importances_ loss_ best_score_ best_params_ cv_results_ labels_ inertia_
"""
_OF_LIBRARIES = frozenset(_LIBRARY.split())


def check_attributes(view: View, chain: str, calls: Iterable[str], known: int = 1) -> None:
    """Raises Unplaced for an attribute that today's file has from elsewhere and the version never mentions.

    `chain` is a dotted name as it stands in today's statement, `calls` those that it calls; the first `known` parts of
    the chain are accounted for. What only other logging statements read says nothing: they may have been added, too.
    """
    parts = chain.split(".")
    if len(parts) < 2 or imports(view.today).get(parts[0]):
        return
    words = view.target.words
    for position, attribute in enumerate(parts[known:], known):
        if attribute in words or (attribute.startswith("__") and attribute.endswith("__")):
            continue
        mentions = _mentioned(view.today).get(attribute, ())
        called = position == len(parts) - 1 and chain in calls
        if called:
            mentions = tuple(one for one in mentions if isinstance(one, DEFINITIONS))
        elif attribute in _OF_LIBRARIES:
            mentions = tuple(one for one in mentions if position == 1 and _declares(one))
        if any(not _ours(view.added, one) for one in mentions):
            raise Unplaced(f"Nothing in this version is called `{'.'.join(parts[: position + 1])}`.")


def _declares(node: ast.AST) -> bool:
    """Whether the script's own class or parser gives its objects the attribute."""
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and str(node.value).startswith("-"))


def _ours(added: Iterable[Stmt], node: ast.expr | ast.keyword | ast.stmt) -> bool:
    return any(one.line <= node.lineno <= one.end_line for one in added)


@kept
def _mentioned(today: Source) -> dict[str, tuple[ast.expr | ast.keyword | ast.stmt, ...]]:
    """Where the file reads, gives or declares attributes, by their names; options count as what they are stored as."""
    found: dict[str, list[ast.expr | ast.keyword | ast.stmt]] = {}
    for one in today.statements():
        if log_calls(today, one.node) and not one.blocks:
            continue
        for name, node in _mentions(one):
            found.setdefault(name, []).append(node)
    return {name: tuple(nodes) for name, nodes in found.items()}


def _mentions(statement: Stmt) -> Iterator[tuple[str, ast.expr | ast.keyword | ast.stmt]]:
    if isinstance(statement.node, DEFINITIONS):
        yield statement.node.name, statement.node
    in_class = statement.block.scope.kind == "class"
    rest: list[ast.AST] = [statement.node]
    while rest:
        node = rest.pop()
        if isinstance(node, ast.Attribute):
            yield node.attr, node
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 80:
            yield node.value.lstrip("-").replace("-", "_"), node
        elif isinstance(node, ast.Name) and in_class and isinstance(node.ctx, ast.Store):
            yield node.id, node
        rest.extend(part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.stmt))
