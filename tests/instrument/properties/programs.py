"""Small training scripts that can be run, and what they log.

The scripts are pure Python over small whole numbers: functions, classes, named loops, branches, lists, and on purpose
much that looks alike (the same statements in training and in evaluation, the same names in several functions), since
that is where a statement can land in a wrong place.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from types import ModuleType
from typing import Any

from .text import MARK, SUPPORT, indent_of, names_in, own_lines, parsed, span, suites

_NAMES = ["loss", "out", "x", "y", "total", "count", "acc", "grad", "scale", "best"]
MOST_VALUES = 500  # that the statement in question may log
_LIMIT = 4000  # calls of flor after which a script is stopped

HEAD = """\
import contextlib
import math
import flor

VERBOSE = 1


def guard():
    return contextlib.nullcontext()


def checked(value):
    return value


class State:
    def __init__(self, seed):
        self.weight = seed
        self.seen = []
        self.steps = 0

    def step(self, value):
        self.weight = (self.weight * 3 + value) % 1009
        self.steps += 1
        self.seen.append(self.weight % 7)

    def norm(self):
        return (self.weight * 7 + sum(self.seen)) % 1009

    def __repr__(self):
        return f"State({self.weight}, {self.steps})"
"""


class _Writer:
    """Writes one script."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.lines: list[str] = []
        self.functions: list[tuple[str, int]] = []
        self.loops = 0
        self.bound_last: list[str] = []  # what has a value after the last block

    def script(self) -> str:
        names = self.chance.sample(["prepare", "train_step", "evaluate", "score", "fit"], self.chance.randint(1, 3))
        for name in names:
            parameters = self.chance.sample(_NAMES, self.chance.randint(1, 2))
            self.lines += ["", "", f"def {name}(state, {', '.join(parameters)}):"]
            self.block("    ", parameters, self.chance.randint(3, 6), depth=1)
            self.lines.append(f"    return {self.expression(self.bound_last or parameters)}")
            self.functions.append((name, len(parameters)))
        if self.chance.random() < 0.4:
            self.trainer()
        as_main = self.chance.random() < 0.4
        pad = "    " if as_main else ""
        self.lines += ["", "", "def main():"] if as_main else ["", ""]
        self.lines += [f"{pad}state = State({self.chance.randint(2, 50)})", f"{pad}lr = {self.chance.randint(1, 9)}"]
        bound = ["lr"]
        self.block(pad, bound, self.chance.randint(1, 3), depth=2)
        bound = list(self.bound_last)
        self.loop(pad, bound, depth=0)
        if self.chance.random() < 0.4:
            self.loop(pad, bound, depth=0)
        self.block(pad, bound, self.chance.randint(1, 3), depth=2)
        self.lines.append(f"{pad}print({self.chance.choice(self.bound_last)}, state.norm())")
        if as_main:
            self.lines += ["", "", "main()"]
        return HEAD + "\n".join(self.lines) + "\n"

    def trainer(self) -> None:
        self.lines += ["", "", "class Trainer:", "    def __init__(self, state, lr):", "        self.state = state"]
        self.lines += ["        self.lr = lr", "        self.history = []", "", "    def epoch(self, x):"]
        self.lines.append("        state = self.state")
        bound = ["x", "self.lr"]
        self.block("        ", bound, self.chance.randint(3, 5), depth=1)
        self.lines.append(f"        self.history.append({self.chance.choice(self.bound_last)})")
        self.lines.append(f"        return {self.expression(self.bound_last)}")
        self.functions.append(("Trainer(state, 3).epoch", 1))

    def block(self, pad: str, names: list[str], count: int, depth: int) -> None:
        """So many statements; `bound_last` are the names that have a value after them."""
        bound = list(names)
        for _ in range(count):
            self.statement(pad, bound, depth)
        self.bound_last = bound

    def statement(self, pad: str, bound: list[str], depth: int) -> None:
        pick = self.chance.random()
        plain = [name for name in bound if "." not in name]
        if pick < 0.38 or not plain:
            name = self.chance.choice(_NAMES)
            self.lines.append(f"{pad}{name} = {self.expression(bound)}")
            self.bind(bound, name)
        elif pick < 0.50:
            self.lines.append(f"{pad}{self.chance.choice(plain)} += {self.expression(bound)}")
        elif pick < 0.60:
            self.lines.append(f"{pad}state.step({self.chance.choice(bound)})")
        elif pick < 0.68 and self.functions:
            function, count = self.chance.choice(self.functions)
            given = ", ".join(self.chance.choice(bound) for _ in range(count))
            first = "" if "." in function else "state, "
            name = self.chance.choice(_NAMES)
            self.lines.append(f"{pad}{name} = {function}({first}{given})")
            self.bind(bound, name)
        elif pick < 0.74:
            self.lines.append(f'{pad}flor.log("{self.chance.choice(_NAMES)}", {self.chance.choice(bound)})')
        elif pick < 0.78:
            one, two = self.chance.choice(_NAMES), self.chance.choice(plain)
            self.lines.append(f"{pad}{one}, {two} = {two} + 1, {self.expression(bound)}")
            self.bind(bound, one)
        elif depth >= 3:
            self.lines.append(f"{pad}state.seen.append({self.chance.choice(bound)} % 5)")
        elif pick < 0.86:
            self.lines.append(f"{pad}if {self.chance.choice(bound)} % {self.chance.randint(2, 3)} == 0:")
            self.block(pad + "    ", bound, self.chance.randint(1, 3), depth + 1)
            if self.chance.random() < 0.4:
                self.lines.append(f"{pad}else:")
                self.block(pad + "    ", bound, self.chance.randint(1, 2), depth + 1)
        elif pick < 0.90:
            self.lines.append(f"{pad}with guard():")
            self.block(pad + "    ", bound, self.chance.randint(2, 3), depth + 1)
            bound[:] = self.bound_last
        elif pick < 0.93:
            self.lines.append(f"{pad}try:")
            self.block(pad + "    ", bound, self.chance.randint(2, 3), depth + 1)
            inner = list(self.bound_last)
            self.lines += [f"{pad}finally:", f"{pad}    state.steps += 1"]
            bound[:] = inner
        else:
            self.loop(pad, bound, depth)

    @staticmethod
    def bind(bound: list[str], name: str) -> None:
        if name not in bound:
            bound.append(name)

    def loop(self, pad: str, bound: list[str], depth: int) -> None:
        self.loops += 1
        variable = ["epoch", "i", "j", "k"][min(depth, 3)]
        count = self.chance.randint(2, 3)
        if self.chance.random() < 0.6:
            name = "epoch" if depth == 0 else self.chance.choice(["step", "batch"])
            self.lines.append(f'{pad}for {variable} in flor.loop("{name}", range({count})):')
        else:
            self.lines.append(f"{pad}for {variable} in range({count}):")
        self.block(pad + "    ", [*bound, variable], self.chance.randint(2, 5), depth + 1)
        self.bound_last = bound

    def expression(self, bound: list[str]) -> str:
        one, two = self.chance.choice(bound), self.chance.choice(bound)
        return self.chance.choice(
            [
                f"({one} * {self.chance.randint(2, 9)} + {two}) % 1009",
                f"{one} + {two}",
                f"abs({one} - {self.chance.randint(1, 99)})",
                f"max({one}, {two}) % 101",
                f"({one} + state.weight) % 1009",
                f"{one} + state.norm()",
                f"sum(v % 3 for v in state.seen) + {one}",
                f"len(state.seen) + {one}",
            ]
        )


