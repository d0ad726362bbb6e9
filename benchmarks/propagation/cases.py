"""Delete-and-recover: cases with a known true place, made from the versions of a file that nobody here wrote.

A single-line call statement that logs and stands in a newer and in an older version is taken out of the older one;
carrying it over from the newer one must give the older one back. Negative cases: a statement of the newer version that
reads a name which is no word of the older one; there the right answer is to refuse.
"""

from __future__ import annotations

import ast
import builtins
import random
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

# What counts as logging: any part of the callee's dotted name.
_LOGS = re.compile(
    r"^_*(print\w*|pprint|log\w*|\w*logger|debug|info|warn|warning|\w*writer|write|add_(scalar|image|histogram|text)\w*"
    r"|summary\w*|wandb|mlflow|neptune|tensorboard|dump_?kvs|set_postfix\w*|set_description\w*|report\w*)$",
    re.IGNORECASE,
)
_BUILTINS = frozenset(dir(builtins))
_TRIES = 15  # how often a case is looked for before the file is given up


@dataclass(frozen=True)
class Case:
    """One question: carry what `today` has and `base` has not into `target`; `truth` is the right answer.

    `distance` is in versions of the file. `hard` names what differs around the statement; empty: nothing next to it.
    """

    name: str
    positive: bool
    hard: tuple[str, ...]
    arguable: bool
    distance: int
    line: int  # of the statement in `today`
    base: bytes = field(repr=False)
    today: bytes = field(repr=False)
    target: bytes = field(repr=False)
    truth: bytes = field(repr=False)


@dataclass(frozen=True, eq=False)
class Call:
    """A call statement that logs, on a line of its own, with what stands around it."""

    line: int
    text: str
    shape: str  # the text with all names blotted out
    names: frozenset[str]  # that it reads from outside
    block: Suite
    index: int


@dataclass(eq=False)
class Suite:
    """A run of sibling statements, each as the text of its first line or header."""

    scope: str
    owners: tuple[tuple[str, int], ...]  # header and line of each compound statement around it, outermost first
    texts: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Outline:
    """What case making needs to know of one content."""

    calls: list[Call]
    by_text: dict[str, list[Call]]
    by_shape: dict[str, list[Call]]
    words: frozenset[str]
    bound: frozenset[str]
    places: dict[str, list[tuple[Suite, int]]]  # statement text -> where it stands
    headers: frozenset[str]  # of all compound statements


@lru_cache(maxsize=600)
def outline(data: bytes) -> Outline:
    tree = _parsed(data)
    lines = data.decode("utf-8", errors="replace").splitlines()
    raw = data.splitlines(keepends=True)
    calls: list[Call] = []
    places: dict[str, list[tuple[Suite, int]]] = defaultdict(list)
    headers: set[str] = set()

    def visit(nodes: list[ast.stmt], scope: str, owners: tuple[tuple[str, int], ...]) -> None:
        suite = Suite(scope, owners)
        for index, node in enumerate(nodes):
            text = _head_of(node, raw)
            suite.texts.append(text)
            suite.lines.append(node.lineno)
            places[text].append((suite, index))
            alone = node.lineno == node.end_lineno and len(nodes) > 1
            if alone and isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                line = lines[node.lineno - 1] if node.lineno <= len(lines) else ""
                if ";" not in line and line[: node.col_offset].strip() == "":
                    calls.extend(_call(node, node.value, text, suite, index))
            inner = f"{scope}.{node.name}" if isinstance(node, _NAMED) else scope
            for role, body in _suites(node):
                headers.add(role + text)
                visit(body, inner, (*owners, (role + text, node.lineno)))

    visit(tree.body, "", ())
    by_text, by_shape = defaultdict(list), defaultdict(list)
    for call in calls:
        by_text[call.text].append(call)
        by_shape[call.shape].append(call)
    return Outline(
        calls,
        by_text,
        by_shape,
        frozenset(re.findall(r"\w+", data.decode("utf-8", errors="replace"))),
        frozenset(_bound(tree)),
        places,
        frozenset(headers),
    )


