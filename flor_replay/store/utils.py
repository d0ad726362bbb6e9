"""Helpers for frames: ``flor.utils``."""

from __future__ import annotations

import pandas as pd

_FIXED = ("projid", "tstamp", "filename")


def latest(frame: pd.DataFrame) -> pd.DataFrame:
    """The newest row for each loop path of `frame`, a result of ``flor.dataframe``.

    Rows are the same loop path when their loop columns agree: those between ``filename`` and the first name, which are
    integers, and the ``<loop>_value`` columns beside them.
    """
    columns = list(frame.columns)
    loops = [column for column in columns if f"{column}_value" in columns]
    for column in columns[len(_FIXED) :]:
        if column.endswith("_value") or column in loops:
            continue
        if (
            column not in _FIXED
            and pd.api.types.is_integer_dtype(frame[column])
            and column in frame.attrs.get("loops", ())
        ):
            loops.append(column)
    keys = [f"{column}_value" if f"{column}_value" in columns else column for column in loops]
    if not keys:
        newest: pd.DataFrame = frame.loc[frame["tstamp"] == frame["tstamp"].max()]
        return newest.reset_index(drop=True)
    ordered = frame.sort_values("tstamp", kind="stable")
    return ordered.drop_duplicates(keys, keep="last").sort_index().reset_index(drop=True)
