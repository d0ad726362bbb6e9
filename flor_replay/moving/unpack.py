"""Taking the runs of an archive into a store. They are somebody else's: nothing of them is unpickled unless the user says so."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flor_replay.errors import GitError, StoreError
from flor_replay.moving.archive import BUNDLE, FORM, LISTING, fetch_versions
from flor_replay.store import layout

_NAME = re.compile(r"[\w.+-]+")
_SHARED = ("inputs", "contexts", "packs")


@dataclass
class Unpacked:
    """What was taken over."""

    runs: list[str] = field(default_factory=list)
    replays: list[str] = field(default_factory=list)  # of these runs
    known: list[str] = field(default_factory=list)  # were there already
    notes: list[str] = field(default_factory=list)


def read(root: str, store: str, path: str, *, trust: bool = False) -> Unpacked:
    """Take the runs of an archive into `store`. Runs that are there already stay as they are.

    `trust`: their checkpoints may be unpickled, which can run code of whoever wrote them. Raises StoreError where the file
    is no archive, is damaged, or has names that lead elsewhere; then nothing was taken over.
    """
    found = Unpacked()
    layout.prepare(store)
    with _opened(path) as (archive, listing), tempfile.TemporaryDirectory(dir=store, prefix="import-") as scratch:
        digests = listing["sha256"]
        for name, expected in digests.items():
            _take(archive, name, str(expected), scratch, path)
        for run in listing["runs"]:
            if not _NAME.fullmatch(str(run)):
                raise StoreError(f"{path}: {run!r} is no name of a run")
            source = os.path.join(scratch, "runs", str(run))
            target = os.path.join(store, "runs", str(run))
            if os.path.exists(target):
                here = layout.read_json(os.path.join(target, "run.json"))
                if not (isinstance(here, dict) and here.get("replay_of")):
                    found.known.append(str(run))
                continue
            is_replay = _mark(os.path.join(source, "run.json"), str(run), path, trust)
            (found.replays if is_replay else found.runs).append(str(run))
        _share(scratch, store)
        for run in (*found.runs, *found.replays):
            os.rename(os.path.join(scratch, "runs", run), os.path.join(store, "runs", run))
        if BUNDLE in digests:
            try:
                fetch_versions(root, os.path.join(scratch, BUNDLE))
            except GitError as error:
                found.notes.append(str(error))
    return found


@contextmanager
def _opened(path: str) -> Iterator[tuple[zipfile.ZipFile, Mapping[str, Any]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            listing = json.loads(archive.read(LISTING))
            if listing.get("form") != FORM:
                raise StoreError(f"{path} has form {listing.get('form')!r}: this version reads form {FORM}")
            yield archive, listing
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error})") from None
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError) as error:
        raise StoreError(f"{path} is not an archive of flor-replay, or it is damaged ({error})") from None


def _take(archive: zipfile.ZipFile, name: str, expected: str, scratch: str, path: str) -> None:
    parts = name.split("/")
    if not all(_NAME.fullmatch(part) and part.strip(".") for part in parts) or parts[0] not in (
        "runs",
        *_SHARED,
        BUNDLE,
    ):
        raise StoreError(f"{path}: it holds {name!r}, which is no file of a store")
    target = os.path.join(scratch, *parts)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    hashing = hashlib.sha256()
    with archive.open(name) as member, open(target, "wb") as file:
        while piece := member.read(1 << 20):
            hashing.update(piece)
            file.write(piece)
    if hashing.hexdigest() != expected:
        raise StoreError(f"{path} is damaged: {name} is not what was put into it")


def _mark(path: str, run: str, archive: str, trust: bool) -> bool:
    """Say in the run's record that it is somebody else's, whatever the record said before. Returns whether it is a replay."""
    info = layout.read_json(path)
    if not isinstance(info, dict) or info.get("run") != run:
        raise StoreError(f"{archive}: run {run} has no record")
    info["imported"] = {"from": os.path.basename(archive), "at": time.time(), "trusted": trust}
    if info.get("status") == "running":
        info["status"] = "crashed"
    layout.replace_json(path, info)
    return bool(info.get("replay_of"))


def _share(scratch: str, store: str) -> None:
    """Files that runs share are named by their content: what is there already is the same, and is kept."""
    for folder in _SHARED:
        source = os.path.join(scratch, folder)
        for name in os.listdir(source) if os.path.isdir(source) else ():
            target = os.path.join(store, folder, name)
            if not os.path.exists(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.move(os.path.join(source, name), target)
