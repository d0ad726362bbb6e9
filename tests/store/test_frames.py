"""flor.dataframe: what stands in which row and column."""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from pathlib import Path as File
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flor_replay.errors import QueryError, StoreError
from flor_replay.record.run import Session
from flor_replay.store.utils import latest
from flor_replay.values import clean_name
from tests.store.recording import Store

Path = tuple[tuple[str, int, int], ...]
FIXED = ["projid", "tstamp", "filename"]


@pytest.fixture
def store(tmp_path: File) -> Store:
    return Store(tmp_path)


def rows(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Rows without the run's own columns; None where there is nothing."""
    cells = frame.drop(columns=FIXED).astype(object)
    return [tuple(cells.where(cells.notna(), None).iloc[place]) for place in range(len(cells))]


def test_columns_are_the_run_the_loops_and_the_names(store: Store) -> None:
    with store.run() as run:
        for _ in run.loop("epoch", range(2)):
            for _ in run.loop("step", "ab"):
                run.log("loss", 0.5)
            run.log("acc", 1)
    frame = store.frame("loss", "acc")
    assert list(frame.columns) == [*FIXED, "epoch", "step", "step_value", "loss", "acc"]
    assert str(frame["tstamp"].dtype).startswith("datetime64")
    assert [str(frame[name].dtype) for name in ("epoch", "step", "loss", "acc")] == [
        "int64",
        "int64",
        "float64",
        "int64",
    ]
    assert rows(frame) == [(0, 0, "a", 0.5, 1), (0, 1, "b", 0.5, 1), (1, 0, "a", 0.5, 1), (1, 1, "b", 0.5, 1)]


def test_values_of_outer_levels_repeat_and_the_run_is_the_outermost(store: Store) -> None:
    with store.run() as run:
        run.log("lr", 0.1)
        for epoch in run.loop("epoch", range(2)):
            run.log("acc", epoch * 10)
            for step in run.loop("step", range(2)):
                run.log("loss", step)
        run.log("final", "good")
    frame = store.frame("lr", "acc", "loss", "final")
    assert rows(frame) == [(e, s, 0.1, e * 10, s, "good") for e in range(2) for s in range(2)]


def test_a_name_logged_many_times_in_one_iteration_stays_so_many_rows(store: Store) -> None:
    with store.run() as run:
        run.log("lr", 0.1)
        for _ in run.loop("epoch", range(2)):
            for k in range(50):
                run.log("x", k)
                run.log("y", -k)
    frame = store.frame("x", "y", "lr")
    assert len(frame) == 100
    assert rows(frame)[:3] == [(0, 0, 0, 0.1), (0, 1, -1, 0.1), (0, 2, -2, 0.1)]


def test_a_name_logged_once_repeats_inside_although_another_was_logged_twice(store: Store) -> None:
    with store.run() as run:
        run.log("lr", 0.1)
        run.log("note", "a")
        run.log("note", "b")
        for _ in run.loop("epoch", range(2)):
            run.log("loss", 1.0)
    assert rows(store.frame("lr", "note", "loss")) == [
        (0, 0.1, None, 1.0),
        (1, 0.1, None, 1.0),
        (None, 0.1, "a", None),
        (None, 0.1, "b", None),
    ]


def test_a_name_at_two_levels_keeps_both_values(store: Store) -> None:
    with store.run() as run:
        for epoch in run.loop("epoch", range(2)):
            for step in run.loop("step", range(2)):
                run.log("loss", step)
            run.log("loss", 100 + epoch)
    assert rows(store.frame("loss")) == [
        (0, 0, 0), (0, 1, 1), (0, None, 100), (1, 0, 0), (1, 1, 1), (1, None, 101),
    ]  # fmt: skip


def test_runs_that_log_a_name_at_different_levels_do_not_disturb_each_other(store: Store) -> None:
    for level in ("inner", "outer"):
        with store.run() as run:
            for _ in run.loop("epoch", range(2)):
                for _ in run.loop("step", range(2)):
                    run.log("seen", level)
                    if level == "inner":
                        run.log("loss", 1)
                if level == "outer":
                    run.log("loss", 2)
    frame = store.frame("loss", "seen")
    assert rows(frame) == [(e, s, 1, "inner") for e in (0, 1) for s in (0, 1)] + [
        (e, s, 2, "outer") for e in (0, 1) for s in (0, 1)
    ]


def test_ragged_and_sibling_loops_lose_nothing(store: Store) -> None:
    with store.run() as run:
        for epoch in run.loop("epoch", range(3)):
            for step in run.loop("step", range(epoch)):
                run.log("loss", step)
            for batch in run.loop("val", range(1)):
                run.log("val_loss", batch + 10)
            run.log("acc", epoch)
    assert rows(store.frame("loss", "val_loss", "acc")) == [
        (0, None, 0, None, 10, 0),
        (1, 0, None, 0, None, 1),
        (1, None, 0, None, 10, 1),
        (2, 0, None, 0, None, 2),
        (2, 1, None, 1, None, 2),
        (2, None, 0, None, 10, 2),
    ]
    assert rows(store.frame("loss", "acc"))[0] == (0, None, None, 0), "an epoch without steps keeps its accuracy"


def test_two_loops_of_one_name_in_sequence_are_two(store: Store) -> None:
    with store.run() as run:
        for _ in range(2):
            for epoch in run.loop("epoch", range(2)):
                run.log("loss", epoch)
    assert rows(store.frame("loss")) == [(0, 0), (1, 1), (0, 0), (1, 1)]


def test_different_loops_have_columns_of_their_own(store: Store) -> None:
    with store.run() as run:
        for i in run.loop("warmup", range(2)):
            run.log("a", i)
        for i in run.loop("train", range(2)):
            run.log("b", i)
    frame = store.frame("a", "b")
    assert list(frame.columns)[3:] == ["warmup", "train", "a", "b"]
    assert rows(frame) == [(0, None, 0, None), (1, None, 1, None), (None, 0, None, 0), (None, 1, None, 1)]
    assert str(frame["warmup"].dtype) == str(frame["a"].dtype) == "Int64"


def test_depth_four(store: Store) -> None:
    with store.run() as run:
        for a in run.loop("a", range(2)):
            for b in run.loop("b", range(2)):
                for c in run.loop("c", range(2)):
                    for d in run.loop("d", range(2)):
                        run.log("x", f"{a}{b}{c}{d}")
    frame = store.frame("x")
    assert len(frame) == 16
    assert all(f"{a}{b}{c}{d}" == x for a, b, c, d, x in rows(frame))


def test_a_loop_inside_one_of_its_own_name(store: Store) -> None:
    with store.run() as run:
        for i in run.loop("x", range(2)):
            for j in run.loop("x", range(2)):
                run.log("v", 10 * i + j)
    frame = store.frame("v")
    assert list(frame.columns)[3:] == ["x", "x_2", "v"]
    assert rows(frame) == [(0, 0, 0), (0, 1, 1), (1, 0, 10), (1, 1, 11)]


def test_large_whole_numbers_keep_every_digit_beside_fractions_and_gaps(store: Store) -> None:
    big = 2**60 + 1
    with store.run() as run:
        run.log("lr", 0.5)
        run.log("huge", 2**70)
        for i in run.loop("epoch", range(2)):
            if i:
                run.log("n", big)
            run.log("f", 0.5)
    frame = store.frame("n", "f", "lr", "huge")
    assert frame["n"].tolist() == [pd.NA, big]
    assert frame["huge"].tolist() == [2**70] * 2


def test_types_of_columns(store: Store) -> None:
    columns = {
        "whole": [1, 2], "real": [0.5, math.inf], "mixed": [0, 0.5], "flag": [True, False], "text": ["a", "b"],
        "nothing": [None, None], "some": [None, "a"], "list": [[1], [2, 3]], "any": [1, "a"], "odd": [True, 1],
    }  # fmt: skip
    with store.run() as run:
        for i in run.loop("epoch", range(2)):
            for name, values in columns.items():
                run.log(name, values[i])
    frame = store.frame(*columns)
    assert {name: frame[name].tolist() for name in columns} == columns
    kinds = {name: str(frame[name].dtype) for name in columns}
    assert kinds == {
        "whole": "int64", "real": "float64", "mixed": "float64", "flag": "bool", "text": "object", "nothing": "object",
        "some": "object", "list": "object", "any": "object", "odd": "object",
    }  # fmt: skip
    assert [type(v) for v in frame["odd"]] == [bool, int]
    assert frame["mixed"].mean() == 0.25


@pytest.mark.parametrize("name", ["", "it's", 'a"b', "x'; drop table logs; --", "ключ 中文 🙂", "n" * 5000, "a\x00b", "a\ud800b",
                                  "a\x1fb", "a.b", "%s", "{x}", "run", "place", "i0", "value"])  # fmt: skip
def test_odd_names_of_logs_and_loops(store: Store, name: str) -> None:
    with store.run() as run:
        for i in run.loop(name, range(2)):
            run.log(name, i)
        run.log("plain", 1)
    frame = store.frame(name, "plain")
    assert frame[clean_name(name)].tolist() == [0, 1]
    assert frame["plain"].tolist() == [1, 1]
    assert len(frame.columns) == 6


def test_names_without_values_are_columns_and_bad_names_are_errors(store: Store) -> None:
    with store.run() as run:
        run.log("x", 1)
    assert list(store.frame("never").columns) == [*FIXED, "never"]
    assert len(store.frame("never")) == 0
    assert rows(store.frame("x", "never")) == [(1, None)]
    assert rows(store.frame("x", "x")) == [(1,)]
    with pytest.raises(QueryError, match="a name is text"):
        store.frame(3)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="no run is called"):
        store.frame("x", runs=["nobody"])
    with pytest.raises(StoreError, match="no runs are recorded"):
        Store(store.root / "elsewhere").frame("x")