# ---- running ------------------------------------------------------------------------------------------------------


class Stopped(Exception):
    """The script logged too much."""


@dataclass
class Run:
    """What a script logged: of the statement in question, and everything else that it showed."""

    values: list[tuple[tuple[Any, ...], str]] = field(default_factory=list)  # (iterations of named loops, value)
    others: list[tuple[str, str]] = field(default_factory=list)
    failure: str | None = None

    @property
    def shown(self) -> tuple[list[str], list[tuple[str, str]]]:
        """What it shows, whatever its loops are called."""
        return [value for _, value in self.values], self.others


class _Flor(ModuleType):
    """Stands in for `flor`: writes down what is logged."""

    def __init__(self, run: Run) -> None:
        super().__init__("flor")
        self._run = run
        self._path: list[Any] = []
        self._calls = 0

    def _count(self) -> None:
        self._calls += 1
        if self._calls > _LIMIT:
            raise Stopped

    def log(self, name: str, value: Any) -> Any:
        self._count()
        if name == MARK:
            self._run.values.append((tuple(self._path), repr(value)))
        else:
            self._run.others.append((name, repr(value)))
        return value

    def loop(self, name: str, items: Any) -> Iterator[Any]:
        self._path.append(None)
        for number, item in enumerate(items):
            self._count()
            self._path[-1] = number
            yield item
        self._path.pop()


