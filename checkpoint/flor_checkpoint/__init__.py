"""State to bytes to state: checkpoints of a running training script.

A `Capturer` takes them, `manifests` and `load` read them, a `Restorer` puts one back, in another process that
has run the script up to the same loop. `AdaptivePolicy` says when. Importing this imports neither torch nor numpy.
"""

from __future__ import annotations

from flor_checkpoint.capture import Captured, Capturer
from flor_checkpoint.errors import BadCheckpoint, CheckpointError
from flor_checkpoint.manifest import Manifest, NotCaptured, manifests, read_manifest
from flor_checkpoint.policy import AdaptivePolicy
from flor_checkpoint.restore import Restored, Restorer
from flor_checkpoint.rng import process_state, restore_process_state
from flor_checkpoint.snapshot import Snapshot, load

__all__ = [
    "AdaptivePolicy",
    "BadCheckpoint",
    "Captured",
    "Capturer",
    "CheckpointError",
    "Manifest",
    "NotCaptured",
    "Restored",
    "Restorer",
    "Snapshot",
    "load",
    "manifests",
    "process_state",
    "read_manifest",
    "restore_process_state",
]
