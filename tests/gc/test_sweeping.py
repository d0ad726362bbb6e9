"""Packs go beside writers and readers: whatever the order of their steps, nothing that a manifest needs is lost."""

from __future__ import annotations

import os
import time
from pathlib import Path

import flor_checkpoint as fc
import numpy as np
import pytest
from flor_checkpoint import sweep as sweeping
from flor_checkpoint import writer
from flor_checkpoint.manifest import Manifest, remove_checkpoint


class Run:
    """A recording in this process, into a store that others share."""

    def __init__(self, root: Path, name: str) -> None:
        self.packs, self.checkpoints = root / "packs", root / "runs" / name / "checkpoints"
        self.warnings: list[str] = []
        self.capturer = fc.Capturer(self.packs, self.checkpoints, project_root=None, on_warning=self.warnings.append)
        self.names: dict[str, object] = {"w": np.zeros(30_000), "v": np.zeros(30_000)}
        self.capturer.baseline({"frame:0": self.names})

    def take(self, w: float, v: float) -> None:
        self.names["w"][:] = w  # type: ignore[index]
        self.names["v"][:] = v  # type: ignore[index]
        self.capturer.capture({"frame:0": self.names}, {"w": w, "v": v})
        assert self.capturer.wait(60)

    def manifests(self) -> list[Manifest]:
        return fc.manifests(self.checkpoints)[0]


def needed(root: Path) -> set[str]:
    return {
        blob
        for folder in root.glob("runs/*/checkpoints")
        for manifest in fc.manifests(folder)[0]
        for blob in manifest.tensors
    }


def restored(manifest: Manifest, packs: Path) -> tuple[float, float]:
    names = {"w": np.zeros(30_000), "v": np.zeros(30_000)}
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": names})
    restorer.restore(fc.load(manifest, packs, trust=False), {"frame:0": names})
    assert np.unique(names["w"]).size == np.unique(names["v"]).size == 1
    return float(names["w"][0]), float(names["v"][0])


def check(*runs: Run) -> None:
    for run in runs:
        for manifest in run.manifests():
            assert restored(manifest, run.packs) == (manifest.point["w"], manifest.point["v"])


def dead(root: Path) -> list[sweeping.PackUse]:
    return [pack for pack in sweeping.used(sweeping.look(root / "packs")[0], needed(root)) if pack.dead_bytes]


def test_a_partly_dead_pack_is_rewritten_and_old_manifests_find_what_moved(tmp_path: Path) -> None:
    run = Run(tmp_path, "a")
    run.take(1, 5)
    run.take(2, 5)  # v lies in the first pack
    remove_checkpoint(run.manifests()[0])
    before = sum(path.stat().st_size for path in run.packs.iterdir())
    freed, notes = sweeping.sweep(run.packs, dead(tmp_path), lambda: needed(tmp_path))
    after = sum(path.stat().st_size for path in run.packs.iterdir())
    assert notes == []
    assert before - after == freed
    assert 240_000 < freed < 250_000
    check(run)
    assert dead(tmp_path) == []


def test_packs_are_compressed_once_and_stay_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_HELD_BYTES", 100)  # a pack for every blob
    run = Run(tmp_path, "a")
    run.take(1, 5)
    run.take(2, 5)
    packs = sweeping.look(run.packs)[0]
    smaller = sweeping.compressible(run.packs, sweeping.used(packs, needed(tmp_path)))
    assert {pack.name for pack in smaller} == {pack.name for pack in packs}
    freed, notes = sweeping.sweep(run.packs, smaller, lambda: needed(tmp_path))
    assert notes == []
    assert freed > 700_000  # three arrays of 240 kB, all of one value
    assert sum(path.stat().st_size for path in run.packs.iterdir()) < 20_000
    check(run)
    assert sweeping.compressible(run.packs, sweeping.used(sweeping.look(run.packs)[0], needed(tmp_path))) == []

    remove_checkpoint(run.manifests()[0])
    sweeping.sweep(run.packs, dead(tmp_path), lambda: needed(tmp_path))
    assert sum(path.stat().st_size for path in run.packs.iterdir()) < 20_000
    check(run)
    run.take(3, 5)  # shares what is compressed
    check(run)
    assert sum(path.stat().st_size for path in run.packs.iterdir()) < 300_000


