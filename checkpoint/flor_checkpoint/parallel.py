"""The same work for many things, on several processors: for what lets go of the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_THREADS = 4

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def for_each(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """The results of `work`, in order."""
    if not items:
        return []
    with ThreadPoolExecutor(min(len(items), _THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, items))
