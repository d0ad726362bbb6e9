"""State on a CUDA device: taken without a wait, as it was at that moment, and put back bit for bit."""

from __future__ import annotations

import json
import random
from pathlib import Path

import flor_checkpoint as fc
import pytest
import torch
from conftest import python

DEVICE = "cuda"


def training():
    """A model in half precision with what such a training holds."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Dropout(0.5), torch.nn.Linear(128, 8)).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler(DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(1)
    data = torch.randn(100_000, 64, device=DEVICE)
    return {
        "model": model,
        "optimizer": optimizer,
        "scaler": scaler,
        "generator": generator,
        "data": data,
        "ema": [p.detach().clone() for p in model.parameters()],
        "count": torch.zeros((), device=DEVICE),
    }


def step(names):
    pick = torch.randint(0, 100_000, (256,), device=DEVICE, generator=names["generator"])
    with torch.autocast(DEVICE, dtype=torch.float16):
        loss = names["model"](names["data"][pick]).square().mean()
    names["optimizer"].zero_grad()
    names["scaler"].scale(loss).backward()
    names["scaler"].step(names["optimizer"])
    names["scaler"].update()
    with torch.no_grad():
        for mean, p in zip(names["ema"], names["model"].parameters(), strict=True):
            mean.lerp_(p, 0.01)
        names["count"] += 1
    return loss.detach()


@pytest.fixture
def recorded(store):
    """A capturer past loop entry and the names that it captures."""
    names = training()
    capturer = store.capturer()
    capturer.baseline({"frame:0": names})
    for _ in range(3):
        step(names)
    yield capturer, names
    capturer.close()
    assert store.warnings == []


def put_back(store, index=-1):
    live = training()
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": live})
    for _ in range(2):
        step(live)  # whatever went on since
    restored = restorer.restore(store.snapshot(index), {"frame:0": live})
    assert (restored.missing, restored.mismatched) == ([], [])
    return {**live, **restored.bindings["frame:0"]}


def test_the_training_goes_on_bit_for_bit(store, recorded):
    capturer, names = recorded
    assert capturer.capture({"frame:0": names}, {"index": 0}) is not None
    expected = torch.stack([step(names) for _ in range(10)])
    assert capturer.wait(60)
    capturer.close()
    live = put_back(store)
    assert torch.equal(torch.stack([step(live) for _ in range(10)]), expected)
    assert live["scaler"].get_scale() == names["scaler"].get_scale()
    assert all(p.device.type == DEVICE for p in live["model"].parameters())
    assert live["count"] == names["count"]


def test_nothing_is_waited_for(store, recorded):
    capturer, names = recorded
    for index in range(3):
        step(names)
        torch.cuda.set_sync_debug_mode("error")
        try:
            assert capturer.capture({"frame:0": names}, {"index": index}) is not None
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert capturer.wait(60)
    assert store.warnings == []


@pytest.mark.parametrize("gather", [True, False])
def test_what_is_changed_right_after_the_capture_does_not_show(store, monkeypatch, gather):
    from flor_checkpoint.device import DeviceCopies

    monkeypatch.setattr(DeviceCopies, "_may_gather", lambda *_: gather)
    size = 64 << 20
    names = {"x": torch.zeros(size, device=DEVICE), "odd": torch.zeros(1003, dtype=torch.uint8, device=DEVICE)}
    capturer = store.capturer()
    capturer.baseline({"frame:0": {}})
    for index in range(3):
        names["x"].fill_(index + 1)
        names["odd"].fill_(index + 1)
        assert capturer.capture({"frame:0": names}, {"index": index}) is not None, store.warnings
        names["x"].fill_(-1.0)
        names["odd"].fill_(99)
        assert capturer.wait(60)
        live: dict[str, object] = {}
        restorer = fc.Restorer(None)
        restorer.baseline({"frame:0": live})
        found = restorer.restore(store.snapshot(index), {"frame:0": live}).bindings["frame:0"]
        assert found["x"].eq(index + 1).all()
        assert found["odd"].eq(index + 1).all()
    capturer.close()


def test_what_a_stream_of_the_script_fills_is_waited_for_by_the_device(store):
    side = torch.cuda.Stream()
    slow = torch.randn(4096, 4096, device=DEVICE)
    names = {"side": side, "batch": torch.zeros(1 << 20, device=DEVICE)}
    capturer = store.capturer()
    capturer.baseline({"frame:0": names})
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        for _ in range(30):
            slow = slow @ slow
            slow /= slow.norm()
        names["batch"].fill_(7.0)
    assert capturer.capture({"frame:0": names}, {"index": 0}) is not None
    capturer.close()
    live = {"side": torch.cuda.Stream(), "batch": torch.zeros(1 << 20, device=DEVICE)}
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": live})
    restorer.restore(store.snapshot(), {"frame:0": live})
    assert live["batch"].eq(7.0).all()


def test_data_on_the_device_is_copied_once_and_stored_never(store, recorded):
    capturer, names = recorded
    for index in range(4):
        step(names)
        assert store.take(capturer, names, index) is not None
    stored = sum(path.stat().st_size for path in store.packs.iterdir())
    assert stored < names["data"].nbytes / 4


def test_in_fresh_processes_and_random_order(tmp_path):
    idiom = Path(__file__).parent / "idioms" / "amp.py"
    env = {"WORK": str(tmp_path), "IDIOMS": str(idiom.parent)}
    python(idiom, cwd=tmp_path, MODE="record", **env)
    told = json.loads((tmp_path / "truth.json").read_text())
    assert (told["warnings"], told["lost"]) == ([], [])
    order = list(range(len(told["truth"])))
    random.Random(1).shuffle(order)
    python(idiom, cwd=tmp_path, MODE="replay", ORDER=json.dumps(order + order[:3]), **env)
    assert json.loads((tmp_path / "verdict.json").read_text())["problems"] == []
