"""Steps through a main loop: followed on paper, everything asked for comes once, and in the run's own state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flor_instrument import Place
from hypothesis import given
from hypothesis import strategies as st

from flor_replay.plan.facts import Lost, MainLoop, RestorePoint, RunFacts
from flor_replay.plan.planner import Need, RunPlan, makespan, plan_run, share_out
from flor_replay.plan.segments import Segment

COUNT = 12


def facts(
    starts: set[int], exits: set[int], *, end: bool = False, count: int = COUNT, nested: float = 0.95
) -> RunFacts:
    points = [RestorePoint(f"start{i}", "start", i, None) for i in starts]
    points += [RestorePoint(f"exit{i}", "exit", i, "step") for i in exits]
    points += [RestorePoint("end", "end", count, None)] if end else []
    main = MainLoop(
        ordinal=0,
        name="epoch",
        occurrence=0,
        kind="sequence",
        iterations=count,
        ended_by="exhausted",
        seconds=(1.0,) * count,
        prefix_seconds=0.5,
        began_seq=0,
        ended_seq=count,
        nested=dict.fromkeys(range(count), ("step",)),
        nested_ended_seq={(index, "step"): index for index in range(count)},
        nested_seconds=dict.fromkeys(range(count), nested),
        points=tuple(points),
    )
    return RunFacts("run", "finished", 0.5 + count, None, main)


def follow(segment: Segment, need: Need, known: RunFacts) -> dict[int, set[str]]:
    """What each iteration gives ("top", "nested", "rest") when a worker does the segment; fails where it cannot."""
    main = known.main
    assert main is not None
    place: int | None = 0  # the iteration at whose start the run's own state is
    given_: dict[int, set[str]] = {}
    at = 0
    for step in segment.steps:
        assert step.first >= at, "a loop only goes forwards"
        if step.restore is not None:
            assert step.restore == f"start{step.first}"
            place = step.first
        skipped = {index for index, _, _ in step.exits}
        assert all(checkpoint == f"exit{index}" and name == "step" for index, name, checkpoint in step.exits)
        for index in range(step.first, step.stop):
            blind = step.blind and index == step.first
            assert blind or place == index, f"{index} does not begin in its own state: {segment}"
            assert not blind or index in skipped
            parts = {"rest"} if blind else {"top", "rest"} if index in skipped else {"top", "nested", "rest"}
            if step.keep[0] <= index < step.keep[1]:
                assert index not in given_, "twice"
                given_[index] = parts
            place = index + 1
        at = step.stop
    if segment.suffix:
        assert segment.end == "end" or at == main.iterations
    return given_


needs = st.builds(
    Need,
    st.frozensets(st.sampled_from([Place.BEFORE_NESTED, Place.NESTED, Place.AFTER_NESTED]), min_size=1),
    nested_carried=st.booleans(),
    iterations=st.none() | st.frozensets(st.integers(0, COUNT - 1), min_size=1),
    effects=st.none() | st.just("line 1: it calls `f`"),
)
places = st.sets(st.integers(0, COUNT - 1))


@given(st.sets(st.integers(1, COUNT - 1)), places, needs, st.booleans(), st.booleans(), st.integers(1, 8))
def test_all_that_is_asked_for_comes_once(
    starts: set[int], exits: set[int], need: Need, end: bool, after: bool, workers: int
) -> None:
    known = facts(starts, exits, end=end)
    if after:
        need = replace(need, places=need.places | {Place.AFTER})
    plan = plan_run(known, need)
    [shared] = share_out({"run": plan}, {"run": (known, need)}, workers).values()
    wanted = need.iterations if need.iterations is not None else frozenset(range(COUNT))
    asked = {Place.BEFORE_NESTED: "top", Place.NESTED: "nested", Place.AFTER_NESTED: "rest"}
    parts = {asked[place] for place in need.places if place in asked} | ({"nested"} if need.nested_carried else set())
    for segments in (plan.segments, shared.segments):
        found: dict[int, set[str]] = {}
        for segment in segments:
            mine = follow(segment, need, known)
            assert not found.keys() & mine.keys(), "by two workers"
            found |= mine
        assert found.keys() == wanted
        assert all(parts <= got for got in found.values()), (parts, found)
        assert sum(segment.suffix for segment in segments) == after
    seconds = [segment.seconds for segment in shared.segments]
    assert makespan(seconds, workers) <= makespan([segment.seconds for segment in plan.segments], workers) + 1e-9


def test_exits_alone_leave_out_every_nested_loop() -> None:
    plan = plan_run(facts(set(), set(range(COUNT))), Need(frozenset({Place.AFTER_NESTED})))
    [segment] = plan.segments
    assert [(step.first, step.stop, len(step.exits)) for step in segment.steps] == [(0, COUNT, COUNT)]
    assert segment.seconds < 0.5 + COUNT * 0.1
    assert plan.reason == "the nested loop is skipped where the state at its exit was captured"


def test_a_missing_exit_costs_its_own_nested_loop_only() -> None:
    plan = plan_run(facts(set(), set(range(COUNT)) - {5}), Need(frozenset({Place.AFTER_NESTED})))
    [segment] = plan.segments
    assert len(segment.steps) == 1
    assert {index for index, _, _ in segment.steps[0].exits} == set(range(COUNT)) - {5}


def test_what_comes_before_an_iteration_that_is_asked_for_is_passed_by_exits() -> None:
    need = Need(frozenset({Place.NESTED}), iterations=frozenset({7}))
    [segment] = plan_run(facts(set(), {3, 6}), need).segments
    [step] = segment.steps
    assert (step.first, step.blind, step.keep) == (6, True, (7, 8))
    [segment] = plan_run(facts({4}, {5}), need).segments
    [step] = segment.steps
    assert (step.first, step.blind) == (5, True)


def test_a_nested_loop_quicker_than_a_restore_is_executed() -> None:
    plan = plan_run(facts(set(), set(range(COUNT)), nested=0.001), Need(frozenset({Place.AFTER_NESTED})))
    assert plan.segments[0].steps[0].exits == ()
    assert "takes less than putting its exit's state back" in plan.reason


def test_possible_effects_are_tried_on_one_iteration() -> None:
    need = Need(frozenset({Place.AFTER_NESTED}), effects="line 9: it calls `noisy`")
    plan = plan_run(facts(set(), set(range(COUNT))), need)
    [step] = plan.segments[0].steps
    executed = set(range(COUNT)) - {index for index, _, _ in step.exits}
    assert len(executed) == 1 and 0 not in executed
    assert "it calls `noisy`" in plan.reason
    # A checkpoint at an iteration's start is come by anyway.
    [step] = plan_run(facts({4}, set(range(COUNT))), need).segments[0].steps
    assert len(step.exits) == COUNT


def test_incomplete_checkpoints_are_not_used() -> None:
    known = facts(set(), set(range(COUNT)))
    assert known.main is not None
    lost = tuple(replace(point, lost=(Lost("frame:0:main.stream"),)) for point in known.main.points)
    plan = plan_run(replace(known, main=replace(known.main, points=lost)), Need(frozenset({Place.AFTER_NESTED})))
    assert plan.segments[0].checkpoints == frozenset()
    assert "frame:0:main.stream could not be captured" in plan.reason


@pytest.mark.parametrize("workers", [2, 8, 32])
def test_work_in_the_nested_loop_is_shared_out(workers: int) -> None:
    known = facts(set(), set(range(256)), count=256)
    need = Need(frozenset({Place.NESTED}))
    plan = share_out({"run": plan_run(known, need)}, {"run": (known, need)}, workers)["run"]
    ideal = 256 / workers
    assert makespan([segment.seconds for segment in plan.segments], workers) <= 1.15 * ideal + 0.65


def test_plans_of_many_versions_are_not_cut_for_nothing() -> None:
    known = {f"run{i}": replace(facts(set(), set(range(COUNT))), run=f"run{i}") for i in range(12)}
    need = Need(frozenset({Place.AFTER_NESTED}))
    plans: dict[str, RunPlan] = {run: plan_run(one, need) for run, one in known.items()}
    shared = share_out(plans, {run: (one, need) for run, one in known.items()}, 2)
    assert all(len(plan.segments) == 1 for plan in shared.values())


def test_where_nothing_can_be_forked_every_worker_has_its_own_start_up() -> None:
    known = replace(facts(set(), set(range(COUNT))), start_up_seconds=7.0)
    for need in (Need(frozenset({Place.AFTER_NESTED})), Need(frozenset({Place.NESTED}), carried="a list")):
        assert plan_run(known, need, warm=False).seconds == pytest.approx(plan_run(known, need).seconds + 7.0)
