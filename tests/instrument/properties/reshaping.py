"""Edits that give the code another shape: a main function, a method, a helper."""

from __future__ import annotations

import ast
import re
from random import Random

from .naming import locals_of, rename_tokens
from .structure import find_run, lines_of, shifted
from .text import FUNCTIONS, frozen_lines, indent_of, is_mark, names_in, parsed, span, suites, words


def script_into_main(text: str, chance: Random, near: bool) -> str | None:
    """What the script does at its top level goes into a function `main`."""
    tree = parsed(text)
    if tree is None or "main" in words(text) or frozen_lines(text):
        return None
    kept = (*FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom)
    index = len(tree.body)
    while index and not isinstance(tree.body[index - 1], kept):
        index -= 1
    rest = tree.body[index:]
    if not rest or index == 0 or sum(not is_mark(one) for one in rest) < 2:
        return None
    lines = text.split("\n")
    first = span(rest[0])[0] - 1
    body = shifted(lines[first:], "    ")
    while body and not body[-1].strip():
        body.pop()
    call = chance.choice([["main()"], ['if __name__ == "__main__":', "    main()"]])
    return "\n".join([*lines[:first], "def main():", *body, "", "", *call, ""])


def function_into_method(text: str, chance: Random, near: bool) -> str | None:
    """A function becomes the method of a class."""
    tree = parsed(text)
    if tree is None or frozen_lines(text) or "Worker" in words(text):
        return None
    found = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.decorator_list
        and node.args.args
        and node.lineno < node.body[0].lineno
        and not any(isinstance(part, ast.Name) and part.id in {"self", "super"} for part in ast.walk(node))
    ]
    if not found:
        return None
    node = chance.choice(found)
    uses = [part for part in ast.walk(tree) if isinstance(part, ast.Name) and part.id == node.name]
    called = [part.func for part in ast.walk(tree) if isinstance(part, ast.Call)]
    if not uses or any(use not in called for use in uses):
        return None
    lines = text.split("\n")
    first, last = span(node)
    out = rename_tokens(text, node.name, f"Worker().{node.name}").split("\n")
    body = [re.sub(rf"\bWorker\(\)\.{node.name}\(", f"self.{node.name}(", line) for line in out[first - 1 : last]]
    body[0] = lines[first - 1].replace(f"def {node.name}(", f"def {node.name}(self, ", 1)
    return "\n".join([*out[: first - 1], "class Worker:", *shifted(body, "    "), *out[last:]])


def extract_helper(text: str, chance: Random, near: bool) -> str | None:
    """Some statements become a function of their own, which is called in their place."""
    tree = parsed(text)
    run = find_run(text, tree, chance, near) if tree is not None else None
    if tree is None or run is None:
        return None
    suite, low, high = run
    nodes = suite.nodes[low : high + 1]
    stop = (ast.Return, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal)
    if any(isinstance(part, (*stop, *FUNCTIONS, ast.ClassDef)) for node in nodes for part in ast.walk(node)):
        return None
    if high - low < 1 or sum(not is_mark(one) for one in nodes) < 2:
        return None
    around: ast.AST = suite.function or tree
    if suite.function is None and any(isinstance(owner, ast.ClassDef) for owner in suite.owners):
        return None
    bound = names_in(nodes, stored=True)
    local = locals_of(suite.function) | {"self"} if suite.function is not None else set()
    if suite.function is None:
        local = {name for part in suites(tree) if part.function is None for name in names_in(part.nodes, stored=True)}
        local -= {one.name for one in tree.body if isinstance(one, (*FUNCTIONS, ast.ClassDef))}
        local -= {
            name
            for one in tree.body
            if isinstance(one, ast.Import | ast.ImportFrom)
            for name in names_in(one, stored=True)
        }
    given = sorted(
        name for name in names_in(nodes, stored=False) & local if _bound_before(around, name, nodes[0].lineno)
    )
    taken = sorted(bound - {"_"})
    lines, first, last = lines_of(text, suite, low, high)
    pad = indent_of(lines[first])
    name = next((one for one in ("do_part", "do_rest", "advance") if one not in words(text)), None)
    if name is None:
        return None
    body = ["    " + line.removeprefix(pad) if line.strip() else line for line in lines[first:last]]
    if taken:
        body.append(f"    return {', '.join(taken)}")
    call = f"{pad}{', '.join(taken)}{' = ' if taken else ''}{name}({', '.join(given)})"
    top = span(suite.owners[0] if suite.owners else nodes[0])[0] - 1
    helper = [f"def {name}({', '.join(given)}):", *body, "", ""]
    return "\n".join([*lines[:top], *helper, *lines[top:first], call, *lines[last:]])


def _bound_before(around: ast.AST, name: str, line: int) -> bool:
    if isinstance(around, FUNCTIONS) and name in {one.arg for one in ast.walk(around.args) if isinstance(one, ast.arg)}:
        return True
    return any(
        isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store) and part.lineno < line
        for part in ast.walk(around)
    )
