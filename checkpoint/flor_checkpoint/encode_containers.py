"""Nodes of lists, dicts, sets, tuples and deques, and of classes derived from them."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from flor_checkpoint.leaves import ATOMS
from flor_checkpoint.walk import BIG_CONTAINER, Handlers, Node, Walker, is_plain, long_text


def _list(walker: Walker, thing: list[object], nid: int) -> Node:
    if type(thing) is list and len(thing) >= BIG_CONTAINER and is_plain(thing):
        return ("atoms", "list", walker.contents.container(thing, (thing.copy(),)))
    attrs = None if type(thing) is list else walker.attributes(thing, nid)
    items = walker.sequence(list.copy(thing), nid)
    return ("list", walker.cls(thing, nid, list), items, attrs)


def _dict(walker: Walker, thing: dict[object, object], nid: int) -> Node:
    cls = type(thing)
    keys: list[object] = list(dict.keys(thing)) if cls is not OrderedDict else list(thing)
    if cls is not dict and issubclass(cls, OrderedDict):
        keys = list(OrderedDict.keys(thing))  # type: ignore[arg-type]
    values = [dict.__getitem__(thing, key) for key in keys] if cls is not dict else list(thing.values())
    if cls is dict and "__builtins__" in thing:
        return ("keep", "namespace", None, True)
    if cls is dict and len(keys) >= BIG_CONTAINER and is_plain(keys) and is_plain(values):
        return ("atoms", "dict", walker.contents.container(thing, (keys, values)))
    factory = walker.ref(getattr(thing, "default_factory", None), nid, "default_factory")
    plain_keys = ATOMS.issuperset(map(type, keys)) and not long_text(keys)
    written_keys = keys if plain_keys else [_key(walker, key, nid, i) for i, key in enumerate(keys)]
    ref = walker.ref
    written = [
        ref(value, nid, ("k", key)) if type(key) in ATOMS else ref(value, nid, ("value", i))
        for i, (key, value) in enumerate(zip(keys, values, strict=True))
    ]
    attrs = walker.attributes(thing, nid) if cls not in _PLAIN_DICTS else None
    return ("dict", walker.cls(thing, nid, dict), written_keys, written, plain_keys, factory, attrs)


_PLAIN_DICTS = frozenset({dict})


def _key(walker: Walker, key: object, nid: int, index: int) -> object:
    return walker.ref(key, nid, ("key", index))


def _set(walker: Walker, thing: Any, nid: int) -> Node:
    kind = "set" if isinstance(thing, set) else "frozenset"
    base = set if kind == "set" else frozenset
    attrs = None if type(thing) is base else walker.attributes(thing, nid)
    items = [walker.ref(item, nid, ("element", index)) for index, item in enumerate(list(thing))]
    return (kind, walker.cls(thing, nid, base), items, attrs)


def _tuple(walker: Walker, thing: tuple[object, ...], nid: int) -> Node:
    cls = type(thing)
    attrs = None if cls is tuple else walker.attributes(thing, nid)
    return ("tuple", walker.cls(thing, nid, tuple), walker.sequence(tuple(thing), nid), attrs)


def _deque(walker: Walker, thing: deque[object], nid: int) -> Node:
    attrs = None if type(thing) is deque else walker.attributes(thing, nid)
    return ("deque", walker.cls(thing, nid, deque), walker.sequence(list(thing), nid), thing.maxlen, attrs)


def _bytearray(_walker: Walker, thing: bytearray, _nid: int) -> Node:
    return ("bytearray", bytes(thing))


HANDLERS: Handlers = {
    "list": _list,
    "dict": _dict,
    "set": _set,
    "frozenset": _set,
    "tuple": _tuple,
    "deque": _deque,
    "bytearray": _bytearray,
}
