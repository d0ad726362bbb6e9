"""Today's files against the recorded versions: what each of them adds."""

from __future__ import annotations

import ast
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flor_instrument import Patch, SourceError, functions_in, hindsight

from flor_replay.errors import SourceProblem, UsageError
from flor_replay.history.versions import History
from flor_replay.replay.elsewhere import files_with
from flor_replay.replay.proposal import FilePatch


@dataclass(frozen=True)
class TodaysFile:
    """A file with what it adds, and its name and content in the versions (newest first; None where one lacks it)."""

    patch: FilePatch
    found: tuple[tuple[str, bytes] | None, ...]


class _AddsNothing(SourceProblem):
    pass


def files_today(
    history: History, root: str, paths: Sequence[str], commits: Sequence[str], names: frozenset[str] | None, prefix: str
) -> tuple[list[TodaysFile], list[str]]:
    """What the files at `paths` add, and a sentence for each that adds nothing.

    `names` are the logged names that are asked for; None for all that are new. `prefix` leads from the repository's top
    to the project's root. Raises SourceProblem when a file cannot be used or none adds anything, UsageError when one is
    not in the project.
    """
    found: list[TodaysFile] = []
    nothing: list[_AddsNothing] = []
    # In one order, however they were named: the same statements make the same patched version.
    for path in sorted({os.path.realpath(path) for path in _existing(root, paths)}):
        try:
            found.append(_file_today(history, root, path, commits, names, prefix))
        except _AddsNothing as problem:
            nothing.append(problem)
    if not found:
        raise nothing[0]
    return found, [str(problem) for problem in nothing]


def _existing(root: str, paths: Sequence[str]) -> Sequence[str]:
    base = os.path.realpath(root)
    for path in paths:
        if not os.path.isfile(path):
            raise UsageError(f"{path}: there is no such file")
        if not os.path.realpath(path).startswith(base + os.sep):
            raise UsageError(f"{path} is not in the project {root}")
    return paths


def _file_today(
    history: History, root: str, full: str, commits: Sequence[str], wanted: frozenset[str] | None, prefix: str
) -> TodaysFile:
    name = os.path.relpath(full, os.path.realpath(root)).replace(os.sep, "/")
    with open(full, "rb") as file:
        today = file.read()
    found = history.followed(prefix + name, commits)
    bases = [one[1] for one in found if one is not None]
    if not bases:
        # A file that is new today may hold functions that the versions keep in another.
        bases = _where_functions_stood(history, name, today, commits)
        if not bases:
            raise SourceProblem(f"{name} is in none of the recorded versions: run it once, then add statements")
    patch = _first_with_units(name, today, list(dict.fromkeys(bases)), wanted)
    if patch is None:
        called = f" called {', '.join(sorted(wanted))}" if wanted else ""
        raise _AddsNothing(
            f"{name} has no flor.log statement{called} that its recorded versions lack: add one and save the file"
        )
    return TodaysFile(FilePatch(prefix + name, today, patch), tuple(found))


def _first_with_units(name: str, today: bytes, bases: Sequence[bytes], wanted: frozenset[str] | None) -> Patch | None:
    """The patch against the newest version that lacks something."""
    for base in bases:
        try:
            patch = hindsight(base, today)
        except SourceError as error:
            raise SourceProblem(name + error.located) from None
        if wanted is not None:
            kept = [place for place, unit in enumerate(patch.units) if wanted & {unit.name, *unit.names}]
            if len({patch.units[place].name for place in kept}) < len(wanted) and base is not bases[-1]:
                continue  # an older version may lack the statement that this one has
            patch = only(patch, kept)
        _check_calls(name, patch)
        if patch.units:
            return patch
    return None


def only(patch: Patch, units: Sequence[int]) -> Patch:
    """The patch with some of its units."""
    return replace(
        patch, units=tuple(patch.units[unit] for unit in units), parts=tuple(patch.parts[unit] for unit in units)
    )


def _where_functions_stood(history: History, name: str, today: bytes, commits: Sequence[str]) -> list[bytes]:
    """The files of the newest version that has one that defines the functions that log in a file that is new today."""
    try:
        wanted = functions_in(today, logging=True)
    except SourceError as error:
        raise SourceProblem(name + error.located) from None
    for commit in commits:
        sources = history.python_sources(commit)
        places = [files_with(sources, function) for function in wanted]
        found = {path for paths in places if len(paths) == 1 for path in paths}
        if len(found) == 1:
            return [sources[path] for path in found]
    return []


def _check_calls(name: str, patch: Patch) -> None:
    """A log call without a value would fail in every version: say so before anything runs."""
    for unit in patch.units:
        try:
            tree = ast.parse(textwrap.dedent(unit.text))
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "log":
                continue
            starred = any(isinstance(arg, ast.Starred) for arg in node.args) or any(
                k.arg is None for k in node.keywords
            )
            is_flor = isinstance(node.func.value, ast.Name) and node.func.value.id == "flor"
            if is_flor and not starred and len(node.args) + len(node.keywords) < 2:
                line = unit.line + node.lineno - 1
                raise SourceProblem(f"{name} line {line}: {ast.unparse(node)} has no value: flor.log(name, value)")
