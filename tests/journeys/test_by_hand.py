"""What propagation refuses, a person places: --accept takes an unsure place, --edit the version's file as edited."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flor_replay.cli.choosing import MARK, find
from flor_replay.errors import UsageError
from flor_replay.replay.proposal import VersionProposal
from flor_replay.store.views import run_query
from tests.journeys.journey import Here
from tests.support import Project

TODAY = """\
import numpy as np
import flor

w = np.arange(3.0)
for epoch in flor.loop("epoch", range(flor.arg("epochs", 3))):
    w = w + 1.0
    flor.log("norm", float(np.abs(w).max()))
    flor.log("loss", float(w.sum()))
"""
RECORDED = TODAY.replace('    flor.log("norm", float(np.abs(w).max()))\n', "")
# Then, something stood between the neighbours that changes what the statement reads.
OLD = RECORDED.replace("    w = w + 1.0\n", "    w = w + 1.0\n    w *= 0.5\n")
ADD = ("add-log", "train.py", "--yes")


def truth(before: str) -> list[float]:
    """The values of the statement, put before a line of the old script."""
    w = np.arange(3.0)
    found = []
    for _ in range(3):
        w = w + 1.0
        if before == "w *= 0.5":
            found.append(float(np.abs(w).max()))
        w *= 0.5
        if before != "w *= 0.5":
            found.append(float(np.abs(w).max()))
    return found


STATEMENT = 'flor.log("norm", float(np.abs(w).max()))'
FIRST = truth("w *= 0.5")
LAST = truth("flor.log")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Recorded once: an old version in which the place is not sure, and a new one."""
    project = Project(tmp_path_factory.mktemp("by-hand") / "project")
    project.commit("old", {"train.py": OLD})
    project.run(every=False)
    project.commit("new", {"train.py": RECORDED})
    project.run(every=False)
    project.write({"train.py": TODAY})
    return project


