"""flor: what training scripts import. See https://docs in the repository's README.

    import flor

    for epoch in flor.loop("epoch", range(flor.arg("epochs", 10))):
        ...
        flor.log("loss", loss)

Written after the fact, a ``flor.log`` line can still be filled for older runs: ``flor-replay add-log train.py``.
"""

from flor_replay.record import session as _session
from flor_replay.record.api import arg, checkpoint, checkpointing, commit, dataframe, iteration, log, loop, query

__all__ = ["arg", "checkpoint", "checkpointing", "commit", "dataframe", "iteration", "log", "loop", "query", "utils"]

_session.on_import()


def __getattr__(name: str) -> object:
    if name == "utils":  # needs pandas: loaded when it is used
        from flor_replay.store import utils

        return utils
    if name == "__version__":
        from importlib.metadata import version

        return version("flor-replay")
    raise AttributeError(f"module 'flor' has no attribute {name!r}")
