"""The figures of `measure.py`, printed: `python -m pytest tests/cuda -q` is all that one needs to run."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import python


def test_a_checkpoint_costs_training_little(tmp_path: Path, capsys) -> None:
    found = json.loads(python(Path(__file__).parent / "measure.py", "--json", "--quick", cwd=tmp_path, timeout=420))
    with capsys.disabled():
        print("\n" + json.dumps(found, indent=1))
    for what, numbers in found.items():
        if "stall" in numbers:
            assert numbers["stall"] < 0.2 * numbers["torch.save"], what
        else:
            assert numbers["checkpoints a run"] >= 1, what
