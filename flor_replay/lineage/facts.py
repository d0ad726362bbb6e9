"""The facts of a store's runs, for the graph."""

from __future__ import annotations

from flor_replay.lineage import settling
from flor_replay.lineage.graph import RunFacts
from flor_replay.store import contexts
from flor_replay.store.runs import Run, all_runs


def gather(root: str, store: str) -> list[RunFacts]:
    """Of all recorded runs, the oldest first; what has ended is settled now."""
    runs = [run for run in all_runs(store) if not run.replay_of]
    settling.settle(root, store, runs)
    return [_facts(root, store, run) for run in runs]


def _facts(root: str, store: str, run: Run) -> RunFacts:
    found = settling.read(root, run)
    caller = (contexts.read(store, run).get("callers") or [{}])[0]
    return RunFacts(
        run.run,
        f"{run.filename} {run.told}".strip(),
        run.began_seconds,
        float(run.info.get("ended") or run.began_seconds),
        run.commit,
        caller.get("task") if caller.get("kind") not in ("shell", "process") else None,
        found["read"],
        found["written"],
        [(names, runs) for names, runs in found["values"]],
    )
