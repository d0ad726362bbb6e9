"""Manifests: the file that makes a checkpoint one, written last and by rename."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flor_checkpoint.errors import BadCheckpoint

FORMAT = 1
LOOP = "loop"
"""The namespace of what the main loop runs over."""


class GraphFile(NamedTuple):
    """The object graph's file, beside the manifest."""

    file: str
    digest: str


class NotCaptured(NamedTuple):
    """Something that the checkpoint lacks."""

    path: str
    """The shortest access path to it."""
    reason: str
    holders: tuple[tuple[str, str], ...] = ()
    """Every (namespace, name) from which it can be reached; none where that is not known."""

    @property
    def of_running_loop(self) -> bool:
        """Whether nothing but what the main loop runs over holds it."""
        return bool(self.holders) and all(space == LOOP for space, _ in self.holders)


class Manifest(NamedTuple):
    """What a checkpoint is made of."""

    id: str
    point: Mapping[str, object]
    """Where in the run it was taken, in the caller's words."""
    created: float
    """Seconds since 1970."""
    stall_seconds: float
    """What it cost the training thread."""
    write_seconds: float
    bytes_logical: int
    """The content's size, before deduplication."""
    bytes_written: int
    graph: GraphFile
    tensors: Mapping[str, str]
    """The pack that has each digest."""
    not_captured: tuple[NotCaptured, ...] = ()
    notes: tuple[str, ...] = ()
    folder: Path = Path()
    """Where it was read; not written."""
    format: int = FORMAT


def write_manifest(manifest: Manifest) -> None:
    """Write ``<id>.json`` in its folder."""
    content = manifest._asdict()
    del content["folder"]
    content["graph"] = manifest.graph._asdict()
    content["not_captured"] = [each._asdict() for each in manifest.not_captured]
    text = json.dumps(content)  # to indent it would take milliseconds
    write_file(manifest.folder / f"{manifest.id}.json", text.encode())


def remove_checkpoint(manifest: Manifest) -> None:
    """Remove a checkpoint: the manifest first, for without it there is none. Its content in packs stays."""
    (manifest.folder / f"{manifest.id}.json").unlink(missing_ok=True)
    (manifest.folder / manifest.graph.file).unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file."""
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] != FORMAT:
            raise BadCheckpoint(f"{path}: format {raw['format']!r} is unknown; this version reads {FORMAT}")
        raw["graph"] = GraphFile(**raw["graph"])
        raw["not_captured"] = tuple(_not_captured(entry) for entry in raw["not_captured"])
        raw["notes"] = tuple(raw["notes"])
        known = Manifest._fields
        if not isinstance(raw["point"], dict) or not isinstance(raw["tensors"], dict):
            raise BadCheckpoint(f"{path}: is no manifest")
        if Path(raw["graph"].file).name != raw["graph"].file or f"{raw['id']}.json" != path.name:
            raise BadCheckpoint(f"{path}: names files outside of its folder")
        return Manifest(**{key: value for key, value in raw.items() if key in known}, folder=path.parent)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{path}: cannot be read: {error}") from error


def _not_captured(entry: Any) -> NotCaptured:
    holders = tuple((str(space), str(name)) for space, name in entry.get("holders", ()))
    return NotCaptured(str(entry["path"]), str(entry["reason"]), holders)


def manifests(checkpoints: Path) -> tuple[list[Manifest], list[str]]:
    """The readable manifests of a folder from the oldest to the newest, and a message for each other one."""
    found: list[Manifest] = []
    bad: list[str] = []
    for path in sorted(checkpoints.glob("*.json")):
        try:
            found.append(read_manifest(path))
        except BadCheckpoint as error:
            bad.append(str(error))
    return sorted(found, key=lambda manifest: (manifest.created, manifest.id)), bad
