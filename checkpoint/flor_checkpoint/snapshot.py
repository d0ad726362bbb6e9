"""Reading a checkpoint back, every byte of it verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flor_checkpoint.digest import digest
from flor_checkpoint.errors import BadCheckpoint
from flor_checkpoint.manifest import Manifest
from flor_checkpoint.pack_reader import PackReader, Unverified
from flor_checkpoint.plain import loads, loads_graph


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint in memory, or mapped into it."""

    manifest: Manifest
    trusted: bool
    """Whether its opaque pickles may be loaded and modules be imported for it."""
    nodes: list[tuple[Any, ...]]
    origins: list[int]
    """Of each node, its row in the table of loop entry, or -1."""
    roots: Mapping[str, Mapping[str, object]]
    process: Mapping[str, Any]
    parents: list[int]
    steps: list[object]
    blobs: Mapping[str, memoryview | Unverified]

    def content(self, written: object) -> bytes | memoryview:
        """The bytes that stand in a node or that it points to. Raises BadCheckpoint where they are not what was written."""
        found = self.to_copy(written)
        return found.verified() if isinstance(found, Unverified) else found

    def to_copy(self, written: object) -> bytes | memoryview | Unverified:
        """The same for who can verify it as it is copied."""
        if isinstance(written, list):
            return self.blobs[written[0]]
        assert isinstance(written, bytes)
        return written


def _settled(node: tuple[Any, ...]) -> tuple[Any, ...]:
    """The node of a piece of memory with its content as such nodes have it that were complete when they were made."""
    content = node[3]
    if isinstance(content, list) and len(content) == 2:
        return (*node[:3], tuple(content))
    if isinstance(content, list) and isinstance(content[0], bytes):
        return (*node[:3], content[0])
    return node


def load(manifest: Manifest, packs: Path, *, trust: bool, later: bool = False) -> Snapshot:
    """Read a checkpoint; BadCheckpoint if a byte of it is not what was written.

    Without `trust` nothing is unpickled but plain data: opaque objects are then missing from the restore. `later`: large
    memory is verified while it is restored, which is a third faster; a restore that finds it damaged raises BadCheckpoint, and
    what it has overwritten by then is lost.
    """
    path = manifest.folder / manifest.graph.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadCheckpoint(f"{path}: cannot be read: {error}") from error
    if digest(data) != manifest.graph.digest:
        raise BadCheckpoint(f"{path}: is damaged (its digest is not {manifest.graph.digest})")
    reader = PackReader(packs)
    blobs = reader.read_all(manifest.tensors, later=later)
    try:
        graph = loads_graph(data)
        table = blobs[graph["table"][0]]
        parents, steps = loads(table.verified() if isinstance(table, Unverified) else table)
        return Snapshot(
            manifest=manifest,
            trusted=trust,
            nodes=[_settled(node) if node[0] == "memory" else node for node in graph["nodes"]],
            origins=graph["origins"],
            roots=graph["roots"],
            process=graph["process"],
            parents=parents,
            steps=steps,
            blobs=blobs,
        )
    except BadCheckpoint:
        raise
    except Exception as error:  # whatever a hostile or foreign pickle raises
        raise BadCheckpoint(f"{path}: cannot be understood: {type(error).__name__}: {error}") from error
