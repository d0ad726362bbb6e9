"""``flor.checkpoint``: the state that a run had at an iteration, put into objects of this process. The model registry.

A checkpoint knows objects by the names that they had in the script: those that ``flor.checkpointing`` was given, and the
variables of its functions and modules. Nothing is unpickled that is not plain data.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from flor_replay.errors import QueryError
from flor_replay.store import layout, records
from flor_replay.store.runs import Run, open_store

if TYPE_CHECKING:
    from flor_checkpoint import Snapshot


def load_first(rows: object, objects: Mapping[str, object], root: str | None = None) -> pd.Series | None:
    """See `flor_replay.record.api.checkpoint`."""
    if not objects:
        raise QueryError("flor.checkpoint needs an object to load into: flor.checkpoint(run, model=model)")
    _, store = open_store(root)
    runs = [run for run in records.shown(store) if not run.replay_of]
    for run, iteration, row in _candidates(rows, runs):
        if _load(run, store, iteration, objects):
            return row
    return None


def _candidates(rows: object, runs: list[Run]) -> Iterator[tuple[Run, int | None, pd.Series]]:
    """The run, the iteration of its main loop (None: the last one that was kept) and the row of each, in order."""
    if isinstance(rows, str):
        found = [run for run in runs if run.run == rows]
        if not found:
            raise QueryError(f"no run is called {rows!r}")
        yield found[0], None, pd.Series({"run": rows})
        return
    if isinstance(rows, pd.Series):
        frame = rows.to_frame().T
        frame.attrs.update(rows.attrs)
    elif isinstance(rows, pd.DataFrame):
        frame = rows
    else:
        raise QueryError(f"a run is told by its id, or by a row of flor.dataframe, not by {type(rows).__name__}")
    loops = frame.attrs.get("loops") or ()
    for _, row in frame.iterrows():
        run = _run_of(row, runs)
        if run is not None:
            index = row.get(loops[0]) if loops else None
            yield run, None if index is None or pd.isna(index) else int(index), row


def _run_of(row: pd.Series, runs: list[Run]) -> Run | None:
    if "run" in row:
        return next((run for run in runs if run.run == row["run"]), None)
    try:
        moment = pd.Timestamp(row["tstamp"]).to_pydatetime()
    except KeyError:
        raise QueryError("a row needs the column tstamp or run to tell its run") from None
    return next((run for run in runs if _same(run.started, moment) and run.filename == row.get("filename")), None)


def _same(one: datetime, other: datetime) -> bool:
    return abs((one - other).total_seconds()) < 1e-6


def _load(run: Run, store: str, iteration: int | None, objects: Mapping[str, object]) -> bool:
    """Put the state after an iteration into the objects; whether there is one that can be read and has them all."""
    if not os.path.isdir(run.folder.checkpoints):
        return False
    from flor_checkpoint import (
        BadCheckpoint,
        CheckpointError,
        Restorer,
        load,
        manifests,
        process_state,
        restore_process_state,
    )

    found, _ = manifests(Path(run.folder.checkpoints))
    # The state after an iteration is the one at the start of the next, and at the loop's end.
    whole = [m for m in found if m.point.get("at") in ("start", "end") and not m.point.get("ordinal")]
    whole = [m for m in whole if int(str(m.point.get("index", -1))) > 0]
    if iteration is not None:
        whole = [m for m in whole if m.point["index"] == iteration + 1]
    generators = process_state()
    for manifest in sorted(whole, key=lambda m: int(str(m.point["index"])), reverse=True):
        try:
            snapshot = load(manifest, Path(layout.packs(store)), trust=False)
            places = {name: _place_of(name, snapshot) for name in objects}
            namespaces: dict[str, dict[str, object]] = {}
            roots: dict[str, dict[str, object]] = {}
            for name, place in places.items():
                if place is not None:
                    space, there, written = place
                    namespaces.setdefault(space, {})[there] = objects[name]
                    roots.setdefault(space, {})[there] = written
            if None in places.values():
                continue
            before = {name: _shapes(thing) for name, thing in objects.items()}
            restorer = Restorer(None)
            restorer.baseline(namespaces)
            wanted = dataclasses.replace(
                snapshot, roots=roots, nodes=[("gone",) if node[0] == "generator" else node for node in snapshot.nodes]
            )
            restored = restorer.restore(wanted, namespaces)
        except (BadCheckpoint, CheckpointError):
            continue
        finally:
            restore_process_state(generators)
        if any(restored.bindings.values()):
            name = next(name for names in restored.bindings.values() for name in names)
            raise QueryError(f"{name!r} cannot be loaded in place: it is not of the type that run {run.run} had")
        if restored.mismatched:
            path, reason = restored.mismatched[0]
            raise QueryError(f"{path} of run {run.run} cannot be loaded in place: {reason}")
        for name, thing in objects.items():
            if _shapes(thing) != before[name]:
                raise QueryError(
                    f"{name!r} is not built as the one of run {run.run}: parameters have other names or shapes"
                )
        if not restored.missing:
            return True
    return False


def _shapes(thing: object) -> dict[str, tuple[int, ...]]:
    """Of a module: its parameters and buffers; empty for other objects."""
    named = [getattr(thing, name, None) for name in ("named_parameters", "named_buffers")]
    return {name: tuple(tensor.shape) for each in named if callable(each) for name, tensor in each()}


def _place_of(name: str, snapshot: Snapshot) -> tuple[str, str, object] | None:
    """The namespace and the name under which the recording walked to what the script called `name`, and its root there.

    What flor.checkpointing was given comes first, then the outermost function. One object may have several names.
    """
    spaces = [space for space in snapshot.roots if name in snapshot.roots[space]]
    for space in sorted(spaces, key=lambda space: (space != "explicit", space)):
        written = snapshot.roots[space][name]
        if type(written) is not tuple or type(written[0]) is not int:
            continue
        row = snapshot.origins[written[0]]
        steps: list[object] = []
        while row > 0:
            steps.insert(0, snapshot.steps[row])
            row = snapshot.parents[row]
        if len(steps) == 2 and isinstance(steps[0], tuple):
            return str(steps[0][1]), str(steps[1]), written
    return None
