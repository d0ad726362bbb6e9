"""Named loops for sources that name none: a loop is made to run over ``flor.loop(name, …)``, in memory.

What is executed is the syntax tree of the file itself with one call around each iterable, so every line and column of a
traceback is the file's own; libcst would give text in which columns have moved. The call goes by a built-in name that no
source can spell. Analyses are given text instead (`wrapped_source`), in which no line has moved.

``while test`` becomes a `for` over the turns of ``itertools.takewhile(lambda _: test, itertools.count())``: the test is asked
when and as often as before, by a function that sees the same variables. The `for` binds no name.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import CodeType, ModuleType
    from typing import Any

LOOP = "flor.loop"  # among the built-in names: no namespace of the script shows it


class Wrap(NamedTuple):
    """One `for` or `while` statement that is to be a named loop."""

    path: str  # relative to the project's root, with forward slashes
    line: int  # that it begins at, 1-based
    name: str
    inside: int  # calls around the iterable that stay outside of the loop


class NotThereError(ValueError):
    """The source has no loop where one is to be wrapped."""


def as_data(wraps: Iterable[Wrap]) -> list[dict[str, Any]]:
    """For run.json."""
    return [dict(zip(Wrap._fields, wrap, strict=True)) for wrap in wraps]


def from_data(data: Iterable[Mapping[str, Any]]) -> tuple[Wrap, ...]:
    """What `as_data` made."""
    return tuple(Wrap(str(d["path"]), int(d["line"]), str(d["name"]), int(d["inside"])) for d in data)


def wrapped_tree(source: bytes, filename: str, wraps: Sequence[Wrap]) -> ast.Module:
    """The tree of a source with its loops wrapped. Raises SyntaxError, and NotThereError."""
    tree = ast.parse(source, filename)
    turning: dict[ast.While, ast.For] = {}
    for wrap, iterable, holder in _iterables(tree, wraps):
        runs_over = _turns(iterable) if isinstance(holder, ast.While) else iterable
        call = ast.Call(func=_the_call(), args=[ast.Constant(wrap.name), runs_over], keywords=[])
        for node in (call, *ast.walk(call.func), call.args[0]):
            ast.copy_location(node, iterable)
        if isinstance(holder, ast.While):
            turning[holder] = _for_turns(holder, call)
        elif isinstance(holder, ast.For):
            holder.iter = call
        else:
            holder.args[0] = call
    for parent in list(ast.walk(tree)):
        for body in (getattr(parent, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(body, list):
                body[:] = [turning.get(one, one) for one in body]
    return tree


def _turns(test: ast.expr) -> ast.expr:
    """``itertools.takewhile(lambda _: test, itertools.count())``, all of it standing where the test does."""
    text = "__import__('itertools').takewhile(lambda _: 0, __import__('itertools').count())"
    call = ast.parse(text, mode="eval").body
    for node in ast.walk(call):
        ast.copy_location(node, test)
    assert isinstance(call, ast.Call) and isinstance(call.args[0], ast.Lambda)
    call.args[0].body = test
    return call


def _for_turns(loop: ast.While, call: ast.Call) -> ast.For:
    """The same loop over `call`. What it draws is put where nobody sees it: on a function that is made for it."""
    target = ast.parse("(lambda: 0).turn = 0").body[0]
    assert isinstance(target, ast.Assign)
    for node in ast.walk(target):
        ast.copy_location(node, loop.test)
    made = ast.For(target=target.targets[0], iter=call, body=loop.body, orelse=loop.orelse)
    return ast.copy_location(made, loop)


def _the_call() -> ast.expr:
    """What finds the call, and where there is none passes the iterable on: a function may be sent to another process
    by value (cloudpickle does), where nobody has installed it."""
    text = f"__import__('builtins').__dict__.get({LOOP!r}, lambda name, iterable: iterable)"
    return ast.parse(text, mode="eval").body


def wrapped_source(source: bytes, wraps: Sequence[Wrap]) -> bytes:
    """The source as a person would have written it, for analyses: ``flor.loop("name", …)`` on the same lines.

    Raises SyntaxError, and NotThereError.
    """
    tree = ast.parse(source)
    edits = []
    # Positions count bytes of UTF-8, whatever the file is written in.
    lines = _as_utf8(source)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for wrap, iterable, holder in _iterables(tree, wraps):
        assert iterable.end_lineno is not None and iterable.end_col_offset is not None
        begin, end = f"flor.loop({wrap.name!r}, (", "))"
        if isinstance(holder, ast.While):
            at = starts[holder.lineno - 1] + holder.col_offset
            edits.append((at, len("while"), b"for _flor_turn in"))
            begin, end = begin + "iter(lambda: (", "), False)" + end  # what an analysis can follow
        edits.append((starts[iterable.lineno - 1] + iterable.col_offset, 0, begin.encode()))
        edits.append((starts[iterable.end_lineno - 1] + iterable.end_col_offset, 0, end.encode()))
    text = b"".join(lines)
    for at, length, more in sorted(edits, reverse=True):
        text = text[:at] + more + text[at + length :]
    return text


def _as_utf8(source: bytes) -> list[bytes]:
    """The lines of a source in UTF-8, without a declaration that says otherwise being heeded twice."""
    import io
    import tokenize

    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    text = source.decode(encoding).encode()
    if encoding not in ("utf-8", "utf-8-sig"):
        # The first two lines may declare an encoding that these bytes no longer have.
        head = text.split(b"\n", 2)
        head[:2] = [line.replace(b"coding", b"c0ding") if line.lstrip().startswith(b"#") else line for line in head[:2]]
        text = b"\n".join(head)
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").splitlines(keepends=True)


def _iterables(tree: ast.Module, wraps: Sequence[Wrap]) -> list[tuple[Wrap, ast.expr, ast.For | ast.While | ast.Call]]:
    """For each wrap the expression that the loop is to run over (the test of a `while`), and the node that holds it."""
    loops = {node.lineno: node for node in ast.walk(tree) if isinstance(node, ast.For | ast.While)}
    found = []
    for wrap in wraps:
        loop = loops.get(wrap.line)
        if loop is None:
            raise NotThereError(f"{wrap.path} has no loop at line {wrap.line}")
        holder: ast.For | ast.While | ast.Call = loop
        iterable = loop.iter if isinstance(loop, ast.For) else loop.test
        for _ in range(wrap.inside):
            if not isinstance(iterable, ast.Call) or not iterable.args:
                raise NotThereError(f"{wrap.path} line {wrap.line} runs over something else")
            holder, iterable = iterable, iterable.args[0]
        found.append((wrap, iterable, holder))
    return found


class Wrapping:
    """The files of one process whose loops are wrapped."""

    def __init__(self, root: str, wraps: Sequence[Wrap]) -> None:
        self._by_file: dict[str, list[Wrap]] = {}
        for wrap in wraps:
            self._by_file.setdefault(os.path.realpath(os.path.join(root, wrap.path)), []).append(wrap)

    def install(self) -> None:
        """Make the call known, and see that modules with wrapped loops are compiled so."""
        from flor_replay.record.api import loop

        if self._by_file:
            setattr(builtins, LOOP, loop)
            sys.meta_path.insert(0, self)

    def code(self, source: bytes, path: str) -> CodeType:
        """What to execute for a file."""
        wraps = self._by_file.get(os.path.realpath(path))
        tree: bytes | ast.Module = source
        if wraps is not None:
            with contextlib.suppress(NotThereError):  # without its loops it runs as well
                tree = wrapped_tree(source, path, wraps)
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        return code

    # -- a finder of modules -------------------------------------------------------------------------------------------

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As other finders say, but of the files that have wrapped loops nothing is taken from a cache."""
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or type(spec.loader) is not SourceFileLoader:
            return None
        if os.path.realpath(spec.origin) not in self._by_file:
            return None
        spec.loader = _Loader(name, spec.origin, self)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, wrapping: Wrapping) -> None:
        super().__init__(name, path)
        self._wrapping = wrapping

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self._wrapping.code(self.get_data(path), path)
