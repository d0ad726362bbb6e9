"""Loops wrapped in memory do what they did, and stand where they stood."""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from flor_instrument import find_loops
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_replay.record.loops import Level, Loop, Stack
from flor_replay.record.wrapping import LOOP, NotThereError, Wrap, wrapped_source, wrapped_tree


class Watching:
    """An observer that only writes down."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def loop_begins(self, loop: Any) -> None:
        self.seen.append(("begin", loop.name))

    def loop_ends(self, loop: Any, end: str) -> None:
        self.seen.append((end, loop.name))

    def iteration_begins(self, level: Level, value: object) -> None:
        self.seen.append((level.name, level.index))

    def before_fetch(self, loop: Any) -> None: ...
    def iteration_ends(self, level: Level, seconds: float, count: int = 1) -> None: ...
    def skips(self, loop: Any) -> bool:
        return False

    def stretches(self, loop: Any) -> bool:
        return False

    def abandoned(self) -> bool:
        return False


@pytest.fixture
def watching() -> Iterator[Watching]:
    observer = Watching()
    stack = Stack(Level("", (), 0))
    setattr(builtins, LOOP, lambda name, iterable: Loop(name, iterable, stack, observer))
    yield observer
    delattr(builtins, LOOP)


def run(code: Any) -> tuple[str, str]:
    """What a program prints, and its traceback without frames of others."""
    out = io.StringIO()
    told = ""
    with contextlib.redirect_stdout(out):
        try:
            exec(code, {"__name__": "__main__"})
        except BaseException as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "t.py"]
            told = f"{error!r} {[(f.lineno, f.colno, f.end_colno, f.name) for f in frames]}"
    return out.getvalue(), told


def all_wraps(source: bytes) -> list[Wrap]:
    """Every loop of a source, with all that can be inside."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.For):
            inside = 0
            iterable = node.iter
            while isinstance(iterable, ast.Call) and ast.unparse(iterable.func) == "enumerate":
                if isinstance(iterable.args[0], ast.GeneratorExp):
                    break
                inside, iterable = inside + 1, iterable.args[0]
            found.append(Wrap("t.py", node.lineno, f"l{node.lineno}", inside))
        elif isinstance(node, ast.While):
            found.append(Wrap("t.py", node.lineno, f"l{node.lineno}", 0))
    return found


HEADERS = (
    "for a in range(3):", "for a in 1, 2, 3:", "for a in (4, 5):", "for a in *[1], 2:", "for a, b in zip([1, 2], 'xy'):",
    "for i, a in enumerate([3, 4]):", "for i, a in enumerate(range(3), start=2):", "for i, (a, b) in enumerate(zip('ab', 'cd')):",
    "for a in (x * 2 for x in range(3)):", "for i, a in enumerate(x for x in 'ab'):", "for a in [y for y in range(3) if y != 1]:",
    "for a in say('evaluated', [1, 2]):", "for a in {1: 2}.items():", "for a in range(\n    3\n):", "for a in (range(2)):",
    "for box.a in range(2):", "for box[0] in 'ab':", "for a in iter(iter([1, 2, 0]).__next__, 0):", "for a in 7:",
    "for a in broken():", "for a in []:", "for a in (n := [1, 2]):", "for a in [1, 2] if count else []:",
    "while next(count) < 4:", "while (next(count) < 5 and\n    say('asked', True)):", "while not next(count) > 3:",
    "while False:", "while len(seen) < 2 and next(count) < 9:",
)  # fmt: skip
BODIES = (
    "print('in', locals().get('a'))", "continue", "break", "if len(seen) > 2: break", "seen.append(1)", "raise KeyError('é')",
    "1 / 0", "return_here()", "a = 5", "print([z for z in range(2)])", "flor = 3; loop = 4",
)  # fmt: skip
START = """import itertools
class Box(dict):
    pass
box, seen, count = Box(), [], itertools.count(1)
def say(text, value):
    print(text)
    return value
def broken():
    yield 1
    raise ValueError('broken')
def return_here():
    raise SystemExit(3)
"""


@st.composite
def programs(draw: st.DrawFn, depth: int = 2) -> str:
    def block(level: int) -> list[str]:
        lines: list[str] = []
        for _ in range(draw(st.integers(1, 2))):
            if level < depth and draw(st.booleans()):
                lines += draw(st.sampled_from(HEADERS)).split("\n")
                lines += [f"    {line}" for line in block(level + 1)]
                if draw(st.booleans()):
                    lines += ["else:", "    print('else')"]
            else:
                chosen = draw(st.sampled_from(BODIES))
                lines.append("pass" if level == 0 and ("break" in chosen or chosen == "continue") else chosen)
        return lines

    inside = draw(st.booleans())
    lines = block(0)
    if inside:
        return (
            START
            + "def main():\n"
            + "".join(f"    {line}\n" for line in lines)
            + "    return locals()\nprint(sorted(main()))\n"
        )
    return START + "\n".join(lines) + "\n"


