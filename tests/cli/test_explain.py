"""What --dry-run prints: fits the terminal, is a patch when piped, and says what is equal once."""

from __future__ import annotations

import io
import subprocess
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flor_instrument import hindsight, propagate
from rich.console import Console

from flor_replay.cli.explain import explain
from flor_replay.replay.proposal import FileResult, VersionProposal

BASE = b"""\
import flor
for epoch in flor.loop("epoch", range(3)):
    prediction_of_the_network = network_with_a_long_name(batch_of_images, batch_of_labels, number_of_steps)
    step(prediction_of_the_network)
    done(prediction_of_the_network)
"""
LONG = b'flor.log("a_name", {"mean": prediction_of_the_network.mean(), "deviation": prediction_of_the_network.std()})'
TODAY = BASE.replace(b"    step", b"    " + LONG + b"\n    step").replace(
    b"    done", b'    flor.log("gone", unknown)\n    done'
)
OLD = BASE.replace(b"prediction_of_the_network", b"what_came_out_of_it")


def proposal(count: int) -> Any:
    patch = hindsight(BASE, TODAY)
    versions = []
    for number in range(count):
        result = propagate(patch, OLD, unsure=True)
        started = SimpleNamespace(started=datetime(2026, 1, 2, 3, number))
        version = VersionProposal(f"{number:040x}"[::-1], [started])  # type: ignore[list-item]
        version.files = [FileResult("train.py", "train.py", patch, OLD, result)]
        version.sources = {"train.py": result.source}
        versions.append(version)
    return SimpleNamespace(versions=versions)


def shown(count: int, **options: Any) -> str:
    out = io.StringIO()
    explain(proposal(count), Console(file=out, highlight=False, **options))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 140])
def test_it_fits_a_terminal(width: int) -> None:
    text = shown(1, force_terminal=True, width=width, color_system=None)
    explained, _, patch = text.partition("--- ")
    lines = explained.splitlines()
    assert len(lines) >= 8
    assert max(len(line) for line in lines) <= width
    assert all(line.startswith(("version ", "  ")) for line in lines)
    assert "+    " + LONG.decode().replace("prediction_of_the_network", "what_came_out_of_it") + "\n" in patch


def test_colours_only_where_there_is_a_terminal() -> None:
    assert "\x1b[" in shown(1, force_terminal=True, width=80, color_system="standard")
    assert "\x1b[" not in shown(1, width=200)


def test_what_is_piped_is_a_patch(tmp_path: Path) -> None:
    text = shown(1)
    assert (
        f"  adds      {LONG.decode().replace('prediction_of_the_network', 'what_came_out_of_it')}  (today's line 4)\n"
        in text
    )
    assert "  renamed   prediction_of_the_network -> what_came_out_of_it\n" in text
    assert "  because   The name `unknown` is not bound here in this version.\n" in text
    assert not [line for line in text.splitlines() if line != line.rstrip() and not line.startswith(" ")]
    (tmp_path / "train.py").write_bytes(OLD)
    done = subprocess.run(["git", "apply", "-"], input=text.encode(), cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "train.py").read_bytes() == proposal(1).versions[0].sources["train.py"]


def test_equal_versions_are_shown_once() -> None:
    text = shown(50, width=200)
    assert text.count("--- ") == text.count("  refused   ") == 1
    assert "the same in 10000000 20000000 30000000 40000000 50000000 and 44 more\n" in text
    assert len(text.splitlines()) < 30
