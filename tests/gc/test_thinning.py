"""The choice: what goes first, what is worth how much, and what is shared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_replay.gc.thinning import Checkpoint, RunToThin, Thinning, _costs, _State, expected_seconds


def make_run(name: str, seconds: list[float], kept: list[int], end: bool = True, size: int = 1000) -> RunToThin:
    """`kept`: for each iteration 0 nothing, 1 its exit, 2 the start after it, 3 both, with the same content."""
    found = []
    for index, what in enumerate(kept):
        blob = frozenset({f"{name}{index}", "shared"})
        if what & 1:
            found.append(Checkpoint(name, f"e{index}", "exit", index, "step", blob, 10, index))
        if what & 2 and index + 1 < len(seconds):
            found.append(Checkpoint(name, f"s{index + 1}", "start", index + 1, None, blob, 10, index))
    if end:
        found.append(Checkpoint(name, "end", "end", len(seconds), None, frozenset({f"{name}end"}), 10, len(seconds)))
    return RunToThin(name, tuple(seconds), dict.fromkeys(range(len(seconds)), ("step",)), tuple(found))


def sizes_of(*runs: RunToThin, size: int = 1000) -> dict[str, int]:
    return {blob: size for run in runs for checkpoint in run.checkpoints for blob in checkpoint.blobs}


RUNS = st.lists(
    st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 3)), min_size=1, max_size=9), min_size=1, max_size=3
).map(lambda several: [make_run(f"r{n}", [s for s, _ in one], [k for _, k in one]) for n, one in enumerate(several)])


@given(RUNS)
def test_the_cost_of_a_checkpoint_is_what_the_expected_replay_grows_by(runs: list[RunToThin]) -> None:
    for run in runs:
        costs = _costs(_State(run, {checkpoint.id: checkpoint for checkpoint in run.checkpoints}))
        before = expected_seconds(run, run.checkpoints)
        for checkpoint in run.checkpoints:
            after = expected_seconds(run, [other for other in run.checkpoints if other is not checkpoint])
            assert after - before == pytest.approx(costs[checkpoint.id], abs=1e-9)


@given(RUNS, st.integers(0, 40_000))
def test_what_is_said_to_be_freed_is_freed_and_last_ones_go_last(runs: list[RunToThin], wanted: int) -> None:
    sizes = sizes_of(*runs)
    chosen, freed = Thinning(runs, sizes, ()).choose(wanted)
    assert len({checkpoint.key for checkpoint in chosen}) == len(chosen)
    left = [checkpoint for run in runs for checkpoint in run.checkpoints if checkpoint not in chosen]
    needed = {blob for checkpoint in left for blob in checkpoint.blobs}
    gone = sum(checkpoint.own_bytes for checkpoint in chosen)
    gone += sum(size for blob, size in sizes.items() if blob not in needed)
    assert freed == gone
    assert freed >= wanted or not left
    empty = [run for run in runs if not any(checkpoint.run == run.run for checkpoint in left)]
    if empty:
        counts = [sum(checkpoint.run == run.run for checkpoint in left) for run in runs]
        assert max(counts) <= 1, "a run lost its last one while another had several"


def test_a_run_is_thinned_evenly() -> None:
    run = make_run("r", [1.0] * 33, [2] * 33)
    chosen, _ = Thinning([run], sizes_of(run), ()).choose(25_000)
    left = sorted(c.index for c in run.checkpoints if c not in chosen and c.at == "start")
    gaps = [b - a for a, b in zip([0, *left], [*left, 33], strict=True)]
    assert len(left) <= 8
    assert max(gaps) <= 2.5 * 33 / len(gaps)


def test_slow_iterations_keep_their_checkpoints() -> None:
    slow, quick = make_run("slow", [100.0] * 8, [3] * 8), make_run("quick", [0.1] * 8, [3] * 8)
    chosen, _ = Thinning([slow, quick], sizes_of(slow, quick), ()).choose(6_000)
    assert {checkpoint.run for checkpoint in chosen} == {"quick"}


def test_content_that_others_hold_frees_nothing() -> None:
    run = make_run("r", [1.0] * 4, [2] * 4)
    held = {"r0", "r1", "r2", "shared", "rend"}
    chosen, freed = Thinning([run], sizes_of(run), held).choose(10**9)
    assert freed == sum(checkpoint.own_bytes for checkpoint in chosen)


def test_hundreds_of_checkpoints_take_no_time() -> None:
    import time

    runs = [make_run(f"r{n}", [1.0] * 200, [3] * 200) for n in range(3)]
    begun = time.process_time()
    chosen, _ = Thinning(runs, sizes_of(*runs), ()).choose(500_000)
    assert len(chosen) > 800
    assert time.process_time() - begun < 60
