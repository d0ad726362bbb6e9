"""Functions that a version keeps in another file than today."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from flor_instrument import SourceError, functions_in


def files_with(sources: Mapping[str, bytes], function: str) -> list[str]:
    """The files that define the function of this qualified name."""
    last = function.rpartition(".")[2]
    defined = re.compile(rb"\bdef[ \t]+" + re.escape(last.encode()) + rb"\b")
    return [path for path, data in sources.items() if defined.search(data) and function in _functions(data)]


@lru_cache(maxsize=1024)
def _functions(data: bytes) -> frozenset[str]:
    try:
        return functions_in(data)
    except (SourceError, RecursionError, MemoryError):
        return frozenset()