_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _suites(node: ast.AST) -> Iterator[tuple[str, list[ast.stmt]]]:
    for name in ("body", "orelse", "finalbody"):
        body = getattr(node, name, None)
        if isinstance(body, list) and body:
            yield ("" if name == "body" else name + " of "), body
    for handler in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield "handler of ", handler.body


def _parsed(data: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(data)


_heads: dict[bytes, str] = {}  # most statements of a version stand, letter for letter, in the one before


def _head_of(node: ast.stmt, raw: list[bytes]) -> str:
    last = next((body[0].lineno - 1 for _, body in _suites(node)), node.end_lineno or node.lineno)
    if last < node.lineno or getattr(node, "decorator_list", None):
        return _head(node)
    key = b"".join(raw[node.lineno - 1 : last])[node.col_offset :]
    key = (
        bytes(str(type(node).__name__), "ascii") + b"%d" % (node.end_col_offset or 0) * (last == node.end_lineno) + key
    )
    if key not in _heads:
        _heads[key] = _head(node)
    return _heads[key]


def _head(node: ast.stmt) -> str:
    """The statement without layout; of a compound one the header."""
    if not any(True for _ in _suites(node)):
        return ast.unparse(node)
    bare = type(node)(**{name: value for name, value in ast.iter_fields(node)})
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        if hasattr(bare, name):
            setattr(bare, name, [])
    bare.lineno = node.lineno
    return ast.unparse(bare) + ":" * isinstance(node, ast.If)


def _call(node: ast.Expr, value: ast.Call, text: str, suite: Suite, index: int) -> Iterator[Call]:
    """The statement, if it logs."""
    parts: list[str] = []
    callee: ast.expr = value.func
    while isinstance(callee, ast.Attribute):
        parts.append(callee.attr)
        callee = callee.value
    if isinstance(callee, ast.Name):
        parts.append(callee.id)
    if any(_LOGS.match(part) for part in parts):
        own = {name for part in ast.walk(node) for name in _own_names(part)}
        names = frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name)) - own
        shape = re.sub(r"\b(id|attr)='\w*'", r"\1=''", ast.dump(node))
        yield Call(node.lineno, text, shape, names, suite, index)


