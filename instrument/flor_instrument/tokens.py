"""The tokens of a statement without its layout, and what two statements are compared by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(
    r"""(?P<string>(?i:[rbuf]{0,2})(?:'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))
      |(?P<comment>\#[^\n]*)
      |(?P<name>[^\W\d]\w*)
      |(?P<number>\.?\d(?:[eE][+-]|[\w.])*)
      |(?P<op>\*\*=|//=|>>=|<<=|\.\.\.|->|:=|[+\-*/%@&|^=<>!]=|\*\*|//|<<|>>|[^\s\w])""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING = frozenset(")]}")
_KEYWORDS = frozenset(
    [
        "False",
        "None",
        "True",
        "and",
        "as",
        "assert",
        "async",
        "await",
        "break",
        "class",
        "continue",
        "def",
        "del",
        "elif",
        "else",
        "except",
        "finally",
        "for",
        "from",
        "global",
        "if",
        "import",
        "in",
        "is",
        "lambda",
        "nonlocal",
        "not",
        "or",
        "pass",
        "raise",
        "return",
        "try",
        "while",
        "with",
        "yield",
    ]
)
Renames = Mapping[str, str]


@lru_cache(maxsize=20_000)
def tokens_of(text: str) -> tuple[str, ...]:
    """The tokens of `text` without layout: no comments, no trailing commas, strings without their quotes' style."""
    out: list[str] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        token = match.group()
        if kind == "comment" or token == "\\":
            continue
        if kind == "string":
            token = _plain_string(token)
        elif kind == "op" and token in _CLOSING and out and out[-1] == ",":
            out.pop()
        out.append(token)
    return tuple(out)


def _plain_string(token: str) -> str:
    start = min(index for index in (token.find("'"), token.find('"')) if index >= 0)
    prefix = token[:start].lower().replace("u", "")
    body = token[start:]
    width = 3 if body[:3] in {"'''", '"""'} and len(body) >= 6 else 1
    return prefix + '"' + body[width:-width] + '"'


@dataclass(frozen=True, eq=False, slots=True)
class Face:
    """What two statements are compared by; equal tokens have the very same face."""

    grams: frozenset[tuple[object, ...]]
    shape: str
    telling: int  # how many tokens of the shape say something
    size: int  # of `grams`


def plain(head: Sequence[str], renames: Renames | None = None) -> tuple[str, ...]:
    """The tokens with renamed chains replaced and `self.` taken away."""
    out: list[str] = []
    index = 0
    count = len(head)
    while index < count:
        token = head[index]
        if (token[0].isalpha() or token[0] == "_") and token not in _KEYWORDS and (not out or out[-1] != "."):
            end = index + 1
            while end + 1 < count and head[end] == "." and head[end + 1].isidentifier():
                end += 2
            chain = list(head[index:end:2])
            if renames:
                for size in range(len(chain), 0, -1):
                    new = renames.get(".".join(chain[:size]))
                    if new is not None:
                        chain[:size] = new.split(".")
                        break
            if len(chain) > 1 and chain[0] in {"self", "cls"}:
                del chain[0]
            for position, part in enumerate(chain):
                if position:
                    out.append(".")
                out.append(part)
            index = end
            continue
        out.append(token)
        index += 1
    return tuple(out)


@lru_cache(maxsize=20_000)
def face_of(tokens: tuple[str, ...]) -> Face:
    grams: set[tuple[object, ...]] = set()
    seen: dict[str, int] = {}
    shape: list[str] = []
    telling = 0
    last = len(tokens) - 1
    for index, token in enumerate(tokens):
        first = token[0]
        if first.isalnum() or first in "_\"'" or token[-1] == '"':
            nth = seen.get(token, 0)
            seen[token] = nth + 1
            grams.add((token, nth))
            if token[-1] == '"':
                shape.append('"')
            elif (
                first.isdigit()
                or token in _KEYWORDS
                or (index and tokens[index - 1] == "." and index < last and tokens[index + 1] == "(")
            ):
                shape.append(token)
                telling += 1
            else:
                shape.append("name")
        else:
            shape.append(token)
        if index:
            pair = (tokens[index - 1], token)
            grams.add(pair)
    return Face(frozenset(grams), " ".join(shape), telling, len(grams))


def dice(left: frozenset[tuple[object, ...]], right: frozenset[tuple[object, ...]]) -> float:
    total = len(left) + len(right)
    return 2 * len(left & right) / total if total else 1.0
