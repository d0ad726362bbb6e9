"""What stands between the main loop's iterator and its ``for``: ``for step, batch in enumerate(flor.loop(...))``.

A replay that enters a loop in its middle must set the counts of what is wrapped around it. Functions of the project
that do so have frames, which are restored like others; what Python's own iterators count is in no frame.
"""

from __future__ import annotations

import gc
import inspect
import itertools
import sys
from types import FrameType, GeneratorType
from typing import Any

from flor_replay.errors import ReplayMismatch
from flor_replay.record.loops import LoopIterator

_KNOWN = (enumerate, zip, map, filter, reversed)
_ITERTOOLS = tuple(kind for kind in vars(itertools).values() if isinstance(kind, type))


def move_on(loop: LoopIterator, count: int) -> None:
    """Tell what is wrapped around a loop that `count` of its iterations are passed over. Call it within its ``next``.

    Raises ReplayMismatch where something is wrapped around it that cannot be told.
    """
    if not count:
        return
    from flor_checkpoint import count_of, set_count

    faithful, others = _drawing(sys._getframe(1))
    exact = {id(wrapper) for wrapper in _around([loop, *faithful])}
    for wrapper in _around([loop, *faithful, *others]):
        if isinstance(wrapper, enumerate) and id(wrapper) in exact:
            if not set_count(wrapper, count_of(wrapper) + count):
                raise ReplayMismatch(f"the count of the enumerate around loop {loop.name!r} cannot be set")
        elif not isinstance(wrapper, map) or len(wrapper.__reduce__()[1]) > 2:
            kind = type(wrapper).__name__
            raise ReplayMismatch(f"loop {loop.name!r} is wrapped in {kind}, which keeps a place of its own")


def _around(things: list[object]) -> list[Any]:
    """Python's own iterators that draw from these, directly or through one another."""
    found: list[Any] = []
    waiting = list(things)
    known = {id(thing) for thing in waiting}
    while waiting:
        thing = waiting.pop()
        for holder in gc.get_referrers(thing):
            is_iterator = isinstance(holder, (*_KNOWN, *_ITERTOOLS))
            # zip and map keep what they draw from in a tuple of their own
            if id(holder) in known or not (is_iterator or (type(holder) is tuple and type(thing) is not tuple)):
                continue
            known.add(id(holder))
            waiting.append(holder)
            if is_iterator:
                found.append(holder)
    return found


def _drawing(frame: FrameType | None) -> tuple[list[object], list[object]]:
    """The generators that are being run: those that pass on what they draw one by one, and others."""
    frames = []
    while frame is not None:
        if frame.f_code.co_flags & inspect.CO_GENERATOR:
            frames.append(frame)
        frame = frame.f_back
    if not frames:
        return [], []
    running = [each for each in gc.get_objects() if type(each) is GeneratorType and each.gi_running]
    faithful: list[object] = []
    others: list[object] = []
    for one in frames:
        passes_on = str(one.f_globals.get("__name__", "")).partition(".")[0] == "tqdm" and not others
        (faithful if passes_on else others).extend(each for each in running if each.gi_frame is one)
    return faithful, others
