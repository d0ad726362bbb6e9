"""The thread that writes checkpoints: everything that needs no look at the live objects."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from flor_checkpoint.contents import Blob
from flor_checkpoint.digest import Buffer, digest, digest_of_chunks
from flor_checkpoint.errors import ContentGone
from flor_checkpoint.manifest import GraphFile, Manifest, NotCaptured, remove_checkpoint, write_file, write_manifest
from flor_checkpoint.packs import PackIndex, write_pack
from flor_checkpoint.plain import dumps_graph
from flor_checkpoint.priority import step_back


class Job(NamedTuple):
    """A checkpoint on its way to the disk."""

    id: str
    point: Mapping[str, object]
    created: float
    stall_seconds: float
    graph: dict[str, object]
    blobs: list[Blob]
    logical_bytes: int
    not_captured: tuple[NotCaptured, ...] = ()
    notes: tuple[str, ...] = ()


_MOST_JOBS = 2
"""A restore point and the one right after it; what they share is copied once."""


_YIELDING = 16
"""After so many blobs, a tenth of a millisecond's work: to yield costs as much."""


class Writer:
    """One thread, one job at a time; another one may wait."""

    def __init__(self, packs: Path, checkpoints: Path, done: Callable[[Job, Manifest | BaseException], None]) -> None:
        self._packs = packs
        self._checkpoints = checkpoints
        self._done = done
        self._index = PackIndex(packs)
        self._jobs: deque[Job] = deque()  # the first is being written
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.cpu_seconds = 0.0
        """What writing has taken of the processors, up to the last job done."""
        self.wall_seconds = 0.0

    @property
    def busy(self) -> bool:
        """Whether a job is being written."""
        return bool(self._jobs)

    @property
    def full(self) -> bool:
        """Whether no job can be taken."""
        return len(self._jobs) >= _MOST_JOBS

    def submit(self, job: Job) -> None:
        """Write the job; only when not full."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="flor-checkpoint-writer", daemon=True)
            self._thread.start()

    def drain(self, timeout: float | None) -> bool:
        """Wait for the jobs in hand; whether they are done."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs, timeout)

    def close(self, timeout: float | None) -> None:
        """Finish the jobs in hand and end the thread."""
        self.drain(timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        step_back()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                job = self._jobs[0]
            outcome: Manifest | BaseException
            begun, cpu = time.perf_counter(), time.thread_time()
            try:
                outcome = self.write(job)
            except BaseException as error:  # a full disk as much as a bug: training goes on
                outcome = error
            self._done(job, outcome)
            with self._changed:
                self.cpu_seconds += time.thread_time() - cpu
                self.wall_seconds += time.perf_counter() - begun
                self._jobs.popleft()
                del job, outcome
                self._changed.notify_all()

    def write(self, job: Job) -> Manifest:
        """Write a job's pack, its graph and, last, its manifest."""
        begun = time.perf_counter()
        self._index.refresh()
        new, wanted = self._sort(job.blobs)
        written = 0
        if new:
            # Whoever waits for the last one of a loop waits for no disk.
            name, written = write_pack(self._packs, new, cached=job.point.get("at") in ("end", "left"))
            self._index.add(name, [blob for blob, _ in new])
        tensors: dict[str, str] = {}
        for blob in wanted:
            pack = self._index.find(blob)
            if pack is None:
                raise ContentGone(f"blob {blob} was stored by an earlier checkpoint and is gone")
            tensors[blob] = pack
        data = b"".join(dumps_graph(job.graph))
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        graph = GraphFile(f"{job.id}.graph", digest(data))
        write_file(self._checkpoints / graph.file, data)
        manifest = Manifest(
            id=job.id,
            point=dict(job.point),
            created=job.created,
            stall_seconds=job.stall_seconds,
            write_seconds=time.perf_counter() - begun,
            bytes_logical=job.logical_bytes + len(data),
            bytes_written=written + len(data),
            graph=graph,
            tensors=tensors,
            not_captured=job.not_captured,
            notes=job.notes,
            folder=self._checkpoints,
        )
        write_manifest(manifest)
        return self._settled(manifest)

    def _settled(self, manifest: Manifest) -> Manifest:
        """The manifest, once it is sure that what it shares with others was not deleted meanwhile.

        A sweep condemns a pack first and looks for new manifests afterwards; here the manifest is written first and the
        packs are looked at afterwards. So one of the two sees the other.
        """
        for _ in range(3):
            if all((self._packs / pack).exists() for pack in set(manifest.tensors.values())):
                return manifest
            self._index.refresh()
            tensors = {blob: self._index.find(blob) for blob in manifest.tensors}
            if None in tensors.values():
                break
            manifest = manifest._replace(tensors={blob: pack for blob, pack in tensors.items() if pack is not None})
            write_manifest(manifest)
        remove_checkpoint(manifest)
        raise ContentGone("content that this checkpoint shares with others was removed meanwhile")

    def _sort(self, blobs: list[Blob]) -> tuple[list[tuple[str, list[Buffer]]], list[str]]:
        """The blobs that no pack has yet, with their bytes; and all digests that the checkpoint needs."""
        new: dict[str, list[Buffer]] = {}
        wanted: dict[str, None] = {}
        for place, blob in enumerate(blobs):
            if place % _YIELDING == 0:
                time.sleep(0)  # whoever waits for the interpreter lock gets it now, not after its five milliseconds
            if blob.settle is not None and blob.settle():
                continue
            name = blob.cell[0]
            chunks: list[Buffer] | None = None
            if name is None:
                if blob.stored:
                    chunks = list(blob.chunks())
                    name = digest_of_chunks(chunks)
                else:
                    name = digest_of_chunks(blob.chunks())
                blob.cell[0] = name
                if blob.track is not None:
                    blob.track.saw(name)
            if not blob.stored:
                continue
            wanted[name] = None
            if name not in new and self._index.find(name) is None:
                chunks = list(blob.chunks()) if chunks is None else chunks
                if chunks:
                    new[name] = chunks
        return list(new.items()), list(wanted)
