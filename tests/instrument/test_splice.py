"""Text into text: what is put in comes out again, and nothing else moves."""

from __future__ import annotations

import ast
import tokenize

import pytest
from flor_instrument import splice
from flor_instrument.source import Source, Stmt, parse
from flor_instrument.splice import (
    Edit,
    Unwritable,
    after_line,
    apply_edits,
    before_line,
    dedented,
    indented,
    insertion,
    renamed,
    replacement,
)


def statement(source: Source, text: str) -> Stmt:
    return next(one for one in source.statements() if source.text_of(one).startswith(text))


def put(data: bytes, before: str, text: str, after: bool = False) -> bytes:
    """The data with the text before (or after) the statement that begins like that."""
    source = parse(data)
    one = statement(source, before)
    compound = bool(ast.parse(text).body[0]._fields[0] in {"test", "target", "items", "name"}) and ":" in text
    return apply_edits(data, [insertion(source, one.block, one.index + after, text, compound)])[0]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("pad", ["    ", "  ", "\t", " \t"])
def test_line_ends_and_indentation_are_the_files_own(end: str, pad: str) -> None:
    data = f"if x:{end}{pad}a = 1{end}{pad}b = 2".encode()
    assert (
        put(data, "a", "if a:\n    c()")
        == f"if x:{end}{pad}if a:{end}{pad}    c(){end}{pad}a = 1{end}{pad}b = 2".encode()
    )
    # A last line without an end gets one, and the new last line has none.
    assert put(data, "b", "c()", after=True) == data + f"{end}{pad}c()".encode()


def test_comments_stay_with_what_they_follow() -> None:
    data = b"a = 1  # one\n# of b\nb = 2\n"
    assert put(data, "a", "c()", after=True) == b"a = 1  # one\nc()\n# of b\nb = 2\n"


def test_semicolons_and_one_line_suites() -> None:
    assert put(b"a = 1; b = 2\n", "b", "c()") == b"a = 1; c(); b = 2\n"
    assert put(b"if x: a = 1\n", "a", "c()") == b"if x: c(); a = 1\n"
    assert put(b"if x: a = 1\n", "a", "c()", after=True) == b"if x: a = 1; c()\n"
    assert put(b"if x:\n    a = 1; b = 2\n    d = 3\n", "d", "c()") == b"if x:\n    a = 1; b = 2\n    c()\n    d = 3\n"
    with pytest.raises(Unwritable):
        put(b"a = 1; b = 2\n", "b", "if x:\n    c()")


def test_a_byte_order_mark_and_a_form_feed_stay_first() -> None:
    assert put(b"\xef\xbb\xbfa = 1\n", "a", "c()") == b"\xef\xbb\xbfc()\na = 1\n"
    assert put(b"\x0ca = 1\n", "a", "c()", after=True) == b"\x0ca = 1\nc()\n"


def test_letters_of_several_bytes_shift_nothing() -> None:
    data = 'x = "é€😀"; y = 2\n'.encode()
    assert put(data, "y", 'c("é")') == 'x = "é€😀"; c("é"); y = 2\n'.encode()
    latin = "# coding: latin-1\nx = 'é'; y = 2\n".encode("latin-1")
    assert put(latin, "y", 'c("é")') == "# coding: latin-1\nx = 'é'; c(\"é\"); y = 2\n".encode("latin-1")
    with pytest.raises(UnicodeEncodeError):
        put(latin, "y", 'c("€")')


def test_edits_are_undone_in_any_order() -> None:
    data = b"a = 1\nb = 2\nc = 3\n"
    source = parse(data)
    edits = [
        before_line(source, 1, "x"),
        replacement(source, statement(source, "b"), "b = f(\n    2,\n)"),
        after_line(source, 3, "y\nz"),
    ]
    patched, starts = apply_edits(data, edits)
    assert patched == b"x\na = 1\nb = f(\n    2,\n)\nc = 3\ny\nz\n"

    class Placed:
        def __init__(self, edit: Edit, start: int) -> None:
            self.start, self.inserted, self.original = start, edit.inserted, edit.original

    placed = [Placed(edit, start) for edit, start in zip(edits, starts, strict=True)]
    assert splice.undo(patched, placed) == splice.undo(patched, reversed(placed)) == data
    with pytest.raises(ValueError, match="changed"):
        splice.undo(patched.replace(b"y\nz", b"y\nq"), placed)


def test_strings_over_several_lines_keep_their_text() -> None:
    text = 'log("""one\n  two\n""", f"""three {\n    x}\nfour""")'
    moved = indented(text, "        ")
    assert ast.dump(ast.parse("if x:\n" + moved).body[0].body[0]) == ast.dump(ast.parse(text).body[0])  # type: ignore[attr-defined]
    source = parse(("if x:\n    if y:\n        " + moved.lstrip() + "\n").encode())
    assert dedented(source, statement(source, "log")) == text


def test_formatted_strings_of_several_tokens_keep_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python 3.12 cuts them, whatever Python runs this."""
    text = 'log(f"""one {\nx}\n  two""",\n    y)'
    names = {**tokenize.tok_name, 201: "FSTRING_START", 202: "FSTRING_MIDDLE", 203: "FSTRING_END"}
    cut = [
        tokenize.TokenInfo(1, "log", (1, 0), (1, 3), ""),
        tokenize.TokenInfo(201, 'f"""', (1, 4), (1, 8), ""),
        tokenize.TokenInfo(202, "one ", (1, 8), (1, 12), ""),
        tokenize.TokenInfo(1, "x", (2, 0), (2, 1), ""),
        tokenize.TokenInfo(202, "\n  two", (2, 2), (3, 5), ""),
        tokenize.TokenInfo(203, '"""', (3, 5), (3, 8), ""),
        tokenize.TokenInfo(1, "y", (4, 4), (4, 5), ""),
    ]
    monkeypatch.setattr(splice.tokenize, "tok_name", names)
    monkeypatch.setattr(splice.tokenize, "generate_tokens", lambda _: iter(cut))
    assert indented(text, "  ") == '  log(f"""one {\nx}\n  two""",\n      y)'


def test_names_are_replaced_where_they_are_names() -> None:
    text = "log('net', net.loss(x=x, net=1)[net], f'{net} net', self.net, a.net.b)  # net"
    assert renamed(text, {"net": "model"}) == (
        "log('net', model.loss(x=x, net=1)[model], f'{model} net', self.net, a.net.b)  # net"
    )
    assert renamed(text, {"self.net": "model"}) == text.replace("self.net", "model")
    assert renamed("f( a,b )", {}) == "f( a,b )"
    assert renamed("log(x.y.z, x.y)", {"x.y": "q.r"}) == "log(q.r.z, q.r)"
