"""A version's file edited by a person: only added statements are taken, whatever the editor did to line ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from flor_instrument import NotOnlyAdded, added, remove
from flor_instrument.source import parse
from flor_instrument.splice import Edit, apply_edits
from hypothesis import given, settings
from hypothesis import strategies as st

VERSION = b"""\
import flor

for x in loader:
    out = model(
        x,
        1,
    )
    if out:
        use(out)
    flor.log("loss", out)
done()
"""


def patched(version: bytes, edited: bytes, *replaceable: str) -> bytes:
    """The version with what was added; checks that it comes out again."""
    found = added(version, edited, replaceable)
    data, _ = apply_edits(version, (Edit(one.at, one.original, one.inserted, one.lead) for one in found))
    assert remove(data, found) == version
    for one in found:
        lines = data.decode("utf-8-sig").splitlines()
        assert lines[one.line - 1].strip().startswith(one.text.splitlines()[0].strip())
        if one.after_line is not None:
            assert version.decode("utf-8-sig").splitlines()[one.after_line - 1].strip() == one.after
        if one.before_line is not None:
            assert version.decode("utf-8-sig").splitlines()[one.before_line - 1].strip() == one.before
    return data


def put(before: bytes, text: bytes, version: bytes = VERSION) -> bytes:
    assert version.count(before) == 1
    return version.replace(before, text + before)


def test_statements_with_what_feeds_them() -> None:
    edited = put(b"    if out:", b"    # by hand\n    n = norm(out)\n    flor.log('n', n)\n\n")
    found = added(VERSION, edited)
    assert [(one.kind, one.name, one.text, one.line) for one in found] == [
        ("support", None, "n = norm(out)", 9),
        ("log", "n", "flor.log('n', n)", 10),
    ]
    assert [(one.after_line, one.before_line) for one in found] == [(4, 8), (4, 8)]
    assert patched(VERSION, edited) == edited.replace(b"flor.log('n', n)\n\n", b"flor.log('n', n)\n")
    assert added(VERSION, VERSION) == ()
    assert added(VERSION, VERSION + b"# a comment\n\n") == ()


def test_what_looks_like_its_neighbour() -> None:
    edited = put(b"        use(out)\n", b"        use(out)\n    if flor.log('o', 1):\n")
    assert patched(VERSION, edited) == edited
    (found,) = added(VERSION, edited)
    assert found.text.startswith("if flor.log")
    edited = put(b"done()", b"done()\nflor.log('end', 1)\n")
    assert patched(VERSION, edited) == edited


def test_an_else_with_a_statement() -> None:
    edited = put(b'    flor.log("loss"', b"    elif flor.log('none', 1):\n        pass\n")
    assert patched(VERSION, edited) == edited
    edited = put(b'    flor.log("loss"', b"    else:\n        flor.log('none', 1)\n")
    assert patched(VERSION, edited) == edited


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"        1,\n", b"        2,\n"),
        (b"        1,\n", b"        1,\n        flor.log('a', 1),\n"),
        (b"        1,\n", b"        1,\n        # why\n        flor.log('a', 1),\n"),
        (b"    if out:\n        use(out)\n", b"    if out:\n        flor.log('a', 1)\n"),
        (b"for x in loader:\n", b"flor.log('a', 1)\nfor x in loaders:\n"),
        (b"done()\n", b"if flor.log('a', 1):\n    done()\n"),
        (b"done()\n", b"flor.log('a', 1)\n"),
        (b"done()\n", b"done(); flor.log('a', 1)\n"),
        (b'    flor.log("loss", out)\n', b"    flor.log('loss', 2 * out)\n"),
        (b"    if out:\n", b"    flor.log('a', 1)\n    if out and out:\n"),
        (b"done()\n", b"done()\nflor.log('a', 1\n"),
        (b"done()\n", b"done()\nreturn flor.log('a', 1)\n"),
    ],
)
def test_more_than_statements(old: bytes, new: bytes) -> None:
    assert VERSION.count(old) == 1
    with pytest.raises(NotOnlyAdded):
        added(VERSION, VERSION.replace(old, new))


def test_a_decorator_is_no_statement() -> None:
    version = b"import flor\ndef f():\n    return 1\n"
    with pytest.raises(NotOnlyAdded):
        added(version, version.replace(b"def f", b"@flor.wrap\ndef f"))
    edited = version + b"@cache\ndef g():\n    flor.log('g', 1)\n"
    assert patched(version, edited) == edited


def test_the_same_name_logged_anew_replaces() -> None:
    edited = VERSION.replace(
        b'flor.log("loss", out)\n', b"half = out / 2\n    flor.log('loss', half)\n    flor.log('a', 1)\n"
    )
    with pytest.raises(NotOnlyAdded):
        added(VERSION, edited)
    assert patched(VERSION, edited, "loss") == edited
    assert [one.replaces for one in added(VERSION, edited, ["loss"])] == [False, True, False]


def test_an_editors_habits() -> None:
    """Other line ends, no white space at ends of lines, a last line that ends, no mark: the version keeps its own."""
    version = b"\xef\xbb\xbf" + VERSION.replace(b"\n", b"\r\n").replace(b"    if out:", b"    if out:  ").rstrip(
        b"\r\n"
    )
    edited = put(b"    if out:", b"    flor.log('a', 1)\n") + b"flor.log('b', 2)\n"
    result = patched(version, edited)
    assert result.startswith(b"\xef\xbb\xbfimport flor\r\n")
    assert b"    flor.log('a', 1)\r\n    if out:  \r\n" in result
    assert result.endswith(b"done()\r\nflor.log('b', 2)")
    assert b"\n" not in result.replace(b"\r\n", b"")
    assert added(version, VERSION) == ()
    first = patched(version, b"flor.log('a', 1)\n" + VERSION)
    assert first.startswith(b"\xef\xbb\xbfflor.log('a', 1)\r\nimport flor")


def test_tabs_and_other_encodings() -> None:
    version = "# coding: latin-1\nimport flor\nif 1:\n\tx = 'é'\n".encode("latin-1")
    edited = version + "\tflor.log('é', x)\n".encode("latin-1")
    (found,) = added(version, edited)
    assert found.name == "é"
    assert found.inserted == "\tflor.log('é', x)\n".encode("latin-1")


SOURCES = sorted((Path(__file__).parents[2] / "fixtures" / "idioms").glob("*.py"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_statements_at_any_places(data: st.DataObject) -> None:
    """Whatever is added between statements is found again, byte for byte; one changed line more is not."""
    version = data.draw(st.sampled_from(SOURCES)).read_bytes()
    lines = version.splitlines(keepends=True)
    simple = [
        one
        for one in parse(version).statements()
        if not one.blocks and one.block.owner is not None and lines[one.line - 1][: one.col].strip() == b""
    ]
    places = data.draw(st.lists(st.sampled_from(simple), min_size=1, max_size=4, unique=True))
    edited = list(lines)
    for number, one in enumerate(sorted(places, key=lambda one: -one.line)):
        indent = lines[one.line - 1][: one.col]
        edited.insert(one.line - 1, indent + f"flor.log('n{number}', {one.line})\n".encode())
    assert patched(version, b"".join(edited)) == b"".join(edited)
    changed = data.draw(st.integers(0, len(edited) - 1))
    words = edited[changed].split(b"#")[0].strip()
    if words and b"flor.log('n" not in words and b'"""' not in words:
        edited[changed] = edited[changed].replace(words[:1], b"_" + words[:1], 1)
        with pytest.raises(NotOnlyAdded):
            added(version, b"".join(edited))
