"""The main loop of a script and the loops nested in it, chosen from the source alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flor_instrument.analysis.definitions import Function, Module
from flor_instrument.analysis.index import Index, index_of
from flor_instrument.analysis.syntax import tail
from flor_instrument.finding import evidence
from flor_instrument.finding.candidates import Candidate, Candidates
from flor_instrument.finding.naming import name_of
from flor_instrument.finding.turns import Loop, why_not

DEEPEST = 3  # levels that are wrapped: folds, epochs, steps


@dataclass(frozen=True)
class FoundLoop:
    """A `for` or `while` statement that is to be a named loop."""

    path: str  # posix, by the caller's names of files
    line: int  # that it begins at, 1-based
    name: str
    inside: int  # how many calls around the iterable (`enumerate(…)`, `tqdm(…)`) stay outside of it
    function: str | None  # that it stands in
    depth: int  # 0: the main loop


@dataclass(frozen=True)
class Found:
    """What was chosen. Without loops, `reason` says why in plain words."""

    loops: tuple[FoundLoop, ...]
    reason: str = ""
    candidates: tuple[FoundLoop, ...] = ()  # where several would do


class NoSuchLoopError(ValueError):
    """A loop that a person named is not there, or cannot be wrapped; the message says it in words."""


def find_loops(files: Mapping[str, bytes], script: str, named: Sequence[tuple[str, int]] = ()) -> Found:
    """The loops to wrap when `script` is run. `files`: the project's sources by path, at least all that it imports.

    `named`: (path, line) of main loops that a person has named. Raises NoSuchLoopError where one cannot be wrapped.
    """
    try:
        return _find(files, script, named)
    except RecursionError:
        return Found((), "the source is nested too deeply to follow")


def _find(files: Mapping[str, bytes], script: str, named: Sequence[tuple[str, int]]) -> Found:
    index = index_of(files, script)
    if script not in index.modules:
        return Found((), f"{script} cannot be parsed")
    if not named and any(_has_flor_loop(index, module) for module in index.modules.values()):
        return Found((), "it names its loops itself, with flor.loop")
    candidates = Candidates(index, script)
    if named:
        roots = [_named(index, candidates, path, line) for path, line in named]
        return Found(_nests(index, roots))
    training = [one for one in candidates.all if one.strength]
    if not training:
        return Found((), "no loop that trains something was found")
    outermost = [one for one in training if not any(one in other.inside for other in training)]
    outermost = outermost or training
    best = max(map(_rank, outermost))
    roots = [one for one in outermost if _rank(one) == best]
    if len(roots) > 1 and not _are_alternatives(roots):
        listed = tuple(_loop(index, one, [], 0) for one in roots)
        return Found((), f"{len(roots)} loops could be the main one", listed)
    return Found(_nests(index, roots))


def _rank(one: Candidate) -> tuple[int, bool]:
    return one.strength, bool(one.inside)


def _are_alternatives(roots: Sequence[Candidate]) -> bool:
    """Whether no more than one of these can run: they stand in different branches of one `if` of one function."""
    if len({one.unit for one in roots}) != 1:
        return False
    unit = roots[0].unit
    node = unit.node if isinstance(unit, Function) else unit.tree
    for choice in ast.walk(node):
        if isinstance(choice, ast.If):
            branches = [_in_body(choice.body), _in_body(choice.orelse)]
            places = [[place for place, nodes in enumerate(branches) if one.node in nodes] for one in roots]
            if all(places) and len({place[0] for place in places}) == len(roots):
                return True
    return False


def _in_body(body: Iterable[ast.stmt]) -> set[ast.AST]:
    return {node for statement in body for node in ast.walk(statement)}


def _has_flor_loop(index: Index, module: Module) -> bool:
    return any(isinstance(n, ast.Call) and index.is_flor(module, n.func, "loop") for n in ast.walk(module.tree))


def _nests(index: Index, roots: Sequence[Candidate]) -> tuple[FoundLoop, ...]:
    found: dict[Loop, FoundLoop] = {}
    waiting: list[tuple[Candidate, list[str], int]] = [(one, [], 0) for one in roots]
    while waiting:
        one, taken, depth = waiting.pop(0)
        if one.node in found:
            continue
        loop = found[one.node] = _loop(index, one, taken, depth)
        if depth + 1 < DEEPEST:
            inner = [child for child in one.children if not _may_be_quick(child)]
            waiting += [(child, [*taken, loop.name], depth + 1) for child in inner]
    return tuple(sorted(found.values(), key=lambda loop: (loop.depth, loop.path, loop.line)))


_BATCHES = re.compile(r"batch|split|chunk|loader", re.IGNORECASE)


def _may_be_quick(one: Candidate) -> bool:
    """Whether an iteration may take no longer than naming it: parameters moved by hand, not for a batch at a time."""
    if one.strength != evidence.BY_HAND:
        return False
    if isinstance(one.node, ast.While):
        return not _BATCHES.search(ast.unparse(one.node.test))
    iterable = one.node.iter
    by_steps = isinstance(iterable, ast.Call) and tail(iterable.func) == "range" and len(iterable.args) == 3
    return not by_steps and not _BATCHES.search(f"{ast.unparse(one.node.target)} {ast.unparse(iterable)}")


def _loop(index: Index, one: Candidate, taken: Sequence[str], depth: int) -> FoundLoop:
    name = name_of(one.node, has_nested=bool(one.inside), taken=taken)
    return FoundLoop(one.path, one.node.lineno, name, _inside(index, one), one.function, depth)


def _inside(index: Index, one: Candidate) -> int:
    """The calls that count or show what a loop runs over stay around it: their own place can be set on replay."""
    count = 0
    if isinstance(one.node, ast.While):
        return count
    node = one.node.iter
    while isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred | ast.GeneratorExp):
        if isinstance(node.func, ast.Name) and node.func.id == "enumerate" and "enumerate" not in one.module.bound:
            known = not index.lookup(one.module, "enumerate")[0]
        else:
            name = index.external_name(one.module, node.func) or ""
            known = name.partition(".")[0] == "tqdm" and name.rpartition(".")[2] == "tqdm"
        if not known:
            break
        count += 1
        node = node.args[0]
    return count


def _named(index: Index, candidates: Candidates, path: str, line: int) -> Candidate:
    for one in candidates.all:
        if one.path == path and one.node.lineno == line:
            return one
    module = index.modules.get(path)
    if module is None:
        raise NoSuchLoopError(f"{path} is not imported by {index.script}")
    for node in ast.walk(module.tree):
        if getattr(node, "lineno", None) != line:
            continue
        if isinstance(node, ast.AsyncFor):
            raise NoSuchLoopError(f"{path} line {line} is an async for loop: only plain loops are wrapped")
        if isinstance(node, Loop):
            owners = [f for f in module.functions if node in set(ast.walk(f.node))]
            reason = next((why for f in reversed(owners) if (why := candidates.why_not(f))), None)
            if isinstance(node, ast.While):
                reason = reason or why_not(node)
            if reason:
                raise NoSuchLoopError(f"the loop at {path} line {line} is not wrapped: {reason}")
            unit = owners[-1] if owners else module
            return Candidate(unit, node)
    lines = sorted(n.lineno for n in ast.walk(module.tree) if isinstance(n, Loop))
    told = f"its loops begin at lines {', '.join(map(str, lines))}" if lines else "it has no loop"
    raise NoSuchLoopError(f"no loop begins at {path} line {line}: {told}")
