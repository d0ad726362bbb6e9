"""Each kind of thing, changed in the loop, comes back."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import itertools
import logging
import os
import random
import threading
import types
import weakref
from collections import namedtuple
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import flor_checkpoint as fc
import numpy as np
import pytest
import torch
from torch import nn

Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Flags(enum.Flag):
    A = 1
    B = 2


class Counting:
    total = 0
    names: ClassVar[list[str]] = ["a"]

    def bump(self, by=1):
        self.n = getattr(self, "n", 0) + by
        return self.n


def counter():
    count = 0

    def step(by=[1]):  # noqa: B006
        nonlocal count
        count += by[0]
        return count

    return step


LEAVES = [
    Colour.RED, Colour.BLUE, Flags.A | Flags.B, Path("/a/b"), datetime.datetime(2024, 1, 2, 3, 4, 5, 6, datetime.UTC),
    datetime.date(2024, 1, 2), datetime.timedelta(1, 2, 3), datetime.time(1, 2), decimal.Decimal("1.10"),
    Fraction(1, 3), range(1, 9, 2), slice(1, None, 2), torch.float16, torch.device("cpu"), torch.Size([1, 2]),
    torch.strided, torch.channels_last, np.float32(0.1), np.int64(3), np.bool_(True), np.datetime64("2020-01-01"),
    np.dtype("f4"), np.dtype([("a", "i4"), ("b", "f8", (2,))]), ..., NotImplemented, 1j, -0.0, Point(1, [2]),
]  # fmt: skip


@pytest.mark.parametrize("leaf", LEAVES, ids=repr)
def test_leaves(store, leaf):
    _, names, restored = store.round_trip(dict, lambda names: names.update(x=leaf, y=[leaf], z={"k": (leaf, 1)}))
    assert restored.missing == []
    assert type(names["x"]) is type(leaf)
    assert repr(names["x"]) == repr(leaf) == repr(names["y"][0]) == repr(names["z"]["k"][0])


TENSORS = {
    "float": torch.randn(3, 400),
    "bfloat16": torch.randn(700).bfloat16(),
    "half": torch.randn(5).half(),
    "bool": torch.tensor([True, False]),
    "complex": torch.randn(9, dtype=torch.complex64),
    "conj": torch.randn(9, dtype=torch.complex64).conj(),
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0, 4),
    "transposed": torch.randn(40, 30).t(),
    "strided": torch.randn(100)[::3],
    "expanded": torch.randn(1, 5).expand(4, 5),
    "channels_last": torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last),
    "slice": torch.randn(10_000)[100:120],
    "sparse": torch.eye(4).to_sparse(),
    "leaf": torch.randn(4, requires_grad=True),
    "parameter": nn.Parameter(torch.randn(4), requires_grad=False),
    "int8": torch.arange(9, dtype=torch.int8),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("present", [False, True])
def test_tensors(store, name, present):
    wanted = TENSORS[name]

    def make():
        return {"x": torch.empty_like(wanted.detach().clone()), "holder": []} if present else {}

    _, names, restored = store.round_trip(make, lambda names: names.update(x=wanted, again=[wanted]))
    assert restored.missing == []
    got = names["x"]
    assert type(got) is type(wanted)
    assert (got.dtype, got.shape, got.requires_grad) == (wanted.dtype, wanted.shape, wanted.requires_grad)
    assert torch.equal(got.to_dense(), wanted.to_dense())
    if wanted.layout is torch.strided and name not in ("slice", "conj"):
        assert got.stride() == wanted.stride()
    assert names["again"][0] is got


ARRAYS = {
    "float": np.random.randn(20, 30),
    "fortran": np.asfortranarray(np.random.randn(20, 30)),
    "permuted": np.random.randn(4, 5, 6).transpose(1, 0, 2).copy("K"),
    "structured": np.zeros(100, dtype=[("a", "i4"), ("b", "f8")]),
    "strings": np.array(["a", "bcd"]),
    "dates": np.array(["2020-01-01"], dtype="M8[D]"),
    "objects": np.array([1, "a", None, [1]], dtype=object),
    "zero": np.array(3.0),
    "empty": np.zeros((0, 3)),
    "view": np.random.randn(50, 50)[::2, 3:],
    "reversed": np.arange(100.0)[::-1],
    "matrix": np.matrix([[1, 2]]),
    "masked": np.ma.masked_array([1.0, 2.0], mask=[True, False]),
    "readonly": np.frombuffer(b"abcdefgh" * 100, dtype="i4"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(store, name):
    wanted = ARRAYS[name]
    _, names, restored = store.round_trip(dict, lambda names: names.update(x=wanted, y=wanted))
    assert restored.missing == []
    assert type(names["x"]) is type(wanted)
    assert names["x"].dtype == wanted.dtype
    assert repr(names["x"]) == repr(wanted)
    assert names["y"] is names["x"]


def test_arrays_in_place_and_their_views(store):
    held = []

    def make():
        base = np.zeros((100, 200))
        names = {"base": base, "row": base[3], "fortran": np.zeros((30, 400), order="F"), "t": torch.from_numpy(base)}
        names["storage"] = torch.zeros(50_000)
        names["half"] = names["storage"][:25_000]
        held.append(dict(names))
        return names

    def change(names):
        names["row"] += 7
        names["fortran"][2, 5] = 1
        names["half"].add_(2)
        names["more"] = names["base"][:, 5]

    recorded, names, _ = store.round_trip(make, change)
    assert all(names[name] is held[1][name] for name in held[1])
    for name, value in recorded.items():
        assert np.array_equal(names[name], value)
    names["base"][0, 5] = 99
    assert names["more"][0] == 99 and names["t"][0, 5] == 99
    names["storage"][0] = 5
    assert names["half"][0] == 5


def test_a_small_look_at_something_big_costs_little(store):
    class Outside:
        data = torch.randn(1_000_000)
        rows = np.random.randn(1_000_000)

    names: dict[str, object] = {}
    capturer = store.capturer()
    capturer.baseline({"frame:0": names})
    names.update(x=Outside.data[10:400], y=Outside.rows[10:400])
    store.take(capturer, names)
    assert capturer.last.bytes_logical < 50_000
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": {}})
    bindings = restorer.restore(store.snapshot(), {"frame:0": {}}).bindings["frame:0"]
    assert torch.equal(bindings["x"], names["x"]) and np.array_equal(bindings["y"], names["y"])


def test_unchanged_big_arrays_are_not_stored_but_checked(store):
    def make():
        return {"X": np.arange(200_000.0), "T": torch.arange(200_000.0), "n": [0]}

    recorded = make()
    capturer = store.capturer()
    capturer.baseline({"frame:0": recorded})
    recorded["n"][0] = 5
    store.take(capturer, recorded)
    assert capturer.last.bytes_logical < 20_000
    live = make()
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": live})
    live["X"][3] = -1  # the restorer has a copy of how it was
    restored = restorer.restore(store.snapshot(), {"frame:0": live})
    assert restored.mismatched == [] and live["X"][3] == 3.0
    other = make()
    other["X"][0] = 1
    other["T"][0] = 1
    restorer.baseline({"frame:0": other})
    restored = restorer.restore(store.snapshot(), {"frame:0": other})
    assert sorted(path for path, _ in restored.mismatched) == ["frame:0.T.storage", "frame:0.X"]


def test_gradients(store):
    def make():
        torch.manual_seed(0)
        return {"m": nn.Linear(100, 10)}

    def change(names):
        names["m"](torch.ones(1, 100)).sum().backward()
        names["m"].bias.grad = None
        names["loss"] = names["m"](torch.ones(1, 100)).sum()

    recorded, names, _ = store.round_trip(make, change)
    assert torch.equal(names["m"].weight.grad, recorded["m"].weight.grad)
    assert names["m"].bias.grad is None
    assert names["loss"].item() == recorded["loss"].item() and names["loss"].requires_grad
    assert any("autograd graph" in note for note in store.snapshot().manifest.notes)


def test_a_parameter_that_was_replaced_or_resized(store):
    def make():
        return {"m": nn.Linear(4, 4), "e": nn.Embedding(3, 2)}

    def change(names):
        names["m"].weight.data = torch.randn(4, 4)
        names["e"].weight = nn.Parameter(torch.randn(9, 2))
        names["m"].register_buffer("extra", torch.ones(3))
        names["m"].half()

    recorded, names, _ = store.round_trip(make, change)
    for name in ("m", "e"):
        got, wanted = names[name].state_dict(), recorded[name].state_dict()
        assert list(got) == list(wanted)
        assert all(torch.equal(got[key], wanted[key]) and got[key].dtype == wanted[key].dtype for key in wanted)


def test_generators_of_random_numbers(store):
    def make():
        return {
            "np": np.random.default_rng(1),
            "old": np.random.RandomState(1),
            "py": random.Random(1),
            "th": torch.Generator().manual_seed(1),
            "bits": np.random.PCG64(3),
        }

    def change(names):
        names["np"].normal(size=3)
        names["old"].randn(3)
        names["py"].gauss(0, 1)
        torch.rand(3, generator=names["th"])
        names["bits"].random_raw(3)
        names["new"] = np.random.Generator(np.random.MT19937(5))

    recorded, names, restored = store.round_trip(make, change)
    assert set(restored.bindings["frame:0"]) == {"new"}
    for each in (recorded, names):
        each["drawn"] = (
            each["np"].normal(), each["old"].randn(), each["py"].gauss(0, 1), torch.rand(1, generator=each["th"]).item(),
            int(each["bits"].random_raw()), each["new"].normal(),
        )  # fmt: skip
    assert recorded["drawn"] == names["drawn"]


def test_functions_and_what_they_hold(store):
    def make():
        counting = Counting()
        return {
            "step": counter(),
            "part": functools.partial(Counting.bump, counting, by=2),
            "method": counting.bump,
            "append": [].append,
            "class_": Counting,
        }

    def change(names):
        names["step"]()
        names["step"].__defaults__[0][0] = 10
        names["step"]()
        names["method"]()
        names["append"](5)
        names["append"].__self__.append(6)
        names["new"] = names["method"]
        names["other"] = functools.partial(max, 3, key=abs)

    _, names, restored = store.round_trip(make, change)
    assert restored.missing == []
    assert names["step"]() == 21
    assert names["method"].__self__.n == 1
    assert names["part"]() == 3
    assert names["append"].__self__ == [5, 6]
    assert names["other"](-9) == -9


def test_class_attributes_of_the_project(store):
    def change(names):
        Counting.total = 5
        Counting.names.append("b")

    Counting.total, Counting.names = 0, ["a"]
    recorded = {"c": Counting()}
    capturer = store.capturer()
    capturer.baseline({"frame:0": recorded})
    change(recorded)
    store.take(capturer, recorded)
    restorer = fc.Restorer(None)
    Counting.total, Counting.names = 0, ["a"]
    names = Counting.names
    restorer.baseline({"frame:0": {"c": Counting()}})
    restorer.restore(store.snapshot(), {"frame:0": {}})
    assert (Counting.total, Counting.names) == (5, ["a", "b"])
    assert Counting.names is names


ITERATORS = {
    "list": (lambda: iter([1, 2, 3, 4]), 2),
    "enumerate": (lambda: enumerate("abcd"), 2),
    "zip": (lambda: zip([1, 2, 3], "abc", strict=False), 1),
    "cycle": (lambda: itertools.cycle([1, 2, 3]), 4),
    "count": (lambda: itertools.count(5), 3),
    "range": (lambda: iter(range(9)), 4),
    "reversed": (lambda: reversed([1, 2, 3]), 1),
    "chain": (lambda: itertools.chain([1, 2], [3, 4]), 3),
    "islice": (lambda: itertools.islice([1, 2, 3, 4, 5], 4), 2),
    "dict": (lambda: iter({"a": 1, "b": 2}), 1),
}


@pytest.mark.parametrize("name", ITERATORS)
def test_iterators(store, name):
    make, taken = ITERATORS[name]

    def change(names):
        for _ in range(taken):
            next(names["it"])

    recorded, names, restored = store.round_trip(lambda: {"it": make()}, change)
    assert restored.missing == []
    assert list(itertools.islice(names["it"], 5)) == list(itertools.islice(recorded["it"], 5))


def test_what_stays_and_what_is_lost(store, tmp_path):
    def numbers():
        yield from range(9)

    def make():
        return {
            "lock": threading.Lock(),
            "file": open(tmp_path / "log", "w"),
            "logger": logging.getLogger("x"),
            "thread": threading.current_thread(),
            "module": types,
            "gen": numbers(),
            "done": iter(()),
            "box": {"lock": threading.RLock(), "n": 0},
        }

    def change(names):
        next(names["gen"])
        names["box"]["n"] = 4
        names["late"] = lambda: 3
        names["mine"] = threading.Lock()
        names["taken"] = threading.Lock()
        names["taken"].acquire()
        spent = numbers()
        list(spent)
        names["spent"] = spent

    _, names, restored = store.round_trip(make, change)
    lost = ["frame:0.gen", "frame:0.late", "frame:0.taken"]
    assert sorted(path for path, _ in restored.missing) == lost
    assert sorted(each.path for each in store.snapshot().manifest.not_captured) == lost
    assert names["box"]["n"] == 4
    assert list(names["spent"]) == []
    assert not names["mine"].locked()


def test_weak_references(store):
    class Thing:
        pass

    def change(names):
        names["ref"] = weakref.ref(names["thing"])
        names["dead"] = weakref.ref(Thing())

    _, names, _ = store.round_trip(lambda: {"thing": Counting()}, change)
    assert names["ref"]() is names["thing"] and names["dead"]() is None


def test_hooks_closures_and_copies_of_modules(store):
    import copy

    def make():
        torch.utils.hooks.RemovableHandle.next_id = 0  # as in a fresh process
        seen = []
        model = nn.LSTM(3, 3)
        model.register_forward_hook(lambda *_: seen.append(1))
        return {"model": model, "seen": seen}

    def change(names):
        names["model"](torch.zeros(1, 1, 3))
        names["best"] = copy.deepcopy(nn.LSTM(2, 2))
        names["states"] = [{k: v.clone() for k, v in names["model"].state_dict().items()}]

    recorded, names, restored = store.round_trip(make, change)
    assert restored.missing == []
    assert names["seen"] == [1]
    names["model"](torch.zeros(1, 1, 3))
    assert names["seen"] == [1, 1]
    x = torch.randn(4, 1, 2)
    assert torch.equal(names["best"](x)[0], recorded["best"](x)[0])


def test_capture_is_skipped_while_one_is_written(store):
    import threading as th

    names = {"x": np.zeros(100_000)}
    capturer = store.capturer()
    capturer.baseline({"frame:0": names})
    gate = th.Event()
    write = capturer._writer.write
    capturer._writer.write = lambda job: gate.wait(20) and write(job)
    names["x"] += 1
    assert capturer.capture({"frame:0": names}, {"index": 0}) is not None
    assert capturer.busy
    assert capturer.capture({"frame:0": names}, {"index": 1}) is None
    gate.set()
    capturer.close(20)
    assert len(fc.manifests(store.checkpoints)[0]) == 1


def test_pandas(store):
    pandas = pytest.importorskip("pandas")

    def make():
        return {"frame": pandas.DataFrame({"a": np.arange(5), "s": list("abcde")}), "still": pandas.Series([1, 2])}

    def change(names):
        names["frame"].loc[2, "a"] = 77
        names["added"] = names["frame"].assign(c=1.5)

    recorded, names, restored = store.round_trip(make, change)
    assert restored.missing == []
    assert names["frame"].equals(recorded["frame"]) and names["added"].equals(recorded["added"])


def test_process_state():
    state = fc.process_state()
    first = (random.random(), np.random.rand(), torch.rand(1).item())
    torch.set_grad_enabled(False)
    fc.restore_process_state(state)
    assert torch.is_grad_enabled()
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == first


class Strange:
    def __init__(self):
        self.n = 1

    def __eq__(self, other):
        raise RuntimeError("no comparing")

    def __bool__(self):
        raise RuntimeError("no truth")

    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")

    __hash__ = None


class Guarded:
    def __setattr__(self, name, value):
        raise RuntimeError("frozen")

    def __reduce__(self):
        raise RuntimeError("no pickling")


def test_strange_objects(store):
    def change(names):
        names["strange"].n = 2
        names["more"] = {"s": Strange(), "g": Guarded()}
        vars(names["more"]["g"])["x"] = 3

    _, names, restored = store.round_trip(lambda: {"strange": Strange()}, change)
    assert restored.missing == []
    assert (names["strange"].n, names["more"]["s"].n, names["more"]["g"].x) == (2, 1, 3)


def test_a_deep_list(store):
    def change(names):
        here = names["deep"]
        for _ in range(5000):
            here.append([])
            here = here[0]

    _, names, restored = store.round_trip(lambda: {"deep": []}, change)
    assert restored.missing == []
    depth, here = 0, names["deep"]
    while here:
        depth, here = depth + 1, here[0]
    assert depth == 5000


def test_arrays_in_awkward_places(store):
    def make():
        def scaled(x, by=np.ones(3)):  # noqa: B008
            return x * by

        module = nn.Linear(2, 2)
        module._mask = torch.ones(3)
        module.rows = np.zeros(3)
        return {"m": module, "scaled": scaled, "part": functools.partial(scaled, by=np.ones(2))}

    def change(names):
        names["m"]._mask[1] = 5
        names["m"].rows[1] = 6
        names["scaled"].__defaults__[0][:] = 2
        names["part"].keywords["by"][:] = 3
        names["m"]._buffers["b"] = torch.ones(1)
        names["tuple_key"] = {(names["m"].weight, 1): "w"}

    _, names, restored = store.round_trip(make, change)
    assert restored.missing == []
    assert names["m"]._mask[1] == 5 and names["m"].rows[1] == 6
    assert list(names["scaled"](np.ones(3))) == [2, 2, 2]
    assert list(names["part"](np.ones(2))) == [3, 3]
    assert names["tuple_key"][names["m"].weight, 1] == "w"


def test_what_an_earlier_iteration_computed_has_its_value_and_no_way_back(store):
    def make():
        torch.manual_seed(0)
        return {"layer": nn.Linear(3, 1), "total": 0}

    def change(names):
        names["total"] = names["layer"](torch.ones(2, 3)).sum()

    recorded, names, restored = store.round_trip(make, change)
    assert restored.missing == []
    total = names["total"]
    assert (total.item(), total.requires_grad, total.is_leaf) == (recorded["total"].item(), True, False)
    total += names["layer"](torch.zeros(1, 3)).sum()  # as scripts do that forget to detach
    with pytest.raises(RuntimeError, match="earlier iteration"):
        total.backward()


class Locked:
    def __init__(self):
        self.lock = threading.Lock()
        self.again = threading.RLock()
        self.changed = threading.Condition()


def test_locks_of_objects_made_in_the_loop_are_there(store):
    _, names, restored = store.round_trip(dict, lambda names: names.update(x=Locked()))
    assert restored.missing == []
    with names["x"].lock, names["x"].again, names["x"].changed:
        assert names["x"].lock.locked()


def test_an_entry_of_a_weak_dictionary_is_said_to_be_lost(store):
    def make():
        return {"held": Counting(), "weak": weakref.WeakValueDictionary()}

    _, _, restored = store.round_trip(make, lambda names: names["weak"].update(x=names["held"]))
    assert [path for path, _ in restored.missing] == ["frame:0.weak.data['x']"]


def test_an_index_of_dates(store):
    pd = pytest.importorskip("pandas")
    _, names, restored = store.round_trip(dict, lambda names: names.update(i=pd.date_range("2020", periods=3)))
    assert restored.missing == []
    assert list(names["i"]) == list(pd.date_range("2020", periods=3))


def test_environment_variables_that_the_loop_sets(store, monkeypatch):
    monkeypatch.setenv("FIRST", "1")
    monkeypatch.setenv("GONE", "1")
    monkeypatch.setenv("SECRET", "x")
    capturer = store.capturer()
    capturer.baseline({"frame:0": {}})
    for index in range(2):
        monkeypatch.setenv("FIRST", f"of {index}")
        monkeypatch.setenv("NEW", str(index))
        if index:
            monkeypatch.delenv("GONE")
        store.take(capturer, {}, index)
    capturer.close()
    assert "SECRET" not in store.snapshot().process["environ"]
    monkeypatch.setenv("FIRST", "1")
    monkeypatch.setenv("GONE", "1")
    monkeypatch.delenv("NEW")
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": {}})
    found = []
    for index in (1, 0):
        restorer.restore(store.snapshot(index), {"frame:0": {}})
        found.append([os.environ.get(name) for name in ("FIRST", "NEW", "GONE", "SECRET")])
        assert restorer.differences(store.snapshot(index), {"frame:0": {}}).names == ()
    assert found == [["of 1", "1", None, "x"], ["of 0", "0", "1", "x"]]


@pytest.mark.parametrize("before", ["sparse", "conj"])
def test_what_got_the_identity_of_something_that_is_gone(store, before):
    def make():
        return {"x": TENSORS[before].clone() if before == "sparse" else TENSORS[before]}

    names = make()
    capturer = store.capturer()
    capturer.baseline({"frame:0": names})
    gone = capturer._known.pop(id(names["x"]))
    names["x"] = torch.randn(9, dtype=torch.complex64)
    capturer._known[id(names["x"])] = gone
    store.take(capturer, names)
    capturer.close()
    live = make()
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": live})
    restored = restorer.restore(store.snapshot(), {"frame:0": live})
    assert restored.missing == []
    assert torch.equal(restored.bindings["frame:0"]["x"], names["x"])
