"""From a graph of plain data back to objects: those that the process holds already are changed in place.

A node that was there at loop entry has a row in the recording's table; the `Restorer` has found what stands at
that access path in this process. Of the same type, it is the node's target and keeps its identity; everything
else is made anew. Making is followed by filling, so that cycles close; what must be hashed is filled last.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from flor_checkpoint.containers import chunks_of, parts_from, parts_of
from flor_checkpoint.digest import digest_of_chunks
from flor_checkpoint.leaves import decode_leaf
from flor_checkpoint.memory import copy_bytes
from flor_checkpoint.pack_reader import Unverified
from flor_checkpoint.parallel import for_each
from flor_checkpoint.project import find
from flor_checkpoint.snapshot import Snapshot
from flor_checkpoint.walk import path_of

LOST: Any = type("Lost", (), {"__repr__": lambda _: "<lost>"})()
"""In place of what cannot be put back."""

_UNMADE = object()
_NEVER_THE_SAME = frozenset({"iterator", "generator"})


_RUN_CODE = frozenset({"generator", "opaque"})
"""Kinds that are brought back by code, which may read what it is given."""
_BIG_BYTES = 1 << 20


def _write(target: memoryview, content: memoryview | bytes | Unverified) -> None:
    if isinstance(content, Unverified):
        content.copy_to(target)
    else:
        copy_bytes(target, content)


class BeingMadeError(Exception):
    """A filling needs what is just being made: it is done later."""


class Builder:
    """One restore."""

    def __init__(
        self,
        snapshot: Snapshot,
        live: Mapping[int, object],
        stash: Mapping[int, bytes],
        makers: Makers,
        generators: Mapping[int, object],
    ) -> None:
        self.snapshot = snapshot
        self.stash = stash
        """Copies of memory as it was at loop entry, by the row."""
        self.missing: list[tuple[str, str]] = []
        self.mismatched: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.generators: dict[int, object] = {}
        """The generators that were put back, by node."""
        self.making: set[int] = set()
        """The nodes whose making fills others meanwhile."""
        self._live = live
        self._adopted: dict[int, object] = dict(generators)
        self._makers = makers
        self._made: list[Any] = [_UNMADE] * len(snapshot.nodes)
        self._claimed: set[int] = set()
        self._fills: deque[Callable[[], None]] = deque()
        self._last_fills: deque[Callable[[], None]] = deque()
        self._classes: dict[str, object | None] = {}
        self._copies: list[tuple[memoryview, memoryview | bytes | Unverified, object]] = []
        self._together = all(node[0] not in _RUN_CODE for node in snapshot.nodes)

    def fill_memory(self, target: memoryview, content: memoryview | bytes | Unverified, owner: object) -> None:
        """Write the bytes of a piece of memory that is `owner`'s: the big ones all together, before anything is looked at.

        Raises ValueError where there are not as many, BadCheckpoint where they are not what was written.
        """
        size = len(content)
        if size != len(target):
            raise ValueError(f"{size} bytes for a place of {len(target)}")
        if self._together and len(target) >= _BIG_BYTES:
            self._copies.append((target, content, owner))
        else:
            copy_bytes(target, content.verified() if isinstance(content, Unverified) else content)

    def finish(self) -> None:
        """Fill everything that was made."""
        self._copy()
        waiting = []
        while self._fills or self._last_fills:
            before = len(self._fills)
            self.settle()
            if self._last_fills:
                action = self._last_fills.popleft()
                try:
                    action()
                except BeingMadeError:
                    waiting.append(action)
            elif len(self._fills) >= before:
                break  # the rest waits for what is being made
        self._last_fills.extend(waiting)

    def _copy(self) -> None:
        if self._copies:
            for_each(lambda each: _write(*each[:2]), self._copies)
            self._copies = []

    def settle(self) -> None:
        """Fill everything that needs no hashing."""
        self._copy()
        waiting = []
        while self._fills:
            action = self._fills.popleft()
            try:
                action()
            except BeingMadeError:
                waiting.append(action)
        self._fills.extend(waiting)

    def fill(self, action: Callable[[], None], *, last: bool = False) -> None:
        """Do this once all that it needs is made."""
        (self._last_fills if last else self._fills).append(action)

    def value(self, written: Any) -> Any:
        """The value that was encoded as `written`."""
        if type(written) is not tuple:
            return written
        head = written[0]
        if type(head) is int:
            return self.node(head)
        if head == "t":
            return written[1]
        if head == "empty":
            return {} if written[1] == "dict" else OrderedDict()
        return decode_leaf(written[1], written[2])

    def node(self, nid: int) -> Any:
        """The object of a node."""
        made = self._made[nid]
        if made is _UNMADE:
            if nid in self.making:
                raise BeingMadeError
            node = self.snapshot.nodes[nid]
            try:
                made = self._makers[node[0]](self, node, nid)
            except BeingMadeError:
                raise
            except Exception as error:  # whatever a class of today raises for the state of then
                made = self.lose(self.path(nid), f"{type(error).__name__}: {error}")
            if self._made[nid] is _UNMADE:
                self._made[nid] = made
            return self._made[nid]
        return made

    def made(self, nid: int, thing: Any) -> Any:
        """Make the object known before its parts are made."""
        self._made[nid] = thing
        return thing

    def target(self, nid: int, cls: object) -> Any | None:
        """The live object whose place the node takes, if it is of that very type."""
        found = self.any_target(nid)
        if found is None or type(found) is not cls or id(found) in self._claimed:
            return None
        self._claimed.add(id(found))
        return found

    def any_target(self, nid: int) -> Any | None:
        """The live object that was adopted or is at the node's path at loop entry, whatever its type."""
        adopted = self._adopted.get(nid)
        return adopted if adopted is not None else self._live.get(self.snapshot.origins[nid])

    def adopt(self, nid: int, thing: object) -> bool:
        """Let `thing` be what the node is restored to, unless it is to be another; whether it is.

        An iterator keeps its identity only where it is adopted: what stood at its path at loop entry has no claim.
        """
        found = self.any_target(nid) if self.snapshot.nodes[nid][0] not in _NEVER_THE_SAME else self._adopted.get(nid)
        if self._made[nid] is not _UNMADE or (found is not None and found is not thing):
            return False
        self._adopted[nid] = thing
        return True

    def adopted(self, nid: int) -> Any | None:
        """What the node must be restored to."""
        return self._adopted.get(nid)

    def row(self, nid: int) -> int:
        """The node's row in the table of loop entry."""
        return self.snapshot.origins[nid]

    def path(self, nid: int) -> str:
        """Where the node was at loop entry."""
        row = self.snapshot.origins[nid]
        return path_of(self.snapshot.parents, self.snapshot.steps, row) if row >= 0 else "(made in the loop)"

    def cls(self, written: object, plain: type | None = None) -> Any:
        """The type that a node names; None if this process has it not."""
        if written is None:
            return plain
        if not isinstance(written, str):
            found = self.value(written)
            return None if found is LOST else found
        if written not in self._classes:
            self._classes[written] = find(written, load=self.snapshot.trusted)
        return self._classes[written]

    def lose(self, path: str, reason: str) -> Any:
        """Report what cannot be put back."""
        self.missing.append((path, reason))
        return LOST

    def mismatch(self, nid: int, reason: str) -> None:
        """Report what is not as it was at loop entry of the recording."""
        self.mismatched.append((self.path(nid), reason))

    def attributes(self, thing: Any, attrs: Mapping[str, object] | None) -> None:
        """Set the attributes of a container or array that is more than its elements."""
        if attrs:
            own = vars(thing)
            own.clear()
            own.update({name: self.value(value) for name, value in attrs.items()})

    def items(self, written: list[object]) -> list[Any]:
        """Decoded elements; None for the lost ones."""
        value = self.value
        decoded = [value(item) if type(item) is tuple else item for item in written]
        return [None if item is LOST else item for item in decoded]