@settings(max_examples=150, deadline=None)
@given(programs())
def test_a_wrapped_program_does_what_it_did(program: str) -> None:
    source = program.encode()
    wraps = all_wraps(source)
    observer, stack = Watching(), Stack(Level("", (), 0))
    setattr(builtins, LOOP, lambda name, iterable: Loop(name, iterable, stack, observer))
    try:
        plain = run(compile(source, "t.py", "exec", dont_inherit=True))
        wrapped = run(compile(wrapped_tree(source, "t.py", wraps), "t.py", "exec", dont_inherit=True))
        assert wrapped == plain
    finally:
        delattr(builtins, LOOP)
    text = wrapped_source(source, wraps)
    assert text.count(b"\n") == source.count(b"\n")
    assert text.count(b"flor.loop(") == len(wraps)
    lines = [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    assert [node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)] == lines
    names = {
        node.args[0].value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "flor.loop"
    }  # type: ignore[attr-defined]
    assert names == {wrap.name for wrap in wraps}


def test_the_loops_are_seen(watching: Watching) -> None:
    source = b"flor = 1\nfor i, x in enumerate('ab'):\n    for y in [1, 2]:\n        if i: break\n"
    wraps = [Wrap("t.py", 2, "i", 1), Wrap("t.py", 3, "y", 0)]
    exec(compile(wrapped_tree(source, "t.py", wraps), "t.py", "exec"), {})
    assert watching.seen == [
        ("begin", "i"), ("i", 0), ("begin", "y"), ("y", 0), ("y", 1), ("exhausted", "y"),
        ("i", 1), ("begin", "y"), ("y", 0), ("closed", "y"), ("exhausted", "i"),
    ]  # fmt: skip


def test_a_while_loop_is_seen_and_binds_nothing(watching: Watching) -> None:
    source = b"""
def train(n):
    step, done = 0, []
    while step < n:
        if step == 1: step = 5; continue
        step += 1
        while True:
            done.append(step)
            if len(done) % 2 == 0: break
    else:
        done.append("else")
    return sorted(locals()), done
told = train(7)
"""
    space: dict[str, Any] = {}
    wraps = [Wrap("t.py", 4, "step", 0), Wrap("t.py", 7, "inner", 0)]
    exec(compile(wrapped_tree(source, "t.py", wraps), "t.py", "exec"), space)
    plain: dict[str, Any] = {}
    exec(source, plain)
    assert space["told"] == plain["told"] and set(space) == set(plain)
    assert [one for one in watching.seen if one[0] == "step"] == [("step", 0), ("step", 1), ("step", 2), ("step", 3)]
    assert watching.seen[-1] == ("exhausted", "step") and ("closed", "inner") in watching.seen


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_encodings_and_endings(encoding: str, ending: str, watching: Watching) -> None:
    declared = "# -*- coding: latin-1 -*-" if encoding == "latin-1" else "# first"
    if (encoding, ending) == ("latin-1", "\r"):
        pytest.skip("Python itself looks for the declaration in lines that end with a line feed")
    text = f'{declared}\nä = "é"; b = ["ü"]\n\x0cfor é in b:\n    print(é); w = "€"\n'.replace("€", "x")
    source = text.replace("\n", ending).encode(encoding)
    wraps = [Wrap("t.py", 3, "é", 0)]
    assert "flor.loop('é', (b))" in wrapped_source(source, wraps).decode()
    ast.parse(wrapped_source(source, wraps))
    assert run(compile(wrapped_tree(source, "t.py", wraps), "t.py", "exec"))[0] == "ü\n"
    [found] = find_loops({"t.py": source}, "t.py", [("t.py", 3)]).loops
    assert (found.name, found.line) == ("é", 3)


def test_another_source_is_not_cut() -> None:
    for source, wrap in (
        (b"x = 1\nfor a in b:\n    pass\n", Wrap("t.py", 1, "a", 0)),
        (b"for a in b:\n    pass\n", Wrap("t.py", 1, "a", 1)),
        (b"for a in f():\n    pass\n", Wrap("t.py", 1, "a", 1)),
        (b"[a for a in b]\n", Wrap("t.py", 1, "a", 0)),
        (b"while True:\n    pass\n", Wrap("t.py", 1, "a", 1)),
        (b"async def f():\n    async for a in b:\n        pass\n", Wrap("t.py", 2, "a", 0)),
        (b"", Wrap("t.py", 1, "a", 0)),
    ):
        with pytest.raises(NotThereError):
            wrapped_tree(source, "t.py", [wrap])
        with pytest.raises(NotThereError):
            wrapped_source(source, [wrap])
