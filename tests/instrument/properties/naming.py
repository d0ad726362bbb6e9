"""Edits of names: variables, functions, attributes, loops, imports."""

from __future__ import annotations

import ast
import keyword
import re
import tokenize
from functools import partial
from random import Random

from .text import FUNCTIONS, SUPPORT, marked, names_in, parsed, span, suites, tokens, words

FRESH = [
    "net",
    "objective",
    "xs",
    "running",
    "opt",
    "value",
    "part",
    "amount",
    "batch_loss",
    "inner",
    "res",
    "tmp",
    "cur",
]


def _in_braces(word: re.Pattern[str], new: str, found: re.Match[str]) -> str:
    return word.sub(new, found.group())


def rename_tokens(text: str, old: str, new: str, low: int = 1, high: int = 10**9, *, attribute: bool = False) -> str:
    """Replace a name (or, after a dot, an attribute) on the lines from `low` to `high`, in f-strings too."""
    lines = text.split("\n")
    places: list[tuple[int, int, int, str]] = []
    previous = ""
    for token in tokens(text):
        if low <= token.start[0] <= high:
            if token.type == tokenize.NAME and token.string == old and (previous == ".") == attribute:
                places.append((token.start[0], token.start[1], token.end[1], new))
            elif token.type == tokenize.STRING and "f" in token.string[:2].lower() and token.start[0] == token.end[0]:
                dot = r"(?<=\.)" if attribute else r"(?<![\w.])"
                word = re.compile(rf"{dot}{old}\b")
                changed = re.sub(r"\{[^{}]*\}", partial(_in_braces, word, new), token.string)
                if changed != token.string:
                    places.append((token.start[0], token.start[1], token.end[1], changed))
        if token.type not in {tokenize.NL, tokenize.COMMENT}:
            previous = token.string
    for row, start, end, instead in sorted(places, reverse=True):
        lines[row - 1] = lines[row - 1][:start] + instead + lines[row - 1][end:]
    return "\n".join(lines)


def _keywords(tree: ast.AST) -> set[str]:
    return {part.arg for part in ast.walk(tree) if isinstance(part, ast.keyword) and part.arg}


def _declared(tree: ast.AST) -> set[str]:
    """Names that `global`, `nonlocal`, imports, handlers and patterns mention: left alone."""
    out: set[str] = set()
    for part in ast.walk(tree):
        if isinstance(part, ast.Global | ast.Nonlocal):
            out.update(part.names)
        elif isinstance(part, ast.alias):
            out.update((part.name, part.asname or part.name.partition(".")[0]))
        elif isinstance(part, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and part.name:
            out.add(part.name)
        elif isinstance(part, ast.MatchClass):
            out.update(part.kwd_attrs)
    return out


def functions_of(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [part for part in ast.walk(tree) if isinstance(part, FUNCTIONS)]


def _function(
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef], chance: Random, near: bool
) -> ast.FunctionDef | ast.AsyncFunctionDef:
    own = [one for one in functions if marked(one)]
    return own[-1] if near and own else chance.choice(functions)


def locals_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = function.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    found = names_in(list(function.body), stored=True) | {one.arg for one in every}
    return {name for name in found if not name.startswith(("_", SUPPORT)) and name not in {"self", "cls"}}


def rename_local(text: str, chance: Random, near: bool) -> str | None:
    """A variable or parameter of one function gets another name: a fresh one, or one that another function uses."""
    tree = parsed(text)
    if tree is None or not (functions := functions_of(tree)):
        return None
    function = _function(functions, chance, near)
    bad = _keywords(tree) | _declared(tree) | {one.name for one in functions}
    usable = sorted(locals_of(function) - bad)
    if not usable:
        return None
    first, last = span(function)
    inside = words("\n".join(text.split("\n")[first - 1 : last]))
    others = {name for one in functions for name in locals_of(one)} | set(FRESH)
    candidates = sorted(others - inside - bad)
    if not candidates:
        return None
    return rename_tokens(text, chance.choice(usable), chance.choice(candidates), first, last)


def swap_locals(text: str, chance: Random, near: bool) -> str | None:
    """Two variables of one function exchange their names."""
    tree = parsed(text)
    if tree is None or not (functions := functions_of(tree)):
        return None
    function = _function(functions, chance, near)
    usable = sorted(locals_of(function) - _keywords(tree) - _declared(tree) - {one.name for one in functions})
    if len(usable) < 2:
        return None
    one, two = chance.sample(usable, 2)
    first, last = span(function)
    text = rename_tokens(text, one, "exchanged_name", first, last)
    text = rename_tokens(text, two, one, first, last)
    return rename_tokens(text, "exchanged_name", two, first, last)


def rename_global(text: str, chance: Random, near: bool) -> str | None:
    """A variable of the module, a function or a class gets another name, in the whole file."""
    tree = parsed(text)
    if tree is None:
        return None
    own = {name for node in tree.body for name in names_in(node, stored=True)}
    here = {name for suite in suites(tree) if suite.function is None for name in names_in(suite.nodes, stored=True)}
    bad = _keywords(tree) | (_declared(tree) - {one.name for one in functions_of(tree)})
    usable = sorted(name for name in (own & here) - bad if not name.startswith(("_", SUPPORT)))
    candidates = sorted(set(FRESH) - words(text))
    if not usable or not candidates:
        return None
    return rename_tokens(text, chance.choice(usable), chance.choice(candidates))


def rename_attribute(text: str, chance: Random, near: bool) -> str | None:
    """An attribute or method of the file's own classes gets another name, in the whole file."""
    tree = parsed(text)
    if tree is None:
        return None
    methods = {
        node.name
        for suite in suites(tree)
        if suite.of_class
        for node in suite.nodes
        if isinstance(node, FUNCTIONS) and not node.name.startswith("_")
    }
    attributes = {
        part.attr for part in ast.walk(tree) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
    }
    usable = sorted((methods | attributes) - _keywords(tree) - {"log", "loop"})
    candidates = sorted({f"{name}_" for name in FRESH} - words(text))
    if not usable or not candidates:
        return None
    old, new = chance.choice(usable), chance.choice(candidates)
    text = rename_tokens(text, old, new, attribute=True)
    return re.sub(rf"^(\s+(?:async )?def ){old}\b", rf"\g<1>{new}", text, flags=re.MULTILINE)


def rename_loop(text: str, chance: Random, near: bool) -> str | None:
    """A named loop gets another name."""
    found = sorted(set(re.findall(r"flor\.loop\(['\"](\w+)['\"]", text)))
    if not found:
        return None
    old = chance.choice(found)
    return re.sub(rf"(flor\.loop\(['\"]){old}(['\"])", rf"\g<1>{old}_{chance.randrange(9)}\2", text)


def import_alias(text: str, chance: Random, near: bool) -> str | None:
    """`import x` becomes `import x as y`, or `from x import log`."""
    tree = parsed(text)
    if tree is None:
        return None
    found = [
        node
        for node in tree.body
        if isinstance(node, ast.Import)
        and len(node.names) == 1
        and not node.names[0].asname
        and "." not in node.names[0].name
    ]
    if not found:
        return None
    node = chance.choice(found)
    module = node.names[0].name
    short = chance.choice(["fl", "mod", module[:2]])
    if short in words(text) or keyword.iskeyword(short) or module in _all_locals(tree):
        return None
    lines = rename_tokens(text, module, short).split("\n")
    lines[node.lineno - 1] = f"import {module} as {short}"
    return "\n".join(lines)


def _all_locals(tree: ast.AST) -> set[str]:
    return {name for one in functions_of(tree) for name in locals_of(one)}
