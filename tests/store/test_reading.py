"""Reading a store: SQL, sealed and live forms, and what is broken."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from flor_replay.errors import QueryError
from flor_replay.store import batches, layout, live, sealing
from flor_replay.store.views import run_query
from tests.store.recording import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def fill(store: Store, *, seal: bool = True) -> None:
    with store.run(seal=seal) as run:
        run.arg("lr", 0.1)
        for i in run.loop("epoch", range(3)):
            for _ in run.loop("step", "ab"):
                run.log("loss", i / 10)
            run.log("note", {"a": [i, None]})
            run.log("big", 2**70)


def test_sealed_and_live_give_the_same(store: Store) -> None:
    fill(store, seal=False)
    names = ("loss", "note", "big", "lr", "never")
    live, views = store.frame(*names), run_query("select * exclude (run) from logs order by seq", str(store.root))
    loops = run_query("select * exclude (run, seconds, began) from loops order by all", str(store.root))
    (run,) = store.runs()
    sealing.seal(run.folder)
    sealing.seal(run.folder)
    assert not os.path.exists(run.folder.live)
    pd.testing.assert_frame_equal(store.frame(*names), live)
    pd.testing.assert_frame_equal(run_query("select * exclude (run) from logs order by seq", str(store.root)), views)
    again = run_query("select * exclude (run, seconds, began) from loops order by all", str(store.root))
    pd.testing.assert_frame_equal(again, loops)
    assert not [name for name in os.listdir(run.folder.path) if name.endswith(".tmp")]


def test_the_views(store: Store) -> None:
    fill(store)
    fill(store, seal=False)
    root = str(store.root)
    runs = run_query(
        "select run, projid, filename, status, args->>'lr' as lr, seconds, rank from runs order by tstamp", root
    )
    assert runs["run"].tolist() == [run.run for run in store.runs()]
    assert runs["status"].tolist() == ["finished", "running"]
    assert runs["lr"].tolist() == ["0.1", "0.1"]
    logs = run_query("select * from logs where name = 'loss' order by run, seq", root)
    assert len(logs) == 12
    assert logs["source"].unique().tolist() == ["recorded"]
    assert logs["value"].tolist()[:2] == ["0.0", "0.0"]
    assert list(logs["indices"][1]) == [0, 1]
    loops = run_query("select event, count(*) as n from loops group by event order by event", root)
    counts = dict(zip(loops["event"], loops["n"], strict=True))
    assert 2 <= counts.pop("duration") <= 6, "one may stand for several quick iterations"
    assert counts == {"begin": 2, "end": 8, "value": 12}
    for view in ("checkpoints", "replays"):
        assert run_query(f"select * from {view}", root).empty
    joined = (
        "select avg(float_value) as mean from logs join runs using (run) where name = 'loss' and status = 'finished'"
    )
    assert run_query(joined, root)["mean"].tolist() == [pytest.approx(0.1)]
    with pytest.raises(QueryError, match="nothere"):
        run_query("select * from nothere", root)


def test_a_torn_last_frame_costs_that_frame(store: Store) -> None:
    with store.run(seal=False) as run:
        for i in range(6):
            run.log("loss", i)
            run.flush()
    (run_folder,) = store.runs()
    path = Path(run_folder.folder.live)
    data = path.read_bytes()
    last = data.rfind(batches.MARK)
    for cut in (last, last + 1, last + 20, len(data) - 1):
        path.write_bytes(data[:cut])
        assert store.frame("loss")["loss"].tolist() == [0, 1, 2, 3, 4]
        assert live.read(str(path)).problems == []
    for cut in range(len(batches.MAGIC) + 1):
        path.write_bytes(data[:cut])
        assert store.frame("loss").empty
    sealing.seal(run_folder.folder)
    assert store.frame("loss").empty


@pytest.mark.parametrize("damage", ["truncated", "emptied", "flipped", "foreign"])
@pytest.mark.parametrize("file", ["log.parquet", "loops.parquet"])
def test_a_broken_log_costs_that_run(store: Store, file: str, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    fill(store)
    fill(store)
    broken, whole = store.runs()
    path = Path(broken.folder.path) / file
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        del data[len(data) // 2 :]
    elif damage == "emptied":
        data.clear()
    elif damage == "flipped":
        data[-20:] = bytes(byte ^ 0xFF for byte in data[-20:])
    else:
        data[:] = b"not parquet at all" * 100
    path.write_bytes(data)
    frame = store.frame("loss", "lr")
    assert set(frame["tstamp"]) == {whole.started}
    assert f"run {broken.run} is left out" in capfd.readouterr().err
    assert len(run_query("select * from runs", str(store.root))) in (1, 2)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"run": "other"}', "\xff\xfe", '{"run": 3, "args": {}}'])
def test_a_broken_record_of_a_run_costs_that_run(store: Store, text: str) -> None:
    fill(store)
    fill(store)
    broken, whole = store.runs()
    Path(broken.folder.info).write_text(text)
    assert [run.run for run in store.runs()] == [whole.run]
    Path(whole.folder.version).write_text(text)
    assert store.runs()[0].commit is None
    assert len(store.frame("loss")) == 6


def test_strangers_in_the_store_do_no_harm(store: Store) -> None:
    fill(store)
    runs = store.root / ".flor" / "runs"
    (runs / "a file").write_text("x")
    (runs / "an empty folder").mkdir()
    (runs / store.runs()[0].run / "run.json.123.tmp").write_text("{")
    assert len(store.runs()) == 1
    assert len(store.frame("loss")) == 6


def test_a_copied_store_and_a_deleted_run(store: Store, tmp_path: Path) -> None:
    import shutil

    fill(store)
    fill(store)
    other = Store(tmp_path / "it's a copy")
    shutil.copytree(store.root / ".flor", other.root / ".flor")
    shutil.rmtree(other.runs()[0].folder.path)
    assert len(other.frame("loss")) == 6
    assert len(run_query("select * from logs", str(other.root))) == 13


def test_run_ids_are_unique_and_sort_by_time() -> None:
    ids = [layout.new_run_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert [run[:15] for run in ids] == sorted(run[:15] for run in ids)


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    layout.replace_json(str(path), {"x": "\ud800"})
    with pytest.raises(TypeError):
        layout.replace_json(str(path), {"x": object()})
    assert json.loads(path.read_text()) == {"x": "\ud800"}
    assert os.listdir(tmp_path) == ["a.json"]
