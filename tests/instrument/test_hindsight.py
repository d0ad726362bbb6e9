"""What counts as a hindsight statement, and what it brings along."""

from __future__ import annotations

import pytest
from flor_instrument import SourceError, hindsight, propagate

BASE = b"import flor\nfor x in data:\n    y = f(x)\n    g(y)\n"


def names(today: str, base: bytes = BASE) -> list[str | None]:
    return [unit.name for unit in hindsight(base, today.encode()).units]


def test_nothing_added() -> None:
    assert hindsight(BASE, BASE).units == ()
    assert names("import flor\nfor x in data:\n    # a comment\n    y = f( x )\n    g(y)\n") == []


@pytest.mark.parametrize(
    ("header", "call"),
    [
        ("import flor", "flor.log"),
        ("import flor as fl", "fl.log"),
        ("from flor import log", "log"),
        ("from flor import log as note", "note"),
        ("import flordb as flor", "flor.log"),
        ("from flordb import flor_log_is_not_this, log", "log"),
        ("import flor_replay", "flor_replay.log"),
    ],
)
def test_every_import_form(header: str, call: str) -> None:
    base = f"{header}\ny = f()\ng(y)\n".encode()
    today = f"{header}\ny = f()\n{call}('y', y)\ng(y)\n"
    assert names(today, base) == ["y"]


def test_other_edits_are_not_units() -> None:
    assert names("import flor\nimport os\nfor x in data:\n    y = f(x, 1)\n    print(y)\n    g(y)\n") == []


def test_unit_is_the_whole_new_compound_statement() -> None:
    patch = hindsight(BASE, BASE.replace(b"    g(y)\n", b"    if y:\n        flor.log('y', y)\n    g(y)\n"))
    assert [unit.text for unit in patch.units] == ["if y:\n        flor.log('y', y)"]
    assert (patch.units[0].line, patch.units[0].end_line) == (4, 5)


def test_unit_inside_an_old_compound_statement_is_the_log_alone() -> None:
    base = b"import flor\nfor x in data:\n    if x:\n        g(x)\n"
    patch = hindsight(base, base + b"        flor.log('x', x)\n")
    assert [unit.text for unit in patch.units] == ["flor.log('x', x)"]


def test_several_logs_in_one_new_block_are_one_unit() -> None:
    today = BASE + b"for k in (1, 2):\n    flor.log('a', k)\n    flor.log('b', k)\n"
    (unit,) = hindsight(BASE, today).units
    assert unit.name is None
    assert unit.names == ("a", "b")


def test_changed_statement() -> None:
    base = b"import flor\ny = f()\nflor.log('y', y)\n"
    (unit,) = hindsight(base, base.replace(b"'y', y", b"'y', y.mean()")).units
    assert unit.changed
    assert unit.name == "y"


def test_another_name_is_no_change() -> None:
    base = b"import flor\ny = f()\nflor.log('y', y)\n"
    (unit,) = hindsight(base, base.replace(b"'y', y", b"'z', y")).units
    assert not unit.changed


def test_needs_are_listed_in_order() -> None:
    today = (
        b"import flor\nimport math\nSCALE = 3\n\n\ndef norm(y):\n    return math.sqrt(y) * SCALE\n\n\n"
        b"for x in data:\n    y = f(x)\n    n = norm(y)\n    flor.log('n', n)\n    g(y)\n"
    )
    (unit,) = hindsight(BASE, today).units
    assert unit.needs == (
        "import math",
        "SCALE = 3",
        "def norm(y):\n    return math.sqrt(y) * SCALE",
        "n = norm(y)",
    )
    result = propagate(hindsight(BASE, today), BASE)
    assert not result.refused
    assert result.source == (
        b"import flor\nimport math\nSCALE = 3\ndef norm(y):\n    return math.sqrt(y) * SCALE\n\n\n"
        b"for x in data:\n    y = f(x)\n    n = norm(y)\n    flor.log('n', n)\n    g(y)\n"
    )


def test_log_in_a_new_function_is_carried_by_its_call() -> None:
    today = b"import flor\n\n\ndef note(y):\n    flor.log('y', y)\n\n\nfor x in data:\n    y = f(x)\n    note(y)\n    g(y)\n"
    patch = hindsight(BASE, today)
    assert [unit.text for unit in patch.units] == ["note(y)"]
    assert patch.units[0].names == ("y",)
    result = propagate(patch, BASE)
    assert not result.refused
    assert b"def note" in result.source


def test_any_statement() -> None:
    patch = hindsight(BASE, BASE.replace(b"    g(y)", b"    print(y)\n    g(y)"), any_statement=True)
    assert [unit.text for unit in patch.units] == ["print(y)"]


@pytest.mark.parametrize("data", [b"x = = 1\n", b"x\0", b"# coding: nonsense\nx\n", b"x = '\xff'\n", b"def f(:\n"])
def test_source_error_says_why(data: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        hindsight(BASE, data)
    assert str(caught.value).endswith(".")
    patch = hindsight(BASE, BASE + b"flor.log('y', y)\n")
    result = propagate(patch, data)
    assert result.source == data
    assert len(result.refused) == 1
