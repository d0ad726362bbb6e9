"""State to bytes to state: checkpoints of a running training script.

A `Capturer` takes them, `manifests` and `load` read them, a `Restorer` puts one back, in another process that
has run the script up to the same loop. `AdaptivePolicy` says when. Importing this imports neither torch nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flor_checkpoint.capture import Captured, Capturer
from flor_checkpoint.counting import count_of, set_count
from flor_checkpoint.errors import BadCheckpoint, CheckpointError
from flor_checkpoint.manifest import Manifest, NotCaptured, manifests, read_manifest
from flor_checkpoint.policy import AdaptivePolicy
from flor_checkpoint.rng import process_state, restore_process_state
from flor_checkpoint.slowdown import Slowdown

if TYPE_CHECKING:
    from flor_checkpoint.compare import Clocked
    from flor_checkpoint.restore import Restored, Restorer
    from flor_checkpoint.snapshot import Snapshot, load

_LATER = {
    "Clocked": "compare",
    "Restored": "restore",
    "Restorer": "restore",
    "Snapshot": "snapshot",
    "load": "snapshot",
}

__all__ = [
    "AdaptivePolicy",
    "BadCheckpoint",
    "Captured",
    "Capturer",
    "CheckpointError",
    "Clocked",
    "Manifest",
    "NotCaptured",
    "Restored",
    "Restorer",
    "Slowdown",
    "Snapshot",
    "count_of",
    "load",
    "manifests",
    "process_state",
    "read_manifest",
    "restore_process_state",
    "set_count",
]


def __getattr__(name: str) -> Any:
    """What only a replay needs is imported when it is asked for: a recording run need not wait for it."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"flor_checkpoint.{_LATER[name]}"), name)
    return found
