"""A state that is the recorded one is found to be so; one bit elsewhere is found, too."""

from __future__ import annotations

import collections
import copy
import random
from collections.abc import Callable
from typing import Any

import flor_checkpoint as fc
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.checkpoint.conftest import Store


class Holder:
    def __init__(self) -> None:
        self.best = 0.5
        self.lowest = 0.25
        self.names = {"a", "b"}


def make() -> dict[str, Any]:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    net = nn.Sequential(nn.Linear(30, 20), nn.BatchNorm1d(20))
    shared = [1, 2.0, (3,)]
    return {
        "net": net,
        "optimizer": torch.optim.Adam(net.parameters()),
        "array": np.arange(12.0).reshape(3, 4),
        "large": np.zeros(100_000),
        "view": None,
        "holder": Holder(),
        "first": {"x": shared},
        "second": {"x": shared},
        "numbers": list(range(5000)),
        "text": "x" * 9000,
        "queue": collections.deque([1, 2], 5),
        "rng": np.random.default_rng(3),
        "own": random.Random(4),
        "zero": 0.0,
        "nan": float("nan"),
        "count": 1,
        "shape": (5,),
    }


def change(state: dict[str, Any]) -> None:
    """What the loop does."""
    out = state["net"](torch.ones(4, 30)).sum()
    out.backward()
    state["optimizer"].step()
    state["array"] += 1
    state["holder"].best = 0.75
    state["first"]["x"].append(torch.ones(3))
    state["queue"].append(7)
    state["view"] = state["array"][1]
    state["rng"].random()
    state["count"] += 1


OTHERWISE: dict[str, Callable[[dict[str, Any]], object]] = {
    "net": lambda s: s["net"][0].weight.data[3, 4].mul_(1 + 1e-6),
    "optimizer": lambda s: next(iter(s["optimizer"].state.values()))["step"].add_(1),
    "array": lambda s: s["array"].__setitem__((2, 3), 1e-300),
    "large": lambda s: s["large"].__setitem__(99_999, -0.0),
    "holder": lambda s: setattr(s["holder"], "best", 0.7500000000000001),
    "first": lambda s: s["first"].update(y=1),
    "second": lambda s: s["second"].update(x=list(s["second"]["x"])),  # equal, and no longer the same list
    "numbers": lambda s: s["numbers"].__setitem__(4000, 4000.0),
    "text": lambda s: s.update(text="x" * 8999 + "y"),
    "queue": lambda s: s["queue"].rotate(),
    "rng": lambda s: s["rng"].random(),
    "own": lambda s: s["own"].random(),
    "zero": lambda s: s.update(zero=-0.0),
    "count": lambda s: s.update(count=True + 1.0),
    "shape": lambda s: s.update(shape=(6,)),
    "view": lambda s: s.update(view=s["array"][1].copy()),
    "the random generator of torch": lambda s: torch.rand(1),
    "the random generator of numpy": lambda s: np.random.rand(),
    "the random generator of python": lambda s: random.random(),
}


def compared(
    store: Store, otherwise: Callable[[dict[str, Any]], object] = lambda _: None, clocked: fc.Clocked | None = None
) -> Any:
    recorded = make()
    capturer = store.capturer()
    capturer.baseline({"frame:0": recorded})
    change(recorded)
    assert store.take(capturer, recorded) is not None, store.warnings
    capturer.close()
    live = make()
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": live})
    change(live)
    live["added"] = object()  # by a statement of today
    otherwise(live)
    return restorer.differences(store.snapshot(), {"frame:0": live}, clocked=clocked or fc.Clocked())


TELLING = fc.Clocked(frozenset({"count", "best"}), frozenset({"queue"}), frozenset({"holder"}), frozenset({"lowest"}))


@pytest.mark.parametrize(
    "otherwise",
    [
        lambda s: s.update(count=17.5),
        lambda s: setattr(s["holder"], "best", 3.0),
        lambda s: setattr(s["holder"], "lowest", 1e9),
        lambda s: s["queue"].__setitem__(1, 99),
    ],
)
def test_what_tells_the_time_may_be_another(otherwise: Callable[[dict[str, Any]], object], store: Store) -> None:
    assert compared(store, otherwise).names != ()
    assert compared(store, otherwise, TELLING).names == ()


@pytest.mark.parametrize(
    "otherwise",
    [
        lambda s: s.update(count="late"),
        lambda s: s.update(count=torch.ones(1)),
        lambda s: setattr(s["holder"], "names", {"a"}),
        lambda s: s["queue"].append(1),
        lambda s: s["queue"].__setitem__(1, "x"),
        lambda s: s["first"].update(lowest=3),
        lambda s: s.update(zero=-0.0),
    ],
)
def test_nothing_else_may(otherwise: Callable[[dict[str, Any]], object], store: Store) -> None:
    assert compared(store, otherwise, TELLING).names != ()


def test_the_same_is_the_same(store: Store) -> None:
    assert compared(store).names == ()


@pytest.mark.parametrize("name", OTHERWISE)
def test_one_difference_is_found(name: str, store: Store) -> None:
    found = compared(store, OTHERWISE[name])
    assert name in {one.removeprefix("frame:0.") for one in found.names}
    decisive = {"net", "optimizer", "the random generator of torch", "the random generator of numpy"}
    assert found.of_model == (name in {*decisive, "the random generator of python"})


def test_a_name_that_is_gone_is_a_difference(store: Store) -> None:
    assert compared(store, lambda s: s.pop("count")).names == ("frame:0.count",)


def test_what_was_restored_is_the_same(store: Store) -> None:
    _, restored, report = store.round_trip(make, change)
    assert not report.missing
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": make()})
    assert restorer.differences(store.snapshot(), {"frame:0": restored}).names == ()


ATOMS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(width=16), st.text("ab", max_size=2))
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text("ab", max_size=1), inner, max_size=2),
    ),
    max_leaves=6,
)


def bits(value: object) -> str:
    return repr(value) if not isinstance(value, dict) else repr([(k, bits(v)) for k, v in value.items()])


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES)
def test_plain_data_is_the_same_where_its_bits_are(
    tmp_path_factory: pytest.TempPathFactory, one: Any, other: Any
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    capturer = store.capturer()
    capturer.baseline({"frame:0": {}})
    assert store.take(capturer, {"x": one}) is not None
    capturer.close()
    for live in (other, copy.deepcopy(one)):
        restorer = fc.Restorer(None)
        restorer.baseline({"frame:0": {}})
        found = restorer.differences(store.snapshot(), {"frame:0": {"x": live}})
        if bits(live) != bits(one):
            assert found.names
        elif live is not other:
            assert not found.names
