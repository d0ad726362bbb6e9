"""flor.arg: where values come from, and what they become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flor_replay.errors import UsageError
from flor_replay.record import args
from tests.support import Project


def asked(words: list[str], monkeypatch: pytest.MonkeyPatch, variable: str = "") -> dict[str, Any]:
    monkeypatch.setattr("sys.argv", ["train.py", *words])
    monkeypatch.setenv("FLOR_ARGS", variable)
    return args.given()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--kwargs", "lr=0.1", "epochs=3"], {"lr": "0.1", "epochs": "3"}),
        (["--kwargs", "s=a=b", "t="], {"s": "a=b", "t": ""}),
        (["--lr", "3", "--kwargs", "lr=1", "--other", "x=2"], {"lr": "1"}),
        (["--kwargs", "lr=1", "data.csv", "x=2"], {"lr": "1"}),
        (["--kwargs", "lr=1", "--kwargs", "lr=2"], {"lr": "2"}),
        (["--kwargs"], {}),
        (["lr=1"], {}),
    ],
)
def test_the_command_line(words: list[str], found: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(words, monkeypatch) == found


def test_the_variable_in_both_forms_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked([], monkeypatch, "lr=0.1 name='a b' s=a=b") == {"lr": "0.1", "name": "a b", "s": "a=b"}
    assert asked(["--kwargs", "lr=2"], monkeypatch, ' {"lr": 1, "layers": [1, 2]} ') == {"lr": "2", "layers": [1, 2]}


@pytest.mark.parametrize(
    ("words", "variable", "message"),
    [
        (["--kwargs", "lr", "0.1"], "", "--kwargs: 'lr' is not of the form name=value"),
        ([], "lr 0.1", "FLOR_ARGS: 'lr' is not of the form name=value"),
        ([], "{lr: 1}", "FLOR_ARGS is not valid JSON"),
        ([], "name='a", "cannot be split into words"),
    ],
)
def test_what_is_not_understood_is_said(
    words: list[str], variable: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=message):
        asked(words, monkeypatch, variable)


@pytest.mark.parametrize(
    ("value", "default", "kept"),
    [
        ("0.5", 0.1, 0.5), ("1", 0.1, 1.0), ("1e-3", 0.1, 0.001), ("nan-ish", "x", "nan-ish"), ("7", 1, 7), (" 7 ", 1, 7),
        ("true", False, True), ("False", True, False), ("0", True, False), ("on", False, True), ("yes", False, True),
        ("3", None, 3), ("0.5", None, 0.5), ("None", None, None), ("true", None, True), ("text", None, "text"),
        ("2024_01", None, "2024_01"), ("[1, 2]", None, [1, 2]), ("{'a': 1}", None, {"a": 1}), ("", None, ""), ("", "x", ""),
        ("1,2,3", [0], [1, 2, 3]), ("[1, 2]", [0], [1, 2]), ("[1, 2]", (0,), (1, 2)), ("a,b", ["x"], ["a", "b"]), ("5", [0], [5]),
        ('{"a": 1}', {}, {"a": 1}), ("a/b", Path(), Path("a/b")),
        (1, 0.5, 1.0), (2, 1, 2), ([1], [0], [1]), ([1], (0,), (1,)), (None, 3, None), (1, False, True), (True, False, True),
        ({"a": 1}, {}, {"a": 1}), (3, "x", "3"),
    ],
)  # fmt: skip
def test_casts(value: object, default: object, kept: object) -> None:
    found = args.cast("name", value, default)
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("value", "default"),
    [("abc", 1), ("1.5", 1), ("", 1), ("abc", 0.1), ("maybe", True), ("2", True), ("5", {}), (1.5, 1), ("x", 1j)],
)
def test_a_cast_that_fails_names_argument_value_and_type(value: object, default: object) -> None:
    with pytest.raises(UsageError, match=f"argument name={str(value)!r} is not a {type(default).__name__}"):
        args.cast("name", value, default)


def test_a_script_gets_and_records_its_arguments(project: Project) -> None:
    code = """
        import flor, json
        found = [flor.arg("lr", 0.1), flor.arg("sizes", (1, 2)), flor.arg("deep", False), flor.arg("tag", None), flor.arg("n", 3)]
        assert flor.arg("sizes", (1, 2)) == found[1] and type(flor.arg("sizes", None)) is tuple
        for i in flor.loop("epoch", range(2)):
            flor.log("x", i)
        print(json.dumps(found))
    """
    project.write({"train.py": code})
    done = project.python("train.py", "--kwargs", "lr=1", "sizes=3,4", "deep=yes", "typo=1", "s=a=b")
    assert json.loads(done.stdout) == [1.0, [3, 4], True, None, 3]
    assert "no flor.arg asked for 's', 'typo': given but not used" in done.stderr
    (run,) = project.runs()
    assert run.args == {"lr": 1.0, "sizes": [3, 4], "deep": True, "tag": None, "n": 3}
    frame = project.dataframe("lr", "deep", "x")
    assert frame["lr"].tolist() == [1.0, 1.0]
    assert str(frame["deep"].dtype) == "bool"
    assert project.dataframe()["n"].tolist() == [3]


def test_a_bad_value_is_one_clear_error(project: Project) -> None:
    project.write({"train.py": "import flor\nflor.arg('epochs', 3)\n"})
    done = project.python("train.py", "--kwargs", "epochs=many", check=False)
    assert done.returncode == 1
    assert "UsageError: argument epochs='many' is not a int (the default is 3)" in done.stderr
    assert project.runs()[0].status == "failed"


def test_an_argument_and_a_value_of_one_name_both_stay(project: Project) -> None:
    project.write({"train.py": "import flor\nflor.arg('lr', 0.1)\nflor.log('lr', 0.2)\n"})
    project.python("train.py")
    assert project.dataframe("lr")["lr"].tolist() == [0.1, 0.2]