def test_without_names_one_row_a_run_with_its_arguments(store: Store) -> None:
    for words in ({"lr": 0.1, "layers": 2}, {"lr": 0.2, "run": 7, "wide": True}):
        with store.run() as run:
            for name, value in words.items():
                run.arg(name, value)
    frame = store.frame()
    assert list(frame.columns) == [*FIXED, "run", "status", "lr", "layers", "run_arg", "wide"]
    assert frame["run"].tolist() == [run.run for run in store.runs()]
    assert frame["layers"].tolist() == [2, pd.NA]
    assert frame["wide"].tolist() == [pd.NA, True]


def test_last_and_filename(store: Store) -> None:
    for i in range(3):
        with store.run() as run:
            run.log("x", i)
    assert store.frame("x", last=2)["x"].tolist() == [1, 2]
    assert store.frame("x", last=0).empty
    assert store.frame("x", filename="other.py").empty


def test_loop_values_are_scalars_that_differ_from_the_index(store: Store) -> None:
    import numpy as np

    loops: dict[str, Any] = {
        "range": range(2), "count": np.arange(2), "sizes": [8, 16], "rates": np.array([0.1, 0.2]), "pairs": [(1, 2), (3, 4)],
        "arrays": [np.zeros(9), np.ones(9)], "dicts": [{}, {}], "texts": ["a" * 5000] * 2, "docs": ["a.pdf", "b.pdf"],
        "paths": [File("x"), File("y")], "flags": [False, True], "nones": [None, None],
    }  # fmt: skip
    with store.run() as run:
        for name, items in loops.items():
            for _ in run.loop(name, items):
                run.log(f"log_{name}", 1)
    shown = {name: store.frame(f"log_{name}") for name in loops}
    found = {name: frame[f"{name}_value"].tolist() for name, frame in shown.items() if f"{name}_value" in frame}
    assert found == {
        "sizes": [8, 16], "rates": [0.1, 0.2], "docs": ["a.pdf", "b.pdf"], "paths": ["x", "y"], "flags": [False, True],
    }  # fmt: skip


