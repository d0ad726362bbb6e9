"""Capturing the state of a running script."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from flor_checkpoint.arena import NoRoom
from flor_checkpoint.contents import Blob, RecordedContents
from flor_checkpoint.encode import new_walker
from flor_checkpoint.errors import ContentGone
from flor_checkpoint.kinds import HELD_KINDS, TypeBook
from flor_checkpoint.losses import mark_unreachable, not_captured
from flor_checkpoint.manifest import Manifest, NotCaptured
from flor_checkpoint.plain import dumps
from flor_checkpoint.project import Project
from flor_checkpoint.rng import process_state
from flor_checkpoint.walk import Namespaces
from flor_checkpoint.writer import Job, Writer

_RETRY_SECONDS = 30.0
_MAX_FAILURES = 5
_COPY_BYTES_PER_SECOND = 4e9
_WRITE_BYTES_PER_SECOND = 1e9
_DIGEST_BYTES_PER_SECOND = 10e9
_LEAST_SECONDS = 0.004
"""What the graph, the manifest and the rest of a small checkpoint take."""


class Captured(NamedTuple):
    """A checkpoint that was taken; it is written meanwhile."""

    id: str
    stall_seconds: float
    not_captured: tuple[NotCaptured, ...]


class Capturer:
    """Takes the checkpoints of one main loop. Nothing that it does can raise into the training script."""

    def __init__(
        self,
        packs: Path,
        checkpoints: Path,
        *,
        project_root: Path | None,
        on_warning: Callable[[str], None],
    ) -> None:
        self._book = TypeBook(Project(project_root))
        self._contents = RecordedContents()
        self._on_warning = on_warning
        self._writer = Writer(packs, checkpoints, self._written)
        self._known: dict[object, int] | None = None
        self._environ: dict[str, str] = {}
        self._held: list[object] = []  # what was there at loop entry, so that its identity is not given to another
        self._table: Blob | None = None
        self._pid = os.getpid()
        self._count = 0
        self._baseline_seconds = 0.0
        self._failures = 0
        self._retry_at = 0.0
        self._forget = False
        self._poor = False  # there was once too little memory
        self._closed = False
        self.last: Manifest | None = None
        """The checkpoint written last."""

    def estimate(self, idle: float = 0.0) -> float:
        """Seconds that the first checkpoint will cost the run, as far as can be told at loop entry.

        `idle`: the part of a processor that nobody else wants.
        """
        size = self._contents.expected_bytes
        copying, writing = size / _COPY_BYTES_PER_SECOND, (1.0 - idle) * size / _WRITE_BYTES_PER_SECOND
        return _LEAST_SECONDS + self._baseline_seconds + copying + writing

    @property
    def later(self) -> float:
        """What part of the first checkpoint's cost those after it will have, as far as can be told at loop entry."""
        size, frozen = self._contents.expected_bytes, self._contents.frozen_bytes
        first = _LEAST_SECONDS + size / _COPY_BYTES_PER_SECOND
        then = _LEAST_SECONDS + (size - frozen) / _COPY_BYTES_PER_SECOND + frozen / _DIGEST_BYTES_PER_SECOND
        return then / first

    @property
    def cpu_seconds(self) -> float:
        """What writing has taken of the processors so far, in checkpoints that are done."""
        return self._writer.cpu_seconds

    @property
    def wall_seconds(self) -> float:
        """How long checkpoints were being written so far, those that are done."""
        return self._writer.wall_seconds

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is still being written, so that `capture` would skip unless told `again`."""
        return self._writer.busy

    def baseline(self, namespaces: Namespaces) -> float:
        """Look at the state at loop entry, before iteration 0; the seconds that it took."""
        begun = time.perf_counter()
        try:
            self._baseline(namespaces)
        except Exception as error:  # never into the training script
            self._closed = True
            self._on_warning(f"no checkpoints of this loop: {type(error).__name__}: {error}")
        self._baseline_seconds = time.perf_counter() - begun
        return self._baseline_seconds

    def capture(self, namespaces: Namespaces, point: Mapping[str, object], *, again: bool = False) -> Captured | None:
        """Take a checkpoint, unless the one before is still being written or the disk has failed lately.

        `again`: this is the restore point right after the last one. It need not wait for that to be written, and shares
        its copies of what did not change between the two; if so much changed that there is no memory for it, it is left out.
        """
        if self._closed or os.getpid() != self._pid or (self._writer.full if again else self._writer.busy):
            return None
        begun = time.perf_counter()
        if begun < self._retry_at:
            return None
        collecting = gc.isenabled()
        gc.disable()
        try:
            if self._known is None:
                self._baseline(namespaces)
            return self._capture(namespaces, point, begun, again)
        except NoRoom:
            self._forget = True  # digests were noted of what no job will write
            if not again and not self._poor:
                self._poor = True
                self._on_warning("a checkpoint was left out: it would take half of the free memory; training goes on")
            return None
        except Exception as error:  # never into the training script
            self._failed(error)
            return None
        finally:
            if collecting:
                gc.enable()

    def wait(self, timeout: float) -> bool:
        """Wait for the checkpoint in hand to be written, at most `timeout` seconds; whether it is."""
        return os.getpid() != self._pid or self._writer.drain(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Wait until the checkpoint in hand is written; no more are taken."""
        self._closed = True
        if os.getpid() == self._pid:
            self._writer.close(timeout)
            if not self._writer.busy:
                self._contents.devices.close()

    def _baseline(self, namespaces: Namespaces) -> None:
        self._contents = RecordedContents()
        walker = new_walker(self._book, self._contents, None)
        walker.walk(namespaces)
        self._contents.enter(walker)
        self._known = walker.memo
        self._environ = dict(os.environ)
        self._held = [thing for thing in walker.objects if self._book.kind(type(thing)) in HELD_KINDS]
        rows = (walker.parents, walker.steps)
        self._table = Blob([None], lambda: (dumps(rows),), True)

    def _capture(self, namespaces: Namespaces, point: Mapping[str, object], begun: float, again: bool) -> Captured:
        contents = self._contents
        if self._forget:
            self._forget = False
            contents.forget()
        contents.begin(again)
        walker = new_walker(self._book, contents, self._known)
        walker.walk(namespaces)
        contents.finish(walker)
        origins = [walker.origin(nid) for nid in range(len(walker.nodes))]
        mark_unreachable(walker)
        assert self._table is not None
        graph: dict[str, object] = {
            "format": 1,
            "table": self._table.cell,
            "origins": origins,
            "nodes": walker.nodes,
            "roots": walker.roots,
            "process": process_state(self._environ),
        }
        self._count += 1
        created = time.time()
        lost = not_captured(walker, self._book, self._known, namespaces)
        notes = tuple(walker.notes)
        del walker
        job = Job(
            id=f"{self._count:06d}-{os.urandom(4).hex()}",
            point=point,
            created=created,
            stall_seconds=time.perf_counter() - begun,
            graph=graph,
            blobs=[*contents.blobs, self._table],
            logical_bytes=contents.logical_bytes,
            not_captured=lost,
            notes=notes,
        )
        self._writer.submit(job)
        return Captured(job.id, job.stall_seconds, lost)

    def _written(self, _job: Job, outcome: Manifest | BaseException) -> None:
        if isinstance(outcome, Manifest):
            self.last = outcome
            self._failures = 0
        elif isinstance(outcome, ContentGone):
            self._forget = True  # the next one copies everything that is not stored
        else:
            self._failed(outcome)

    def _failed(self, error: BaseException) -> None:
        self._forget = True
        self._failures += 1
        if self._failures >= _MAX_FAILURES:
            self._closed = True
        self._retry_at = time.perf_counter() + _RETRY_SECONDS * 2 ** (self._failures - 1)
        if self._failures == 1:
            self._on_warning(f"a checkpoint could not be written ({type(error).__name__}: {error}); training goes on")