@pytest.fixture
def two(recorded: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    shutil.copytree(recorded.root, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project", repository=False)
    project.git("status")  # the copies have other times: the index is brought up to date
    return project


@pytest.fixture
def here(two: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.chdir(two.root)
    return Here(two, capfd)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))


def editor(folder: Path, *steps: str) -> str:
    """An editor: a script of Python that changes `text`, the file's."""
    script = folder / "editor.py"
    lines = ["import sys", "path = sys.argv[-1]", "text = open(path, newline='').read()", *steps]
    script.write_text("\n".join([*lines, "open(path, 'w', newline='').write(text)", ""]))
    return f"{sys.executable} '{script}'"


def placed(project: Project, which: int = 0) -> tuple[list[Any], set[str], set[str]]:
    """Values of "norm" of a run, with the verdicts on them and who placed them."""
    frame = project.dataframe("norm", runs=[project.runs()[which].run], fidelity=True).dropna()
    return frame["norm"].tolist(), set(frame["norm_fidelity"]), set(frame["norm_placed_by"])


def test_an_unsure_place_is_shown(here: Here) -> None:
    old = str(here.project.runs()[0].commit)
    before = here.project.state()
    shown, _ = here("add-log", "train.py", "--dry-run", code=3)
    assert f"take what is unsure with --accept {old[:8]}, or write it in with --edit {old[:8]}" in shown
    assert "  after     line 6: w = w + 1.0\n  before    line 7: w *= 0.5\n" in shown
    told = json.loads(here("add-log", "train.py", "--dry-run", "--json", code=3)[0])
    (refused,) = told["versions"][1]["refused"]
    assert (refused["file"], refused["line"]) == ("train.py", 7)
    assert "could stand before or after line 7" in refused["reason"]
    (place,) = refused["unsure"]
    assert (place["text"], place["after_line"], place["before_line"]) == (STATEMENT, 6, 7)
    # The keys are documented in docs/propagation.md.
    assert sorted(told) == ["estimated_seconds", "files", "jobs", "left_aside", "left_out", "since", "versions"]
    assert sorted(told["versions"][1]) == sorted(
        ["version", "patched", "problem", "placed", "refused", "diffs", "has_already", "where", "runs"]
    )
    assert sorted(refused) == ["file", "line", "reason", "statement", "unsure"]
    assert sorted(place) == sorted(
        [
            "path",
            "line",
            "end_line",
            "kind",
            "text",
            "name",
            "replaces",
            "replaced",
            "after",
            "after_line",
            "before",
            "before_line",
            "renames",
            "placed_by",
            "today",
        ]
    )
    # Looking at what would come of it decides nothing.
    told = json.loads(here("add-log", "train.py", "--dry-run", "--json", "--accept", old[:6], code=0)[0])
    assert [one["placed_by"] for one in told["versions"][1]["placed"]] == ["accepted"]
    here("add-log", "train.py", "--dry-run", code=3)
    assert here.project.state() == before


def test_an_unsure_place_is_accepted(here: Here) -> None:
    project = here.project
    old = str(project.runs()[0].commit)
    before = project.state()
    done = project.command(*ADD, "--accept", old[:8])
    assert "norm placed by a person (accepted)" in done.stderr
    assert placed(project, 0) == (FIRST, {"exact"}, {"accepted"})
    assert placed(project, 1)[1:] == ({"exact"}, {"tool"})
    assert project.state() == before

    # It holds from now on, also when it is said again.
    assert "2 of 2 versions filled before" in here(*ADD, "--accept", old)[1]
    told = json.loads(here("add-log", "train.py", "--dry-run", "--json")[0])
    assert [p["placed_by"] for version in told["versions"] for p in version["placed"]] == ["tool", "accepted"]
    rows = run_query("select placed_by::varchar as how from replays", str(project.root))["how"].tolist()
    assert sorted(rows) == ['{"norm": "accepted"}', "{}"]
    message = project.git("log", "-1", "--format=%B", told["versions"][1]["patched"])
    assert "Placed-by: accepted (norm)" in message

    # What it was about is another statement now: it is refused again.
    project.write({"train.py": TODAY.replace("np.abs(w).max()", "np.abs(w).min()")})
    here("add-log", "train.py", "--dry-run", code=3)

    # A decision that cannot be read any more is none.
    project.write({"train.py": TODAY})
    (kept,) = (project.store / "choices").iterdir()
    kept.write_bytes(kept.read_bytes()[:50])
    here("add-log", "train.py", "--dry-run", code=3)


def test_the_same_file_in_another_version(here: Here) -> None:
    """What was decided holds wherever the file is the same; equal versions are shown once."""
    project = here.project
    for number in range(2):
        project.commit("more", {"train.py": OLD, "other.txt": str(number)})
        project.run(every=False)
    project.write({"train.py": TODAY})
    commits = [str(one.commit) for one in project.runs()]
    shown, table = here("add-log", "train.py", "--dry-run", code=3)
    assert shown.count("refused") == 1
    assert f"the same in {commits[2][:8]} {commits[0][:8]}\n" in shown
    assert "and 2 versions more" in table
    told = json.loads(here("add-log", "train.py", "--dry-run", "--json", "--accept", commits[2], code=0)[0])
    ways = [[p["placed_by"] for p in version["placed"]] for version in told["versions"]]
    assert ways == [["accepted"], ["accepted"], ["tool"], ["accepted"]]


def test_the_versions_file_is_edited(here: Here, tmp_path: Path) -> None:
    project = here.project
    old = str(project.runs()[0].commit)[:8]
    before = project.state()
    kept = tmp_path / "sheet"
    opened = editor(
        tmp_path,
        f"open({str(kept)!r}, 'w').write(text)",
        "text = text.replace('    w *= 0.5\\n', '    w *= 0.5\\n    size = np.abs(w)  # by hand\\n'",
        "    '    flor.log(\"norm\", float(size.max()))\\n')",
    )
    done = project.command(*ADD, "--edit", old, env={"VISUAL": opened, "EDITOR": "false"}, terminal=True)
    sheet = kept.read_text()
    assert sheet.count(f"{MARK} {STATEMENT}\n") == 1  # at the unsure place
    assert f"{MARK}     {STATEMENT}" in sheet
    assert "could stand before or after" in sheet
    assert "norm placed by a person (edited)" in done.stderr
    assert placed(project, 0) == (LAST, {"exact"}, {"edited"})
    assert project.state() == before
    shown = json.loads(here("show", "norm", "--fidelity", "--json")[0])
    assert [row["norm_placed_by"] for row in shown] == ["edited"] * 3 + ["tool"] * 3

    told = json.loads(here("add-log", "train.py", "--dry-run", "--json")[0])
    assert [one["text"] for one in told["versions"][1]["placed"]] == [
        "size = np.abs(w)",
        'flor.log("norm", float(size.max()))',
    ]
    assert MARK not in told["versions"][1]["diffs"]["train.py"]


@pytest.mark.usefixtures("terminal")
def test_edited_again_and_taken_back(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = str(here.project.runs()[0].commit)
    only = ("add-log", "train.py", "--runs", here.project.runs()[0].run)

    def edit(*steps: str, code: int) -> str:
        monkeypatch.setenv("EDITOR", editor(tmp_path, *steps))
        return here(*only, "--edit", old, code=code)[1]

    assert "the file was not changed, so nothing is" in edit(code=3)
    assert "nothing was added, so it stays refused" in edit("text = text + '\\n# well\\n'", code=3)
    # Not a word is said at the question: what was written is kept all the same.
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    edit("text = text.replace('    w *= 0.5\\n', '    flor.log(\"norm\", 1)\\n    w *= 0.5\\n')", code=1)
    shown, table = here(*only, "--dry-run", code=0)
    assert "  placed by a person, in the version's file\n" in shown
    assert "norm placed by a person (edited)" in table
    edit("assert text.count('norm') == 1", "text = text.replace('\"norm\", 1', '\"norm\", 2')", code=1)
    shown, _ = here(*only, "--dry-run", code=0)
    assert '+    flor.log("norm", 2)' in shown
    assert '"norm", 1' not in shown
    said = edit("text = ''.join(line for line in text.splitlines(True) if 'norm' not in line)", code=3)
    assert "nothing was added, so what was decided before is withdrawn" in said
    here(*only, "--dry-run", code=3)


@pytest.mark.usefixtures("terminal")
def test_beside_a_statement_that_the_tool_placed(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the file that is edited; it stays the tool's, unless it is taken out."""
    today = TODAY + 'flor.log("end", float(np.abs(w).sum()))\n'
    here.project.write({"train.py": today})
    old = str(here.project.runs()[0].commit)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)

    def ways(*steps: str, code: int) -> dict[str, str]:
        monkeypatch.setenv("EDITOR", editor(tmp_path, "assert 'flor.log(\"end\"' in text", *steps))
        here("add-log", "train.py", "--edit", old, code=1)
        told = json.loads(here("add-log", "train.py", "--dry-run", "--json", code=code)[0])["versions"][1]
        return {one["name"]: one["placed_by"] for one in told["placed"]} | {
            one["statement"]: one["reason"] for one in told["refused"]
        }

    assert ways("text += '\\n# well\\n'", code=3).keys() == {"end", "norm"}
    assert not (here.project.store / "choices").exists()
    assert ways(f"text = text.replace('    w *= 0.5', '    {STATEMENT}\\n    w *= 0.5')", code=0) == {
        "norm": "edited",
        "end": "tool",
    }
    gone = ways("text = ''.join(line for line in text.splitlines(True) if '\"end\"' not in line)", code=3)
    assert gone == {"norm": "edited", "end": "The file that was given by hand does not have it."}


@pytest.mark.usefixtures("terminal")
def test_beside_a_statement_that_passes_its_value_through(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`w = flor.log("w", w + 1.0)` took the place of `w = w + 1.0`: that stays the tool's."""
    here.project.write({"train.py": TODAY.replace("w = np.arange(3.0)", 'w = flor.log("w", np.arange(3.0))')})
    old = str(here.project.runs()[0].commit)
    monkeypatch.setenv(
        "EDITOR", editor(tmp_path, f"text = text.replace('    w *= 0.5', '    {STATEMENT}\\n    w *= 0.5')")
    )
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    here("add-log", "train.py", "--edit", old, code=1)
    told = json.loads(here("add-log", "train.py", "--dry-run", "--json")[0])
    ways = {one["name"]: one["placed_by"] for one in told["versions"][1]["placed"]}
    assert ways == {"w": "tool", "norm": "edited"}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("text = text.replace('w *= 0.5', 'w *= 0.25')", "only statements may be added"),
        (
            "text = text.replace('    w *= 0.5', '    w *= 0.5\\n    flor.log(\"other\", 1)')",
            "Nothing that was added logs norm",
        ),
        ("text = text.replace('    w *= 0.5', '    w *= 0.5\\n    flor.log(\"norm\"')", "line 16"),
        ("sys.exit(3)", "the editor ended with 3"),
    ],
)
@pytest.mark.usefixtures("terminal")
def test_what_was_written_cannot_be_taken(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, said: str
) -> None:
    """One sentence, and what was written is not lost."""
    monkeypatch.setenv("VISUAL", editor(tmp_path, step))
    old = str(here.project.runs()[0].commit)
    _, errors = here(*ADD, "--edit", old, code=1)
    assert said in errors
    assert len(errors.strip().splitlines()) == 1
    kept = Path(errors.split()[-1])
    assert kept.name == "train.py"
    assert kept.is_file()
    assert not (here.project.store / "choices").exists()


def test_an_edit_that_disturbs_training_is_found(two: Project, tmp_path: Path) -> None:
    old = str(two.runs()[0].commit)
    step = "text = text.replace('    w *= 0.5\\n', '    w *= 0.5\\n    w = flor.log(\"norm\", w + 1)\\n')"
    done = two.command(*ADD, "--edit", old, env={"EDITOR": editor(tmp_path, step)}, terminal=True, check=3)
    assert "diverged" in done.stderr
    assert placed(two, 0)[0] == []


def test_versions_that_are_not_meant(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (str(one.commit) for one in here.project.runs())

    def said(*words: str) -> str:
        _, errors = here(*words, code=2)
        assert len(errors.strip().splitlines()) == 1, errors
        return errors

    assert "--accept zzzz: no version that is looked at is called so (there is" in said(*ADD, "--accept", "zzzz")
    assert f"--accept {new}: nothing is refused" in said(*ADD, "--accept", new)
    monkeypatch.setenv("EDITOR", "")
    monkeypatch.delenv("VISUAL", raising=False)
    assert "VISUAL or EDITOR" in said(*ADD, "--edit", old)
    monkeypatch.setenv("EDITOR", "no-such-editor -w")
    assert "no-such-editor" in said(*ADD, "--edit", old)
    monkeypatch.setenv("EDITOR", editor(tmp_path))
    assert "no terminal" in said(*ADD, "--edit", old)
    assert "--dry-run" in said("add-log", "train.py", "--dry-run", "--edit", old)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert f"--edit {new}: nothing is refused" in said(*ADD, "--edit", new)
    assert "--edit zzzz: no version" in said(*ADD, "--edit", "zzzz")


def test_nothing_is_proposed(here: Here) -> None:
    here.project.write({"train.py": TODAY.replace("np.abs(w).max()", "np.abs(unknown).max()")})
    old = str(here.project.runs()[0].commit)
    _, said = here(*ADD, "--accept", old, code=2)
    assert f"--accept {old}: no place is proposed (The name `unknown` is not bound here in this version.)" in said
    assert f"--edit {old[:8]}" in said


def test_a_version_by_the_beginning_of_its_name() -> None:
    versions = [VersionProposal(commit, []) for commit in ("ab12" + "0" * 36, "ab34" + "0" * 36, "cd" + "0" * 38)]
    assert find(versions, "ab1", "--accept") is versions[0]
    assert find(versions, "CD", "--accept") is versions[2]
    with pytest.raises(UsageError, match=r"--accept ab: several versions begin so: ab120000, ab340000$"):
        find(versions, "ab", "--accept")
    with pytest.raises(UsageError, match="no version"):
        find(versions, "", "--accept")
