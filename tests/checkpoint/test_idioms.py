"""Record an idiom in one process; restore its iterations in random order in a fresh one: every bit as recorded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
IDIOMS = sorted(path.stem for path in (HERE / "idioms").glob("[!_]*.py"))
LOST_ON_PURPOSE: dict[str, list[str]] = {}


def run(idiom: str, work: Path, mode: str, **env: str) -> None:
    result = subprocess.run(
        [sys.executable, str(HERE / "idioms" / f"{idiom}.py")],
        env={**os.environ, "WORK": str(work), "MODE": mode, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", **env},
        cwd=work,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]


@pytest.mark.parametrize(
    "idiom",
    [pytest.param(name, marks=pytest.mark.slow if name in ("folds", "module_level") else ()) for name in IDIOMS],
)
def test_hindsight_equals_foresight(idiom: str, tmp_path: Path) -> None:
    run(idiom, tmp_path, "record")
    told = json.loads((tmp_path / "truth.json").read_text())
    assert told["warnings"] == []
    assert {path for path, _ in told["lost"]} == set(LOST_ON_PURPOSE.get(idiom, []))
    order = list(range(len(told["truth"])))
    random.Random(idiom).shuffle(order)
    order += order[:3]
    run(idiom, tmp_path, "replay", ORDER=json.dumps(order))
    assert json.loads((tmp_path / "verdict.json").read_text())["problems"] == []
