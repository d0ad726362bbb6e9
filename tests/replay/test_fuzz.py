"""Random scripts and statements: no value that is called exact is another than foresight's."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzzing import check

SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_wrong_value_is_called_exact(seed: int, tmp_path: Path) -> None:
    found = check(tmp_path, seed, 5)
    assert not found.wrong, "\n".join(found.wrong)
    assert sum(found.verdicts.values()) == 5
