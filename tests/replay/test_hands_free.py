"""Hindsight equals foresight for scripts that had no flor in them, recorded by ``flor-replay run``.

The truth is a recording of the script that had the statements from the start, with the same loops named in memory.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.replay.harness import logged
from tests.replay.test_truth import IDIOMS, all_statements, expand, same
from tests.support import Project

QUICK = ("numpy_in_place",)
OTHERS = sorted(
    path.stem for path in IDIOMS.glob("*.py") if path.stem not in (*QUICK, "expand", "unseeded", "loop_over_cycle")
)


def without_flor(source: str) -> str:
    """An idiom as somebody writes it who never heard of flor."""
    source = source.replace("import flor\n", "")
    source = re.sub(r'flor\.loop\("\w+", (.*)\):', r"\1:", source)
    source = re.sub(r'flor\.arg\("\w+", ([^()]*?)\)', r"\1", source)
    source = re.sub(r"^( *)flor\.log\(.*\)$", r"\1pass", source, flags=re.MULTILINE)
    source = re.sub(r"with flor\.checkpointing\(.*\):", "if True:", source)
    assert "flor" not in source, source
    return source


def with_statements(source: str) -> str:
    """The same with the statement of every position, as somebody adds them who has heard of it."""
    lines = all_statements(source).splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if re.match(r"(import|from) (?!__future__)", line))
    return "".join([*lines[:first], "import flor\n", *lines[first:]])


def check(project: Project, truth: Project, source: str, *, more: dict[str, str] | None = None) -> list[Any]:
    """Record, add, fill, compare; returns the replays."""
    names = expand.positions(source)
    project.commit("plain", {"train.py": expand.plain(source), **(more or {})})
    done = project.command("run", "train.py", env={"FLOR_CHECKPOINTS": "all"})
    assert "loops: " in done.stderr, done.stderr
    project.write({"train.py": with_statements(source)})
    before = project.state()
    done = project.command("add-log", "train.py", "--yes", check=None)
    told = done.stderr
    assert done.returncode in (0, 3), told
    refused = {name for name in names if re.search(rf"\s{name} refused", told)}
    assert len(refused) < len(names) and bool(refused) == (done.returncode == 3), told
    assert project.state() == before
    truth.commit("with", {"train.py": with_statements(source), **(more or {})})
    truth.command("run", "train.py")
    [run], [expected] = project.runs(), truth.runs()
    for name in set(names) - refused:
        filled = {key: value for replay in project.replays() for key, value in logged(replay, name).items()}
        wanted = logged(expected, name)
        assert wanted and set(filled) == set(wanted), (name, told)
        for place, value in wanted.items():
            assert same(filled[place], value), f"{name} at {place}: {filled[place]} {value}\n{told}"
        assert project.values(name, run) == pytest.approx(truth.values(name, expected), abs=0, nan_ok=True)
    return project.replays()


def proven(replay: Any) -> bool:
    """Whether the state at the checkpoints that it came by was the recorded one."""
    return bool(replay.fidelity["verdict"] == "exact" and replay.info["states"]["compared"])


@pytest.mark.parametrize("idiom", QUICK)
def test_hindsight_equals_foresight_without_flor(idiom: str, tmp_path: Path) -> None:
    source = without_flor((IDIOMS / f"{idiom}.py").read_text())
    replays = check(Project(tmp_path / "project"), Project(tmp_path / "truth"), source)
    assert any(replay.info["segment"]["kind"] != "whole" for replay in replays)
    assert all(proven(replay) for replay in replays)


@pytest.mark.slow
@pytest.mark.parametrize("idiom", OTHERS)
def test_hindsight_equals_foresight_without_flor_everywhere(idiom: str, tmp_path: Path) -> None:
    source = without_flor((IDIOMS / f"{idiom}.py").read_text())
    for replay in check(Project(tmp_path / "project"), Project(tmp_path / "truth"), source):
        # From the end of the loop on there is no checkpoint to come by.
        assert proven(replay) or replay.info["segment"]["end"], replay.info
