"""Stores that earlier versions wrote, and what is derived from a store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from flor_replay.store import index, sealing
from flor_replay.store.runs import all_runs
from flor_replay.store.views import run_query
from tests.store.recording import Store

FORMATS = Path(__file__).parents[2] / "fixtures" / "formats"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.mark.parametrize("sealed_anew", [False, True])
def test_a_store_of_form_1_is_read(tmp_path: Path, sealed_anew: bool) -> None:
    shutil.copytree(FORMATS / "1", tmp_path / ".flor")
    store = Store(tmp_path)
    runs = [run for run in store.runs() if not run.replay_of]
    assert [run.status for run in runs] == ["finished", "finished", "crashed"]
    if sealed_anew:
        for run in runs:
            sealing.seal(run.folder)
        assert not list(tmp_path.rglob("log.jsonl"))
    frame = store.frame("loss", "half", "note", "edge", "big", "acc", fidelity=True)
    loss = [0.75, 0.5625, 0.421875, 0.31640625, 0.2373046875, 0.177978515625]
    first = frame[frame["tstamp"] == runs[0].started]
    steps = first[first["batch"].notna()]
    assert steps["loss"].tolist() == loss
    assert steps["half"].tolist() == [value / 2 for value in loss]
    assert steps["batch_value"].tolist() == ["a", "b"] * 3
    assert set(steps["half_fidelity"]) == {"exact"}
    assert set(first["note"]) == {"начало it's"}
    assert steps["big"].tolist() == [2**70 + epoch for epoch in (0, 0, 1, 1, 2, 2)]
    assert steps["edge"].isna().tolist() == [True, True, False, False, False, False]
    assert steps["edge"].tolist()[2:] == [float("inf")] * 2 + [float("-inf")] * 2
    last = frame[frame["tstamp"] == runs[2].started]
    assert last["loss"].tolist() == [0.0, 0.1, 1.0, 1.1]
    assert last["note"].tolist() == ["epoch 0"] * 2 + ["epoch 1"] * 2
    logs = run_query("select * from logs where name = 'acc' and ordinal = 0 order by run, seq", str(tmp_path))
    assert [list(path) for path in logs["loops"]] == [["epoch"]] * 6
    assert [path[0] for path in logs["indices"]] == [0, 1, 2] * 2
    events = run_query("select event, count(*) as n from loops group by event order by event", str(tmp_path))
    assert dict(zip(events["event"], events["n"], strict=True)) == {"begin": 3, "duration": 8, "end": 11, "value": 12}


def test_runs_of_both_forms_stand_in_one_frame(tmp_path: Path) -> None:
    shutil.copytree(FORMATS / "1", tmp_path / ".flor")
    store = Store(tmp_path)
    before = store.frame("loss", "edge")
    for seal in (True, False):
        with store.run(seal=seal) as run:
            for i in run.loop("epoch", range(2)):
                for k in run.loop("batch", "ab"):
                    run.log("loss", f"{i}{k}")
                run.log("edge", i)
    frame = store.frame("loss", "edge")
    assert frame["loss"].tolist()[-8:] == ["0a", "0b", "1a", "1b"] * 2
    assert frame["edge"].tolist()[-8:] == [0, 0, 1, 1] * 2
    kept = frame.iloc[: len(before)].reset_index(drop=True)
    for column in ("tstamp", "epoch", "batch", "batch_value"):
        pd.testing.assert_series_equal(kept[column], before[column], check_dtype=False)
    assert kept["loss"].tolist() == before["loss"].tolist()


def many(store: Store, count: int) -> None:
    """So many runs, made of one."""
    with store.run() as run:
        for i in run.loop("epoch", range(3)):
            run.log("loss", i / 2)
    (first,) = store.runs()
    Path(first.folder.version).write_text('{"commit": "abc"}')
    text = Path(first.folder.info).read_text()
    for k in range(1, count):
        name = f"{first.run[:-8]}{k:08d}"
        folder = Path(first.folder.path).parent / name
        shutil.copytree(first.folder.path, folder)
        (folder / "run.json").write_text(text.replace(first.run, name))


def test_many_runs_are_read_from_what_is_derived_and_it_is_made_anew(store: Store) -> None:
    count = index.MANY + 10
    many(store, count)
    root = store.root / ".flor"
    assert [run.run for run in store.runs()] == [run.run for run in store.runs()]
    assert (root / "index" / "runs").exists()
    whole = store.frame("loss")
    assert len(whole) == 3 * count
    (merged,) = (root / "index" / "merged").glob("*.parquet")
    pd.testing.assert_frame_equal(store.frame("loss"), whole)
    some = [run.run for run in store.runs()][5:8]
    assert store.frame("loss", runs=some)["loss"].tolist() == [0.0, 0.5, 1.0] * 3
    for damage in ("gone", "cut", "flipped", "old"):
        for path in (root / "index" / "runs", *(root / "index" / "merged").glob("*")):
            data = bytearray(path.read_bytes())
            if damage == "gone":
                path.unlink()
            elif damage == "cut":
                path.write_bytes(data[: len(data) // 2])
            elif damage == "flipped":
                for place in range(0, len(data), 97):
                    data[place] ^= 0x55
                path.write_bytes(data)
            else:
                path.write_bytes(b'{"format": 0}')
        pd.testing.assert_frame_equal(store.frame("loss"), whole)
        assert merged.parent.exists()


def test_what_is_derived_follows_the_folders(store: Store) -> None:
    many(store, index.MANY + 10)
    assert len(store.frame("loss")) == 3 * (index.MANY + 10)
    runs = store.runs()
    shutil.rmtree(runs[3].folder.path)
    text = Path(runs[4].folder.info).read_text()
    Path(runs[4].folder.info).write_text(text.replace('"finished"', '"failed"'))
    Path(runs[5].folder.info).write_text("{")
    after = all_runs(str(store.root / ".flor"))
    assert [run.run for run in after] == [run.run for run in runs if run.run not in (runs[3].run, runs[5].run)]
    assert [run.status for run in after].count("failed") == 1
    assert len(store.frame("loss")) == 3 * (index.MANY + 8)
    with store.run() as run:
        run.log("loss", 9.5)
    assert store.frame("loss")["loss"].tolist()[-1] == 9.5


@pytest.mark.parametrize("place", [10, 200, 400])
@pytest.mark.parametrize("name", ["log.parquet", "loops.parquet"])
def test_one_flipped_bit_of_a_sealed_log_is_seen(
    store: Store, name: str, place: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with store.run() as run:
            for i in run.loop("epoch", "ab"):
                run.log("loss", ord(i) / 2)
    broken, whole = store.runs()
    path = Path(broken.folder.path) / name
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert set(store.frame("loss")["tstamp"]) == {whole.started}
    assert f"run {broken.run} is left out" in capfd.readouterr().err
