"""A checkpoint that lacks only what the replayed source cannot read is complete; a hindsight statement may read it."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from flor_instrument import Place, lost_but_dead

from flor_replay.plan.facts import Lost, MainLoop, Point, RestorePoint, RunFacts, without_dead
from flor_replay.plan.planner import Need, plan_run

SOURCE = """
import flor
def main(opt, loader):
    for epoch in flor.loop("epoch", range(9)):
        for x in flor.loop("step", loader):
            def closure():
                return x
            opt.step(closure)
        flor.log("a", opt)
main(1, [2])
"""
CLOSURE = Lost("frame:0:main.closure", (("train.py", "main", "closure"),))


def point(at: Point, index: int, *lost: Lost) -> RestorePoint:
    return RestorePoint(f"{at}{index}", at, index, "step" if at == "exit" else None, lost)


def facts(*points: RestorePoint) -> RunFacts:
    main = MainLoop(0, "epoch", 0, "sequence", 9, "exhausted", (100.0,) * 9, 1.0, 0, 99, points=points)
    return RunFacts("run", "finished", 901.0, 1.0, main)


def known(found: RunFacts, source: str = SOURCE, prefix: str = "", **others: str) -> tuple[RestorePoint, ...]:
    sources: Mapping[str, bytes] = {f"{prefix}train.py": source.encode()}
    sources = {**sources, **{f"{prefix}{name}.py": text.encode() for name, text in others.items()}}
    dead = functools.cache(functools.partial(lost_but_dead, sources))
    main = without_dead(found, f"{prefix}train.py", prefix, dead).main
    assert main is not None
    return main.points


def test_a_closure_made_anew_is_not_missed() -> None:
    found = facts(point("start", 3, CLOSURE), point("exit", 3, CLOSURE), point("end", 9, CLOSURE))
    assert not any(each.complete for each in found.main.points)  # type: ignore[union-attr]
    for prefix in ("", "sub/folder/"):
        assert all(each.complete for each in known(found, prefix=prefix))


def test_a_statement_that_reads_it_needs_it() -> None:
    source = SOURCE.replace(
        '        flor.log("a", opt)\n', '        flor.log("a", opt)\n        flor.log("b", closure)\n'
    )
    start, exit_, end = known(facts(*(point(at, 3, CLOSURE) for at in ("start", "exit", "end"))), source)
    assert exit_.missing == ("frame:0:main.closure",)
    assert not start.complete  # the nested loop may run over nothing
    assert end.complete


def test_every_holder_must_be_dead() -> None:
    both = Lost("frame:0:main.closure", (*CLOSURE.holders, ("train.py", "main", "opt")))
    unknown = Lost("local state of library.fit")
    found = facts(point("start", 1, both), point("start", 2, unknown), point("start", 3, CLOSURE, unknown))
    assert [each.missing for each in known(found)] == [
        ("frame:0:main.closure",),
        ("local state of library.fit",),
        ("local state of library.fit",),
    ]


def test_a_plan_starts_there_and_says_what_to_pass_over() -> None:
    found = facts(point("start", 8, CLOSURE))
    need = Need(frozenset({Place.NESTED}), iterations=frozenset({8}))
    assert [segment.checkpoints for segment in plan_run(found, need).segments] == [frozenset()]
    main = found.main
    assert main is not None
    dead = functools.partial(lost_but_dead, {"train.py": SOURCE.encode()})
    [segment] = plan_run(without_dead(found, "train.py", "", dead), need).segments
    assert (segment.steps[0].restore, segment.dead) == ("start8", (("start8", "frame:0:main.closure"),))
    assert segment.from_data(segment.as_data()) == segment