def test_a_writer_that_shares_what_is_being_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each step of a writer a whole sweep comes between, which takes what the writer was about to share."""
    for step in ("refresh", "write_file", "write_manifest"):
        root = tmp_path / step
        old = Run(root, "old")
        old.take(1, 1)
        new = Run(root, "new")
        remove_checkpoint(old.manifests()[0])  # its content is nobody's now, and the new run has it too

        def between(root: Path = root, old: Run = old) -> None:
            sweeping.sweep(old.packs, dead(root), lambda: needed(root))

        real = writer.PackIndex.refresh if step == "refresh" else getattr(writer, step)
        swept = []

        def first(*words, real=real, between=between, swept=swept):
            done = real(*words)
            if not swept:
                swept.append(1)
                between()
            return done

        with monkeypatch.context() as patch:
            if step == "refresh":
                patch.setattr(writer.PackIndex, "refresh", first)
            else:
                patch.setattr(writer, step, first)
            new.take(1, 1)
        assert swept
        assert new.warnings == []
        check(new)
        new.take(1, 1)  # the same once more: it is stored anew
        assert new.manifests(), step
        check(new)
        assert new.warnings == []


def test_a_sweep_that_looked_before_the_writer_wrote(tmp_path: Path) -> None:
    old, new = Run(tmp_path, "old"), Run(tmp_path, "new")
    old.take(1, 1)
    remove_checkpoint(old.manifests()[0])
    doomed = dead(tmp_path)

    def late() -> set[str]:
        return needed(tmp_path)

    new.take(1, 1)
    sweeping.sweep(old.packs, doomed, late)
    check(new)
    assert len(new.manifests()) == 1


def test_condemned_packs_of_a_killed_sweep_are_read_and_taken_back(tmp_path: Path) -> None:
    run = Run(tmp_path, "a")
    run.take(1, 1)
    for path in list(run.packs.iterdir()):
        path.rename(str(path) + ".condemned")
    check(run)
    sweeping.recover(run.packs)
    assert all(path.suffix == ".safetensors" for path in run.packs.iterdir())
    check(run)


def test_content_in_two_packs_is_kept_in_one(tmp_path: Path) -> None:
    run = Run(tmp_path, "a")
    run.take(1, 1)
    (pack,) = run.packs.iterdir()
    twin = pack.with_name("0" * 24 + ".safetensors")
    twin.write_bytes(pack.read_bytes())
    freed, _ = sweeping.sweep(run.packs, dead(tmp_path), lambda: needed(tmp_path))
    assert freed > 240_000
    check(run)


def test_a_damaged_pack_is_never_rewritten(tmp_path: Path) -> None:
    run = Run(tmp_path, "a")
    run.take(1, 5)
    run.take(2, 5)
    first, second = run.manifests()
    remove_checkpoint(first)
    shared = run.packs / next(pack for pack in second.tensors.values() if pack in first.tensors.values())
    data = bytearray(shared.read_bytes())
    for place in range(len(data) - 400_000, len(data), 1000):
        data[place] ^= 1
    shared.write_bytes(data)
    _, notes = sweeping.sweep(run.packs, dead(tmp_path), lambda: needed(tmp_path))
    assert len(notes) == 1
    assert "damaged" in notes[0]
    assert shared.exists()


def test_while_a_run_records_another_process_sweeps_all_the_time(tmp_path: Path) -> None:
    """Two writers of the same contents, one of which keeps only its newest; sweeps without any grace for young packs."""
    import threading

    stop = threading.Event()
    errors: list[BaseException] = []

    def sweeper() -> None:
        try:
            while not stop.is_set():
                sweeping.sweep(tmp_path / "packs", dead(tmp_path), lambda: needed(tmp_path))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=sweeper)
    a, b = Run(tmp_path, "a"), Run(tmp_path, "b")
    thread.start()
    until = time.monotonic() + 3
    count = 0
    while time.monotonic() < until:
        count += 1
        for run in (a, b):
            run.take(count % 3, count % 2)
        for manifest in a.manifests()[:-1]:
            remove_checkpoint(manifest)
    stop.set()
    thread.join()
    assert errors == []
    assert a.warnings == b.warnings == []
    sweeping.recover(tmp_path / "packs")
    assert b.manifests()
    check(a, b)
    assert os.listdir(tmp_path / "packs")
