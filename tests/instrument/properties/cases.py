"""Cases with a known answer: today's file, the recorded one, an older version, and that version with the statement."""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

from . import edits
from .programs import MOST_VALUES, program, run, with_mark
from .text import (
    MARK,
    SUPPORT,
    find_mark,
    for_mark,
    indent_of,
    names_in,
    own_lines,
    parsed,
    span,
    suites,
    without_mark,
    words,
)


@dataclass(frozen=True)
class Case:
    """`kinds` are the edits that lie between today's file and the older version; texts are kept for messages."""

    base: str
    today: str
    target: str
    truth: str
    kinds: tuple[str, ...]

    @property
    def bytes(self) -> tuple[bytes, bytes, bytes]:
        return self.base.encode(), self.today.encode(), self.target.encode()


def chain(text: str, names: Sequence[str], chance: Random, *, same: bool, near: bool = False) -> tuple[str, list[str]]:
    """The text after these edits in turn, as far as they can be made, and which were.

    `same`: the text is a script that can be run, and only edits are kept that leave what it does as it was (of those
    that are meant to change it: that leave it running).
    """
    done: list[str] = []
    expected = run(text) if same else None
    for name in names:
        edited = edits.apply(name, text, chance, near)
        if edited is None:
            continue
        found = run(edited) if same else None
        if found is not None and expected is not None:
            if found.failure or not 0 < len(found.values) <= MOST_VALUES:
                continue
            if name == edits.TWINS or (name in edits.CHANGING and name not in edits.KEEPING):
                expected = found
            elif found.shown != expected.shown:
                continue
        text = edited
        done.append(name)
    return text, done


def running_case(chance: Random, before: Sequence[str], after: Sequence[str], *, near: bool) -> Case | None:
    """A case of scripts that can be run: today's and the older one are both edited forms of one script."""
    text = program(chance)
    text = with_mark(text, chance) if text is not None else None
    return None if text is None else _case(text, chance, before, after, same=True, near=near)


def real_case(chance: Random, before: Sequence[str], after: Sequence[str], *, near: bool) -> Case | None:
    """A case of a real file; only its text is looked at, it is never run."""
    text = _with_real_mark(chance.choice(real_files()), chance)
    return None if text is None else _case(text, chance, before, after, same=False, near=near)


def _case(
    text: str, chance: Random, before: Sequence[str], after: Sequence[str], *, same: bool, near: bool
) -> Case | None:
    # On both sides it could come to stand on either side of the statement, whose place would be arguable.
    before = [name for name in before if name != edits.TOUCHING]
    today, first = chain(text, before, chance, same=same, near=near)
    truth, then = chain(text, after, chance, same=same, near=near)
    base, target = without_mark(today), without_mark(truth)
    if base is None or target is None or not (first or then):
        return None
    return Case(base, today, target, truth, tuple(sorted({*first, *then})))


def negative_case(chance: Random) -> Case | None:
    """A version in which the names that the statement reads are gone, with every statement that mentions them.

    Its truth is the version itself: the right answer is a refusal.
    """
    text = program(chance)
    text = with_mark(text, chance) if text is not None else None
    base = without_mark(text) if text is not None else None
    tree = parsed(text) if text is not None else None
    found = find_mark(tree) if tree is not None else None
    if text is None or base is None or tree is None or found is None:
        return None
    suite, index = found
    every = names_in([node for node in suite.nodes[: index + 1] if for_mark(node)], stored=False)
    names = sorted(name for name in every - ALWAYS_THERE if not name.startswith(SUPPORT))
    if not names:
        return None
    target = _without_name(base, chance.choice(names))
    return None if target is None else Case(base, text, target, target, ("a name removed",))


ALWAYS_THERE = frozenset({"flor", "state", "v", "range", "len", "sum"})


def _without_name(text: str, name: str) -> str | None:
    """The text without any statement that mentions the name; a block that becomes empty gets a `pass`."""
    for _ in range(50):
        tree = parsed(text)
        if tree is None:
            return None
        if name not in words(text):
            return text
        lines = text.split("\n")
        for suite in reversed(list(suites(tree))):
            gone = [node for node in suite.nodes if _mentions(node, name)]
            if not gone:
                continue
            node = gone[-1]
            if not own_lines(lines, node):
                return None
            first, last = span(node)
            instead = [indent_of(lines[first - 1]) + "pass"] if len(suite.nodes) == 1 else []
            lines[first - 1 : last] = instead
            break
        else:
            return None
        text = "\n".join(lines)
    return None


def _mentions(node: ast.stmt, name: str) -> bool:
    return any(
        (isinstance(part, ast.Name) and part.id == name)
        or (isinstance(part, ast.arg) and part.arg == name)
        or (isinstance(part, ast.Attribute) and part.attr == name)
        or (isinstance(part, ast.Constant) and part.value == name)
        for part in ast.walk(node)
    )


# ---- real files ---------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[3]


@lru_cache(maxsize=1)
def real_files() -> tuple[str, ...]:
    """Sources that were not written for these tests: training scripts of the fixtures, and the standard library's.

    Not this project's own: examples that change with the code that they examine would be others each time.
    """
    library = Path(os.__file__).parent
    folders = (
        ".",
        "asyncio",
        "concurrent/futures",
        "email",
        "http",
        "importlib",
        "json",
        "logging",
        "multiprocessing",
        "unittest",
    )
    found = [
        *sorted(ROOT.glob("fixtures/**/*.py")),
        *(file for name in folders for file in sorted((library / name).glob("*.py"))),
    ]
    texts: list[str] = []
    for file in found:
        text = file.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
        if 40 <= text.count("\n") <= 500 and "\f" not in text and parsed(text) is not None:
            texts.append(text)
    return tuple(texts)


def _with_real_mark(text: str, chance: Random) -> str | None:
    """The file with `import flor` and a statement that reads what a neighbour binds."""
    tree = parsed(text)
    assert tree is not None
    lines = text.split("\n")
    possible = [suite for suite in suites(tree) if not suite.of_class and len(suite.nodes) > 1]
    for _ in range(12):
        suite = chance.choice(possible)
        index = chance.randrange(1, len(suite.nodes))
        before, after = suite.nodes[index - 1], suite.nodes[index]
        if not (own_lines(lines, before) and own_lines(lines, after)):
            continue
        if isinstance(before, ast.Return | ast.Raise | ast.Break | ast.Continue | ast.Import | ast.ImportFrom):
            continue
        if isinstance(after, ast.Import | ast.ImportFrom):
            continue
        arguments = {one.arg for one in suite.function.args.args} if suite.function is not None else set()
        simple = [node for node in suite.nodes[:index] if isinstance(node, ast.Assign | ast.AugAssign)]
        names = sorted((names_in(list(simple), stored=True) | arguments) - {"self", "cls", "_", "flor"})
        if not names or ("flor" in words(text) and "import flor" not in text):
            continue
        pad = indent_of(lines[span(after)[0] - 1])
        name = chance.choice(names)
        statement = chance.choice(
            [f'flor.log("{MARK}", {name})', f'flor.log("{MARK}", len({name}))', f'flor.log("{MARK}", str({name})[:9])']
        )
        at = span(before)[1]
        out = [*lines[:at], pad + statement, *lines[at:]]
        if "import flor" not in text:
            first = next((node for node in tree.body if isinstance(node, ast.Import)), None)
            if first is None or not own_lines(lines, first) or first.lineno > at:
                continue
            out.insert(first.lineno - 1, "import flor")
        result = "\n".join(out)
        return result if parsed(result) is not None else None
    return None
