"""Setting the count of an ``enumerate``, which Python itself only ever moves on by one."""

from __future__ import annotations

import ctypes
from typing import Any


def count_of(thing: enumerate[Any]) -> int:
    """The number that it will give next."""
    return int(thing.__reduce__()[1][1])


def set_count(thing: enumerate[Any], count: int) -> bool:
    """Make `count` the number that it will give next, whatever it enumerates; whether that could be done.

    CPython keeps the number right behind the object's header. It is looked at before and after.
    """
    if count_of(thing) == count:
        return True
    cell = ctypes.c_ssize_t.from_address(id(thing) + object.__basicsize__)
    if cell.value != count_of(thing) or count < 0:
        return False
    cell.value = count
    return count_of(thing) == count
