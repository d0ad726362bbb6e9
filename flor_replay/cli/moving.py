"""What ``export``, ``import``, ``push`` and ``pull`` share."""

from __future__ import annotations

from collections.abc import Sequence

from flor_replay.cli.common import plural, run_id
from flor_replay.cli.shell import DONE, PARTLY, say
from flor_replay.errors import UsageError
from flor_replay.moving.unpack import Unpacked
from flor_replay.store.runs import Run, all_runs


def groups(store: str, names: Sequence[str], every: bool) -> list[list[Run]]:
    """The runs that are called so (all that have ended with `every`), each with its replays that may be shown."""
    if bool(names) == every:
        raise UsageError("name the runs, or --all")
    runs = all_runs(store)
    wanted = {run_id(store, name) for name in names}
    replays: dict[str, list[Run]] = {}
    for run in runs:
        if run.replay_of and run.fidelity:
            replays.setdefault(run.replay_of, []).append(run)
    chosen = [r for r in runs if not r.replay_of and (r.run in wanted or (every and r.status != "running"))]
    return [[run, *replays.get(run.run, [])] for run in chosen]


def told(found: Unpacked, *, dry_run: bool = False) -> int:
    """Say what was taken over; ids on stdout. Returns the exit code."""
    for run in found.runs:
        print(run)
    verb = "would be taken over" if dry_run else "taken over"
    told = f"{plural(len(found.runs), 'run')} and {plural(len(found.replays), 'replay')}"
    say(f"{told} {verb}, {len(found.known)} were here already")
    for note in found.notes:
        say(f"flor-replay: {note}")
    return PARTLY if found.notes else DONE