def run(source: str | bytes) -> Run:
    """Run a script in this process."""
    result = Run()
    before = sys.modules.get("flor")
    sys.modules["flor"] = _Flor(result)
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            exec(compile(source, "script.py", "exec"), {"__name__": "__main__", "__builtins__": builtins})
    except Exception as error:
        result.failure = type(error).__name__
    finally:
        if before is not None:
            sys.modules["flor"] = before
        else:
            del sys.modules["flor"]
    result.others.append(
        ("printed", "\n".join(one for one in shown.getvalue().split("\n") if not one.startswith("at ")))
    )
    return result


# ---- the statement in question ----------------------------------------------------------------------------------


def program(chance: Random) -> str | None:
    """A script that runs to its end, without the statement; None if this one does not."""
    text = _Writer(chance).script()
    return text if parsed(text) is not None and run(text).failure is None else None


def statements(chance: Random, name: str, other: str) -> list[str]:
    """The statement in question (the last line) with what is there for it only."""
    short = f"{SUPPORT}{chance.randrange(9)}"
    return chance.choice(
        [
            [f'flor.log("{MARK}", {name})'],
            [f'flor.log("{MARK}", {name})'],
            [f'flor.log("{MARK}", {name} * 2 + {other})'],
            [f'flor.log("{MARK}", f"{{{name}}} {{{other}}}")'],
            [f'flor.log("{MARK}", [{name} + v for v in range(2)])'],
            [f"{short} = {name} * 3", f'flor.log("{MARK}", {short} + {other})'],
            [f"{short} = {name}", f"{short} += {other}", f'flor.log("{MARK}", {short})'],
            [f'flor.log("{MARK}", state.norm() + {name})'],
            [f'flor.log("{MARK}", (state.weight, len(state.seen), {name}))'],
        ]
    )


def with_mark(text: str, chance: Random) -> str | None:
    """The script with a statement that logs at a random place, where what it reads has a value and it is reached."""
    tree = parsed(text)
    assert tree is not None
    lines = text.split("\n")
    possible = [suite for suite in suites(tree) if not suite.of_class and not _fixed(suite.owners)]
    for _ in range(6):
        suite = chance.choice(possible)
        index = chance.randrange(len(suite.nodes) + 1)
        node = suite.nodes[min(index, len(suite.nodes) - 1)]
        if not own_lines(lines, node) or (index == len(suite.nodes) and _leaves(node)):
            continue
        near = suite.nodes[max(0, index - 3) : index + 1] + [one for one in suite.owners[-1:]]
        names = sorted(names_in(list(near), stored=True) | names_in(list(near), stored=False))
        names = [name for name in names if name in {*_NAMES, "epoch", "i", "j", "k", "lr"}]
        if not names:
            continue
        first, last = span(node)
        at = last if index == len(suite.nodes) else first - 1
        pad = indent_of(lines[first - 1])
        added = [pad + line for line in statements(chance, chance.choice(names), chance.choice(names))]
        out = "\n".join([*lines[:at], *added, *lines[at:]])
        result = run(out)
        if result.failure is None and 0 < len(result.values) <= MOST_VALUES:
            return out
    return None


def _fixed(owners: tuple[Any, ...]) -> bool:
    return any(getattr(owner, "name", "") in {"State", "guard", "checked", "__init__"} for owner in owners)


def _leaves(node: Any) -> bool:
    return type(node).__name__ in {"Return", "Raise", "Break", "Continue"}


__all__ = ["MOST_VALUES", "Run", "program", "run", "with_mark"]
