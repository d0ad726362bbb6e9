"""Device memory: what the writer learns after the capture. A device whose copies come late stands in for a real one.

The same on a real device: tests/cuda.
"""

from __future__ import annotations

from types import SimpleNamespace

import flor_checkpoint as fc
import pytest
import torch
from flor_checkpoint import contents
from flor_checkpoint.device import DeviceCopies, fingerprint


class Late(DeviceCopies):
    """Reads the memory at `launch`, as a stream does; the bytes come when they are waited for."""

    def launch(self, things) -> None:
        for batch in self._batches.values():
            batch.place = memoryview(bytearray(b"\xee" * batch.size))
            taken = [bytes(contents.memory_bytes(storage)) for storage in batch.storages]
            prints = [int(fingerprint(storage)) for storage in batch.checked]
            batch._done = SimpleNamespace(synchronize=lambda b=batch, t=taken, p=prints: self._come(b, t, p))

    @staticmethod
    def _come(batch, taken, prints) -> None:
        for start, data in zip(batch.starts, taken, strict=True):
            batch.place[start : start + len(data)] = data
        batch.prints_host = prints


@pytest.fixture(autouse=True)
def late(monkeypatch):
    monkeypatch.setattr(contents, "DeviceCopies", Late)
    monkeypatch.setattr(contents, "on_device", lambda memory: isinstance(memory, torch.UntypedStorage))


def bits(names):
    return {name: value.view(torch.uint8).tolist() for name, value in names.items() if isinstance(value, torch.Tensor)}


def test_every_size_comes_back(store):
    def make():
        return {f"x{size}": torch.zeros(size, dtype=torch.uint8) for size in (0, 1, 7, 8, 511, 512, 513, 70_001)}

    def change(names):
        for value in names.values():
            value.copy_(torch.randint(0, 256, value.shape, dtype=torch.uint8))

    recorded, names, restored = store.round_trip(make, change)
    assert (restored.missing, restored.mismatched) == ([], [])
    assert bits(names) == bits(recorded)


def test_what_changes_after_the_capture_does_not_show(store):
    names = {"x": torch.zeros(1000)}
    capturer = store.capturer()
    capturer.baseline({"frame:0": names})
    names["x"].fill_(1.0)
    assert capturer.capture({"frame:0": names}, {"index": 0}) is not None
    names["x"].fill_(2.0)
    capturer.close()
    live = {"x": torch.zeros(1000)}
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": live})
    restorer.restore(store.snapshot(), {"frame:0": live})
    assert live["x"].eq(1.0).all()


def restored(store, index, names):
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": names})
    return restorer.restore(store.snapshot(index), {"frame:0": names})


def test_what_is_as_at_loop_entry_is_not_stored_nor_copied_again(store):
    names = {"data": torch.arange(1 << 20), "x": torch.zeros(100)}
    capturer = store.capturer()
    capturer.baseline({"frame:0": names})
    for index in range(3):
        names["x"] += 1
        assert store.take(capturer, names, index) is not None
        assert sum(path.stat().st_size for path in store.packs.iterdir()) < 100_000
    assert capturer._contents._entry_device and all(e.believed for e in capturer._contents._entry_device.values())
    capturer.close()
    live = {"data": torch.arange(1 << 20), "x": torch.zeros(100)}
    assert restored(store, -1, live).mismatched == []
    other = {"data": torch.arange(1 << 20) + 1, "x": torch.zeros(100)}
    other["data"][:1] = 5
    assert restored(store, -1, other).mismatched  # it is not what it was: said, not passed over


def test_a_change_that_comes_late_is_seen(store):
    names = {"data": torch.arange(1 << 20)}
    capturer = store.capturer()
    capturer.baseline({"frame:0": names})
    for index in range(4):
        if index >= 2:
            names["data"][12345] = -index
        store.take(capturer, names, index)
    capturer.close()
    assert store.warnings == []
    found = [manifest.point["index"] for manifest in fc.manifests(store.checkpoints)[0]]
    assert found == [0, 1, 3]  # the one that had not copied it was given up
    live = {"data": torch.arange(1 << 20)}
    assert restored(store, -1, live).mismatched == []
    assert live["data"][12345] == -3


def test_content_that_comes_back_is_stored_once(store):
    names = {"x": torch.randn(100_000)}
    capturer = store.capturer()
    capturer.baseline({"frame:0": {}})
    for index in range(3):
        assert store.take(capturer, names, index) is not None
    capturer.close()
    assert sum(path.stat().st_size for path in store.packs.iterdir()) < 1.1 * 400_000


@pytest.mark.parametrize("size", [1, 8, 9, 4096, 100_003])
def test_a_fingerprint_tells_changes(size):
    base = torch.randint(0, 256, (size,), dtype=torch.uint8)
    found = int(fingerprint(base.untyped_storage()))
    assert found == int(fingerprint(base.clone().untyped_storage()))
    for place in {0, size // 2, size - 1}:
        for change in (1, 128):
            other = base.clone()
            other[place] ^= change
            assert int(fingerprint(other.untyped_storage())) != found


def test_a_fingerprint_tells_two_signs_and_two_places():
    base = torch.randn(1000, dtype=torch.float64)
    found = int(fingerprint(base.untyped_storage()))
    signs = base.clone()
    signs[[3, 77]] *= -1
    places = base.clone()
    places[[3, 77]] = base[[77, 3]]
    assert len({found, int(fingerprint(signs.untyped_storage())), int(fingerprint(places.untyped_storage()))}) == 3
