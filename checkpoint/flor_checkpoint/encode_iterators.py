"""Nodes of iterators and generators: what is in the middle of something."""

from __future__ import annotations

import gc
import io
import threading
import types
import warnings
from typing import Any

from flor_checkpoint.encode_objects import encode_object
from flor_checkpoint.project import spec_of
from flor_checkpoint.suspended import Suspended, UnreadableError, look, yields
from flor_checkpoint.walk import Handlers, Node, Walker


def _iterator(walker: Walker, thing: Any, nid: int) -> Node:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = thing.__reduce__()
    except Exception as error:  # whatever its parts raise
        return walker.lost(nid, f"{type(thing).__name__}: {error}")
    maker: Any = made[0]
    state = made[2] if len(made) > 2 else None
    args = [walker.ref(arg, nid, ("arg", index)) for index, arg in enumerate(made[1])]
    return ("iterator", maker.__name__, maker.__module__, args, walker.ref(state, nid, "state"))


def _generator(walker: Walker, thing: Any, nid: int) -> Node:
    if type(thing) is not types.GeneratorType:
        if getattr(thing, "cr_frame", getattr(thing, "ag_frame", "")) is None:
            return ("exhausted",)
        return walker.lost(nid, f"a {type(thing).__name__} in the middle of its code cannot be captured")
    if thing.gi_frame is None:
        return ("exhausted",)
    if _is_recorder(thing):
        return ("keep", "loop", None, True)
    try:
        found = look(thing)
    except UnreadableError as error:
        return walker.lost(nid, f"a generator in the middle of its code cannot be captured: {error}")
    held = next((each for each in (*found.variables.values(), *found.stack) if _is_elsewhere(walker, each)), None)
    if held is not None:
        name = f"{type(held).__module__}.{type(held).__qualname__}"
        return walker.lost(nid, f"a generator that holds a {name} cannot be captured")
    above = walker.parents[nid]
    if _is_fed(walker.objects[above]):
        return walker.lost(nid, "a generator that a thread draws from cannot be captured")
    function = _maker(walker, found, nid)
    if function is None and not walker.was_at_entry(nid) and type(walker.objects[above]) is not types.GeneratorType:
        return walker.lost(nid, "a generator made in the loop, of a function without a name, cannot be captured")
    variables = {name: walker.ref(value, nid, ("variable", name)) for name, value in found.variables.items()}
    stack = [walker.ref(value, nid, ("stack", index)) for index, value in enumerate(found.stack)]
    return ("generator", thing.gi_code.co_qualname, len(yields(thing.gi_code)), found.place, function, variables, stack)


def _maker(walker: Walker, found: Suspended, nid: int) -> object:
    """The function that made it, if another process can find it."""
    if found.function is None or (spec_of(found.function) is None and walker.origin_of(found.function) < 0):
        return None
    return walker.ref(found.function, nid, "function")


def _is_recorder(thing: types.GeneratorType[object, object, object]) -> bool:
    """Whether a suspended generator is the recorder's own."""
    return thing.gi_frame is not None and str(thing.gi_frame.f_globals.get("__name__")).startswith("flor_replay.")


def _is_elsewhere(walker: Walker, thing: object) -> bool:
    """Whether a thing's state is outside this process's memory, or stays as it is: a generator's place depends on it."""
    if isinstance(thing, BaseException) or (type(thing) is types.GeneratorType and _is_recorder(thing)):
        return True
    cls = type(thing)
    kind = walker.book.kind(cls)
    if kind in ("file", "csv_writer") or (kind == "own_iterator" and _is_fed(thing)):
        return True
    if kind != "keep" or issubclass(cls, types.ModuleType):
        return False
    return cls.__module__ != "logging"


def _is_fed(thing: object) -> bool:
    """Whether a thing is, or holds, what draws or delivers by itself: a thread, a process, a queue, a connection."""
    parts = (thing, *getattr(thing, "__dict__", {}).values())
    return any(isinstance(part, threading.Thread) or type(part).__module__.split(".")[0] in _BUSY for part in parts)


_BUSY = frozenset(
    {"queue", "_queue", "multiprocessing", "concurrent", "subprocess", "socket", "ssl", "sqlite3", "asyncio", "select"}
)


def _own_iterator(walker: Walker, thing: object, nid: int) -> Node:
    """An object of a class with ``__next__``: its attributes say where it is, unless others bring what it gives."""
    if _is_fed(thing):
        return walker.lost(nid, "an iterator that a thread or another process feeds cannot be captured")
    return encode_object(walker, thing, nid)


def _workers(walker: Walker, _thing: object, nid: int) -> Node:
    return walker.lost(nid, "the iterator of a DataLoader with worker processes cannot be captured")


def _file(walker: Walker, thing: Any, nid: int) -> Node:
    """An open file stays as it is, but for the place that is read next."""
    if thing.closed or not thing.readable() or not thing.seekable():
        return ("keep", f"{type(thing).__module__}.{type(thing).__qualname__}", None, True)
    if not walker.was_at_entry(nid):
        return walker.lost(nid, "a file opened in the loop cannot be captured")
    try:
        return ("file", thing.tell())
    except (OSError, ValueError) as error:
        return walker.lost(nid, f"a file in the middle of being read cannot be captured: {error}")


def _csv_writer(walker: Walker, thing: Any, nid: int) -> Node:
    """It holds nothing but where it writes to: into a file it stays as it is, like the file."""
    targets = [getattr(held, "__self__", None) for held in gc.get_referents(thing)]
    if any(isinstance(target, io.TextIOWrapper) for target in targets):
        return ("keep", "_csv.writer", None, True)
    return walker.lost(nid, "a csv.writer into something else than a file cannot be captured")


HANDLERS: Handlers = {
    "iterator": _iterator,
    "own_iterator": _own_iterator,
    "generator": _generator,
    "workers": _workers,
    "file": _file,
    "csv_writer": _csv_writer,
}