def test_threads_have_places_of_their_own_and_nothing_multiplies(store: Store) -> None:
    with store.run() as run:

        def work(number: int) -> None:
            run.log("x", number)
            run.log("y", number)
            for i in run.loop("step", range(20)):
                run.log("z", i)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    frame = store.frame("x", "y")
    assert len(frame) == 8
    assert sorted(frame["x"]) == sorted(frame["y"]) == list(range(8))
    assert Counter(store.frame("z")["z"]) == dict.fromkeys(range(20), 8)


def test_latest_keeps_the_newest_row_of_each_path(store: Store) -> None:
    for version, documents in enumerate((["a", "b"], ["b", "c"])):
        with store.run() as run:
            for name in run.loop("document", documents):
                run.log("label", f"{name}{version}")
    newest = latest(store.frame("label"))
    assert sorted(newest["label"]) == ["a0", "b1", "c1"]
    for i in range(2):
        with store.run() as run:
            for epoch in run.loop("epoch", range(3 - i)):
                run.log("loss", epoch * 10 + i)
    assert latest(store.frame("loss"))["loss"].tolist() == [20, 1, 11]
    with store.run() as run:
        run.log("final", 1)
    with store.run() as run:
        run.log("final", 2)
    assert latest(store.frame("final"))["final"].tolist() == [2]
    assert latest(store.frame("never")).empty


