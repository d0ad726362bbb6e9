"""Sources that nobody would write on purpose: placed rightly or refused with a reason, in bounded time and memory."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flor_instrument import SourceError, hindsight, propagate, remove

from tests.support import COMMAND

BASE = """\
import flor


def train(model, data):
    for x in data:
        out = model(x)
        loss = out * 2
        total = loss + 1
    return total
"""
LOG = '        flor.log("loss", loss)\n'
TODAY = BASE.replace("        total = loss + 1\n", LOG + "        total = loss + 1\n")
UNIT = hindsight(BASE.encode(), TODAY.encode())


def inside(text: str, target: str = BASE) -> str:
    """Something more in the loop, before what the statement reads."""
    return target.replace("        out = ", textwrap.indent(textwrap.dedent(text), "        ") + "        out = ")


def head(text: str) -> bytes:
    return (text + BASE).encode()


# What must be refused because today's Python cannot read it; the words must be in the reason.
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "UTF-16": (BASE.encode("utf-16"), "null bytes"),
    "UTF-16 without a mark": (BASE.encode("utf-16-le"), "null bytes"),
    "UTF-32": (BASE.encode("utf-32"), "null bytes"),
    "two marks": (b"\xef\xbb\xbf\xef\xbb\xbf" + BASE.encode(), "parsed"),
    "mark and another coding": (b"\xef\xbb\xbf# coding: latin-1\n" + BASE.encode(), "encoding"),
    "latin-1 that says nothing": (b"# caf\xe9\n" + BASE.encode(), "decoded"),
    "latin-1 further down": (head("a = 1\nb = 2\n") + b"# caf\xe9\n", "decode"),
    "no such coding": (b"# coding: nonsense\n" + BASE.encode(), "nonsense"),
    "a coding of bytes": (b"# coding: hex\n" + BASE.encode(), "hex"),
    "a coding that makes lines": (b"# coding: unicode_escape\nx = '\\n'\n" + BASE.encode(), ""),
    "NUL": (b"\0", "null bytes"),
    "NUL in a comment": (b"# \0\n" + BASE.encode(), "null bytes"),
    "surrogates as bytes": (b'x = "\xed\xa0\x80"\n' + BASE.encode(), "decode"),
    "Ctrl-Z": (BASE.encode() + b"\x1a", "non-printable"),
    "zero width space": (BASE.replace("loss = ", "loss\u200b = ").encode(), "non-printable"),
    "no-break space": (BASE.replace("loss = ", "loss\u00a0= ").encode(), "non-printable"),
    "vertical tab": (BASE.replace("loss = ", "loss\x0b = ").encode(), "non-printable"),
    "all bytes": (bytes(range(256)) * 40, "null bytes"),
    "tabs and spaces": (BASE.replace("        loss", "\tloss").encode(), "tabs"),
    "101 levels": (head("".join(" " * i + "if x:\n" for i in range(101)) + " " * 101 + "pass\n"), "indentation"),
    "300 brackets": (head("x = " + "(" * 300 + ")" * 300 + "\n"), "parentheses"),
    "5000 terms": (head("x = " + "+".join(["a"] * 5000) + "\n"), "deeply"),
    "5000 attributes": (head("x = a" + ".b" * 5000 + "\n"), "deeply"),
    "5000 calls": (head("x = a" + "()" * 5000 + "\n"), "deeply"),
    "5000 signs": (head("x = " + "-" * 5000 + "1\n"), "deeply"),
    "3000 elif": (head("if a: pass\n" + "".join(f"elif a == {i}: pass\n" for i in range(3000))), "deeply"),
    "lambdas in lambdas": (head("x = " + "lambda: " * 500 + "1\n"), "deeply"),
    "unterminated string": (b'x = """' + b"a\n" * 1000, "unterminated"),
    "number of 10000 digits": (head("x = " + "9" * 10_000 + "\n"), "digits"),
    "open brackets": (b"[" * 100_000, "parentheses"),
    "backslashes": (b"\\" * 100_000, "continuation"),
    "backslash at the end": (BASE.encode() + b"x = 1 \\", "EOF"),
    "Python 2 print": (inside('print "x", x\n').encode(), "print"),
    "Python 2 except": (head("try:\n    x\nexcept A, e:\n    pass\n"), "parsed"),
    "Python 2 exec": (head('exec "x"\n'), "exec"),
    "Python 2 backticks": (head("x = `y`\n"), "parsed"),
    "Python 2 octal": (head("x = 0777\n"), "octal"),
    "Python 2 unequal": (head("x <> y\n"), "parsed"),
    "line magic": (head("%matplotlib inline\n"), "parsed"),
    "shell magic": (head("!pip install x\n"), "parsed"),
    "cell magic": (head("%%time\n"), "parsed"),
    "help magic": (head("model?\n"), "parsed"),
}
# What must be refused although it can be read: there is no place for the statement.
PLACELESS: dict[str, bytes] = {
    "empty": b"",
    "a mark only": b"\xef\xbb\xbf",
    "newlines only": b"\n\r\n\r",
    "comments only": b"# a\n# b\n",
    "a notebook": b'{"cells": [{"cell_type": "code", "source": ["import flor"]}], "nbformat": 4}',
    "deleted before": BASE.replace("        total =", "        del loss\n        total =").encode(),
    "comprehension only": b"import flor\n\n\ndef train(model, data):\n    return sum(model(x) * 2 + 1 for x in data)\n",
    "one line function": b"import flor\ndef train(model, data): return [model(x) for x in data]\n",
}
# What newer Pythons read; refused where this one does not.
NEWER: dict[str, str] = {
    "type statement": "type X = int\n",
    "generic function": "def f[T](x: T) -> T: return x\n",
    "generic class": "class A[T]: pass\n",
    "quotes in an f-string": 'x = f"{"a"}"\n',
    "lines in an f-string": 'x = f"{\n1 +\n2}"\n',
    "t-string": 'x = t"{a}"\n',
    "except without brackets": "try:\n    x\nexcept A, B:\n    pass\n",
}
# What must be placed, right before `total = …` (which all of these keep).
PLACED: dict[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbf" + BASE.encode(),
    "latin-1": ("# -*- coding: latin-1 -*-\n# café\n" + BASE).encode("latin-1"),
    "cp1252": ('# coding: cp1252\nx = "€"\n' + BASE).encode("cp1252"),
    "shift_jis": ('# coding: shift_jis\nx = "表示"\n' + BASE).encode("shift_jis"),
    "CRLF": BASE.replace("\n", "\r\n").encode(),
    "lone CR": BASE.replace("\n", "\r").encode(),
    "mixed line ends": BASE.replace("\n", "\r\n", 4).replace("\n\n", "\n\r", 1).encode(),
    "form feed": BASE.replace("def", "\fdef").encode(),
    "form feed in the indentation": BASE.replace("        loss", "    \f        loss").encode(),
    "line separators in a string": head('x = "a\x85b\u2028c\x1cd\x1d"\n'),
    "tabs": BASE.replace("    ", "\t").encode(),
    "90 levels": head("".join(" " * i + "if x:\n" for i in range(90)) + " " * 90 + "pass\n"),
    "900 elif": head("if a:\n    pass\n" + "".join(f"elif a == {i}:\n    pass\n" for i in range(900))),
    "boolean of 5000": head("x = " + " and ".join(["a"] * 5000) + "\n"),
    "surrogate in a string": head('x = "\\ud800"\n'),
    "walrus": BASE.replace("out = model(x)", "(out := model(x))").encode(),
    "match": inside("match x:\n    case [a, *b]:\n        pass\n    case _:\n        pass\n").encode(),
    "except star": inside("try:\n    x\nexcept* ValueError:\n    pass\n").encode(),
    "main on one line": BASE.encode() + b'if __name__ == "__main__": train(1, 2)\n',
    "semicolons": BASE.replace("out = model(x)\n        loss", "out = model(x); loss").encode(),
    "backslash": BASE.replace("loss = out", "loss = \\\n            out").encode(),
    "decorator": BASE.replace("def train", "@wraps(\n    a,\n)\n@other\ndef train").encode(),
    "async": BASE.replace("def train", "async def train").replace("for x", "async for x").encode(),
    "nested f-strings": BASE.replace("out * 2", "f'{f\"{out}\"}'").encode(),
    "conditional import": head("try:\n    import a\nexcept ImportError:\n    a = None\n"),
    "star import": head("from x import *\n"),
    "exec and eval": inside('exec("x")\neval("y")\n').encode(),
    "global": BASE.replace("    for x", "    global loss\n    for x").encode(),
    "comprehension scope": inside("y = [loss for loss in x]\n").encode(),
    "lambda": inside("f = lambda loss: loss\n").encode(),
    "type comment": BASE.replace("out * 2", "out * 2  # type: int").encode(),
    "wide letters": BASE.replace("loss =", "\uff4c\uff4f\uff53\uff53 =").encode(),
    "async as a name": inside("x.cuda(async=True)\n").encode(),
    "100000 blank lines": b"\n" * 100_000 + BASE.encode(),
    "100000 comments": b"# remark\n" * 100_000 + BASE.encode(),
    "a line of 1 MB": b'x = "' + b"a" * 1_000_000 + b'"\n' + BASE.encode(),
    "a comment of 1 MB": b"#" + b"a" * 1_000_000 + b"\n" + BASE.encode(),
    "a comment of 1 MB of quotes": b"#" + b"'" * 1_000_000 + b"\n" + BASE.encode(),
    "a line of 1 MB in two-byte letters": ('x = "' + "é" * 500_000 + '"\n' + BASE).encode(),
}


