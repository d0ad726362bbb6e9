"""The bars on what recording takes: bytes on the disk, and memory. Measured as `benchmarks.storage` measures them."""

from __future__ import annotations

import pytest

from benchmarks import storage


def test_a_frozen_backbone_is_stored_once() -> None:
    row = storage.frozen_backbone(8)
    assert row.ratio <= 1.1, row


@pytest.mark.slow
def test_runs_that_fine_tune_one_base_store_it_once() -> None:
    row = storage.ten_runs(3)
    assert row.ratio <= 1.1, row


@pytest.mark.parametrize(
    "megabytes", [50, pytest.param(200, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.slow)]
)
def test_memory(megabytes: int) -> None:
    row = storage.memory(megabytes)
    assert row.ratio <= 1, row
