"""From namespaces to a graph of plain data: every object with an identity becomes a numbered node.

The walk is breadth first, so a node's first access path is its shortest. It is the same walk at loop entry (the
baseline) and at each checkpoint; what differs is what the `Contents` do with bytes. A node is a tuple that starts with
its kind; `rebuild.py` reads what this module and `walk_arrays.py` write.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict, deque
from collections.abc import Mapping
from itertools import chain
from typing import Any, Protocol

from flor_checkpoint.kinds import TypeBook, slots_of
from flor_checkpoint.leaves import ATOMS, SMALL_ATOMS, TEXT_ATOMS, encode_leaf
from flor_checkpoint.project import spec_of

LONG_TEXT = 4096
"""Strings and bytes longer than this are kept outside the graph, by digest."""

BIG_CONTAINER = 2048
"""Containers of atoms with at least so many elements are kept outside the graph, by digest."""

Node = tuple[object, ...]
Namespaces = Mapping[str, Mapping[str, object]]


class Contents(Protocol):
    """Where the bytes of big things go. What it returns is written in the node in their place."""

    def container(self, thing: object, parts: tuple[object, ...]) -> object:
        """A long text or the lists of a big container of atoms."""

    def opaque(self, thing: object, data: bytes) -> tuple[object, bool]:
        """A pickle; and whether it is what it was at loop entry."""


class Memory:
    """A piece of memory that tensors or arrays look at: a torch storage or an array that owns its elements."""

    __slots__ = ("forced", "key", "nid", "owner", "users")

    def __init__(self, nid: int, owner: Any, key: object, forced: bool) -> None:
        self.nid = nid
        self.owner = owner
        self.key = key
        self.forced = forced
        """Kept as content even if it is what it was at loop entry."""
        self.users: list[int] = []


class Walker:
    """One walk over the namespaces."""

    def __init__(self, book: TypeBook, contents: Contents, known: Mapping[object, int] | None) -> None:
        self.book = book
        self.contents = contents
        self.known = known
        """Node numbers of the walk at loop entry by identity; None in that walk itself."""
        self.nodes: list[Node | None] = []
        self.objects: list[object] = []
        self.keys: list[object] = []
        self.parents: list[int] = []
        self.steps: list[object] = []
        self.forced: list[bool] = []
        self.edges: dict[tuple[int, object], int] = {}
        self.memo: dict[object, int] = {}
        self.queue: deque[int] = deque()
        self.memories: dict[object, Memory] = {}
        self.buffers: set[int] = set()
        self.roots: dict[str, dict[str, object]] = {}
        self.not_captured: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self._specs: dict[type, str | None] = {}
        self._weakrefs: list[int] = []
        self._allocate(None, "root", -1, "", False)

    def walk(self, namespaces: Namespaces) -> None:
        """Walk everything that the namespaces hold."""
        for space, names in namespaces.items():
            top = self._allocate(None, ("space", space), 0, space, space == "explicit")
            self.nodes[top] = ("space",)
            self.roots[space] = {
                name: self.ref(value, top, name)
                for name, value in list(names.items())
                if not (name.startswith("__") and name.endswith("__"))
            }
        self.nodes[0] = ("root",)
        self.drain()
        for nid in self._weakrefs:
            target: Any = self.objects[nid]
            found = self.memo.get(id(target()))
            self.nodes[nid] = ("weakref", (found,) if found is not None else None)

    def drain(self) -> None:
        """Describe every node that waits."""
        queue, nodes, objects = self.queue, self.nodes, self.objects
        handlers, kind = _HANDLERS, self.book.kind
        while queue:
            nid = queue.popleft()
            thing = objects[nid]
            if nodes[nid] is None:
                nodes[nid] = handlers[kind(type(thing))](self, thing, nid)

    def ref(self, thing: Any, parent: int, step: object) -> object:
        """The encoded value of `thing`, met at `step` of the node `parent`."""
        cls = type(thing)
        if cls in SMALL_ATOMS or (cls in TEXT_ATOMS and len(thing) <= LONG_TEXT):
            return thing
        nid = self.memo.get(id(thing))
        if nid is None:
            if cls is tuple and ATOMS.issuperset(map(type, thing)):
                return ("t", thing)
            leaf = self.book.leaf(cls)
            if leaf is not None:
                written = encode_leaf(leaf, thing)
                if written is not None:
                    return written
            nid = self._allocate(thing, id(thing), parent, step, self.forced[parent])
            if cls in TEXT_ATOMS:
                self.nodes[nid] = ("text", cls.__name__, self.contents.container(thing, (thing,)))
            else:
                self.queue.append(nid)
        if self.known is None:
            self.edges[parent, step] = nid
        return (nid,)

    def _allocate(self, thing: object, key: object, parent: int, step: object, forced: bool) -> int:
        nid = len(self.nodes)
        self.nodes.append(None)
        self.objects.append(thing)
        self.keys.append(key)
        self.parents.append(parent)
        self.steps.append(step)
        self.forced.append(forced)
        self.memo[key] = nid
        return nid

    def memory(self, owner: Any, key: object, user: int, step: object) -> Memory:
        """The piece of memory with that identity, made known as a node of its own."""
        found = self.memories.get(key)
        if found is None:
            nid = self._allocate(owner, key, user, step, False)
            found = self.memories[key] = Memory(nid, owner, key, False)
        if self.known is None:
            self.edges[user, step] = found.nid
        found.users.append(user)
        return found

    def origin(self, nid: int) -> int:
        """The node's number at loop entry, or -1 for what was not there."""
        return nid if self.known is None else self.known.get(self.keys[nid], -1)

    def path(self, nid: int) -> str:
        """The access path of a node, as a person would write it: ``frame:0.model.bias``."""
        steps: list[str] = []
        while nid > 0:
            step = self.steps[nid]
            if isinstance(step, int):
                steps.append(f"[{step}]")
            elif isinstance(step, tuple):
                steps.append(f"[{step[1]!r}]")
            else:
                steps.append(f".{step}")
            nid = self.parents[nid]
        return "".join(reversed(steps)).removeprefix(".")

    def lost(self, nid: int, reason: str) -> Node:
        """The node of what cannot be captured."""
        self.not_captured.append((self.path(nid), reason))
        return ("lost", reason)

    def note(self, nid: int, text: str) -> None:
        """Something worth knowing that is no failure."""
        self.notes.append(f"{self.path(nid)}: {text}")

    def cls(self, thing: object, nid: int, plain: type | None = None) -> object:
        """How the node names its type: None for `plain`, a spec for a library's, else the class's node."""
        cls = type(thing)
        if cls is plain:
            return None
        spec = self._specs.get(cls, "")
        if spec == "":
            spec = None if self.book.project.owns(cls.__module__) else spec_of(cls)
            self._specs[cls] = spec
        return spec if spec is not None else self.ref(cls, nid, "__class__")

    def attributes(self, thing: object, nid: int) -> dict[str, object] | None:
        """The encoded ``__dict__`` and slots of a thing; None if it can have none."""
        cls = type(thing)
        written: dict[str, object] = {}
        found = False
        if cls.__dictoffset__:
            found = True
            own: dict[str, object] = object.__getattribute__(thing, "__dict__")
            for name, value in list(own.items()):
                written[name] = self.ref(value, nid, name)
        if hasattr(cls, "__slots__"):
            for name, member in slots_of(cls).items():
                found = True
                try:
                    value = member.__get__(thing, cls)
                except AttributeError:
                    continue
                written[name] = self.ref(value, nid, name)
        return written if found else None

    def sequence(self, items: Any, nid: int) -> list[object]:
        """The encoded elements."""
        if ATOMS.issuperset(map(type, items)) and not _long_text(items):
            return list(items)
        ref = self.ref
        return [ref(item, nid, index) for index, item in enumerate(list(items))]