def asked(target: bytes, seconds: float = 20) -> bytes | str:
    """The patched target, or the reason of the refusal; what must hold of both is asserted."""
    started = time.process_time()
    result = propagate(UNIT, target)
    assert time.process_time() - started < seconds
    assert remove(result.source, result.placed) == target
    if result.placed:
        assert not result.refused
        return result.source
    (refusal,) = result.refused
    assert result.source == target
    assert refusal.reason.endswith(".")
    assert "\n" not in refusal.reason
    assert "Error" not in refusal.reason.replace("encoding error", "")
    return refusal.reason


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_versions_are_refused(name: str) -> None:
    target, words = UNREADABLE[name]
    reason = asked(target)
    assert isinstance(reason, str)
    assert words in reason


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_files_of_today_are_a_source_error(name: str) -> None:
    target, _ = UNREADABLE[name]
    with pytest.raises(SourceError) as caught:
        hindsight(target, target + b"\nflor.log('a', 1)\n")
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("name", PLACELESS)
def test_versions_without_a_place_are_refused(name: str) -> None:
    assert isinstance(asked(PLACELESS[name]), str)


@pytest.mark.parametrize("name", NEWER)
def test_newer_syntax_is_placed_or_refused(name: str) -> None:
    target = head(NEWER[name])
    try:
        ast.parse(target)
        readable = True
    except SyntaxError:
        readable = False
    assert isinstance(asked(target), bytes) == readable


