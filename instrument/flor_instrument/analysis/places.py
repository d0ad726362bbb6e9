"""Where in a run a statement may execute: before, in and after the loops that replay is planned by."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flor_instrument.analysis.definitions import Module
from flor_instrument.analysis.index import Index, index_of
from flor_instrument.analysis.paths_taken import LostLoopError, Place, paper_run
from flor_instrument.analysis.points import LoopSite, Op, Unit
from flor_instrument.analysis.syntax import children, own_nodes, tail, walk

# `model.eval()` is a method of every torch module, and no eval.
_RUNTIME_IMPORTS = re.compile(
    rb"import_module|__import__|importlib|runpy|(?<![\w.])(?:exec|eval)\s*\(|(?<=builtins\.)(?:exec|eval)\s*\(|pickle|entry_points"
)
ANYWHERE = frozenset(Place)


@dataclass(frozen=True)
class Where:
    """The answer about one statement.

    `loops` are the names of the flor loops around it, outermost first, as far as all its positions agree;
    `mains` the main loops it may stand in; `all_mains` every main loop that the run may enter (none: the
    script has no flor loop, or its loops cannot be followed).
    """

    places: frozenset[Place]
    loops: tuple[str, ...]
    reason: str
    mains: tuple[LoopSite, ...] = ()
    all_mains: tuple[LoopSite, ...] = ()


def _header_lines(node: ast.AST) -> tuple[int, int]:
    """The first and last line of a statement, without the statements inside it."""
    first = getattr(node, "lineno", 0)
    last = getattr(node, "end_lineno", first) or first
    for decorator in getattr(node, "decorator_list", []):
        first = min(first, decorator.lineno)
    inner = [
        s.lineno
        for key in ("body", "orelse", "finalbody", "handlers", "cases")
        for s in (getattr(node, key, None) or [])
        if hasattr(s, "lineno")
    ]
    inner += [case.pattern.lineno for case in getattr(node, "cases", [])]
    if inner:
        last = min(last, max(first, min(inner) - (0 if min(inner) == first else 1)))
    return first, last


def _statements_at(tree: ast.Module, line: int) -> list[ast.stmt]:
    """The innermost statements on a line; several when a line holds more than one."""
    found = []
    rest: list[ast.AST] = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, ast.stmt):
            first, last = _header_lines(node)
            if first <= line <= last:
                found.append(node)
        for child in children(node):
            # What a decorator wraps begins below it.
            decorators = getattr(child, "decorator_list", ())
            first = min((one.lineno for one in decorators), default=getattr(child, "lineno", line))
            if first <= line <= getattr(child, "end_lineno", line):
                rest.append(child)
    return found


def _owner(module: Module, statement: ast.stmt) -> Unit:
    best: Unit = module
    for function in module.functions:
        around = function.node.lineno <= statement.lineno <= (function.node.end_lineno or 0)
        if around and statement is not function.node and statement in set(own_nodes(function.node)):
            best = function
    return best


def _agreed(stacks: Iterable[tuple[LoopSite, ...]]) -> tuple[str, ...]:
    names = [[site.name for site in stack] for stack in stacks]
    agreed: list[str] = []
    for level in zip(*names, strict=False):
        if len(set(level)) != 1:
            break
        agreed.append(level[0])
    return tuple(agreed)


def _everywhere(reason: str, mains: tuple[LoopSite, ...] = ()) -> Where:
    return Where(ANYWHERE, (), reason, mains, mains)


def where(files: Mapping[str, bytes], script: str, target: tuple[str, int]) -> Where:
    """Every position in which the statement at `target` (path, 1-based line) may run when `script` is run.

    `files` are all Python files of the version, by posix path relative to its root. Anything that cannot be
    followed ends in all places, with the reason.
    """
    path, line = target
    if script not in files or path not in files:
        return _everywhere(f"{script if script not in files else path} is not among the files of this version")
    try:
        return _where(files, script, path, line)
    except LostLoopError as error:
        return _everywhere(str(error))
    except RecursionError:
        return _everywhere("the source is nested too deeply to follow")


def _where(files: Mapping[str, bytes], script: str, path: str, line: int) -> Where:
    index = index_of(files, script)
    if script not in index.modules:
        return _everywhere(f"{script} cannot be parsed")
    if index.broken:
        return _everywhere(f"{index.broken[0]} cannot be parsed")
    module = index.modules.get(path)
    if module is None:
        # Names that import at run time, or run files: the text of what is reached has none of them, or all is open.
        if any(_RUNTIME_IMPORTS.search(files[reached]) for reached in index.modules if reached in files):
            return _everywhere(f"{script} imports at run time, perhaps {path}")
        return Where(frozenset(), (), f"{script} does not import {path}")
    statements = _statements_at(module.tree, line)
    if not statements:
        return _everywhere(f"no statement stands at {path} line {line}")
    run = paper_run(index)
    mains = run.all_mains()
    if not mains:
        return _everywhere(f"{script} runs no flor.loop")
    for statement in statements:
        unit = _owner(module, statement)
        if unit in run.anytime:
            return _everywhere(run.anytime[unit], mains)
        for inner in own_nodes(statement):
            if isinstance(inner, ast.Lambda | ast.GeneratorExp) and _spans(inner, line) and _logs(inner):
                return _everywhere("the statement stands in a lambda or generator expression", mains)
    marked = [n for n in run.seen if n[2].statement in statements]
    if not marked:
        return _everywhere(f"nothing that {script} runs was found to lead to {path} line {line}", mains)
    places = frozenset(run.places(marked))
    inside = {n[3].stack[0] for n in marked if n[3].stack}
    return Where(
        places,
        _agreed(n[3].stack for n in marked),
        "; ".join(place.value for place in Place if place in places),
        tuple(site for site in mains if site in inside),
        mains,
    )


def loop_levels(files: Mapping[str, bytes], script: str, path: str) -> dict[int, tuple[bool, bool]]:
    """For each flor loop of one file, by line: whether it may be a main loop, and whether it may be nested.

    A loop that cannot be followed, or to which nothing was found to lead, may be both.
    """
    index = index_of(files, script)
    modules = list(index.modules.values())
    if path not in index.modules:
        modules += index_of({path: files[path]}, path).modules.values()
    levels: dict[int, tuple[bool, bool]] = {}
    for module in modules:
        if module.path == path:
            for node in walk(module.tree):
                if isinstance(node, ast.For | ast.AsyncFor) and _mentions_loop(index, module, node):
                    levels[node.lineno] = (True, True)
    try:
        run = paper_run(index) if script in index.modules and path in index.modules else None
    except (LostLoopError, RecursionError):
        run = None
    if run is None:
        return levels
    reached: dict[int, list[bool]] = defaultdict(lambda: [False, False])
    for _, _, point, stand in run.seen:
        if point.op is Op.ENTER and point.loop is not None and point.loop.path == path:
            reached[point.loop.line][1 if stand.stack else 0] = True
    return {line: (both[0], both[1]) for line, both in (levels | reached).items()}


def _mentions_loop(index: Index, module: Module, node: ast.For | ast.AsyncFor) -> bool:
    return any(isinstance(n, ast.Call) and index.is_flor(module, n.func, "loop") for n in walk(node.iter))


def _spans(node: ast.expr, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _logs(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Call) and tail(n.func) == "log" for n in walk(node))
