"""What became of a case: right, equivalent, wrong, refused or error."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Iterator

_QUIET_CALLS = frozenset(
    [
        "print",
        "info",
        "debug",
        "warning",
        "log",
        "len",
        "str",
        "int",
        "float",
        "round",
        "repr",
        "format",
        "item",
        "join",
        "min",
        "max",
        "range",
        "type",
        "tuple",
        "list",
        "dict",
        "set",
        "sum",
        "abs",
        "sorted",
    ]
)


# What hands control to somebody else, or gives a name a value in the middle of an expression.
_LEAVING = (ast.Yield, ast.YieldFrom, ast.Await, ast.NamedExpr)


def verdict(result: bytes | None, target: bytes, truth: bytes, positive: bool) -> str:
    """The verdict on a patched target; None stands for a refusal. An unchanged target counts as one."""
    if result is None or same(result, target):
        return "refused" if positive else "right"
    if not positive:
        return "wrong"
    if same(result, truth):
        return "right"
    return "equivalent" if equivalent(result, truth, target) else "wrong"


def same(one: bytes, two: bytes) -> bool:
    """Whether both are the same program."""
    if one == two:
        return True
    try:
        return ast.dump(_parse(one)) == ast.dump(_parse(two))
    except (SyntaxError, ValueError):
        return one.split() == two.split()


def equivalent(result: bytes, truth: bytes, target: bytes) -> bool:
    """The statement that `target` lacks stands elsewhere in the same block, and nothing between has to do with it.

    Which of two neighbours that changed places it is matters: a log may go past an assignment of something else, but
    not past the assignment that it reads, although that one could be said to have gone past a log.
    """
    try:
        ours, theirs = list(_blocks(_parse(result))), list(_blocks(_parse(truth)))
        added = _count(theirs) - _count(list(_blocks(_parse(target))))
    except (SyntaxError, ValueError):
        return False
    if len(ours) != len(theirs):
        return False
    differing: list[tuple[list[ast.stmt], list[str], list[str]]] = []
    for one, two in zip(ours, theirs, strict=True):
        mine, other = [_header(node) for node in one], [_header(node) for node in two]
        if mine != other:
            if Counter(mine) != Counter(other):
                return False
            differing.append((one, mine, other))
    if len(differing) != 1:
        return False
    block, mine, other = differing[0]
    for low, text in enumerate(mine):
        if text not in added:
            continue
        rest = mine[:low] + mine[low + 1 :]
        for high in (index for index, one in enumerate(other) if one == text):
            if other[:high] + other[high + 1 :] == rest:
                first, last = sorted((low, high))
                passed = [node for index, node in enumerate(block) if first <= index <= last and index != low]
                if all(independent(node, block[low]) for node in passed):
                    return True
    return False


def independent(node: ast.stmt, logged: ast.stmt) -> bool:
    """Whether a statement neither gives nor changes anything that the logging statement looks at."""
    reads = {part.id for part in ast.walk(logged) if isinstance(part, ast.Name)}
    if any(isinstance(part, _LEAVING) for part in ast.walk(node)):
        return False
    if isinstance(node, ast.Import | ast.ImportFrom):
        return not {alias.asname or alias.name.partition(".")[0] for alias in node.names} & reads
    if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return True
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name not in reads and not node.decorator_list
    if isinstance(node, ast.Expr):
        return all(_name(call) in _QUIET_CALLS for call in ast.walk(node) if isinstance(call, ast.Call))
    if not isinstance(node, ast.Assign) or not all(isinstance(target, ast.Name | ast.Tuple) for target in node.targets):
        return False
    bound = {part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    touched = {
        part.id
        for call in ast.walk(node.value)
        if isinstance(call, ast.Call) and _name(call) not in _QUIET_CALLS
        for part in ast.walk(call)
        if isinstance(part, ast.Name)
    }
    return not (bound | touched) & reads


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _header(node: ast.stmt) -> str:
    """A statement's own part: two blocks that differ inside of a nested one are compared there."""
    own = [
        ast.dump(value) if isinstance(value, ast.AST) else str([ast.dump(one) for one in value])
        for name, value in ast.iter_fields(node)
        if isinstance(value, ast.AST)
        or (isinstance(value, list) and value and isinstance(value[0], ast.expr | ast.withitem | ast.alias))
    ]
    plain = [str(value) for _, value in ast.iter_fields(node) if isinstance(value, str | int)]
    return "|".join((type(node).__name__, *own, *plain))


def _count(blocks: list[list[ast.stmt]]) -> Counter[str]:
    return Counter(_header(node) for block in blocks for node in block)


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                yield body


def _parse(data: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(data)
