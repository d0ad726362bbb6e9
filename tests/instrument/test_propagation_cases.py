"""Every file of fixtures/propagation is a case: what today adds, an older version, and what must come out.

A case is a text file of sections that begin with a line `=== NAME`: base (recorded), today, target, any number of
`path` (versions in between, newest first), and then `expected` or one or more `refused: WORDS` (words of the reason).
`=== already` says that the target has the statement. Lines before the first section are a comment; `options: crlf bom
tabs latin-1 no-final-newline all` among them changes how the sections become bytes (`all`: any added statement counts).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from flor_instrument import hindsight, propagate, remove

FOLDER = Path(__file__).parents[2] / "fixtures" / "propagation"


@dataclass(frozen=True)
class Case:
    base: bytes
    today: bytes
    target: bytes
    path: tuple[bytes, ...]
    expected: bytes | None
    refused: tuple[str, ...]
    already: bool
    any_statement: bool


def load(file: Path) -> Case:
    head, *parts = re.split(r"^=== *", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    options = set(" ".join(re.findall(r"options: (.*)", head)).split())
    sections = [part.partition("\n")[::2] for part in parts]

    def encode(text: str) -> bytes:
        if "tabs" in options:
            text = re.sub(r"^( {4})+", lambda m: "\t" * (len(m.group()) // 4), text, flags=re.MULTILINE)
        text = text.replace("␌", "\f")
        if "no-final-newline" in options:
            text = text.rstrip("\n")
        if "crlf" in options:
            text = text.replace("\n", "\r\n")
        data = text.encode("latin-1" if "latin-1" in options else "utf-8")
        return b"\xef\xbb\xbf" + data if "bom" in options else data

    def all_of(name: str) -> list[bytes]:
        return [encode(text) for title, text in sections if title.strip() == name]

    expected = all_of("expected")
    return Case(
        base=all_of("base")[0],
        today=all_of("today")[0],
        target=all_of("target")[0],
        path=tuple(all_of("path")),
        expected=expected[0] if expected else None,
        refused=tuple(title.partition(":")[2].strip() for title, _ in sections if title.startswith("refused")),
        already=any(title.strip() == "already" for title, _ in sections),
        any_statement="all" in options,
    )


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_case(file: Path) -> None:
    case = load(file)
    patch = hindsight(case.base, case.today, any_statement=case.any_statement)
    result = propagate(patch, case.target, case.path)
    reasons = " | ".join(refusal.reason for refusal in result.refused)
    if case.expected is not None:
        assert result.source.decode("latin-1") == case.expected.decode("latin-1"), reasons
    else:
        assert result.source == case.target
    assert len(result.refused) == len(case.refused), reasons
    for words in case.refused:
        assert words in reasons
    if case.already:
        assert result.already == tuple(range(len(patch.units)))
    assert remove(result.source, result.placed) == case.target
    again = propagate(patch, result.source)
    assert not again.placed
    assert again.source == result.source


def test_there_are_cases() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 40
