"""Is the live state the recorded one, bit for bit? Two graphs of plain data are followed side by side.

Only names that the recording had are asked about: a statement added since may have bound others. Where two things cannot
be told to be equal (what was lost, a pickle that comes out otherwise), they are different.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flor_checkpoint.containers import Parts, chunks_of
from flor_checkpoint.contents import memory_bytes, memory_node
from flor_checkpoint.digest import digest, digest_of_chunks
from flor_checkpoint.leaves import ATOMS
from flor_checkpoint.snapshot import Snapshot
from flor_checkpoint.walk import Node, Walker

# Parts of nodes that are plain data in which a tuple of one number is no reference.
_DATA: Mapping[str, frozenset[int]] = {
    "tensor": frozenset({5, 6}),
    "array": frozenset({4, 6}),
    "view": frozenset({4, 7}),
    "objects": frozenset({1}),
    "random": frozenset({2}),
    "torch_generator": frozenset({1, 2}),
    "numpy_state": frozenset({3}),
    "file": frozenset({1}),
}
# Parts that hold bytes, or the digest of them.
_CONTENT: Mapping[str, int] = {"memory": 3, "atoms": 2, "text": 2, "opaque": 2}
# Parts that tell of the walk and not of the thing.
_ASIDE: Mapping[str, frozenset[int]] = {"opaque": frozenset({4, 5})}


class Digests:
    """The contents of a walk that is compared: nothing is kept, all is digested."""

    def container(self, _thing: object, parts: Parts, /) -> object:
        """See `Contents`."""
        return [digest_of_chunks(chunks_of(parts))]

    def opaque(self, _thing: object, data: bytes, /) -> tuple[object, bool]:
        """See `Contents`."""
        return [digest(data)], False

    @staticmethod
    def finish(walker: Walker) -> None:
        """The walk is over: digest the memory that it has met."""
        for memory in walker.memories.values():
            walker.nodes[memory.nid] = memory_node(memory, [digest(memory_bytes(memory.owner))])


@dataclass(frozen=True)
class Clocked:
    """Variables and attributes, by name, that tell the time: what numbers they hold says nothing of a replay."""

    numbers: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()  # of such numbers
    meters: frozenset[str] = frozenset()  # objects in which …
    inside: frozenset[str] = frozenset()  # … these attributes are such numbers


NO_CLOCKS = Clocked()


@dataclass(frozen=True)
class Differences:
    """Where the live state is not the recorded one."""

    names: tuple[str, ...]
    """As ``space.name``; not all of them where several share what differs. None: every bit is the same."""
    of_model: bool
    """Whether parameters, buffers, an optimizer's state or a random generator are among what differs."""


def differences(
    snapshot: Snapshot,
    live: Walker,
    process: Mapping[str, object],
    but: Collection[tuple[str, str]] = (),
    clocked: Clocked = NO_CLOCKS,
) -> Differences:
    """What in the live state is not what the snapshot has; the names in `but` are not asked about."""
    comparison = _Comparison(snapshot.nodes, live.nodes, clocked)
    comparison.look_for_meters(live.roots.values())
    found = []
    drawn = False
    for space, names in snapshot.roots.items():
        here = live.roots.get(space)
        if here is None:
            found.append(space)
            continue
        for name, written in names.items():
            if (space, name) in but:
                continue
            if name not in here or not comparison.same(written, here[name], name):
                found.append(f"{space}.{name}")
    for name, state in snapshot.process.items():
        if name != "cwd" and not _equal(state, process.get(name)):
            found.append("the environment variables" if name == "environ" else f"the random generator of {name}")
            drawn = drawn or name != "environ"
    models = {memory.nid for memory in live.memories.values() if memory.forced}
    return Differences(tuple(found), drawn or bool(models & comparison.different))