@pytest.mark.parametrize("name", PLACED)
def test_unusual_versions_take_the_statement(name: str) -> None:
    target = PLACED[name]
    patched = asked(target)
    assert isinstance(patched, bytes), patched
    lines = [line.strip() for line in patched.splitlines()]
    at = next(index for index, line in enumerate(lines) if line.startswith(b"flor.log("))
    assert lines[at + 1].startswith(b"total = loss + 1")
    assert len(lines) == len(target.splitlines()) + 1


@pytest.mark.parametrize("name", PLACED)
def test_unusual_files_of_today_are_read(name: str) -> None:
    target = PLACED[name]
    end = b"\r" if b"\n" not in target else b"\n"
    (unit,) = hindsight(target, target + b'flor.log("end", 1)' + end).units
    assert unit.name == "end"


LARGE: dict[str, Callable[[], bytes]] = {
    "50000 statements": lambda: "".join(f"value_{i} = compute({i})\n" for i in range(50_000)).encode() + BASE.encode(),
    "100000 statements": lambda: "".join(f"value_{i} = compute({i})\n" for i in range(100_000)).encode(),
    "50000 statements in a function": lambda: (
        "def f():\n" + "".join(f"    v{i} = g({i})\n" for i in range(50_000)) + BASE
    ).encode(),
    "10000 statements in the loop": lambda: inside("".join(f"w{i} = g({i})\n" for i in range(10_000))).encode(),
    "10000 equal statements in the loop": lambda: inside("out = model(x)\n" * 10_000).encode(),
    "1000 functions like it": lambda: b"".join(BASE.replace("train", f"train_{i}").encode() for i in range(1000)),
    "1000 functions of its name": lambda: BASE.encode() * 1000,
    "half a million items on a line": lambda: b"x = [" + b"1," * 500_000 + b"]\n" + BASE.encode(),
    "50000 statements on a line": lambda: b";".join([b"x=1"] * 50_000) + b"\n" + BASE.encode(),
    "a table of 30000": lambda: (
        ("x = {" + ",".join(f"{i}: {i}" for i in range(30_000)) + "}\n").encode() + BASE.encode()
    ),
    "9 MB": lambda: b"#" + b"a" * 9_000_000 + b"\n" + BASE.encode(),
}


def in_little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_sources_end_in_bounded_time_and_memory(name: str, tmp_path: Path) -> None:
    """Through the command, in 3 GB of address space and a minute of processor time."""
    for file, content in (("new.py", TODAY.encode()), ("base.py", BASE.encode()), ("old.py", LARGE[name]())):
        (tmp_path / file).write_bytes(content)
    done = subprocess.run(
        [COMMAND, "propagate", "new.py", "base.py", "old.py"],
        cwd=tmp_path,
        capture_output=True,
        timeout=240,
        preexec_fn=in_little_memory,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in {0, 3}, done.stderr
    if done.returncode == 0:
        assert done.stdout.count(b'flor.log("loss", loss)') == 1
    else:
        assert done.stdout == b""
        assert done.stderr.strip().endswith(b".")


@pytest.mark.parametrize(
    "target",
    [
        BASE.encode("utf-16"),
        head("%matplotlib inline\n"),
        b"",
        b"\0",
        head("x = " + "+".join(["a"] * 5000) + "\n"),
        b"# caf\xe9\n" + BASE.encode(),
    ],
    ids=["utf-16", "magic", "empty", "nul", "terms", "latin-1"],
)
def test_the_command_refuses_with_a_sentence(target: bytes, tmp_path: Path) -> None:
    for file, content in (("new.py", TODAY.encode()), ("base.py", BASE.encode()), ("old.py", target)):
        (tmp_path / file).write_bytes(content)
    for order, code in ((("new.py", "base.py", "old.py"), 3), (("old.py", "base.py", "new.py"), 1)):
        done = subprocess.run(
            [sys.executable, COMMAND, "propagate", *order], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert 1 <= len(done.stderr.strip().splitlines()) <= 3
