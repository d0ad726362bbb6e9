"""Replays of hand-made patches: what the planner and propagation decide is given, so that execution is tested alone."""

from __future__ import annotations

import contextlib
import difflib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flor_replay.history.versions import History
from flor_replay.plan.facts import RunFacts, gather
from flor_replay.plan.segments import Segment
from flor_replay.replay import evidence, fidelity
from flor_replay.replay.execution import Execution, Outcome
from flor_replay.replay.fidelity import Verdict
from flor_replay.replay.libraries import of_run
from flor_replay.replay.task import Inserted, Task
from flor_replay.store import database, layout, records
from flor_replay.store.runs import Run, read_run
from flor_replay.values import decode
from tests.support import Project


@dataclass
class Replayed:
    """One segment's replay."""

    segment: Segment
    outcome: Outcome
    verdict: Verdict | None
    values: dict[tuple[Any, ...], Any]  # (loop path, ordinal) -> value, of hindsight records
    output: str
    comparable: int  # values that the recorded run logged in what the segment executes


def facts_of(run: Run) -> RunFacts:
    return gather([run])[run.run]


def inserted_lines(path: str, before: str, after: str) -> tuple[Inserted, ...]:
    """The lines that `after` has and `before` has not."""
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    return tuple(
        Inserted(path, j1 + 1, j2, tag == "replace")
        for tag, _, _, j1, j2 in matcher.get_opcodes()
        if tag in ("insert", "replace")
    )


def replay(project: Project, run: Run, patched: Mapping[str, str], segments: Sequence[Segment]) -> list[Replayed]:
    """Replay `segments` of `run` with these files in place of its own, one after another."""
    facts = facts_of(run)
    found = []
    with History(str(project.root)) as history, tempfile.TemporaryDirectory() as scratch:
        inserted: list[Inserted] = []
        for path, text in patched.items():
            before = (history.read(str(run.commit), path) or b"").decode()
            inserted += inserted_lines(path, before, text)
        (commit,) = history.patched(
            [(str(run.commit), {path: text.encode() for path, text in patched.items()}, "patch")]
        )
        tree = str(Path(scratch) / "tree")
        history.lay_out(commit, tree)
        tasks = [
            Task(
                run=run.run,
                replay=layout.new_run_id(),
                root=str(project.root),
                store=str(project.store),
                tree=tree,
                scratch=str(Path(scratch) / f"task{place}"),
                patched=commit,
                segment=segment,
                inserted=tuple(inserted),
                entry=dict(run.info["entry"]),
                environment=dict(run.info.get("environment", {})),
                args=dict(run.info.get("args", {})),
                started=run.seconds_since_epoch,
                threads=run.info.get("compute", {}).get("torch_threads"),
                modules=of_run(run),
            )
            for place, segment in enumerate(segments)
        ]
        with contextlib.closing(Execution(1)) as execution:
            outcomes = {outcome.task.replay: outcome for outcome in execution.run(tasks, lambda _: None)}
        for task in tasks:
            outcome = outcomes[task.replay]
            made = read_run(str(project.store), task.replay)
            output = Path(layout.RunFolder(str(project.store), task.replay).output).read_text()
            verdict = None
            values: dict[tuple[Any, ...], Any] = {}
            comparable = 0
            if outcome.status == "done" and made is not None:
                with database.connect() as connection:
                    old = evidence.recorded_in(connection, run, facts, task.segment)
                    new = evidence.replayed(connection, made)
                    states = fidelity.States.from_data(made.info["states"])
                    verdict = fidelity.compare(old, new, open_ended=run.status != "finished", states=states)
                    values = hindsight(connection, made)
                    comparable = executed_again(connection, run, facts, task.segment)
            found.append(Replayed(task.segment, outcome, verdict, values, output, comparable))
    return found


def executed_again(connection: Any, run: Run, facts: RunFacts, segment: Segment) -> int:
    """How many values the recorded run logged where `segment` executes, as the loop paths and their order tell it.

    Written apart from `evidence`, whose answer it checks. The arguments' own records prove nothing and do not count.
    """
    rows = records.fetch(
        connection,
        f"select name, loops, occurrences, indices, seq from ({records.table(connection, [run])}) order by seq",
    )
    main = facts.main
    count = 0
    for name, loops, occurrences, indices, seq in rows:
        if not loops and name in run.info.get("args", {}):
            continue
        if segment.kind == "whole" or main is None:
            count += 1
        elif (loops[:1], occurrences[:1]) == ([main.name], [main.occurrence]):
            index = indices[0]
            for step in segment.steps:
                if step.first <= index < step.stop:
                    skipped = {nested for at, nested, _ in step.exits if at == index}
                    ends = [main.nested_ended_seq[index, nested] for nested in skipped]
                    counts = not (step.blind and index == step.first) or seq > min(ends)
                    count += counts and not skipped.intersection(loops[1:2])
        elif seq <= main.began_seq:
            count += 1
        else:
            count += segment.suffix and main.ended_seq is not None and seq > main.ended_seq
    return count


def hindsight(connection: Any, run: Run, condition: str = "hindsight > 0") -> dict[tuple[Any, ...], Any]:
    """Values by (loop path, ordinal)."""
    rows = records.fetch(
        connection,
        "select kind, int_value, float_value, text_value, loops, occurrences, indices, ordinal "
        f"from ({records.table(connection, [run])}) where {condition} order by seq",
    )
    return {
        (*zip(loops, occurrences, indices, strict=True), ordinal): decode(
            str(kind), real if kind == "float" else whole, text, run.folder.files
        )
        for kind, whole, real, text, loops, occurrences, indices, ordinal in rows
    }


def logged(run: Run, name: str) -> dict[tuple[Any, ...], Any]:
    """Values of a name that a run recorded, by (loop path, ordinal)."""
    with database.connect() as connection:
        return hindsight(connection, run, f"name = '{name}'")