def _long_text(items: Any) -> bool:
    return any(type(item) in TEXT_ATOMS and len(item) > LONG_TEXT for item in items)


def _is_plain(items: Any) -> bool:
    """Whether all items are atoms or tuples of atoms."""
    types = set(map(type, items))
    if types <= ATOMS:
        return True
    if not types <= ATOMS | {tuple}:
        return False
    return ATOMS.issuperset(map(type, chain.from_iterable(item for item in items if type(item) is tuple)))


def _list(walker: Walker, thing: list[object], nid: int) -> Node:
    if type(thing) is list and len(thing) >= BIG_CONTAINER and _is_plain(thing):
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
    if cls is dict and len(keys) >= BIG_CONTAINER and _is_plain(keys) and _is_plain(values):
        return ("atoms", "dict", walker.contents.container(thing, (keys, values)))
    factory = walker.ref(getattr(thing, "default_factory", None), nid, "default_factory")
    plain_keys = ATOMS.issuperset(map(type, keys)) and not _long_text(keys)
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


def _object(walker: Walker, thing: object, nid: int) -> Node:
    return ("object", walker.cls(thing, nid), walker.attributes(thing, nid) or {}, False)


def _class(walker: Walker, thing: Any, nid: int) -> Node:
    spec = spec_of(thing)
    if not walker.book.project.owns(getattr(thing, "__module__", None)):
        return ("keep", "class", spec, False)
    attrs: dict[str, object] = {}
    for name, value in list(vars(thing).items()):
        hidden = name.startswith(("__", "_abc_", "_member_", "_value2member"))
        if not hidden and not hasattr(type(value), "__get__") and not isinstance(value, type | thing):
            attrs[name] = walker.ref(value, nid, name)
    return ("class", spec, attrs)


def _function(walker: Walker, thing: Any, nid: int) -> Node:
    spec = spec_of(thing)
    if not walker.book.project.owns(thing.__module__):
        return ("keep", "function", spec, False)
    cells = [walker.ref(cell, nid, ("cell", index)) for index, cell in enumerate(thing.__closure__ or ())]
    defaults = walker.ref(thing.__defaults__, nid, "__defaults__")
    keywords = walker.ref(thing.__kwdefaults__, nid, "__kwdefaults__")
    attrs = {name: walker.ref(value, nid, name) for name, value in list(vars(thing).items())}
    return ("function", spec, cells, defaults, keywords, attrs)