# -- against a slow reference -----------------------------------------------------------------------------------------

NAMES = ("u", "v", "w")
_leaf = st.tuples(st.just("log"), st.sampled_from(NAMES))
_program = st.recursive(
    st.lists(_leaf, max_size=3),
    lambda body: st.lists(
        st.one_of(_leaf, st.tuples(st.just("loop"), st.sampled_from("abc"), st.integers(0, 3), body)), max_size=4
    ),
    max_leaves=12,
)


class Executed:
    """Runs a program on a session, and notes what it did."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.records: list[tuple[Path, str, int]] = []

    def do(self, program: list[Any], path: Path = ()) -> None:
        begun: Counter[str] = Counter()
        for statement in program:
            if statement[0] == "log":
                self.records.append((path, statement[1], len(self.records)))
                self.session.log(statement[1], len(self.records) - 1)
            else:
                _, name, length, body = statement
                for index in self.session.loop(name, range(4)):
                    if index == length:
                        break
                    self.do(body, (*path, (name, begun[name], index)))
                begun[name] += 1


def reference(records: list[tuple[Path, str, int]]) -> list[tuple[Path, dict[str, int]]]:
    """The rows of one run."""
    cells: dict[Path, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for path, name, value in records:
        cells[path][name].append(value)
    rows: list[tuple[Path, dict[str, int]]] = []
    shown = set()
    shapes = {tuple(level[0] for level in path) for path in cells}
    for shape in sorted(shapes, key=len, reverse=True):
        new: list[tuple[Path, dict[str, int]]] = []
        for path, own in cells.items():
            count = max(len(values) for values in own.values())
            if tuple(level[0] for level in path) == shape and not (path in shown and count == 1):
                for k in range(count):
                    row = {n: v[0] if len(v) == 1 else v[k] for n, v in own.items() if len(v) == 1 or k < len(v)}
                    new.append((path, row))
        for depth in range(len(shape) - 1, -1, -1):
            taken = {name for _, row in new for name in row}
            for path, row in new:
                once = {name: v[0] for name, v in cells.get(path[:depth], {}).items() if len(v) == 1}
                row.update({name: value for name, value in once.items() if name not in taken})
                if once and not taken & set(once):
                    shown.add(path[:depth])
        rows += new
    return rows


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs=st.lists(_program, min_size=1, max_size=2), seal=st.booleans())
def test_the_frame_is_what_a_slow_reference_says(
    programs: list[list[Any]], seal: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    expected: list[list[tuple[Path, dict[str, int]]]] = []
    for program in programs:
        with store.run(seal=seal) as session:
            executed = Executed(session)
            executed.do(program)
        expected.append(reference(executed.records))
    frame = store.frame(*NAMES)
    loops = [column for column in frame.columns if column not in (*FIXED, *NAMES)]
    times = [run.started for run in store.runs()]
    found: list[Any] = []
    for _, row in frame.iterrows():
        index = {name: int(row[name]) for name in loops if not pd.isna(row[name])}
        found.append(
            (times.index(row["tstamp"]), index, {name: int(row[name]) for name in NAMES if not pd.isna(row[name])})
        )
    wanted: list[Any] = []
    for place, run_rows in enumerate(expected):
        for path, values in run_rows:
            labels = [name for name, _, _ in path]
            index = {
                name if name not in labels[:d] else f"{name}_{labels[:d].count(name) + 1}": path[d][2]
                for d, name in enumerate(labels)
            }
            wanted.append((place, index, values))
    assert sorted(map(_key, found)) == sorted(map(_key, wanted))
    assert [row[0] for row in found] == sorted(row[0] for row in found), "rows come by run"
    shapes = {tuple(level[0] for level in path) for rows in expected for path, _ in rows}
    if len({frozenset(shape) for shape in shapes}) == len(shapes):  # else a row does not tell which nest it is from
        assert sorted(found, key=_nest) == sorted(wanted, key=_nest), "rows of one nest come as its loops ran"


def _nest(row: tuple[int, dict[str, int], dict[str, int]]) -> tuple[Any, ...]:
    return row[0], sorted(row[1])


def _key(row: tuple[int, dict[str, int], dict[str, int]]) -> tuple[Any, ...]:
    return row[0], sorted(row[1].items()), sorted(row[2].items())


def test_where_live_and_what_is_missing(store: Store) -> None:
    for lr in (0.1, 0.01):
        with store.run() as run:
            run.arg("lr", lr)
            for i in run.loop("epoch", range(2)):
                run.log("loss", lr * i)
                if i:
                    run.log("note", "second")
    with store.run(seal=False) as run:
        run.arg("lr", 0.5)
        run.log("loss", 7.0)
    assert store.frame("loss", where="lr < 0.05")["loss"].tolist() == [0.0, 0.01]
    assert store.frame("loss", where="loss > 0.05", live=False)["loss"].tolist() == [0.0, 0.1]
    assert store.frame("loss", live=True)["loss"].tolist() == [7.0]
    assert store.frame("loss", "note", live=False)["note"].tolist() == [None, "second"] * 2
    with pytest.raises(QueryError, match="nonsense"):
        store.frame("loss", where="nonsense = 3")


def test_ten_thousand_names(store: Store) -> None:
    names = [f"имя {i}'; drop table" for i in range(10_000)]
    with store.run() as run:
        for i in run.loop("epoch", range(2)):
            for place, name in enumerate(names):
                run.log(name, i * 1e5 + place)
    frame = store.frame(*names)
    assert len(frame) == 2
    assert frame.iloc[1][names[1234]] == 1e5 + 1234
    assert store.frame(names[9_999], names[3])[names[9_999]].tolist() == [9_999.0, 109_999.0]


def test_paths_that_need_more_bits_than_a_number_has(store: Store) -> None:
    far = [0, 2**61, -(2**61)]
    with store.run() as run:
        for a in far:
            with run.iteration("a", a, None):
                for b in far:
                    with run.iteration("b", b, None):
                        for c in far:
                            with run.iteration("c", c, None):
                                run.log("x", f"{a} {b} {c}")
                        run.log("y", f"{a} {b}")
    frame = store.frame("x", "y")
    assert len(frame) == 27
    for row in frame.itertuples(index=False):
        assert (row.x, row.y) == (f"{row.a} {row.b} {row.c}", f"{row.a} {row.b}")
