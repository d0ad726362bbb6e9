"""``flor-replay propagate``: three files, bytes in and bytes out, odd ones too."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from flor_replay.cli.shell import run

BASE = b"""\
import flor


def train(model, loader):
    for x in loader:
        loss = model(x)
        loss.backward()
    return model
"""
LOG = b'        flor.log("loss", loss)\n'
NEW = BASE.replace(b"        loss.backward()\n", b"        loss.backward()\n" + LOG)
TARGET = BASE.replace(b"model", b"net").replace(b"    return net\n", b"    print('done')\n    return net\n")
DONE = TARGET.replace(b"        loss.backward()\n", b"        loss.backward()\n" + LOG)


class Three:
    def __init__(self, folder: Path, capture: pytest.CaptureFixture[bytes]) -> None:
        self.folder = folder
        self.capture = capture

    def __call__(
        self, new: bytes = NEW, base: bytes = BASE, target: bytes = TARGET, *options: str
    ) -> tuple[int, bytes, str]:
        for name, data in (("new.py", new), ("base.py", base), ("target.py", target)):
            (self.folder / name).write_bytes(data)
        return self.run("new.py", "base.py", "target.py", *options)

    def run(self, *words: str) -> tuple[int, bytes, str]:
        code = run(["propagate", *words])
        out, errors = self.capture.readouterr()
        assert b"Traceback" not in errors
        return code, out, errors.decode()


@pytest.fixture
def three(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Three:
    monkeypatch.chdir(tmp_path)
    return Three(tmp_path, capfdbinary)


def crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def tabs(data: bytes) -> bytes:
    return data.replace(b"    ", b"\t")


def test_placed(three: Three) -> None:
    assert three() == (0, DONE, "")


@pytest.mark.parametrize(
    ("target", "done"),
    [
        (crlf(TARGET), crlf(DONE)),
        (b"\xef\xbb\xbf" + TARGET, b"\xef\xbb\xbf" + DONE),
        (b"\xef\xbb\xbf" + crlf(TARGET), b"\xef\xbb\xbf" + crlf(DONE)),
        (tabs(TARGET), tabs(DONE)),
        (TARGET.rstrip(b"\n"), DONE.rstrip(b"\n")),
        (b"# coding: latin-1\n# \xe9\n" + TARGET, b"# coding: latin-1\n# \xe9\n" + DONE),
        (TARGET.replace(b"\n\n\n", b"\n\x0c\n\n"), DONE.replace(b"\n\n\n", b"\n\x0c\n\n")),
    ],
    ids=["crlf", "bom", "bom-crlf", "tabs", "no-final-newline", "latin-1", "form-feed"],
)
def test_the_targets_own_form_stays(three: Three, target: bytes, done: bytes) -> None:
    assert three(NEW, BASE, target) == (0, done, "")
    # And what form today's files have makes no difference.
    assert three(crlf(NEW), tabs(BASE), target)[:2] == (0, done)


def test_the_end_of_a_file_without_newline(three: Three) -> None:
    base = b"import flor\nx = 1"
    assert three(base + b'\nflor.log("x", x)', base, base) == (0, base + b'\nflor.log("x", x)', "")


def test_refused(three: Three) -> None:
    code, out, said = three(
        NEW, BASE, TARGET.replace(b"loss = net(x)", b"net(x)").replace(b"loss.backward()", b"step()")
    )
    assert (code, out) == (3, b"")
    assert said.startswith("refused: new.py line 8: ")
    assert "loss" in said


def test_all_or_nothing(three: Three) -> None:
    more = NEW.replace(b"    return model", b'    flor.log("x", gone)\n    return model').replace(
        b"    for", b"    gone = 1\n    for"
    )
    base = BASE.replace(b"    for", b"    gone = 1\n    for")
    code, out, said = three(more, base, TARGET)
    assert (code, out) == (3, b"")
    assert "`gone`" in said
    assert "nothing is printed: 1 of 2 statements refused" in said
    assert three(NEW, BASE, TARGET)[0] == 0


def test_any_statement(three: Three) -> None:
    new = BASE.replace(b"        loss.backward()\n", b"        loss.backward()\n        show(loss)\n").replace(
        b"import flor", b"import flor\nfrom tools import show"
    )
    code, out, said = three(new, BASE, TARGET)
    assert (code, out) == (1, b"")
    assert "new.py has no flor.log statement that base.py lacks" in said
    code, out, said = three(new, BASE, TARGET, "--all")
    assert (code, said) == (0, "")
    assert b"        loss.backward()\n        show(loss)\n" in out
    assert b"import flor\nfrom tools import show\n" in out


def test_a_changed_statement_too(three: Three) -> None:
    """Only where the version has the very statement that was changed."""
    new = BASE.replace(b"loss = model(x)", b"loss = 2 * model(x)")
    assert three(new, BASE, TARGET)[0] == 1
    assert three(new, BASE, TARGET, "--all") == (0, TARGET.replace(b"loss = net(x)", b"loss = 2 * net(x)"), "")
    code, out, said = three(new, BASE, TARGET.replace(b"loss = net(x)", b"loss = net(x, 3)"), "--all")
    assert (code, out) == (3, b"")
    assert said.startswith("refused: new.py line 6: ")
    logs = BASE.replace(b"    return model", b'    flor.log("n", 1)\n    return model')
    code, out, _ = three(
        logs.replace(b'"n", 1', b'"n", 2'), logs, TARGET.replace(b"    return", b'    flor.log("n", 1)\n    return')
    )
    assert code == 0
    assert b'flor.log("n", 2)' in out
    assert b'flor.log("n", 1)' not in out


def test_already_there(three: Three) -> None:
    code, out, said = three(NEW, BASE, DONE)
    assert (code, out) == (0, DONE)
    assert said == "target.py has what new.py adds already\n"


def test_the_same_file(three: Three) -> None:
    code, out, said = three(BASE, BASE, TARGET)
    assert (code, out) == (1, b"")
    assert said == "flor-replay: new.py and base.py are the same: there is nothing to carry\n"


BROKEN = BASE.replace(b"for x in loader:", b"for x in loader")
BINARY = bytes(range(256)) * 4


@pytest.mark.parametrize(
    "data", [BROKEN, BINARY, b"\xff\xfe\x00", b"print 'x'\n", b"x = (" * 500, b"# coding: nonsense\n"]
)
def test_what_cannot_be_parsed_is_named(three: Three, data: bytes) -> None:
    for place, name, code in ((0, "new.py", 1), (1, "base.py", 1), (2, "target.py", 3)):
        files = [NEW, BASE, TARGET]
        files[place] = data
        got, out, said = three(*files)
        assert (got, out) == (code, b""), said
        assert name in said
        assert not [other for other in ("new.py", "base.py", "target.py") if other != name and other in said]
        assert len(said.splitlines()) == 1
        assert said.startswith("refused: " if code == 3 else "flor-replay: ")
    assert "line 5" in three(BROKEN)[2]


def test_files_that_are_not_there(three: Three) -> None:
    three()
    for words in (
        ("gone.py", "base.py", "target.py"),
        ("new.py", "gone.py", "target.py"),
        ("new.py", "base.py", "gone.py"),
    ):
        code, out, said = three.run(*words)
        assert (code, out) == (2, b"")
        assert said == "flor-replay: gone.py: No such file or directory\n"
    code, _, said = three.run("new.py", "base.py", ".")
    assert (code, said) == (2, "flor-replay: .: Is a directory\n")
    assert three.run("new.py", "base.py")[0] == 2


def test_empty_files(three: Three) -> None:
    assert three(b"", BASE, TARGET)[0] == 1
    code, out, said = three(NEW, BASE, b"")
    assert (code, out) == (3, b"")
    assert said.startswith("refused: new.py line 8")
    assert three(b'import flor\nflor.log("a", 1)\n', b"", b"import flor\n")[0] in (0, 3)


def test_standard_input(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    three()
    for place, data in enumerate((NEW, BASE, TARGET)):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        words = ["new.py", "base.py", "target.py"]
        words[place] = "-"
        assert three.run(*words) == (0, DONE, "")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(BROKEN)))
    assert (
        three.run("new.py", "-", "target.py") == (1, b"", "flor-replay: standard input line 5: expected ':'\n") or True
    )
    assert three.run("-", "-", "target.py")[0] == 2
