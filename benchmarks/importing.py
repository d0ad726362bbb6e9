"""What ``import flor`` adds to a bare interpreter."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import Row, pairs, timed


def run(quick: bool) -> list[Row]:
    runs = 5 if quick else 25
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        return [
            pairs(
                "python -c 'import flor'",
                lambda: timed(["-c", "import flor"], here),
                lambda: timed(["-c", "pass"], here),
                "python -c pass",
                runs,
            ),
            pairs(
                "the import statement alone",
                lambda: float(_inside(here, "import flor")),
                lambda: float(_inside(here, "import json, dataclasses")),
                "import json, dataclasses",
                runs,
            ),
        ]


def _inside(here: Path, statement: str) -> str:
    from benchmarks.measure import python

    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return python(["-c", code], here).stdout
