"""The figures of `measure.py`, printed: `python -m pytest tests/cuda -q` is all that one needs to run."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import python


def test_a_checkpoint_costs_training_little(tmp_path: Path, capsys) -> None:
    told = python(Path(__file__).parent / "measure.py", "--json", "--quick", cwd=tmp_path, timeout=420)
    with capsys.disabled():
        print("\n" + told)
    for line in told.splitlines():
        for what, numbers in json.loads(line).items():
            assert "stall" in numbers or numbers["checkpoints a run"] >= 1, what
