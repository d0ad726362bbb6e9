"""From namespaces to a graph of plain data: every object with an identity becomes a numbered node.

The walk is breadth first, so a node's first access path is its shortest. It is the same walk at loop entry
(the baseline) and at each checkpoint; what differs is what the `Contents` do with bytes. A node is a tuple that
starts with its kind; the `encode_*` modules write nodes, the `rebuild_*` modules read them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
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
Handlers = Mapping[str, Callable[[Any, Any, int], tuple[object, ...]]]


class Contents(Protocol):
    """Where the bytes of big things go. What it returns is written in the node in their place."""

    def container(self, thing: object, parts: tuple[object, ...], /) -> object:
        """A long text or the lists of a big container of atoms."""

    def opaque(self, thing: object, data: bytes, /) -> tuple[object, bool]:
        """A pickle; and whether it is what it was at loop entry."""


class Memory:
    """A piece of memory that tensors or arrays look at: a torch storage, or an array with its own elements."""

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

    def __init__(
        self, book: TypeBook, contents: Contents, known: Mapping[object, int] | None, handlers: Handlers
    ) -> None:
        self.book = book
        self.contents = contents
        self._handlers = handlers
        self.known = known
        """Node numbers of the walk at loop entry by identity; None in that walk itself."""
        self.nodes: list[Node | None] = []
        self.objects: list[object] = []
        self.keys: list[object] = []
        self.parents: list[int] = []
        self.steps: list[object] = []
        self.forced: list[bool] = []
        self.edges: dict[tuple[int, object], int] = {}
        self.links: list[tuple[int, int]] | None = None
        """Who refers to whom, from holder to held, where that is asked for."""
        self.memo: dict[object, int] = {}
        self.queue: deque[int] = deque()
        self.memories: dict[object, Memory] = {}
        self.buffers: set[int] = set()
        self.slices: list[tuple[int, object]] = []
        self.roots: dict[str, dict[str, object]] = {}
        self.not_captured: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self._specs: dict[type, str | None] = {}
        self.weakrefs: list[int] = []
        self._allocate(None, "root", -1, "", False)

    def walk(self, namespaces: Namespaces) -> None:
        """Walk everything that the namespaces hold."""
        for space, names in namespaces.items():
            top = self._allocate(None, ("space", space), 0, ("space", space), space == "explicit")
            self.nodes[top] = ("space",)
            self.roots[space] = {
                name: self.ref(value, top, name)
                for name, value in list(names.items())
                if not (name.startswith("__") and name.endswith("__"))
            }
        self.nodes[0] = ("root",)
        self.drain()
        for nid, _ in self.slices:
            self.nodes[nid] = self._handlers["slice"](self, self.objects[nid], nid)
        self.drain()
        for nid in self.weakrefs:
            target: Any = self.objects[nid]
            found = self.memo.get(id(target()))
            self.nodes[nid] = ("weakref", (found,) if found is not None else None)
            if found is not None and self.links is not None:
                self.links.append((nid, found))

    def drain(self) -> None:
        """Describe every node that waits."""
        queue, nodes, objects = self.queue, self.nodes, self.objects
        handlers, kind = self._handlers, self.book.kind
        while queue:
            nid = queue.popleft()
            thing = objects[nid]
            if nodes[nid] is None:
                try:
                    nodes[nid] = handlers[kind(type(thing))](self, thing, nid)
                except Exception as error:  # whatever a strange object raises when it is looked at
                    nodes[nid] = self.lost(nid, f"{type(thing).__qualname__}: {type(error).__name__}: {error}")

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
        elif self.links is not None:
            self.links.append((parent, nid))
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

    def was_at_entry(self, nid: int) -> bool:
        """Whether the thing was there at loop entry."""
        return self.origin(nid) >= 0

    def origin_of(self, thing: object) -> int:
        """The number at loop entry of a thing that need not have been met, or -1."""
        return 0 if self.known is None else self.known.get(id(thing), -1)

    def path(self, nid: int) -> str:
        """The access path of a node, as a person would write it: ``frame:0.model.bias``."""
        return path_of(self.parents, self.steps, nid)

    def lost(self, nid: int, reason: str) -> Node:
        """The node of what cannot be captured."""
        path = self.path(nid)
        self.not_captured.append((path, reason))
        return ("lost", reason, path)

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

    def attributes(self, thing: object, nid: int, without: str | None = None) -> dict[str, object] | None:
        """The encoded ``__dict__`` and slots of a thing; None if it can have none."""
        cls = type(thing)
        written: dict[str, object] = {}
        found = False
        if cls.__dictoffset__:
            found = True
            own: dict[str, object] = object.__getattribute__(thing, "__dict__")
            for name, value in list(own.items()):
                if name == without:
                    continue
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
        if ATOMS.issuperset(map(type, items)) and not long_text(items):
            return list(items)
        ref = self.ref
        return [ref(item, nid, index) for index, item in enumerate(list(items))]


def path_of(parents: Sequence[int], steps: Sequence[object], nid: int) -> str:
    """The access path that leads to a node, as a person would write it."""
    parts: list[str] = []
    while nid > 0:
        step = steps[nid]
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif isinstance(step, tuple):
            parts.append(f".{step[1]}" if step[0] == "space" else f"[{step[1]!r}]")
        else:
            parts.append(f".{step}")
        nid = parents[nid]
    return "".join(reversed(parts)).removeprefix(".")


def long_text(items: Any) -> bool:
    """Whether a text among the items is too long to stand in the graph."""
    return any(type(item) in TEXT_ATOMS and len(item) > LONG_TEXT for item in items)


def is_plain(items: Any) -> bool:
    """Whether all items are atoms or tuples of atoms."""
    types = set(map(type, items))
    if types <= ATOMS:
        return True
    if not types <= ATOMS | {tuple}:
        return False
    return ATOMS.issuperset(map(type, chain.from_iterable(item for item in items if type(item) is tuple)))
