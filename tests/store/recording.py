"""Runs recorded in the test's own process, without a version and without checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pandas as pd

from flor_replay.record.run import Session
from flor_replay.store.frames import build
from flor_replay.store.runs import Run, all_runs


class Store:
    """A store in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def run(self, *, seal: bool = True) -> Iterator[Session]:
        """One run; with `seal` off it stays as a running process leaves it."""
        with mock.patch.dict(os.environ, {"FLOR_CHECKPOINTS": "off"}):
            session = Session(str(self.root), str(self.root / ".flor"))
        try:
            yield session
        finally:
            if seal:
                session.end("finished")
            else:
                session.journal.close()

    def runs(self) -> list[Run]:
        return all_runs(str(self.root / ".flor"))

    def frame(self, *names: str, **options: object) -> pd.DataFrame:
        return build(names, str(self.root), **options)  # type: ignore[arg-type]
