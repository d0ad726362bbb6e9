"""Stored fields as columns of a frame: values with their own types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from flor_replay import values
from flor_replay.store.paths import Ints, as_slice


def decoded(
    kinds: Sequence[str], kind: Ints, whole: Ints | None, real: Ints | None, text: Ints | None, files: Sequence[str]
) -> pd.Series:
    """Values with one type for all where they have one.

    `kind`: places in `kinds`. `text`: None for those without. `files`: for each the folder of its run's files; only asked for
    where something is text.
    """
    there = [kinds[place] for place in np.unique(kind)] if len(kinds) > 1 else list(kinds)
    if text is None or not any(found is not None for found in text):
        if there == ["float"]:
            return pd.Series(real, copy=False)
        if there == ["int"]:
            return pd.Series(whole, copy=False).astype("Int64")
        if there == ["bool"]:
            return pd.Series(whole, copy=False).astype("boolean")
        text = None
    elif there == ["str"]:
        return pd.Series(text, dtype=object, copy=False)
    found = []
    for place, of in enumerate(kind.tolist()):
        name = kinds[of]
        said = None if text is None else text[place]
        number = None if said is not None else real[place] if name == "float" else whole[place]  # type: ignore[index]
        found.append(values.decode(name, number, said, None if said is None else files[place]))
    return column(found)


def column(found: Sequence[object]) -> pd.Series:
    """Values as a column of their own type that can have gaps. Whole numbers among fractions become fractions where
    no digit is lost; what has no common type stays as it is."""
    kinds = {type(value) for value in found}
    if kinds == {bool}:
        return pd.Series(found, dtype="boolean")
    if kinds == {int} and all(-(1 << 63) <= value < 1 << 63 for value in found):  # type: ignore[operator]
        return pd.Series(found, dtype="Int64")
    if kinds == {float}:
        return pd.Series(found, dtype="float64")
    if kinds == {int, float} and all(type(value) is float or abs(value) <= 1 << 53 for value in found):  # type: ignore[arg-type]
        return pd.Series(found, dtype="float64")
    objects = np.empty(len(found), dtype=object)
    for place, value in enumerate(found):  # one by one: an array among them stays one value
        objects[place] = value
    return pd.Series(objects, dtype=object)


def shown(series: pd.Series, present: pd.Series) -> pd.Series:
    """A column as it is given out: numbers without gaps in numpy's own types, None where there is nothing."""
    if series.dtype == object:
        return series if present.all() else series.where(present.set_axis(series.index), None)
    if series.isna().any():
        return series
    if series.dtype == "Int64":
        return series.astype("int64")
    return series.astype("bool") if series.dtype == "boolean" else series


def placed(series: pd.Series, numbers: Ints) -> pd.Series:
    """The values of these numbers in order, nothing where the number is -1; as it is given out."""
    there = as_slice(numbers)
    if isinstance(there, slice) and there == slice(0, len(series)):
        if series.dtype == "float64":
            return series
        return shown(series, pd.Series(True, index=series.index))
    present = numbers >= 0
    if present.all():
        return shown(series.take(numbers).reset_index(drop=True), pd.Series(present))
    if series.dtype == "float64":
        taken = np.full(len(numbers), np.nan)
        taken[present] = series.to_numpy()[numbers[present]]
        return pd.Series(taken, copy=False)
    if series.dtype == object or not len(series):
        objects = np.full(len(numbers), None, dtype=object)
        objects[present] = series.to_numpy()[numbers[present]]
        return pd.Series(objects, dtype=object)
    taken_values = pd.api.extensions.take(series.array, numbers, allow_fill=True)
    return shown(pd.Series(taken_values, copy=False), pd.Series(present))


def integers(numbers: Ints, there: Ints) -> pd.Series:
    """Whole numbers with gaps where they are not there."""
    if there.all():
        return pd.Series(numbers.astype(np.int64, copy=False), copy=False)
    return pd.Series(pd.arrays.IntegerArray(np.where(there, numbers, 0).astype(np.int64), ~there), copy=False)
