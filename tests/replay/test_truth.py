"""Hindsight equals foresight: what a replay logs is, bit for bit, what a run with the statement from the start logs.

For every idiom the statements of all six positions are replayed together: from the start, from checkpoints in shuffled
order, from the exits of the nested loop, and from the end of the main loop.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import random
from pathlib import Path
from typing import Any

import pytest
from flor_instrument import lost_but_dead

from flor_replay.plan.facts import MainLoop, without_dead
from flor_replay.plan.planner import knowing_dead
from flor_replay.plan.segments import Segment, Step
from tests.replay.harness import Replayed, facts_of, logged, replay
from tests.support import Project

IDIOMS = Path(__file__).resolve().parents[2] / "fixtures" / "idioms"
_spec = importlib.util.spec_from_file_location("expand", IDIOMS / "expand.py")
assert _spec is not None and _spec.loader is not None
expand = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(expand)

QUICK = ("trainer_class",)
OTHERS = sorted(path.stem for path in IDIOMS.glob("*.py") if path.stem not in (*QUICK, "expand"))


def all_statements(source: str) -> str:
    """The script with the statement of every position, each under a name of its own."""
    lines = []
    for line in source.splitlines(keepends=True):
        match = expand.MARKER.match(line.rstrip("\r\n"))
        if match is None:
            lines.append(line)
        else:
            lines.append(f'{match["indent"]}flor.log("{match["position"]}", {match["expression"]})\n')
    return "".join(lines)


def segments(main: MainLoop, names: tuple[str, ...], seed: str) -> list[Segment]:
    """Every way to replay a part, from iterations drawn by lot, in shuffled order."""
    lot = random.Random(seed)
    starts = {point.index: point for point in main.points if point.at == "start" and point.complete}
    found = [Segment("whole", prefix=True, suffix=True)]
    within = sorted(index for index in starts if index < main.iterations)
    cuts = sorted(lot.sample(within, min(3, len(within))))
    for place, cut in enumerate(cuts):
        stop = cuts[place + 1] if place + 1 < len(cuts) else main.iterations
        step = Step(cut, stop, (cut, stop), starts[cut].checkpoint)
        found.append(Segment("part", main.ordinal, (step,), suffix=stop == main.iterations))
    exits = {
        point.index: (point.index, str(point.nested), point.checkpoint)
        for point in main.points
        if point.at == "exit" and point.complete and point.index not in main.repeated_nested
    }
    alone = {index: one for index, one in exits.items() if main.nested[index] == (one[1],)}
    if alone and "after_nested" in names:
        # each from its own exit, and one after another from the script's own start
        steps = [Step(index, index + 1, (index, index + 1), blind=True, exits=(one,)) for index, one in alone.items()]
        found.append(Segment("part", main.ordinal, tuple(steps)))
        found.append(
            Segment(
                "part", main.ordinal, (Step(0, main.iterations, (0, main.iterations), exits=tuple(alone.values())),)
            )
        )
        several = [index for index in alone if index + 1 < main.iterations]
        if several:  # whole iterations from an exit on
            index = lot.choice(several)
            step = Step(index, main.iterations, (index + 1, main.iterations), blind=True, exits=(alone[index],))
            found.append(Segment("part", main.ordinal, (step,), suffix=True))
    ends = [point for point in main.points if point.at == "end" and point.complete]
    if ends:
        found.append(Segment("part", main.ordinal, end=ends[0].checkpoint, suffix=True))
    lot.shuffle(found)
    return [knowing_dead(main, segment) for segment in found]


def check(project: Project, truth: Project, idiom: str) -> None:
    source = (IDIOMS / f"{idiom}.py").read_text()
    names = tuple(expand.positions(source))
    project.commit("plain", {"train.py": expand.plain(source)})
    patched = all_statements(source)
    run = project.run()
    sources = {"train.py": patched.encode()}
    dead = functools.cache(functools.partial(lost_but_dead, sources))
    main = without_dead(facts_of(run), "train.py", "", dead).main
    assert main is not None
    parts = segments(main, names, idiom)
    assert any(part.checkpoints for part in parts), [p.missing for p in main.points]
    done = replay(project, run, {"train.py": patched}, parts)
    if idiom == "unseeded":  # its truth is itself: the whole run again, proven by what it logs
        [whole] = [part for part in done if part.segment.kind == "whole"]
        expected = {name: of_name(whole, name, project) for name in names}
    else:
        truth.commit("with statements", {"train.py": patched})
        expected = {name: logged(truth.run(every=False), name) for name in names[:1]}
        expected |= {name: logged(truth.runs()[-1], name) for name in names}
    for part in done:
        told = f"{part.segment.describe()}: {part.outcome} {part.verdict}\n{part.output}"
        assert part.outcome.status == "done", told
        assert part.verdict is not None, told
        assert part.verdict.verdict == ("exact" if part.comparable else "unchecked"), told
        for name in names:
            for place, value in of_name(part, name, project).items():
                assert place in expected[name], f"{name} at {place}: {told}"
                assert same(value, expected[name][place]), f"{name} at {place}: {value} {expected[name][place]} {told}"
        want(part, main, names, expected, project)


def want(part: Replayed, main: MainLoop, names: tuple[str, ...], expected: dict[str, Any], project: Project) -> None:
    """Everything that the segment is for is there."""
    inner = set(range(main.iterations)) if part.segment.kind == "whole" else part.segment.kept()
    blind = {step.first for step in part.segment.steps if step.blind}
    skipped = {index for step in part.segment.steps for index, _, _ in step.exits}
    for name in names:
        missing = blind if name in ("top", "before") else skipped if name == "nested" else set()
        for place in expected[name]:
            path = place[:-1]
            inside = bool(path) and path[0][0] == main.name and path[0][2] in inner - missing
            after = not path and name == "after" and part.segment.suffix
            if inside or after:
                assert place in of_name(part, name, project), f"{name} at {place} is missing from {part.segment}"


def of_name(part: Replayed, name: str, project: Project) -> dict[tuple[Any, ...], Any]:
    run = next(replay for replay in project.replays() if replay.run == part.outcome.task.replay)
    return {key: value for key, value in logged(run, name).items()}


def same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return repr(a) == repr(b)


@pytest.mark.parametrize("idiom", QUICK)
def test_hindsight_equals_foresight(idiom: str, tmp_path: Path) -> None:
    check(Project(tmp_path / "project"), Project(tmp_path / "truth"), idiom)


@pytest.mark.slow
@pytest.mark.parametrize("idiom", OTHERS)
def test_hindsight_equals_foresight_everywhere(idiom: str, tmp_path: Path) -> None:
    check(Project(tmp_path / "project"), Project(tmp_path / "truth"), idiom)
