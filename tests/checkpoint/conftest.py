"""A recording and a restoring side in one process, with namespaces that are plain dicts."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import flor_checkpoint as fc
import pytest

sys.path.insert(0, str(Path(__file__).parent))


class Store:
    """A store in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.packs = folder / "packs"
        self.checkpoints = folder / "checkpoints"
        self.warnings: list[str] = []

    def capturer(self, root: Path | None = None) -> fc.Capturer:
        return fc.Capturer(self.packs, self.checkpoints, project_root=root, on_warning=self.warnings.append)

    def take(self, capturer: fc.Capturer, names: dict[str, object], index: int = 0) -> fc.Captured | None:
        captured = capturer.capture({"frame:0": names}, {"index": index})
        assert capturer._writer.drain(60)
        return captured

    def snapshot(self, index: int = -1, trust: bool = True) -> fc.Snapshot:
        found, bad = fc.manifests(self.checkpoints)
        assert bad == []
        return fc.load(found[index], self.packs, trust=trust)

    def round_trip(
        self, make: Callable[[], dict[str, object]], change: Callable[[dict[str, object]], object]
    ) -> tuple[dict[str, object], dict[str, object], fc.Restored]:
        """Make a state, record it changed, make it anew, restore: the recorded names, the restored ones, the report."""
        recorded = make()
        capturer = self.capturer()
        capturer.baseline({"frame:0": recorded})
        change(recorded)
        assert self.take(capturer, recorded) is not None, self.warnings
        capturer.close()
        assert self.warnings == []
        live = make()
        restorer = fc.Restorer(None)
        restorer.baseline({"frame:0": live})
        restored = restorer.restore(self.snapshot(), {"frame:0": live})
        names = copy.copy(live)
        names.update(restored.bindings["frame:0"])
        for name in restored.unbind["frame:0"]:
            del names[name]
        return recorded, names, restored


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)
