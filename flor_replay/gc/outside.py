"""What lies outside the store: scratch folders of backfills that were killed, refs of patched versions."""

from __future__ import annotations

import os

from flor_replay.errors import GitError
from flor_replay.history.versions import History
from flor_replay.replay.backfill import discard_abandoned, scratch_base
from flor_replay.store.runs import all_runs


def discard_scratch() -> None:
    """Remove the scratch folders of backfills whose process is gone."""
    base = scratch_base()
    if os.path.isdir(base):
        discard_abandoned(base)


def drop_patched(root: str, store: str) -> list[str]:
    """Remove refs of patched versions that no replay came from (looked at with --dry-run, or given up); messages.

    Refs belong to the repository, stores to a working tree: where there are several of these, another one's replays may
    have come from a version, and all stay.
    """
    try:
        with History(root) as history:
            if os.environ.get("FLOR_STORE") or history.worktrees() > 1:
                return []
            listed = history.patched_refs()  # before the replays are read: what is made meanwhile is not in it
            kept = {str(run.info.get("patched")) for run in all_runs(store) if run.replay_of}
            gone = [commit for commit in listed if commit not in kept]
            history.drop_patched(gone)
    except GitError as error:
        return [f"refs of patched versions stay: {error}"]
    return [f"refs of patched versions that no replay came from removed: {len(gone)}"] if gone else []
