"""The benchmark's own judgement: planted right, equivalent and wrong results, and cases made from planted histories."""

from __future__ import annotations

import ast

import pytest

from benchmarks.propagation.cases import cases, differences, moved_itself, outline, without
from benchmarks.propagation.verdicts import equivalent, independent, same, verdict

TRUTH = """\
import logging


def train(model, data, lr):
    for x in data:
        out = model(x)
        loss = out * lr
        logging.info("loss %s", loss)
        note = "a remark"
        print(note)
        total = step(loss)
        if total:
            report(total)
    return total
"""
LINE = '        logging.info("loss %s", loss)\n'
TARGET = TRUTH.replace(LINE, "")


def judged(result: str | None, positive: bool = True) -> str:
    data = result.encode() if result is not None else None
    return verdict(data, TARGET.encode(), (TRUTH if positive else TARGET).encode(), positive)


def put(before: str, line: str = LINE) -> str:
    """The target with the line before another."""
    assert TARGET.count(before) == 1
    return TARGET.replace(before, line + before)


def test_planted_results() -> None:
    assert judged(TRUTH) == "right"
    assert judged(None) == judged(TARGET) == "refused"
    # Of another layout is the same program.
    assert (
        judged(TRUTH.replace('info("loss %s", loss)', "info(\n            'loss %s', loss,\n        )  # now"))
        == "right"
    )
    # Past a constant and a print of something else.
    assert judged(put("        print(note)")) == "equivalent"
    assert judged(put("        total = step(loss)")) == "equivalent"


@pytest.mark.parametrize(
    ("what", "result"),
    [
        ("before what it reads", put("        loss = out")),
        ("before what gives that", put("        out = model")),
        ("past a call that is given it", put("        if total:")),
        ("in another block", put("            report(total)", "    " + LINE)),
        ("out of its loop", put("    return total", LINE[4:])),
        ("before the loop", put("    for x in data:", LINE[4:])),
        ("of another name", TRUTH.replace('"loss %s", loss', '"loss %s", out')),
        ("of another text", TRUTH.replace('"loss %s"', '"Loss %s"')),
        ("twice", TRUTH.replace(LINE, LINE + LINE)),
        ("with something else gone", TRUTH.replace("        print(note)\n", "")),
        ("with something else changed", TRUTH.replace("a remark", "the remark")),
        ("into another function", TARGET + "\n\ndef other(loss):\n" + LINE[4:]),
        ("no Python", TRUTH.replace("return total", "return (")),
    ],
)
def test_planted_wrong_results(what: str, result: str) -> None:
    assert judged(result) == "wrong", what


def test_negatives_are_right_only_when_refused() -> None:
    assert judged(None, positive=False) == "right"
    assert judged(TARGET, positive=False) == "right"
    assert judged(TRUTH, positive=False) == "wrong"


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        ("y = 3", True),
        ("y = x + 1", True),
        ("loss = 3", False),
        ("y, loss = 1, 2", False),
        ("y = f(loss)", False),
        ("y = len(loss)", True),
        ("loss.backward()", False),
        ("other.update()", False),
        ("print(loss)", True),
        ("model.loss = 3", False),
        ("losses[0] = 3", False),
        ("y += 1", False),
        ("'a note'", True),
        ("pass", True),
        ("import os", True),
        ("import a as loss", False),
        ("def loss(): pass", False),
        ("def other(): pass", True),
        ("@loss.register\ndef other(): pass", False),
        ("if x: pass", False),
        ("return", False),
        ("raise ValueError", False),
        ("break", False),
        ("del loss", False),
        ("yield loss", False),
        ("y = yield", False),
        ("await other", False),
        ("print(loss := 3)", False),
        ("y = (loss := 3)", False),
    ],
)
def test_what_a_statement_may_be_moved_past(passed: str, expected: bool) -> None:
    logged = ast.parse("log('loss', loss)").body[0]
    assert independent(ast.parse(passed).body[0], logged) is expected


def test_same_is_of_programs_not_of_texts() -> None:
    assert same(b"x = 1\n", b"x  =  1 # a\r\n")
    assert not same(b"x = 1\n", b"x = 1.0\n")
    assert not same(b"if a:\n    b\nc\n", b"if a:\n    b\n    c\n")
    assert same(b"print 'a'\n", b"print  'a'\n")
    assert not same(b"print 'a'\n", b"print 'b'\n")
    assert not equivalent(b"x = (", b"x = 1\n", b"")


# ---- cases from histories ----------------------------------------------------------------------------------------


def history(*versions: str) -> list[bytes]:
    return [version.encode() for version in versions]


OLDER = TRUTH.replace("        out = model(x)\n", "        out = model(x, 1)\n").replace("lr", "rate")


def test_positive_cases_take_the_statement_out_and_know_where_it_was() -> None:
    found = list(cases(history(TRUTH, OLDER), "a", positives=5, negatives=5, seed=0))
    assert {case.line for case in found} <= {8, 10}
    assert {case.positive for case in found} == {True}
    for case in found:
        assert case.today == TRUTH.encode()
        assert case.base == without(case.today, case.line)
        assert case.truth == OLDER.encode()
        assert case.target == without(case.truth, case.line)
        assert len(case.target.splitlines()) == len(case.truth.splitlines()) - 1
        assert not case.arguable
        assert case.distance == 1


def test_what_is_hard_about_a_case_is_named() -> None:
    changed = TRUTH.replace("        loss = out * lr\n", "        loss = out * lr * 2\n")
    wrapped = TRUTH.replace(LINE, "        if loss:\n            pass\n" + "    " + LINE)
    renamed = TRUTH.replace("def train", "def fit")
    for version, expected in ((changed, "one neighbour"), (wrapped, "nesting"), (renamed, "function"), (TRUTH, None)):
        new, old = outline(TRUTH.encode()), outline(version.encode())
        one, two = (next(call for call in side.calls if "info" in call.text) for side in (new, old))
        named = list(differences(one, two))
        assert expected in named if expected else not named


def test_negative_cases_read_a_name_that_is_no_word_of_the_version() -> None:
    older = TARGET.replace("loss", "out").replace("        out = out * lr\n", "")
    found = list(cases(history(TRUTH, older), "a", positives=0, negatives=5, seed=0))
    assert found
    for case in found:
        assert not case.positive
        assert case.truth == case.target == older.encode()
        assert b"loss" not in case.target


def test_a_name_that_is_only_called_otherwise_makes_no_negative() -> None:
    older = TARGET.replace("loss", "objective")
    assert not list(cases(history(TRUTH, older), "a", positives=0, negatives=5, seed=0))


def test_a_statement_that_its_author_moved_is_arguable() -> None:
    moved = put("        loss = out")
    found = {
        case.name: case
        for case in cases(history(TRUTH, moved), "a", positives=9, negatives=0, seed=0)
        if case.line == 8
    }
    assert found
    assert all(case.arguable for case in found.values())
    new, old = outline(TRUTH.encode()), outline(OLDER.encode())
    one, two = (next(call for call in side.calls if "info" in call.text) for side in (new, old))
    assert not moved_itself(new, old, one, two)


def test_cases_are_the_same_for_the_same_seed() -> None:
    versions = history(TRUTH, OLDER, TARGET)
    one, two, other = ([(case.name, case.positive) for case in cases(versions, "a", 3, 3, seed)] for seed in (1, 1, 2))
    assert one == two
    assert one
    del other
