"""What only a CUDA device can show. Skipped where there is none; runs on a machine on which this project is not installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
SOURCES = [str(ROOT), str(ROOT / "instrument"), str(ROOT / "checkpoint")]
for source in SOURCES:
    if source not in sys.path:
        sys.path.append(source)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def python(*words: str | Path, cwd: Path, timeout: float = 200, **env: str) -> str:
    """What a fresh process prints; fails with what it says."""
    path = os.pathsep.join([*SOURCES, str(ROOT / "tests" / "checkpoint")])
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """The store of tests/checkpoint."""
    spec = importlib.util.spec_from_file_location("checkpoint_fixtures", ROOT / "tests" / "checkpoint" / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Store(tmp_path)
