"""Putting a captured state back into a process that has run the script up to the same loop."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import GeneratorType

from flor_checkpoint import rebuild, rebuild_arrays, rebuild_iterators, rebuild_objects
from flor_checkpoint.compare import NO_CLOCKS, Clocked, Differences, Digests, differences
from flor_checkpoint.contents import SAME_BYTES, NoContents, memory_bytes
from flor_checkpoint.encode import new_walker
from flor_checkpoint.errors import BadCheckpoint, CheckpointError
from flor_checkpoint.kinds import TypeBook
from flor_checkpoint.project import Project
from flor_checkpoint.rng import process_state, restore_process_state
from flor_checkpoint.snapshot import Snapshot
from flor_checkpoint.walk import Namespaces, Walker

_MAKERS = {**rebuild.MAKERS, **rebuild_objects.MAKERS, **rebuild_iterators.MAKERS, **rebuild_arrays.MAKERS}
_STASH_BYTES = 8 << 20
_STASH_TOTAL_BYTES = 256 << 20


@dataclass(frozen=True)
class Restored:
    """What a restore could not do in place, and what it could not do."""

    bindings: dict[str, dict[str, object]]
    """By namespace: names to be bound to these values."""
    unbind: dict[str, list[str]]
    """By namespace: names that were not bound at that point of the recording."""
    missing: list[tuple[str, str]]
    """Path and reason of what could not be put back."""
    mismatched: list[tuple[str, str]]
    """Path and reason of what should be as at loop entry of the recording and is not: do not go on."""
    notes: list[str]


class Restorer:
    """Restores one main loop, as often as wanted and in any order."""

    def __init__(self, project_root: Path | None) -> None:
        self._book = TypeBook(Project(project_root))
        self._entry: Walker | None = None
        self._stash: dict[int, bytes] = {}
        self._replaced: list[object] = []
        self._environ: dict[str, str] = {}

    def baseline(self, namespaces: Namespaces) -> None:
        """Look at the live objects at loop entry; they are held from now on."""
        walker = new_walker(self._book, NoContents(), None)
        walker.walk(namespaces)
        self._entry = walker
        self._environ = dict(os.environ)
        self._stash = {}
        total = 0
        for memory in walker.memories.values():
            nbytes = memory.owner.nbytes
            size = int(nbytes() if callable(nbytes) else nbytes)
            if not memory.forced and SAME_BYTES <= size <= _STASH_BYTES and total + size <= _STASH_TOTAL_BYTES:
                self._stash[memory.nid] = bytes(memory_bytes(memory.owner))
                total += size

    def restore(self, snapshot: Snapshot, namespaces: Namespaces) -> Restored:
        """Make the state what it was at the snapshot. The caller binds the names that it returns.

        Raises BadCheckpoint where the snapshot was to be verified here and is damaged.
        """
        if self._entry is None:
            raise CheckpointError("Restorer.restore needs Restorer.baseline at loop entry first")
        # A generator that is dropped runs the ends of its code, and may change what was just put back: none is dropped.
        self._replaced += [
            value for names in namespaces.values() for value in names.values() if type(value) is GeneratorType
        ]
        builder, values = self._build(self._entry, snapshot, {})
        self._replaced += builder.generators.values()
        if builder.generators:  # to advance them has run code: now that they stand, once more
            builder, values = self._build(self._entry, snapshot, builder.generators)
        bindings: dict[str, dict[str, object]] = {}
        unbind: dict[str, list[str]] = {}
        for space, names in values.items():
            live = namespaces.get(space, {})
            bindings[space] = {
                name: value
                for name, value in names.items()
                if value is not rebuild.LOST and (name not in live or live[name] is not value)
            }
            unbind[space] = [name for name in live if name not in names and not name.startswith("__")]
        restore_process_state(snapshot.process, self._environ)
        return Restored(bindings, unbind, builder.missing, builder.mismatched, builder.notes)

    def differences(
        self,
        snapshot: Snapshot,
        namespaces: Namespaces,
        *,
        but: Collection[tuple[str, str]] = (),
        clocked: Clocked = NO_CLOCKS,
    ) -> Differences:
        """What of the live state is not, bit for bit, what the snapshot has. Needs `baseline` as `restore` does.

        `but`: (namespace, name) of what nobody reads any more and is not asked about. `clocked`: what tells the time.
        """
        if self._entry is None:
            raise CheckpointError("Restorer.differences needs Restorer.baseline at loop entry first")
        contents = Digests()
        walker = new_walker(self._book, contents, self._entry.memo)
        walker.walk(namespaces)
        contents.finish(walker)
        return differences(snapshot, walker, process_state(self._environ), but, clocked)

    def _build(
        self, entry: Walker, snapshot: Snapshot, generators: Mapping[int, object]
    ) -> tuple[rebuild.Builder, dict[str, dict[str, object]]]:
        found = self._match(entry, snapshot)
        builder = rebuild.Builder(
            snapshot,
            {row: entry.objects[nid] for row, nid in found.items()},
            {row: self._stash[nid] for row, nid in found.items() if nid in self._stash},
            _MAKERS,
            generators,
        )
        values: dict[str, dict[str, object]] = {}
        try:
            for nid, node in enumerate(snapshot.nodes):
                if node[0] == "generator":
                    builder.node(nid)
            for space, names in snapshot.roots.items():
                values[space] = {name: builder.value(written) for name, written in names.items()}
            builder.finish()
        except BadCheckpoint:
            raise
        except Exception as error:
            raise CheckpointError(
                f"checkpoint {snapshot.manifest.id} cannot be put back: {type(error).__name__}: {error}"
            ) from error
        return builder, values

    @staticmethod
    def _match(entry: Walker, snapshot: Snapshot) -> dict[int, int]:
        """For each row of the recording's table the node of this process at the same access path."""
        found = {0: 0}
        spaces = {step: nid for nid, step in enumerate(entry.steps) if entry.parents[nid] == 0}
        for row, (parent, step) in enumerate(zip(snapshot.parents, snapshot.steps, strict=True)):
            if parent == 0:
                nid = spaces.get(step)
            elif parent in found:
                nid = entry.edges.get((found[parent], step))
            else:
                continue
            if nid is not None:
                found[row] = nid
        return found