class _Comparison:
    """Which node of the recording is which node of now: one for one, so what was shared then is shared now."""

    def __init__(self, recorded: list[tuple[Any, ...]], live: list[Node | None], clocked: Clocked) -> None:
        self._recorded = recorded
        self._live = live
        self._clocked = clocked
        self._meters: set[int] = set()
        self._lists: set[int] = set()
        self._in_meter = False
        self._there: dict[int, int] = {}
        self._back: dict[int, int] = {}
        self._different: set[int] = set()
        self.different: set[int] = set()
        """Nodes of the live graph that are not what they were."""
        self._waiting: deque[tuple[int, int]] = deque()

    def look_for_meters(self, spaces: Iterable[Mapping[str, object]]) -> None:
        """Find the live objects that the names of meters and of lists of times lead to."""
        names = (self._clocked.meters, self._meters), (self._clocked.lists, self._lists)
        if not self._clocked.meters and not self._clocked.lists:
            return
        held = (part for node in self._live if node is not None for part in node if type(part) is dict)
        for entries in (*spaces, *held):
            for known, found in names:
                for name in known & entries.keys():
                    value = entries[name]
                    if type(value) is tuple and len(value) == 1 and type(value[0]) is int:
                        found.add(value[0])

    def same(self, recorded: object, live: object, name: str) -> bool:
        """Whether two encoded values of a variable, and all that they lead to, are the same."""
        alike = self._written(recorded, live) or self._tells_time(name, recorded, live)
        while self._waiting:
            one, other = self._waiting.popleft()
            self._in_meter = other in self._meters
            if other in self._lists and self._both_of_numbers(self._recorded[one], self._live[other]):
                continue
            if not self._nodes(self._recorded[one], self._live[other]):
                self._different.add(one)
                self.different.add(other)
                alike = False
        return alike

    def _meet(self, one: int, other: int) -> bool:
        if one in self._there or other in self._back:
            return self._there.get(one) == other and self._back.get(other) == one and one not in self._different
        self._there[one] = other
        self._back[other] = one
        self._waiting.append((one, other))
        return True

    def _nodes(self, one: tuple[Any, ...], other: Node | None) -> bool:
        if other is None or len(one) != len(other) or one[0] != other[0] or one[0] == "lost":
            return False
        kind = one[0]
        if kind in ("set", "frozenset") and _is_atoms(one[2]) and _is_atoms(other[2]):
            mine, theirs = sorted(map(repr, one[2])), sorted(map(repr, other[2]))  # type: ignore[call-overload]
            return mine == theirs and self._written(one[1], other[1]) and self._written(one[3], other[3])
        data, aside = _DATA.get(kind, frozenset()), _ASIDE.get(kind, frozenset())
        content = _CONTENT.get(kind)
        alike = True  # all parts are looked at: what they lead to is known then
        for place in range(1, len(one)):
            if place in aside:
                continue
            if place == content:
                alike = alike and _digest_of(one[place]) == _digest_of(other[place]) is not None
            elif place in data:
                alike = alike and _equal(one[place], other[place])
            else:
                alike = self._written(one[place], other[place]) and alike
        return alike

    def _written(self, one: Any, other: Any) -> bool:
        if type(one) is not type(other):
            return False
        if type(one) is tuple:
            if len(one) == 1 and type(one[0]) is int:
                return len(other) == 1 and type(other[0]) is int and self._meet(one[0], other[0])
            if one and one[0] in ("t", "e", "empty"):
                return _equal(one, other)
        if type(one) in (list, tuple):
            alike = [self._written(a, b) for a, b in zip(one, other, strict=False)]  # all of them: none is passed over
            return len(one) == len(other) and all(alike)
        if type(one) is dict:
            alike = [
                self._written(value, other[key]) or self._tells_time(key, value, other[key])
                for key, value in one.items()
                if key in other
            ]
            return list(one) == list(other) and all(alike)
        return _equal(one, other)

    def _tells_time(self, name: object, one: object, other: object) -> bool:
        """Whether a variable or attribute of this name holds the time, then and now."""
        if type(one) not in (int, float) or type(other) not in (int, float):
            return False
        return name in self._clocked.numbers or (self._in_meter and name in self._clocked.inside)

    @staticmethod
    def _both_of_numbers(one: tuple[Any, ...], other: Node | None) -> bool:
        """Whether two nodes are lists of as many numbers."""
        if other is None or one[0] != other[0] or one[0] not in ("list", "deque"):
            return False
        lists = [part for node in (one, other) for part in node if type(part) is list]
        numbers = all(type(item) in (int, float) for part in lists for item in part)
        return len(lists) == 2 and numbers and len(lists[0]) == len(lists[1])


def _is_atoms(items: object) -> bool:
    return type(items) is list and ATOMS.issuperset(map(type, items))


def _digest_of(content: object) -> str | None:
    """The digest of what stands in a node; None where it has none."""
    if type(content) is bytes:
        return digest(content)
    if type(content) is tuple:  # as at loop entry
        content = content[1]
    if type(content) is list:
        content = content[0]
    return content if type(content) is str else None


def _equal(one: Any, other: Any) -> bool:
    """Plain data, the same to the bit: 0.0 is not -0.0, 1 is not True, nan is nan."""
    if type(one) is not type(other):
        return False
    if type(one) in (tuple, list):
        return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    if type(one) is dict:
        return list(one) == list(other) and all(_equal(value, other[key]) for key, value in one.items())
    if type(one) in (float, complex):
        return repr(one) == repr(other)
    return bool(one == other)