def _own_names(node: ast.AST) -> Iterator[str]:
    """Names that a statement gives a value inside of itself: of comprehensions and lambdas."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg


def _bound(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, _NAMED):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]


Given = tuple[str, tuple[int, ...]]  # an expression, and the place in what it is unpacked into


@lru_cache(maxsize=20)
def _given(data: bytes) -> dict[Given, frozenset[str]]:
    """The names that get their value from an expression (`i` and `x` of `for i, x in enumerate(xs)`, by their places)."""
    found: dict[Given, set[str]] = defaultdict(set)

    def unpack(target: ast.expr | None, value: str, path: tuple[int, ...]) -> None:
        if isinstance(target, ast.Name):
            found[value, path].add(target.id)
        elif isinstance(target, ast.Tuple | ast.List):
            for index, part in enumerate(target.elts):
                unpack(part, value, (*path, index))

    for node in ast.walk(_parsed(data)):
        if isinstance(node, ast.For | ast.AsyncFor):
            unpack(node.target, "for " + ast.unparse(node.iter), ())
        elif isinstance(node, ast.withitem):
            unpack(node.optional_vars, "with " + ast.unparse(node.context_expr), ())
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Constant | ast.Name):
            for target in node.targets:
                unpack(target, ast.unparse(node.value), ())
    return {key: frozenset(names) for key, names in found.items()}


def without(data: bytes, line: int) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[: line - 1] + lines[line:])


def cases(history: list[bytes], name: str, positives: int, negatives: int, seed: int) -> Iterator[Case]:
    """Up to so many cases of each kind from pairs of versions: half of them uniform, half by distance on a log scale."""
    chance = random.Random(f"{seed}:{name}")
    wanted = Counter({True: positives, False: negatives})
    seen: set[tuple[int, int, int]] = set()
    for _ in range((positives + negatives) * _TRIES if len(history) > 1 else 0):
        if not +wanted:
            return
        newer, older = _pair(len(history), chance)
        calls = outline(history[newer]).calls
        if not calls:
            continue
        call = chance.choice(calls)
        if (newer, older, call.line) in seen:
            continue
        seen.add((newer, older, call.line))
        case = _case(history[newer], history[older], call, f"{name}@{newer}->{older}:{call.line}", older - newer)
        if case is not None and wanted[case.positive] > 0:
            wanted[case.positive] -= 1
            yield case


def _pair(count: int, chance: random.Random) -> tuple[int, int]:
    if chance.random() < 0.5:
        one, two = sorted(chance.sample(range(count), 2))
        return one, two
    distance = min(count - 1, int((count - 1) ** chance.random() + 0.5))
    newer = chance.randrange(count - distance)
    return newer, newer + distance


def _case(today: bytes, old: bytes, call: Call, name: str, distance: int) -> Case | None:
    new, then = outline(today), outline(old)
    base = without(today, call.line)
    match = counterpart(new, then, call)
    if match is not None:
        hard = tuple(differences(call, match))
        arguable = moved_itself(new, then, call, match)
        return Case(name, True, hard, arguable, distance, call.line, base, today, without(old, match.line), old)
    if call.text in then.by_text or call.shape in then.by_shape:
        return None
    missing = {one for one in call.names if one not in _BUILTINS and one in new.bound and one not in then.words}
    if not missing or any(_called_otherwise(one, today, old) for one in missing):
        return None
    return Case(name, False, (), False, distance, call.line, base, today, old, old)


def _called_otherwise(name: str, today: bytes, version: bytes) -> bool:
    """Whether the older version has the name under another one: then to write that one is as right as to refuse.

    That is: it gets its value there from the very same expression (`for i, x in enumerate(xs)`), or a statement of the
    newer version stands in the older one with nothing but this name replaced. The other name must be new to today's file.
    """
    new, old = outline(today), outline(version)
    given = _given(version)
    for key, names in _given(today).items():
        others = given.get(key, frozenset())
        if name in names and len(names) == len(others) == 1 and not others & new.words:
            return True
    word = re.compile(rf"\b{re.escape(name)}\b")
    for text in new.places:
        if not word.search(text):
            continue
        before, *rest = word.split(text)
        pattern = re.compile(re.escape(before) + r"(\w+)" + r"\1".join(re.escape(part) for part in rest))
        for other in old.places:
            found = pattern.fullmatch(other)
            if found is not None and found.group(1) not in new.words:
                return True
    return False


def counterpart(new: Outline, old: Outline, call: Call) -> Call | None:
    """The same statement in the other version, where there is no doubt which one that is."""
    ours, theirs = new.by_text[call.text], old.by_text.get(call.text, [])
    if theirs:
        if len(ours) == len(theirs) == 1:
            return theirs[0]
        here = [one for one in ours if one.block.scope == call.block.scope]
        there = [one for one in theirs if one.block.scope == call.block.scope]
        if len(here) == len(there) and len(ours) == len(theirs):
            return there[here.index(call)]
        return None
    if re.search(r"Constant\(value='[^']*\w{3}", call.shape) is None:
        return None
    same, other = new.by_shape[call.shape], old.by_shape.get(call.shape, [])
    if len(same) == len(other) == 1 and other[0].text not in new.by_text:
        pairs = zip(re.findall(r"\w+", call.text), re.findall(r"\w+", other[0].text), strict=False)
        renamed = {(one, two) for one, two in pairs if one != two}
        if all(one not in old.words and two not in new.words for one, two in renamed):
            return other[0]
    return None


def differences(new: Call, old: Call) -> Iterator[str]:
    """What has changed around the statement."""
    beside = [_beside(one) for one in (new, old)]
    changed = sum(one != two for one, two in zip(*beside, strict=True))
    if changed:
        yield "one neighbour" if changed == 1 else "both neighbours"
    ours, theirs = ([header for header, _ in one.block.owners] for one in (new, old))
    if len(ours) != len(theirs):
        yield "nesting"
    elif ours != theirs:
        yield "header"
    if new.block.scope != old.block.scope:
        yield "function"
    if new.text != old.text:
        yield "names"


def _beside(call: Call) -> list[str]:
    texts = call.block.texts
    return [texts[near] if 0 <= near < len(texts) else "" for near in (call.index - 1, call.index + 1)]


def moved_itself(new: Outline, old: Outline, call: Call, match: Call) -> bool:
    """Whether the author moved the statement itself past a neighbour, so that its true place is arguable.

    That is: a sibling that stands once in both versions is on its other side now (and did not go past its own next
    neighbour as well), or one of the two has gone into or out of a block that both versions have.
    """
    ours, theirs = _known_places(new, old)
    both = {_header_key(header) for header in new.headers} & {_header_key(header) for header in old.headers}
    for here, near, there, far in ((call, ours, match, theirs), (match, theirs, call, ours)):
        for step in (-1, 1):
            index = here.index + step
            beside: list[str] = []
            while 0 <= index < len(here.block.texts) and len(beside) < 2:
                text = here.block.texts[index]
                beside += [key for key in (text, _loosely(text)) if key in far][:1]
                index += step
            if not beside:
                continue
            suite, place = far[beside[0]]
            line = suite.lines[place]
            if (line < there.line) != (step < 0):
                second = far[beside[1]] if len(beside) > 1 else None
                if second is None or (second[0].lines[second[1]] < line) == (step < 0):
                    return True
            elif (
                suite is not there.block
                and near[beside[0]][0] is here.block
                and (_headers(suite) ^ _headers(there.block)) & both
            ):
                return True
    return _left_alone(call, match, theirs, both)


def _left_alone(call: Call, match: Call, theirs: dict[str, tuple[Suite, int]], both: set[str]) -> bool:
    """Whether it went into or out of a block that both versions have, and no sibling went with it."""
    between = _headers(call.block) ^ _headers(match.block)
    rest = [text for text in call.block.texts if text != call.text]
    companions = [key for text in rest for key in (text, _loosely(text)) if key in theirs]
    return bool(between & both) and not any(theirs[key][0] is match.block for key in companions)


def _headers(suite: Suite) -> set[str]:
    return {_header_key(header) for header, _ in suite.owners}


def _header_key(text: str) -> str:
    """A loop is known by what it runs over, whatever its variable is called: `for _ in range(n)`, `for i in range(n)`."""
    return _loosely(re.sub(r"\bfor .*? in ", "for in ", text, count=1))


def _loosely(text: str) -> str:
    """What an edited statement or header is still known by: how it begins, up to its first call or the value it sets.

    A comparison sets nothing: an `if` whose condition went from `a and b` to `a and b != ""` is the same `if`.
    """
    sets = re.search(r"(?<![=!<>])=(?!=)", text)
    return text if len(text) < 12 else text[: max(12, text.find("(") + 1, sets.end() if sets else 0)]


Places = dict[str, tuple[Suite, int]]


def _known_places(new: Outline, old: Outline) -> tuple[Places, Places]:
    """Statements that stand once in both versions, by their text; else, if edited, by how they begin."""
    tables = [{text: found[0] for text, found in side.places.items() if len(found) == 1} for side in (new, old)]
    common = tables[0].keys() & tables[1].keys()
    out: list[Places] = []
    for side in (new, old):
        loose: dict[str, list[tuple[Suite, int]]] = defaultdict(list)
        for text, found in side.places.items():
            if text not in common:
                loose[_loosely(text)] += found
        out.append({key: found[0] for key, found in loose.items() if len(found) == 1})
    both = out[0].keys() & out[1].keys()
    ours, theirs = (
        {**{key: places[key] for key in both}, **{text: table[text] for text in common}}
        for places, table in zip(out, tables, strict=True)
    )
    return ours, theirs
