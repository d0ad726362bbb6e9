"""Carries a proposal out: lays the versions out, runs the segments, gives each its verdict, tries whole runs where needed."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from flor_replay.errors import GitError
from flor_replay.history import inputs
from flor_replay.history.versions import History
from flor_replay.plan.planner import whole
from flor_replay.plan.segments import Segment
from flor_replay.processes import start_time
from flor_replay.replay import evidence, fidelity, reads, sandbox, unrecorded
from flor_replay.replay.cause import likely_cause
from flor_replay.replay.execution import Execution, Outcome
from flor_replay.replay.fidelity import Verdict
from flor_replay.replay.libraries import of_run
from flor_replay.replay.proposal import Proposal, VersionProposal
from flor_replay.replay.task import FileStates, Task
from flor_replay.store import database, layout, sealing
from flor_replay.store.runs import UNRECORDED, Run, all_runs, read_run


@dataclass
class RunReport:
    """How the backfill of one run went."""

    run: Run
    version: VersionProposal
    verdicts: list[Verdict] = field(default_factory=list)
    problem: str | None = None  # why it was not filled
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0  # work, over all workers
    waiting: int = 0  # segments not done yet
    cause: str | None = None  # why it has probably diverged

    @property
    def verdict(self) -> str:
        worst = fidelity.worst(verdict.verdict for verdict in self.verdicts)
        unproven = any(verdict.unproven for verdict in self.verdicts)
        return "unchecked" if unproven and worst != "diverged" else worst

    @property
    def first_difference(self) -> str | None:
        return next((verdict.why for verdict in self.verdicts if verdict.why), None)

    @property
    def filled(self) -> bool:
        return self.problem is None and bool(self.verdicts) and self.verdict != "diverged"


class Backfill:
    """One backfill. `on_begin` and `on_end` are told of tasks (from other threads, too)."""

    def __init__(
        self,
        proposal: Proposal,
        history: History,
        on_begin: Callable[[Task], None] = lambda _: None,
        on_end: Callable[[Outcome], None] = lambda _: None,
        execution: Execution | None = None,
    ) -> None:
        self._proposal = proposal
        self._history = history
        self._on_begin = on_begin
        self._on_end = on_end
        self._execution = execution or Execution(proposal.jobs)
        self._execution.limit(proposal.jobs)
        self._version_of: dict[str, VersionProposal] = {}
        self.reports: dict[str, RunReport] = {}

    def run(self) -> list[RunReport]:
        """Do it all; reports newest first. On Ctrl-C the workers are ended and what was finished stays."""
        base = scratch_base()
        os.makedirs(base, exist_ok=True)
        discard_abandoned(base)
        scratch = tempfile.mkdtemp(prefix=f"flor-replay-{os.getpid()}-{start_time(os.getpid())}-", dir=base)
        try:
            self._clean_up()
            tasks = self._tasks(scratch)
            again = self._batch(tasks)
            if again:
                self._batch(again)
        finally:
            self._execution.close()
            sandbox.discard(scratch)
        return list(self.reports.values())

    # -- tasks -------------------------------------------------------------------------------------------------------

    def _tasks(self, scratch: str) -> list[Task]:
        tasks = []
        visible = self._history.visible_files()
        linked = self._linked()
        today = self._history.inputs_today()
        # A collection may have run since they were proposed.
        self._history.keep_patched([str(version.patched) for version in self._proposal.to_replay])
        for version in self._proposal.to_replay:
            assert version.patched is not None
            tree = os.path.join(scratch, "trees", version.patched)
            unkept = {path for run in version.runs for path in run.version.get("submodules_changed", ())}
            inner = self._history.submodules(version.patched, unkept)
            try:
                if not os.path.isdir(tree):
                    self._history.lay_out(version.patched, tree, inner)
            except GitError as error:  # a filter that has lost its content, a blob that is not at hand
                for run in version.runs:
                    if version.plans[run.run].segments:
                        self.reports[run.run] = RunReport(
                            run, version, problem=f"its files cannot be laid out: {error}"
                        )
                continue
            theirs = frozenset(self._history.files(version.patched)).union(*(one.files for one in inner))
            seen = [*visible, *(path for one in inner for path in self._history.tracked_in(one.path))]
            shadowing = _top_names(theirs)
            for run in version.runs:
                plan = version.plans.get(run.run)
                if plan is None or not plan.segments:
                    continue
                if run.status == UNRECORDED:
                    unrecorded.keep(run)
                # Runs of one version that found the same files share the answer.
                found = run.version.get("inputs") or run.run
                files = os.path.join(scratch, f"{version.patched}-{found}.files")
                if not os.path.exists(files):
                    self._states(run, seen, theirs, today).save(files)
                self._version_of[run.run] = version
                self.reports[run.run] = RunReport(run, version, waiting=len(plan.segments))
                for segment in plan.segments:
                    tasks.append(self._task(run, version, segment, scratch, tree, files, linked, shadowing))
        return tasks

    def _states(self, run: Run, visible: Sequence[str], theirs: frozenset[str], today: inputs.Today) -> FileStates:
        """How the files beside the version (`theirs`) differ from those that `run` found."""
        listing = inputs.read(self._proposal.store, run.version.get("inputs"))
        if listing is None:
            found = {str(item["path"]) for item in run.version.get("large", ())}
            return FileStates(tuple(path for path in visible if path not in theirs and path not in found))
        changes = today.changes(listing)
        return FileStates(
            hidden=tuple(path for path in visible if path not in theirs and path not in listing.files),
            new=changes.new - theirs,
            same=changes.same - theirs,
            grown={path: size for path, size in changes.grown.items() if path not in theirs},
            changed=changes.changed - theirs,
        )

    def _task(
        self,
        run: Run,
        version: VersionProposal,
        segment: Segment,
        scratch: str,
        tree: str,
        files: str,
        linked: tuple[str, ...],
        shadowing: frozenset[str],
    ) -> Task:
        replay = layout.new_run_id()
        recorded = run.status != UNRECORDED
        return Task(
            run=run.run,
            replay=replay,
            root=self._proposal.root,
            store=self._proposal.store,
            tree=tree,
            scratch=os.path.join(scratch, "tasks", replay),
            patched=str(version.patched),
            segment=segment,
            inserted=version.inserted,
            entry=dict(run.info["entry"]),
            environment=dict(run.info.get("environment", {})),
            args=dict(run.info.get("args", {})),
            started=run.seconds_since_epoch if recorded else time.time(),  # its inputs are today's
            threads=run.info.get("compute", {}).get("torch_threads"),
            failure=run.info.get("reason") if run.status == "failed" else None,
            files=files,
            linked=linked,
            names=version.names,
            recorded=recorded,
            prove=recorded and "hands_free" in run.info,
            effects=version.needs[run.run][1].effects is not None,
            dead=version.dead.get(run.run, ()),
            python=version.pythons.get(run.run),
            wraps=version.wraps.get(run.run, ()),
            clock_fed=version.clock_fed,
            placed_by=version.placed_by,
            modules=tuple(name for name in of_run(run) if name.partition(".")[0] not in shadowing),
        )

    def _linked(self) -> tuple[str, ...]:
        """Folders outside the project that symbolic links in it lead to: data lives there, and is not to be written."""
        found = []
        root = os.path.realpath(self._proposal.root)
        for path in [*self._history.ignored(), *self._history.visible_files()]:
            full = os.path.join(self._history.top, path.rstrip("/"))
            if os.path.islink(full):
                target = os.path.realpath(full)
                if os.path.isdir(target) and not (target + os.sep).startswith(root + os.sep):
                    found.append(target)
        return tuple(dict.fromkeys(found))

    def _clean_up(self) -> None:
        """Remove what interrupted backfills left: replays without a verdict, of processes that are gone."""
        for run in all_runs(self._proposal.store):
            if run.replay_of and not run.fidelity and run.status != "running":
                sandbox.discard(run.folder.path)

    # -- outcomes ------------------------------------------------------------------------------------------------------

    def _batch(self, tasks: Sequence[Task]) -> list[Task]:
        """Run tasks; returns those that are to be tried as whole runs."""
        again: dict[str, Task] = {}
        for outcome in self._execution.run(tasks, self._on_begin):
            whole = self._take(outcome)
            if whole is not None:
                again.setdefault(whole.run, whole)
            self._on_end(outcome)
        return list(again.values())

    def _take(self, outcome: Outcome) -> Task | None:
        task = outcome.task
        report = self.reports[task.run]
        report.seconds += outcome.seconds
        report.waiting -= 1
        is_whole = task.segment.kind == "whole"
        if outcome.status == "stopped":
            report.problem = report.problem or "interrupted"
            return None
        if outcome.status != "done":
            self._judge(outcome, {"verdict": "failed", "reason": outcome.reason})
            if is_whole:
                report.problem = outcome.reason or outcome.status
                return None
            report.notes.append(f"{task.segment.describe()}: {outcome.reason}; the whole script was run instead")
            return self._whole(task)
        verdict = self._verdict(task)
        version = self._version_of[task.run]
        unsure = verdict.verdict == "diverged" or (
            verdict.verdict == "unchecked" and task.segment.checkpoints and self._kind(task) == "iterator"
        )
        if (unsure and not is_whole) or (verdict.verdict == "diverged" and not task.alone):
            why = verdict.why or "nothing that it logged could be compared"
            self._judge(outcome, {**verdict.as_data(), "verdict": "superseded"})
            instead = "it was run again in a process of its own" if is_whole else "the whole script was run instead"
            report.notes.append(f"{task.segment.describe()}: {why}; {instead}")
            return self._whole(task)
        cause = self._cause(task, verdict)
        self._judge(outcome, {**verdict.as_data(), "cause": cause})
        if cause is not None:
            report.cause = cause
        if is_whole:
            report.verdicts = []  # the whole run counts in place of its segments
        if not task.recorded:
            report.notes.append("this version was never recorded: there is nothing to compare it with")
        elif verdict.verdict == "unchecked" and verdict.states is not None:
            effects = version.needs[task.run][1].effects if task.segment.checkpoints else None
            if verdict.states.different:
                states = f"the state afterwards was the recorded one but for {verdict.states.described}"
                report.notes.append(f"{task.segment.describe()}: {states}")
            elif effects is not None and verdict.compared:
                report.notes.append(
                    f"{task.segment.describe()}: the added code may change what training computes ({effects}), and no "
                    "checkpoint after it tells"
                )
        report.verdicts.append(verdict)
        return None

    def _cause(self, task: Task, verdict: Verdict) -> str | None:
        if verdict.verdict != "diverged" or verdict.changed:  # the latter says it itself
            return None
        since = [words for words, runs in self._proposal.since.items() if any(run.run == task.run for run in runs)]
        version = self._version_of[task.run]
        script = self._history.prefix(self._proposal.root) + task.entry["path"]
        sources = self._history.python_sources(task.patched)
        return likely_cause(sources, script, version.needs[task.run][1].effects, since)

    def _kind(self, task: Task) -> str:
        main = self._proposal.facts[task.run].main
        return main.kind if main else "iterator"

    def _whole(self, task: Task) -> Task:
        replay = layout.new_run_id()
        segment = whole(self._proposal.facts[task.run], warm=False)
        scratch = os.path.join(os.path.dirname(task.scratch), replay)
        self.reports[task.run].waiting += 1
        return replace(task, replay=replay, segment=segment, scratch=scratch, alone=True)

    def _verdict(self, task: Task) -> Verdict:
        recorded = read_run(task.store, task.run)
        replayed = read_run(task.store, task.replay)
        assert recorded is not None and replayed is not None
        version = self._version_of[task.run]
        states = fidelity.States.from_data(replayed.info.get("states"))
        moments = version.volatile.intersection(task.names)
        with database.connect() as connection:
            old = evidence.recorded_in(connection, recorded, self._proposal.facts[task.run], task.segment)
            new = evidence.replayed(connection, replayed)
        return fidelity.compare(
            old,
            new,
            volatile=version.volatile | version.replaced,
            moments=moments,
            only_moments=bool(task.names) and moments.issuperset(task.names),
            open_ended=recorded.status not in ("finished",),
            changed=reads.changed(replayed.folder),
            states=states,
            effects=version.needs[task.run][1].effects if task.segment.checkpoints else None,
        )

    def _judge(self, outcome: Outcome, verdict: dict[str, Any]) -> None:
        """Write the verdict into the replay's own record: from then on its values are seen, or not."""
        folder = layout.RunFolder(outcome.task.store, outcome.task.replay)
        with contextlib.suppress(OSError, duckdb.Error):  # a live log is read as well
            sealing.seal(folder)
        info = layout.read_json(folder.info)
        if isinstance(info, dict):
            info["fidelity"] = verdict
            info["work_seconds"] = outcome.seconds  # with the worker's start and its sandbox
            layout.replace_json(folder.info, info)


def _top_names(files: Collection[str]) -> frozenset[str]:
    """Names of folders and modules of a version, in which a script may find its own `torch` before the installed one."""
    parts = {part for path in files if path.endswith(".py") for part in path.split("/")}
    return frozenset(part.removesuffix(".py") for part in parts)


def scratch_base() -> str:
    """Where backfills make their scratch folders."""
    return os.environ.get("FLOR_SCRATCH") or tempfile.gettempdir()


def discard_abandoned(base: str) -> None:
    """Remove the scratch folders of backfills that were killed."""
    for name in os.listdir(base):
        found = re.fullmatch(r"flor-replay-(\d+)-(\w+)-\w+", name)
        path = os.path.join(base, name)
        with contextlib.suppress(OSError):  # another process removes them as well
            if found and os.lstat(path).st_uid == os.getuid() and str(start_time(int(found[1]))) != found[2]:
                sandbox.discard(path)
