"""Random nested containers with aliases and cycles come back isomorphic."""

from __future__ import annotations

import math
import tempfile
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from conftest import Store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
    | st.complex_numbers()
)  # fmt: skip


class Plain:
    pass


class Slotted:
    __slots__ = ("left", "right")


class Loud(list):
    """A list that is more than its elements."""


MUTABLE = {
    "list": list,
    "loud": Loud,
    "dict": dict,
    "odict": OrderedDict,
    "ddict": lambda: defaultdict(list),
    "deque": lambda: deque(maxlen=7),
    "object": Plain,
    "space": SimpleNamespace,
    "array": lambda: np.empty(3, dtype=object),
}


@st.composite
def graphs(draw):
    """A recipe: containers by kind, then edges between them, atoms and tuples of both."""
    kinds = draw(st.lists(st.sampled_from(sorted(MUTABLE)), min_size=1, max_size=12))
    edges = draw(
        st.lists(
            st.tuples(
                st.integers(0, len(kinds) - 1),
                st.sampled_from(["a", "b", 1, None, ("x", 2)]),
                ATOMS | st.integers(0, len(kinds) - 1).map(lambda i: ("node", i)),
                st.booleans(),
            ),
            max_size=40,
        )
    )
    return kinds, edges


def put(thing, key, value):
    if isinstance(thing, np.ndarray):
        thing[hash(str(key)[:1] == "a") % 3] = value
    elif isinstance(thing, dict):
        thing[key] = value
    elif isinstance(thing, list | deque):
        thing.append(value)
        if isinstance(thing, Loud):
            thing.extra = value
    else:
        setattr(thing, str(key), value)


def apply(things, edges):
    for source, key, what, wrapped in edges:
        value = things[what[1]] if isinstance(what, tuple) and what[:1] == ("node",) else what
        put(things[source], key, (value, "wrapped") if wrapped else value)


def same(a, b, seen: dict[int, int]) -> bool:
    """Isomorphic: same types, same atoms to the bit, same aliases."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a.hex() == b.hex() or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex):
        return same(a.real, b.real, seen) and same(a.imag, b.imag, seen)
    if a is None or isinstance(a, bool | int | str | bytes | type):
        return a == b
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y, seen) for x, y in zip(a, b, strict=True))
    if id(a) in seen:
        return seen[id(a)] == id(b)
    seen[id(a)] = id(b)
    if isinstance(a, dict):
        if not same(tuple(a), tuple(b), seen):
            return False
        return same(getattr(a, "default_factory", None), getattr(b, "default_factory", None), seen) and all(
            same(x, y, seen) for x, y in zip(a.values(), b.values(), strict=True)
        )
    if isinstance(a, np.ndarray | deque | list):
        if len(a) != len(b) or getattr(a, "maxlen", 0) != getattr(b, "maxlen", 0):
            return False
        return all(same(x, y, seen) for x, y in zip(a, b, strict=True)) and same(
            getattr(a, "extra", None), getattr(b, "extra", None), seen
        )
    return same(vars(a), vars(b), seen)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(), graphs(), st.booleans())
def test_round_trip(before, after, keep):
    """`before` is built by the prefix of both processes, `after` in the loop of the recording alone."""

    def make():
        things = [MUTABLE[kind]() for kind in before[0]]
        apply(things, before[1])
        return {f"n{i}": thing for i, thing in enumerate(things)}

    def change(names):
        old = [thing for name, thing in list(names.items()) if name.startswith("n")]
        things = [MUTABLE[kind]() for kind in after[0]]
        if keep:
            things = [old[i] if i < len(old) and type(old[i]) is type(new) else new for i, new in enumerate(things)]
            for thing in things:
                if isinstance(thing, list | dict):
                    thing.clear()
        apply(things, after[1])
        if len(names) > 1:
            del names["n1"]
        for i, thing in enumerate(things):
            names[f"m{i}"] = thing
        put(old[0], "a", things[0])

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        recorded, names, restored = store.round_trip(make, change)
        assert restored.missing == []
        assert restored.mismatched == []
        assert same(recorded, {name: names[name] for name in recorded}, {})
        assert set(names) == set(recorded)


def test_identity_of_what_was_there_is_kept(store):
    held = []

    def make():
        names = {"a": [1], "b": {"k": [2]}, "s": {3}, "d": deque([4]), "c": Counter("xy"), "o": Plain(), "t": Slotted()}
        names["o"].inner = names["b"]["k"]
        names["t"].left = names["a"]
        held.append(dict(names))
        return names

    def change(names):
        names["a"].append(names["b"])
        names["b"]["k"].append(7)
        names["s"] |= {9}
        names["d"].append(1)
        names["c"].update("y")
        names["o"].new = 5
        names["t"].right = 8
        names["a2"] = names["a"]

    recorded, names, _ = store.round_trip(make, change)
    assert all(names[name] is held[1][name] for name in held[1])
    assert names["a"] == [1, {"k": [2, 7]}]
    assert names["a2"] is names["a"]
    assert names["o"].inner is names["b"]["k"]
    assert (names["t"].left is names["a"], names["t"].right) == (True, 8)
    assert names["c"] == recorded["c"] and names["s"] == {3, 9}


def test_big_containers_and_texts(store):
    texts = [f"line {i}" for i in range(5000)]

    def make():
        return {
            "corpus": "x" * 10_000,
            "raw": b"y" * 10_000,
            "texts": list(texts),
            "pairs": [(i, str(i)) for i in range(4000)],
            "table": {i: float(i) for i in range(3000)},
            "growing": list(range(3000)),
        }

    def change(names):
        names["growing"].append(-0.0)
        names["table"][5] = float("nan")
        names["late"] = "z" * 9000

    capturer = store.capturer()
    recorded = make()
    capturer.baseline({"frame:0": recorded})
    for index in range(3):
        change(recorded)
        store.take(capturer, recorded, index)
    live = make()
    kept = live["growing"]
    import flor_checkpoint as fc

    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": live})
    restored = restorer.restore(store.snapshot(1), {"frame:0": live})
    assert (restored.missing, restored.mismatched) == ([], [])
    assert kept is live["growing"] and len(kept) == 3002 and math.copysign(1, kept[-1]) == -1
    assert math.isnan(live["table"][5])
    assert restored.bindings["frame:0"] == {"late": "z" * 9000}
    live["texts"][17] = "changed"
    restored = restorer.restore(store.snapshot(1), {"frame:0": live})
    assert [path for path, _ in restored.mismatched] == ["frame:0.texts"]


def test_keys_that_hash_by_their_attributes(store):
    def change(names):
        key = Hashed(3)
        names["key"] = key
        names["by"] = {key: 1, (key, 2): 2}
        names["set"] = {key}
        names["frozen"] = frozenset([key, 4])

    _, names, restored = store.round_trip(dict, change)
    assert restored.missing == []
    assert names["by"][Hashed(3)] == 1 and names["by"][Hashed(3), 2] == 2
    assert Hashed(3) in names["set"] and Hashed(3) in names["frozen"]
    assert next(iter(names["set"])) is names["key"]


class Hashed:
    def __init__(self, value):
        self.value = value

    def __hash__(self):
        return hash(self.value)

    def __eq__(self, other):
        return isinstance(other, Hashed) and self.value == other.value