def _cell(walker: Walker, thing: Any, nid: int) -> Node:
    try:
        content = thing.cell_contents
    except ValueError:
        return ("cell", False, None)
    return ("cell", True, walker.ref(content, nid, "cell_contents"))


def _method(walker: Walker, thing: Any, nid: int) -> Node:
    return (
        "method",
        walker.ref(thing.__func__, nid, "__func__"),
        walker.ref(thing.__self__, nid, "__self__"),
    )


def _builtin(walker: Walker, thing: Any, nid: int) -> Node:
    owner = thing.__self__
    if owner is None or isinstance(owner, type(warnings)):
        module = getattr(owner, "__name__", None)
        spec = spec_of(thing)
        if spec is None and isinstance(module, str):
            spec = f"{module}:{thing.__name__}"
        return ("keep", "function", spec, False)
    return ("builtin", walker.ref(owner, nid, "__self__"), thing.__name__)


def _partial(walker: Walker, thing: Any, nid: int) -> Node:
    parts = [walker.ref(part, nid, ("part", i)) for i, part in enumerate((thing.func, thing.args, thing.keywords))]
    attrs = {name: walker.ref(value, nid, name) for name, value in list(vars(thing).items())}
    return ("partial", *parts, attrs)


def _named(_walker: Walker, thing: object, _nid: int) -> Node:
    return ("keep", "function", spec_of(thing), False)


def _keep(_walker: Walker, thing: Any, _nid: int) -> Node:
    if isinstance(thing, type(warnings)):
        return ("keep", "module", thing.__name__, True)
    return ("keep", f"{type(thing).__module__}.{type(thing).__qualname__}", None, True)


def _weakref(walker: Walker, _thing: object, nid: int) -> Node:
    walker._weakrefs.append(nid)
    return ("weakref", None)


def _proxy(walker: Walker, thing: Any, nid: int) -> Node:
    return ("proxy", walker.ref(dict(thing), nid, "copy"))


def _generator(walker: Walker, thing: Any, nid: int) -> Node:
    frame = getattr(thing, "gi_frame", "") if type(thing).__name__ == "generator" else ""
    if frame is None:
        return ("exhausted",)
    return walker.lost(nid, f"a {type(thing).__name__} in the middle of its code cannot be captured")


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


def _dataset(walker: Walker, thing: Any, nid: int) -> Node:
    if walker.origin(nid) < 0 and walker.known is not None:
        return _object(walker, thing, nid)
    walker.forced[nid] = False
    attrs = {
        name: walker.ref(value, nid, name)
        for name, value in list(vars(thing).items())
        if walker.book.leaf(type(value)) is not None or _is_light(walker, value)
    }
    return ("object", walker.cls(thing, nid), attrs, True)


_LIGHT_KINDS = frozenset(
    "tensor array dataset random torch_generator numpy_state numpy_generator tuple function".split()
)


def _is_light(walker: Walker, value: Any) -> bool:
    kind = walker.book.kind(type(value))
    if type(value) in ATOMS or kind in _LIGHT_KINDS:
        return True
    if kind in ("list", "dict", "set", "deque"):
        return len(value) < 1000 or _is_plain(value)
    return False


def _loader(walker: Walker, thing: Any, nid: int) -> Node:
    walker.forced[nid] = False
    attrs = {
        name: walker.ref(value, nid, name)
        for name, value in list(vars(thing).items())
        if not name.endswith("_iterator")
    }
    attrs.setdefault("_iterator", None)
    return ("object", walker.cls(thing, nid), attrs, True)


def _module(walker: Walker, thing: Any, nid: int) -> Node:
    walker.forced[nid] = True
    cls = walker.cls(thing, nid)
    attrs: dict[str, object] = {}
    ref = walker.ref
    for name, value in list(vars(thing).items()):
        empty = _EMPTY.get(type(value)) if not value and name[0] == "_" else None
        attrs[name] = ref(value, nid, name) if empty is None else empty
    for buffer in thing._buffers.values():
        walker.buffers.add(id(buffer))
    return ("object", cls, attrs, False)


_EMPTY: dict[type, object] = {dict: ("empty", "dict"), OrderedDict: ("empty", "odict")}


def _optimizer(walker: Walker, thing: Any, nid: int) -> Node:
    walker.forced[nid] = True
    return _object(walker, thing, nid)


_HANDLERS: dict[str, Any] = {
    "list": _list,
    "dict": _dict,
    "set": _set,
    "frozenset": _set,
    "tuple": _tuple,
    "deque": _deque,
    "bytearray": _bytearray,
    "object": _object,
    "class": _class,
    "function": _function,
    "named": _named,
    "cell": _cell,
    "method": _method,
    "builtin": _builtin,
    "partial": _partial,
    "keep": _keep,
    "weakref": _weakref,
    "proxy": _proxy,
    "generator": _generator,
    "iterator": _iterator,
    "dataset": _dataset,
    "loader": _loader,
    "nnmodule": _module,
    "optimizer": _optimizer,
}
