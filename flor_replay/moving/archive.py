"""Runs in one file: their logs, their versions as a git bundle, and checkpoints where they are asked for.

The file is a zip that any tool opens: ``flor.json`` (form, the runs, sha256 of each member), ``runs/<run>/…`` and ``inputs/…``, ``contexts/…``
as in a store, ``packs/…`` with checkpoints, and ``versions.bundle``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flor_replay.errors import GitError, StoreError
from flor_replay.history.gitcmd import GitCommands
from flor_replay.store import layout, sealing
from flor_replay.store.runs import Run

FORM = 1
LISTING = "flor.json"
BUNDLE = "versions.bundle"
_SENT = "refs/flor/sent/"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same runs make the same file
_OF_A_RUN = ("rng.json", "log.parquet", "loops.parquet", "changed.jsonl", "output.txt", "output.end.txt")


def write(root: str, runs: Sequence[Run], path: str, *, checkpoints: bool = False, bundle: bool = True) -> list[str]:
    """Write an archive of these runs and replays. Returns in words what could not be put into it.

    Raises StoreError where `path` cannot be written.
    """
    notes: list[str] = []
    temporary = f"{path}.{os.getpid()}.tmp"
    digests: dict[str, str] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="flor-export-") as scratch, zipfile.ZipFile(temporary, "w") as archive:
            for name, source in _members(runs, Path(scratch), checkpoints):
                if name not in digests:
                    digests[name] = _add(archive, name, source)
            commits = sorted({str(c) for run in runs for c in (run.commit, run.info.get("patched")) if c})
            if bundle and commits:
                made = Path(scratch, BUNDLE)
                missing = _bundle(root, commits, made)
                notes += [f"version {commit} is not in the repository any more" for commit in missing]
                if made.exists():
                    digests[BUNDLE] = _add(archive, BUNDLE, made)
            listing = {"form": FORM, "runs": [run.run for run in runs], "sha256": digests}
            archive.writestr(zipfile.ZipInfo(LISTING, _EPOCH), json.dumps(listing, indent=1))
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror})") from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return notes


def _members(runs: Sequence[Run], scratch: Path, checkpoints: bool) -> Iterator[tuple[str, Path]]:
    store = runs[0].folder.store if runs else ""
    for run in runs:
        base = f"runs/{run.run}"
        folder = _sealed(run, scratch)
        for name, data in (("run.json", {**run.info, "status": run.status}), ("version.json", dict(run.version))):
            own = scratch / f"{run.run}.{name}"
            sealed = layout.read_json(os.path.join(folder, "run.json")) if name == "run.json" else None
            extra = {"sealed": sealed["sealed"]} if isinstance(sealed, dict) and "sealed" in sealed else {}
            own.write_text(json.dumps({**data, **extra}, indent=1))
            yield f"{base}/{name}", own
        yield from ((f"{base}/{name}", Path(folder, name)) for name in _OF_A_RUN if os.path.exists(Path(folder, name)))
        yield from ((f"{base}/files/{path.name}", path) for path in _files(run.folder.files))
        found = run.version.get("inputs")
        listing = Path(layout.inputs(store, str(found)))
        if found and listing.exists():
            yield f"inputs/{listing.name}", listing
        yield from _context(store, run)
        if checkpoints:
            yield from ((f"{base}/checkpoints/{path.name}", path) for path in _files(run.folder.checkpoints))
    if checkpoints:
        yield from ((f"packs/{path.name}", path) for path in _packs(store, runs))


def _sealed(run: Run, scratch: Path) -> str:
    """The run's folder, or a sealed copy of its log where it is live."""
    live = [path for path in (run.folder.live, run.folder.live_1) if os.path.exists(path)]
    if not live:
        return run.folder.path
    copy = layout.RunFolder(str(scratch / "live"), run.run)
    os.makedirs(copy.path)
    for path in (*live, run.folder.info):
        shutil.copy(path, copy.path)
    sealing.seal(copy)
    return copy.path


def _files(folder: str) -> list[Path]:
    return sorted(path for path in Path(folder).glob("*") if path.is_file() and path.suffix != ".tmp")


def _context(store: str, run: Run) -> Iterator[tuple[str, Path]]:
    name = run.info.get("context")
    path = Path(store, "contexts", f"{name}.json")
    found = layout.read_json(str(path)) if name else None
    if isinstance(found, dict):
        yield f"contexts/{path.name}", path
        packages = path.with_name(f"packages-{found.get('packages')}.json")
        if packages.exists():
            yield f"contexts/{packages.name}", packages


def _packs(store: str, runs: Iterable[Run]) -> list[Path]:
    """The packs with what the runs' checkpoints refer to."""
    from flor_checkpoint import manifests
    from flor_checkpoint.sweep import look

    needed = {blob for run in runs for found in manifests(Path(run.folder.checkpoints))[0] for blob in found.tensors}
    folder = Path(layout.packs(store))
    return [folder / pack.name for pack in look(folder)[0] if needed & pack.blobs.keys()]


def _add(archive: zipfile.ZipFile, name: str, source: Path) -> str:
    hashing = hashlib.sha256()
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED if source.suffix in (".json", ".txt", ".jsonl") else zipfile.ZIP_STORED
    info.external_attr = 0o644 << 16
    with source.open("rb") as file, archive.open(info, "w", force_zip64=True) as member:
        while piece := file.read(1 << 20):
            hashing.update(piece)
            member.write(piece)
    return hashing.hexdigest()


def _bundle(root: str, commits: Sequence[str], path: Path) -> list[str]:
    """Bundle the commits with their history; returns those that are not there."""
    with GitCommands(root) as git:
        there = [c for c in commits if git.try_text("rev-parse", "--verify", "--quiet", f"{c}^{{commit}}") is not None]
        if there:
            refs = [_SENT + commit for commit in there]
            git.run("update-ref", "--stdin", data="".join(f"update {_SENT}{c} {c}\n" for c in there).encode())
            try:
                git.run("bundle", "create", "--quiet", str(path), *refs)
            finally:
                git.run("update-ref", "--stdin", data="".join(f"delete {ref}\n" for ref in refs).encode())
    return [commit for commit in commits if commit not in there]


def fetch_versions(root: str, bundle: str) -> None:
    """Take the versions of a bundle into the repository, under refs/flor. Raises GitError."""
    with GitCommands(root) as git:
        try:
            git.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", bundle, f"+{_SENT}*:refs/flor/received/*")
        except GitError as error:
            raise GitError(f"its versions cannot be taken over: {error}") from None
