"""One row a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from flor_replay.store import columns
from flor_replay.store.runs import Run


def overview(recorded: Sequence[Run]) -> pd.DataFrame:
    """One row a run with its arguments: those of ``flor.arg``, and what argparse gave the script.

    An argument called like a column of the run stands under ``<name>_arg``.
    """
    own: dict[str, list[Any]] = {
        "projid": [run.projid for run in recorded],
        "tstamp": [run.started for run in recorded],
        "filename": [run.filename for run in recorded],
        "run": [run.run for run in recorded],
        "status": [run.status for run in recorded],
    }
    fixed = frozenset(own)
    frame = pd.DataFrame(own)
    given = [{**run.args, **run.options} for run in recorded]
    for name in dict.fromkeys(name for args in given for name in args):
        present = np.array([name in args for args in given], dtype=bool)
        column = columns.column([args[name] for args in given if name in args]).set_axis(np.flatnonzero(present))
        column = column.reindex(range(len(recorded)))
        frame[f"{name}_arg" if name in fixed else name] = columns.shown(column, pd.Series(present))
    return frame