Makers = Mapping[str, Callable[[Builder, Any, int], Any]]


def _list(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, items, attrs = node
    cls = builder.cls(written_cls, list)
    if cls is None:
        return builder.lose(builder.path(nid), f"no class {written_cls}")
    thing = builder.target(nid, cls)
    thing = builder.made(nid, list.__new__(cls) if thing is None else thing)

    def fill() -> None:
        list.__setitem__(thing, slice(None), builder.items(items))
        builder.attributes(thing, attrs)

    builder.fill(fill)
    return thing


def _deque(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, items, maxlen, attrs = node
    cls = builder.cls(written_cls, deque)
    if cls is None:
        return builder.lose(builder.path(nid), f"no class {written_cls}")
    thing = builder.target(nid, cls)
    if thing is None or thing.maxlen != maxlen:
        thing = deque.__new__(cls)
        deque.__init__(thing, (), maxlen)
    builder.made(nid, thing)

    def fill() -> None:
        deque.clear(thing)
        deque.extend(thing, builder.items(items))
        builder.attributes(thing, attrs)

    builder.fill(fill)
    return thing


def _dict(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, keys, values, plain_keys, factory, attrs = node
    cls = builder.cls(written_cls, dict)
    if cls is None:
        return builder.lose(builder.path(nid), f"no class {written_cls}")
    thing = builder.target(nid, cls)
    thing = builder.made(nid, cls.__new__(cls) if thing is None else thing)
    base: Any = OrderedDict if isinstance(thing, OrderedDict) else dict

    def fill() -> None:
        decoded = [builder.value(value) if type(value) is tuple else value for value in values]
        names = keys if plain_keys else [builder.value(key) for key in keys]
        before = dict(thing) if any(value is LOST for value in decoded) else {}
        base.clear(thing)
        put = base.__setitem__
        for key, value in zip(names, decoded, strict=True):
            if value is not LOST:
                put(thing, key, value)
            elif key in before:
                put(thing, key, before[key])
        if factory is not None:
            made = builder.value(factory)
            thing.default_factory = thing.default_factory if made is LOST else made
        builder.attributes(thing, attrs)

    builder.fill(fill, last=not plain_keys)
    return thing


def _set(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, items, attrs = node
    cls = builder.cls(written_cls, set)
    if cls is None:
        return builder.lose(builder.path(nid), f"no class {written_cls}")
    thing = builder.target(nid, cls)
    thing = builder.made(nid, set.__new__(cls) if thing is None else thing)

    def fill() -> None:
        elements = builder.items(items)
        set.clear(thing)
        set.update(thing, elements)
        builder.attributes(thing, attrs)

    builder.fill(fill, last=True)
    return thing


def _frozenset(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, items, attrs = node
    cls = builder.cls(written_cls, frozenset)
    elements = builder.items(items)
    builder.settle()
    thing = frozenset.__new__(cls or frozenset, elements)
    found = builder.target(nid, cls)
    if found is not None and found == thing and {id(each) for each in found} == {id(each) for each in thing}:
        return found
    builder.attributes(thing, attrs)
    return thing


def _tuple(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, items, attrs = node
    cls = builder.cls(written_cls, tuple)
    if cls is None:
        return builder.lose(builder.path(nid), f"no class {written_cls}")
    elements = builder.items(items)
    found = builder.target(nid, cls)
    if (
        found is not None
        and len(found) == len(elements)
        and all(old is new for old, new in zip(found, elements, strict=True))
    ):
        return found
    thing = cls(elements) if hasattr(cls, "n_sequence_fields") else tuple.__new__(cls, elements)
    builder.attributes(thing, attrs)
    return thing


def _bytearray(builder: Builder, node: Any, nid: int) -> Any:
    thing = builder.target(nid, bytearray)
    if thing is None:
        return bytearray(node[1])
    thing[:] = node[1]
    return thing


def _big(builder: Builder, node: Any, nid: int) -> Any:
    kind, content = node[1], node[2]
    cls: type = {"list": list, "dict": dict, "str": str, "bytes": bytes}[kind]
    found = builder.target(nid, cls)
    if isinstance(content, tuple):
        wanted = content[1][0]
        if found is None:
            builder.mismatch(nid, f"the {kind} that the recording had at loop entry is not here")
            return LOST
        if digest_of_chunks(chunks_of(parts_of(found))) != wanted:
            builder.mismatch(nid, f"the {kind} is not what it was when recorded")
        return found
    made = parts_from(memoryview(builder.snapshot.content(content)), kind)
    if found is None or kind in ("str", "bytes"):
        return made
    found.clear()
    if kind == "list":
        found.extend(made)
    else:
        found.update(made)
    return found


MAKERS: Makers = {
    "list": _list,
    "deque": _deque,
    "dict": _dict,
    "set": _set,
    "frozenset": _frozenset,
    "tuple": _tuple,
    "bytearray": _bytearray,
    "text": _big,
    "atoms": _big,
}
