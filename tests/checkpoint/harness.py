"""What an idiom imports in place of `flor`: records or replays its main loop, as MODE and WORK in the environment say.

record: a checkpoint before each iteration; what is logged and a digest of the random generators go to WORK/truth.json.
replay: iterations in the order of ORDER, each from its checkpoint; what differs from the truth goes to WORK/verdict.json.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import flor_checkpoint as fc

WORK = Path(os.environ["WORK"])
ROOT = Path(os.environ.get("IDIOMS", Path(__file__).parent / "idioms"))
_log: list[list[str]] = []


def log(name: str, value: object) -> None:
    """Bits of a float, of an array or tensor, or the repr of anything else."""
    if isinstance(value, float):
        text = struct.pack("<d", value).hex()
    elif hasattr(value, "detach"):
        text = hashlib.sha1(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
    elif hasattr(value, "tobytes"):
        text = hashlib.sha1(value.tobytes()).hexdigest()
    elif isinstance(value, dict):
        for key, part in value.items():
            log(f"{name}.{key}", part)
        return
    else:
        text = repr(value)
    _log.append([name, text])


def namespaces(frame: FrameType, explicit: dict[str, object]) -> dict[str, dict[str, object]]:
    spaces: dict[str, dict[str, object]] = {}
    walk: FrameType | None = frame
    while walk is not None and walk.f_locals is not walk.f_globals:
        spaces[f"frame:{len(spaces)}"] = walk.f_locals
        walk = walk.f_back
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or (file and Path(file).parent == ROOT):
            spaces[f"module:{name}"] = vars(module)
    if explicit:
        spaces["explicit"] = explicit
    return spaces


def rebind(frame: FrameType, restored: fc.Restored) -> None:
    for space, names in restored.bindings.items():
        if space.startswith("module:"):
            vars(sys.modules[space[7:]]).update(names)
        elif space.startswith("frame:"):
            walk = frame
            for _ in range(int(space[6:])):
                walk = walk.f_back
            local = walk.f_locals  # asking again would read the frame again
            local.update(names)
            for name in restored.unbind[space]:
                local.pop(name, None)
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(walk), ctypes.c_int(1))


def loop(iterable, **explicit: object) -> Iterator[object]:
    frame = sys._getframe(1)
    return (
        _record(frame, list(iterable), explicit)
        if os.environ["MODE"] == "record"
        else _replay(frame, list(iterable), explicit)
    )


def _state_digest() -> str:
    return hashlib.sha1(repr(fc.process_state()).encode()).hexdigest()


def _record(frame, items, explicit):
    warnings: list[str] = []
    capturer = fc.Capturer(WORK / "packs", WORK / "checkpoints", project_root=ROOT, on_warning=warnings.append)
    capturer.baseline(namespaces(frame, explicit))
    truth = []
    lost = []
    for index, item in enumerate(items):
        while capturer.busy:
            capturer._writer.drain(None)
        captured = capturer.capture(namespaces(frame, explicit), {"index": index})
        assert captured is not None, warnings
        lost += [[each.path, each.reason] for each in captured.not_captured]
        _log.clear()
        yield item
        truth.append([list(_log), _state_digest()])
    capturer.close()
    (WORK / "truth.json").write_text(json.dumps({"truth": truth, "warnings": warnings, "lost": lost}))


def _replay(frame, items, explicit):
    truth = json.loads((WORK / "truth.json").read_text())["truth"]
    found, bad = fc.manifests(WORK / "checkpoints")
    by_index = {manifest.point["index"]: manifest for manifest in found}
    restorer = fc.Restorer(ROOT)
    restorer.baseline(namespaces(frame, explicit))
    problems = [f"unreadable: {message}" for message in bad]
    for index in json.loads(os.environ["ORDER"]):
        snapshot = fc.load(by_index[index], WORK / "packs", trust=True)
        restored = restorer.restore(snapshot, namespaces(frame, explicit))
        rebind(frame, restored)
        problems += [f"{index} missing {path}: {reason}" for path, reason in restored.missing]
        problems += [f"{index} mismatched {path}: {reason}" for path, reason in restored.mismatched]
        _log.clear()
        yield items[index]
        if _log != truth[index][0]:
            wrong = [was for was, now in zip(truth[index][0], _log, strict=False) if was != now]
            problems.append(f"{index} logged otherwise: {[name for name, _ in wrong]} of {len(_log)}")
        if _state_digest() != truth[index][1]:
            problems.append(f"{index}: the generators stand elsewhere")
    (WORK / "verdict.json").write_text(json.dumps({"problems": problems}))
    os._exit(0)
