"""Whether a result is right, written apart from the benchmark's own judgement on purpose."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable

from flor_instrument import Propagation, hindsight, propagate, remove

from .cases import Case
from .programs import run
from .text import Suite, find_mark, names_in, parsed, suites

SAFE = frozenset({"print", "len", "str", "int", "max", "min", "abs", "sum", "checked", "range", "log"})


def answer(case: Case) -> Propagation:
    """What propagation makes of the case; what must hold of every result is asserted here."""
    base, today, target = case.bytes
    patch = hindsight(base, today)
    assert len(patch.units) == 1, f"{len(patch.units)} units"
    result = propagate(patch, target)
    assert remove(result.source, result.placed) == target
    assert len(result.placed) > 0 or result.refused or result.already
    assert not result.already, "the version does not have it"
    if result.refused:
        assert not result.placed
        assert result.source == target
        assert all(one.reason.endswith(".") and "\n" not in one.reason for one in result.refused)
        return result
    # Outside of the insertions every byte is as it was, in the same order.
    position = 0
    kept = b""
    for one in sorted(result.placed, key=lambda placed: placed.start):
        assert result.source[one.start : one.start + len(one.inserted)] == one.inserted
        kept += result.source[position : one.start] + one.original
        position = one.start + len(one.inserted)
    assert kept + result.source[position:] == target
    again = propagate(patch, result.source)
    assert again.source == result.source
    assert not again.placed
    return result


def by_running(case: Case) -> str:
    """right, refused, or what went wrong: the values that the patched script logs are those of the truth."""
    result = answer(case)
    if result.refused:
        return "refused"
    got, wanted = run(result.source), run(case.truth.encode())
    if got.failure != wanted.failure:
        return f"fails with {got.failure}"
    if [value for _, value in got.values] != [value for _, value in wanted.values]:
        return "wrong values"
    if got.values != wanted.values:
        return "wrong iterations"
    return "right" if got.others == wanted.others else "does more than log"


def by_reading(case: Case) -> str:
    """right, equivalent, refused or wrong, from the two trees."""
    result = answer(case)
    if result.refused:
        return "refused"
    ours, truth = parsed(result.source.decode()), parsed(case.truth)
    assert ours is not None
    assert truth is not None
    if ast.dump(ours) == ast.dump(truth):
        return "right"
    return "equivalent" if _only_independent_between(ours, truth) else "wrong"


def _only_independent_between(ours: ast.Module, truth: ast.Module) -> bool:
    here, there = find_mark(ours), find_mark(truth)
    if here is None or there is None:
        return False
    mine, other = here[0].nodes[here[1]], there[0].nodes[there[1]]
    if ast.dump(mine) != ast.dump(other) or _way(here[0]) != _way(there[0]):
        return False
    rest = [
        [ast.dump(node) for node in suite.nodes if node is not mark]
        for suite, mark in ((here[0], mine), (there[0], other))
    ]
    if rest[0] != rest[1] or _others(ours) != _others(truth):
        return False
    low, high = sorted((here[1], there[1]))
    between = [node for node in here[0].nodes[low : high + 1] if node is not mine]
    return all(_independent(node, mine) for node in between)


def _way(suite: Suite) -> list[tuple[str, int]]:
    """The kinds of the statements around, with their lines counted without the one in question."""
    return [(type(owner).__name__, getattr(owner, "col_offset", 0)) for owner in suite.owners]


def _others(tree: ast.Module) -> Counter[str]:
    return Counter(
        ast.dump(node) for suite in suites(tree) for node in suite.nodes if not any(True for _ in _inner(node))
    )


def _inner(node: ast.AST) -> Iterable[ast.AST]:
    return (part for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt))


def _independent(node: ast.stmt, logged: ast.stmt) -> bool:
    """Whether it gives nothing that the logging statement reads, and calls nothing that could change it."""
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == ast.unparse(node.value):
        return True  # the same value again
    if names_in(node, stored=True) & names_in(logged, stored=False):
        return False
    for part in ast.walk(node):
        if isinstance(part, ast.Return | ast.Raise | ast.Break | ast.Continue | ast.Yield | ast.YieldFrom | ast.Await):
            return False
        if isinstance(part, ast.Call):
            name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
            if name not in SAFE:
                return False
        if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store):
            root: ast.expr = part
            while isinstance(root, ast.Attribute | ast.Subscript):
                root = root.value
            if not isinstance(root, ast.Name) or root.id in names_in(logged, stored=False):
                return False  # of another object than those that are looked at
    return True
