"""Values of every kind: what is logged is what is read back."""

from __future__ import annotations

import dataclasses
import enum
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flor_replay import values
from tests.store.recording import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Kind(str, enum.Enum):  # noqa: UP042 - what older scripts write
    NEW = "new"


@dataclasses.dataclass
class Config:
    width: int = 3


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def back(store: Store, value: object, *, seal: bool = True) -> Any:
    """A value after its way through the log."""
    with store.run(seal=seal) as run:
        run.log("x", value)
        run.log("y", "beside it")
    frame = store.frame("x", "y", last=1)
    assert frame["y"].tolist() == ["beside it"]
    return frame["x"].tolist()[0]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


KEPT = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**70, 10**5000, -(10**5000), 0.0, -0.0, 0.1, 1e-320, 1.7976931348623157e308,
    math.nan, math.inf, -math.inf, "", "text", "it's", 'say "x"', "null", "nan", "ключ 中文 🙂", "a\nb\tc\r", "a\x00b", "lone \ud800 surrogate",
    "\u2028", "\ufeff", "x" * 100_000, "y" * 3_000_000, [], [1, [2.5, None, [True, "a"]]], {}, {"a": {"b": [1, {"c": None}]}}, [math.nan, -math.inf], ["\ud800"],
    {"é": "\x00"}, b"", b"\x00\xff", list(range(300_000)),
]  # fmt: skip


@pytest.mark.parametrize(
    "value", KEPT, ids=lambda value: ascii(value)[:20] if type(value) is not int else value.bit_length()
)
def test_a_value_comes_back_with_its_type(store: Store, value: object) -> None:
    for seal in (True, False):
        assert same(back(store, value, seal=seal), value)


CONVERTED = [
    ((1, 2), [1, 2]), ({3}, [3]), (np.float32(0.5), 0.5), (np.float64(math.nan), math.nan), (np.int64(2**62), 2**62), (np.uint64(2**63), 2**63),
    (np.bool_(True), True), (np.array(3), 3), (np.float16(0.1), float(np.float16(0.1))), (np.str_("a"), "a"), (Path("a/b"), "a/b"),
    (Level.HIGH, 3), (Kind.NEW, "new"), ({"p": Path("a"), "n": np.float32(2)}, {"p": "a", "n": 2.0}), ({1: "a"}, {"1": "a"}),
    ([np.int64(1), Level.HIGH, Kind.NEW], [1, 3, "new"]), (bytearray(b"ab"), b"ab"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kept"), CONVERTED, ids=lambda value: ascii(value)[:24])
def test_a_value_becomes_what_it_stands_for(
    store: Store, value: object, kept: object, capfd: pytest.CaptureFixture[str]
) -> None:
    assert same(back(store, value), kept)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Colour.RED, "<Colour.RED: 'red'>"),
        (Config(), "Config(width=3)"),
        (NoRepr(), "<NoRepr without repr>"),
        (1 + 2j, "(1+2j)"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ({1: "a", "1": "b"}, "{1: 'a', '1': 'b'}"),
        ([Colour.RED], "[<Colour.RED: 'red'>]"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept_is_its_repr_with_one_warning(
    store: Store, value: object, kept: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with store.run() as run:
        for _ in range(3):
            run.log("x", value)
    assert store.frame("x")["x"].tolist() == [kept] * 3
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("cannot be kept") == 1


def test_what_holds_itself_does_not_raise(store: Store) -> None:
    ring: list[Any] = []
    ring.append(ring)
    deep: Any = 0
    for _ in range(5000):
        deep = [deep]
    assert back(store, ring) == "[[...]]"
    assert isinstance(back(store, deep), str)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u1", "bool", ">f4", "U3", "M8[s]", "c16"])
@pytest.mark.parametrize("shape", [(0,), (3,), (2, 2), (40, 40)])
def test_arrays_keep_dtype_shape_and_bits(store: Store, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).astype("i8").astype(dtype).reshape(shape)
    with store.run() as run:
        run.log("x", array)
        expected = array.copy()
        array[...] = array.dtype.type()
    found = store.frame("x")["x"].tolist()[0]
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def test_an_array_with_nan_and_an_object_array(store: Store) -> None:
    assert back(store, np.array([math.nan, math.inf])).tobytes() == np.array([math.nan, math.inf]).tobytes()
    assert back(store, np.array([1, "a", None], dtype=object)) == [1, "a", None]


def test_equal_large_values_have_equal_fields(store: Store) -> None:
    with store.run() as first, store.run() as second:
        for value in (np.ones(1000), "z" * 2_000_000):
            assert values.same_bits(first.encode(value), second.encode(value))
            assert not values.same_bits(first.encode(value), second.encode(value[1:]))


def test_tensors(store: Store) -> None:
    torch = pytest.importorskip("torch")
    cases = [
        (torch.tensor(0.5), 0.5),
        (torch.tensor(3), 3),
        (torch.tensor(True), True),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (torch.tensor(2.0, requires_grad=True) * 2, 4.0),
        (torch.tensor([[1.0, 2.0]], requires_grad=True), [[1.0, 2.0]]),
        (torch.tensor([1.5, 2.5], dtype=torch.bfloat16), [1.5, 2.5]),
        (torch.arange(2000), list(range(2000))),
        (torch.eye(2).to_sparse(), [[1.0, 0.0], [0.0, 1.0]]),
        (torch.nn.Parameter(torch.zeros(2)), [0.0, 0.0]),
        ([torch.tensor(1.0), torch.tensor([2.0])], [1.0, [2.0]]),
    ]
    for value, kept in cases:
        found = back(store, value)
        assert (found.tolist() if hasattr(found, "tolist") else found) == kept
    tensor = torch.zeros(3)
    with store.run() as run:
        run.log("x", tensor)
        tensor += 1
    assert store.frame("x", last=1)["x"].tolist()[0].tolist() == [0.0, 0.0, 0.0]


def test_a_list_that_changes_later_does_not_change_in_the_log(store: Store) -> None:
    with store.run() as run:
        history: list[int] = []
        for i in run.loop("epoch", range(3)):
            history.append(i)
            run.log("history", history)
    assert store.frame("history")["history"].tolist() == [[0], [0, 1], [0, 1, 2]]


def test_a_missing_or_broken_array_file_is_said_and_the_rest_is_read(store: Store) -> None:
    with store.run() as run:
        run.log("x", np.ones(1000))
        run.log("y", 1)
    (file,) = (store.root / ".flor" / "runs").glob("*/files/*.npy")
    file.write_bytes(b"broken")
    frame = store.frame("x", "y")
    assert "cannot be read" in frame["x"][0]
    assert frame["y"].tolist() == [1]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(logged=st.lists(_json, min_size=1, max_size=20), seal=st.booleans())
def test_any_json_value_comes_back(logged: list[Any], seal: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    with store.run(seal=seal) as run:
        for place, value in enumerate(logged):
            run.log(f"x{place}", value)
    frame = store.frame(*(f"x{place}" for place in range(len(logged))))
    for place, value in enumerate(logged):
        found = frame[f"x{place}"].tolist()[0]
        if isinstance(value, float) and math.isnan(value):
            assert math.isnan(found)
        else:
            assert same(found, value)
