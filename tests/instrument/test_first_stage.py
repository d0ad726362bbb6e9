"""The first stage (nothing near it has changed), renames that nothing bears out, and what a patch carries."""

from __future__ import annotations

import pytest
from flor_instrument import SourceError, hindsight, propagate
from flor_instrument.patches import pair_scopes
from flor_instrument.source import parse

BASE = """\
import flor


def train(model, loader, lr):
    for x, y in loader:
        out = model(x)
        loss = criterion(out, y)
        loss.backward()
        if lr:
            step(lr)
    return loss


def evaluate(model, loader):
    for x, y in loader:
        out = model(x)
        score = compare(out, y)
    return score
"""
LOG = '        flor.log("loss", loss)\n'
TODAY = BASE.replace("        loss.backward()\n", LOG + "        loss.backward()\n")


def placed(target: str, today: str = TODAY, base: str = BASE) -> str | None:
    """The patched target, or None for a refusal."""
    result = propagate(hindsight(base.encode(), today.encode()), target.encode())
    return None if result.refused else result.source.decode()


def edited(*pairs: tuple[str, str]) -> tuple[str, str]:
    """The base and today's file with the same replacements: an older version, and the right answer."""
    target, truth = BASE, TODAY
    for old, new in pairs:
        assert old in target
        target, truth = target.replace(old, new), truth.replace(old, new)
    return target, truth


# ---- nothing near it has changed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pairs",
    [
        [("step(lr)", "step(lr, 2)")],
        [("def evaluate(model, loader):", "def evaluate(net, loader, more=None):")],
        [("    return loss\n", "    report(loss)\n    return None\n")],
        [("import flor\n", "import flor\nimport os\nimport sys\n")],
        [("        out = model(x)\n        loss", "        out = model(x, 3)\n        loss")],
    ],
)
def test_changes_further_away_do_not_matter(pairs: list[tuple[str, str]]) -> None:
    target, truth = edited(*pairs)
    assert placed(target) == truth


@pytest.mark.parametrize(
    ("what", "pairs"),
    [
        (
            "what it reads comes from elsewhere",
            [("        loss = criterion(out, y)\n", "        objective = criterion(out, y)\n")],
        ),
        ("what it reads is gone", [("        loss = criterion(out, y)\n        loss.backward()\n", "        pass\n")]),
        pytest.param(
            "its function is gone",
            [(BASE[BASE.index("def train") : BASE.index("def evaluate")], "")],
        ),
        (
            "its loop is gone",
            [
                (
                    "    for x, y in loader:\n        out = model(x)\n        loss",
                    "    if x:\n        out = model(x)\n        loss",
                )
            ],
        ),
    ],
)
def test_never_where_it_would_mean_something_else(what: str, pairs: list[tuple[str, str]]) -> None:
    target, _ = edited(*pairs)
    assert placed(target) is None, what


def test_the_neighbours_standing_twice_are_not_enough() -> None:
    """Twice in one block: which of the two is nobody's to say."""
    twins = "        loss = criterion(out, y)\n        loss.backward()\n"
    target = BASE.replace(twins, twins + "        again()\n" + twins)
    assert placed(target) is None


def test_neighbours_in_another_function_are_no_neighbours() -> None:
    body = "        loss = criterion(out, y)\n        loss.backward()\n"
    target = BASE.replace("        score = compare(out, y)\n", body + "        score = compare(out, y)\n")
    assert placed(target) == TODAY.replace(
        "        score = compare(out, y)\n", body + "        score = compare(out, y)\n"
    )


def test_under_another_header_it_is_not_undisturbed_and_yet_found() -> None:
    target, truth = edited(
        (
            "    for x, y in loader:\n        out = model(x)\n        loss",
            "    for x, y in batches(loader):\n        out = model(x)\n        loss",
        )
    )
    assert placed(target) == truth


def test_a_version_that_has_it_is_left_alone() -> None:
    result = propagate(hindsight(BASE.encode(), TODAY.encode()), TODAY.encode())
    assert result.already == (0,)
    assert result.source == TODAY.encode()


# ---- renames must be borne out --------------------------------------------------------------------------------------


def test_a_rename_that_its_binder_bears_out() -> None:
    target, truth = edited(
        ("loss = criterion", "objective = criterion"),
        ("loss.backward", "objective.backward"),
        ("return loss", "return objective"),
    )
    assert placed(target) == truth.replace('flor.log("loss", loss)', 'flor.log("loss", objective)')


def test_an_imports_other_name_is_used() -> None:
    target, truth = edited(("import flor\n", "import flor as fl\n"))
    assert placed(target) == truth.replace("flor.log", "fl.log")


# ---- what a patch carries -----------------------------------------------------------------------------------------


def test_scopes_of_one_name_are_paired_in_their_order() -> None:
    text = b"class A:\n    @property\n    def x(self):\n        return self._x\n\n    @x.setter\n    def x(self, value):\n        self._x = value\n"
    one, two = parse(text), parse(text.replace(b"value", b"given"))
    pairs = pair_scopes(one, two)
    assert [two.scopes.index(pairs[scope]) for scope in one.scopes] == [0, 1, 2, 3]


def test_a_scope_of_another_name_is_paired_by_its_content() -> None:
    one = parse(BASE.encode())
    two = parse(BASE.replace("def train", "def fit").encode())
    assert {a.qualname: b.qualname for a, b in pair_scopes(one, two).items()} == {
        "": "",
        "train": "fit",
        "evaluate": "evaluate",
    }


def test_a_helper_that_helps_a_helper_comes_along_once() -> None:
    helpers = "\n\ndef scale(v):\n    return v * 2\n\n\ndef twice(v):\n    return scale(v) + scale(v)\n"
    today = TODAY.replace("import flor\n", "import flor\n" + helpers, 1).replace(
        "loss)\n        loss.b", 'twice(loss))\n        flor.log("more", scale(loss))\n        loss.b'
    )
    patch = hindsight(BASE.encode(), today.encode())
    assert [unit.name for unit in patch.units] == ["loss", "more"]
    result = propagate(patch, BASE.replace("step(lr)", "step(lr, 1)").encode())
    assert not result.refused
    assert result.source.count(b"def scale(") == result.source.count(b"def twice(") == 1
    compile(result.source, "patched", "exec")


def test_a_feeding_statement_keeps_its_order() -> None:
    fed = '        size = loss.size()\n        size += 1\n        flor.log("size", size)\n        loss.backward()\n'
    today = BASE.replace("        loss.backward()\n", fed)
    target, truth = BASE.replace("step(lr)", "step(2)"), today.replace("step(lr)", "step(2)")
    assert placed(target, today) == truth


def test_a_feeding_statement_is_not_taken_where_its_name_is_taken() -> None:
    today = BASE.replace(
        "        loss.backward()\n",
        '        size = loss.size()\n        flor.log("size", size)\n        loss.backward()\n',
    )
    target = BASE.replace(
        "        out = model(x)\n        loss", "        size = 3\n        out = model(x)\n        loss"
    )
    assert placed(target, today) is None


def test_edits_that_log_nothing_stay_behind() -> None:
    today = TODAY.replace("step(lr)", "step(lr * 2)").replace("return score", "return score / 2")
    assert placed(BASE, today) == TODAY


@pytest.mark.parametrize("data", [b"x = (", b"\0", b"# coding: nonsense\n"])
def test_a_source_that_cannot_be_read_is_one_error(data: bytes) -> None:
    for pair in ((data, BASE.encode()), (BASE.encode(), data)):
        with pytest.raises(SourceError):
            hindsight(*pair)
