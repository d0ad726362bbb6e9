"""How far plans spread: the last worker's end against the ideal, by simulation over recorded durations."""

from __future__ import annotations

import random
from dataclasses import replace

from flor_instrument import Place

from benchmarks.measure import Row
from flor_replay.plan.facts import MainLoop, RestorePoint, RunFacts
from flor_replay.plan.planner import Need, makespan, plan_run, share_out

START_UP = 5.0  # seconds: an interpreter with torch, paid once by each machine's warm parent
PREFIX = 4.0  # data and model of each version
VERSIONS, ITERATIONS, SECONDS = 12, 100, 60.0


def history(every: int) -> dict[str, RunFacts]:
    """Twelve jobs of about a hundred minutes; the exit of every so-manieth nested loop was captured."""
    lot = random.Random(7)
    found = {}
    for number in range(VERSIONS):
        pace = lot.uniform(0.5, 1.5)
        seconds = tuple(SECONDS * pace * lot.uniform(0.9, 1.1) for _ in range(ITERATIONS))
        main = MainLoop(
            ordinal=0,
            name="epoch",
            occurrence=0,
            kind="sequence",
            iterations=ITERATIONS,
            ended_by="exhausted",
            seconds=seconds,
            prefix_seconds=PREFIX,
            began_seq=0,
            ended_seq=None,
            nested=dict.fromkeys(range(ITERATIONS), ("step",)),
            nested_seconds={index: 0.95 * seconds[index] for index in range(ITERATIONS)},
            points=tuple(
                RestorePoint(str(index), "exit", index, "step", restore_seconds=0.3)
                for index in range(0, ITERATIONS, every)
            ),
        )
        run = f"run{number}"
        found[run] = replace(RunFacts(run, "finished", PREFIX + sum(seconds), None, None), main=main)
    return found


def run(quick: bool) -> list[Row]:
    rows = []
    for place, what in ((Place.NESTED, "in the nested loop"), (Place.AFTER_NESTED, "after the nested loop")):
        for every in (1, 4):
            known = history(every)
            need = Need(frozenset({place}))
            plans = {name: plan_run(facts, need) for name, facts in known.items()}
            about = {name: (facts, need) for name, facts in known.items()}
            for workers in (2, 8, 32, 256):
                shared = share_out(plans, about, workers)
                seconds = [segment.seconds for plan in shared.values() for segment in plan.segments]
                least = (
                    sum(segment.seconds for plan in plans.values() for segment in plan.segments) / workers + START_UP
                )
                taken = makespan(seconds, workers) + START_UP
                captured = "every exit captured" if every == 1 else f"one exit in {every} captured"
                label = f"statement {what}, {captured}, {workers} workers ({len(seconds)} segments)"
                rows.append(Row(label, taken, least, "work / workers + start-up", taken / least, 1))
    return rows
