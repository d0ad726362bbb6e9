"""From today's files and the recorded runs to a proposal."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from flor_replay.errors import StoreError
from flor_replay.history.versions import History
from flor_replay.plan import facts as plan_facts
from flor_replay.plan import planner
from flor_replay.plan.pace import Pace, learned
from flor_replay.plan.planner import RunPlan
from flor_replay.replay.choices import Choices
from flor_replay.replay.memory import affordable
from flor_replay.replay.needs import Answers, plan_unrecorded, plan_version
from flor_replay.replay.placing import Placing
from flor_replay.replay.proposal import Proposal, Selection, VersionProposal
from flor_replay.replay.starting import Nurseries
from flor_replay.replay.today import files_today
from flor_replay.replay.unrecorded import as_long_as_others, unrecorded
from flor_replay.store.runs import Run


def propose(
    history: History,
    root: str,
    store: str,
    paths: Sequence[str],
    everything: Sequence[Run],
    selection: Selection,
    jobs: int,
    *,
    decide: Callable[[Sequence[VersionProposal], Choices], None] | None = None,
    all_commits: bool = False,
    argv: Sequence[str] | None = None,
) -> Proposal:
    """Work out the proposal. Nothing is executed, and nothing but objects under refs/flor is written.

    `all_commits`: also versions of the files that were never recorded; they are given the arguments `argv`, or the newest
    run's. `decide` sees what was placed and refused before anything is planned, and may add to the choices.

    Raises SourceProblem when a file cannot be parsed or none adds anything, UsageError when it is not in the project,
    StoreError when there is nothing to replay.
    """
    recorded = [run for run in everything if not run.replay_of and run.rank == 0]
    replays: dict[str, list[Run]] = {}
    for run in everything:
        if run.replay_of:
            replays.setdefault(run.replay_of, []).append(run)
    if all_commits:
        never = unrecorded(history, root, store, paths, recorded, argv)
        recorded = sorted(
            {run.run: run for run in (*never, *recorded)}.values(), key=lambda run: run.seconds_since_epoch
        )
    usable, left_out = _usable(history, recorded, selection)
    if not recorded:
        raise StoreError("no runs are recorded in this project yet: run the script once, then change it")
    if not usable:
        reasons = "; ".join(dict.fromkeys(reason for _, reason in left_out)) or "none matches the selection"
        raise StoreError(f"none of the {len(recorded)} recorded runs can be replayed: {reasons}")
    versions = _by_version(usable)
    commits = [version.commit for version in versions]
    prefix = history.prefix(root)
    files, left_aside = files_today(history, root, paths, commits, selection.names, prefix)
    choices = Choices(store)
    placing = Placing(history, files, prefix, choices)
    with collecting_seldom() as turn:
        for number, version in enumerate(versions):
            placing.place(number, version)
            turn()
        if decide is not None:
            decide(versions, choices)
            for number, version in enumerate(versions):
                placing.place(number, version)
                turn()
        known = as_long_as_others(plan_facts.gather(usable), everything)
        answers: dict[tuple[object, ...], Answers] = {}
        placing.commit(versions)
        for version in versions:
            in_it = not version.problem and (version.names or version.already)
            if version.names:
                plan_version(history, version, known, replays, selection, prefix, answers)
            if in_it:
                plan_unrecorded(version, known, replays, selection, prefix)
            turn()
        replayed = [run for version in versions for run in version.runs if run.run in version.needs]
        jobs, fewer = affordable(jobs, replayed)
        pace = learned((run.info for run in everything if run.replay_of), socket.gethostname())
        if selection.seconds is not None:
            _within(selection.seconds, versions, jobs, pace)
        _share_out(versions, jobs)
        _at_pace(versions, pace)
    return Proposal(
        root,
        store,
        [file.patch for file in files],
        versions,
        left_out,
        left_aside,
        known,
        jobs,
        fewer=fewer,
        warm=Nurseries.possible(),
    )


_TURNS = 20  # versions; their trees are some 100 MB where files have 1,500 lines


@contextmanager
def collecting_seldom() -> Iterator[Callable[[], None]]:
    """Trees by the hundred thousand nodes are made and dropped: looking for cycles among them all the time costs a third.

    To be told of each version: garbage is collected after every twentieth.
    """
    count = 0

    def turn() -> None:
        nonlocal count
        count += 1
        if count % _TURNS == 0:
            gc.collect()

    works = gc.isenabled()
    gc.disable()
    try:
        yield turn
    finally:
        if works:
            gc.enable()


def _share_out(versions: Sequence[VersionProposal], jobs: int) -> None:
    """Cut long segments in two where all are done sooner for it."""
    about = {run: known for version in versions for run, known in version.needs.items()}
    plans = planner.share_out(
        {run: v.plans[run] for v in versions for run in v.needs}, about, jobs, warm=Nurseries.possible()
    )
    for version in versions:
        version.plans.update({run: plans[run] for run in version.needs})


def _at_pace(versions: Sequence[VersionProposal], pace: Pace) -> None:
    """The seconds of the plans as replays took them on this machine so far."""
    for version in versions:
        for run, plan in version.plans.items():
            segments = tuple(
                replace(segment, seconds=pace(segment.seconds), recorded_seconds=segment.seconds)
                for segment in plan.segments
            )
            version.plans[run] = replace(plan, segments=segments)


def _within(seconds: float, versions: Sequence[VersionProposal], jobs: int, pace: Pace) -> None:
    """Leave out the plans that do not fit into this time any more; `versions` are newest first."""
    taken: list[float] = []
    for version in versions:
        for run in list(version.needs):
            work = [pace(segment.seconds) for segment in version.plans[run].segments]
            if planner.makespan([*taken, *work], jobs) <= seconds:
                taken += work
            elif work:
                version.plans[run] = RunPlan(run, (), f"left for later: the time allowed ({seconds:.0f} s) is used up")


def _usable(history: History, recorded: Sequence[Run], selection: Selection) -> tuple[list[Run], list[tuple[Run, str]]]:
    usable, left_out = [], []
    chosen = [run for run in recorded if selection.runs is None or run.run in selection.runs]
    if selection.since is not None:
        chosen = [run for run in chosen if run.seconds_since_epoch >= selection.since]
    if selection.last is not None:
        chosen = chosen[-selection.last :]
    present = history.present(run.commit for run in chosen if run.commit is not None)
    for run in chosen:
        commit = run.commit
        if run.status == "running":
            left_out.append((run, "it is still running"))
        elif run.info.get("entry", {}).get("kind") == "interactive":
            left_out.append((run, "it ran in a notebook or shell, which cannot be run again by itself"))
        elif run.info.get("entry", {}).get("kind") == "hosted":
            program = run.info["entry"].get("program", "a server")
            left_out.append((run, f"it ran inside {program}, which cannot be run again by itself"))
        elif run.info.get("follows"):
            left_out.append((run, "it began at a flor.commit() in the middle of its script, which starts from the top"))
        elif run.info.get("distributed", 1) > 1:
            left_out.append(
                (run, f"it trained in {run.info['distributed']} processes, and one alone cannot be replayed")
            )
        elif commit is None:
            left_out.append((run, str(run.version.get("error", "it has no version"))))
        elif commit not in present:
            left_out.append((run, f"its version {commit[:8]} is no longer in the repository"))
        else:
            usable.append(run)
    return usable, left_out


def _by_version(runs: Sequence[Run]) -> list[VersionProposal]:
    """Newest first."""
    found: dict[str, VersionProposal] = {}
    for run in reversed(runs):
        commit = str(run.commit)
        found.setdefault(commit, VersionProposal(commit, [])).runs.insert(0, run)
    return list(found.values())
