"""Killed processes, broken files, folders that vanish, clocks that disagree: what was logged is read, nothing wrong is."""

from __future__ import annotations

import os
import random
import shutil
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from benchmarks import faults
from flor_replay.store import batches, database, live, records, sealing
from tests.store.recording import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    for seed in range(25):
        faults.killed(tmp_path, seed, longest_seconds=0.3)


def test_what_is_a_second_old_is_there_after_a_kill(tmp_path: Path) -> None:
    for seed in range(2):
        faults.killed(tmp_path, seed, longest_seconds=0.3, grace_seconds=1.0)


def test_many_processes_write_and_read(tmp_path: Path) -> None:
    written, found = faults.crowd(tmp_path, writers=6, readers=2, seconds=1.0)
    assert written == found >= 300


def fill(store: Store, *, seal: bool) -> None:
    with store.run(seal=seal) as run:
        run.log("array", np.arange(1000.0) + len(store.runs()))
        for i in run.loop("epoch", "abcdefgh"):
            for k in run.loop("step", range(5)):
                run.log("loss", ord(i) + k / 8)
            run.log("note", f"the {i} of the alphabet")
            run.flush()


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "flipped", "grown"])
@pytest.mark.parametrize(
    "name", ["log.live", "log.parquet", "loops.parquet", "run.json", "version.json", "files", "rng.json"]
)
def test_nothing_wrong_is_read_from_a_broken_file(
    store: Store, name: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(store, seal=name != "log.live")
    fill(store, seal=True)
    broken, whole = store.runs()
    truth = store.frame("loss", "note")
    of_whole = truth[truth["tstamp"] == whole.started]
    path = Path(broken.folder.path) / name
    if name == "files":
        (path,) = path.iterdir()
    elif name in ("version.json", "rng.json"):
        path.write_text('{"commit": "abc"}')
    data = path.read_bytes()
    rng = random.Random(f"{name} {damage}")
    for _ in range(4):
        changed = bytearray(data)
        at = rng.randrange(len(data))
        if damage == "truncated":
            del changed[at:]
        elif damage == "zeroed":
            changed[at : at + 64] = bytes(len(changed[at : at + 64]))
        elif damage == "flipped":
            changed[at] ^= 1 << rng.randrange(8)
        else:
            changed[at:at] = rng.randbytes(50)
        path.write_bytes(changed)
        capfd.readouterr()
        frame = store.frame("loss", "note", "array")
        rows = frame[frame["tstamp"] == whole.started]
        assert rows["loss"].tolist() == of_whole["loss"].tolist()
        assert rows["note"].tolist() == of_whole["note"].tolist()
        others = frame[frame["tstamp"] == broken.started]
        possible = set(truth["loss"].tolist())
        if name != "run.json":  # its time may be another
            assert len(frame) == len(rows) + len(others)
        assert set(others["loss"].dropna()) <= possible
        if name == "files" and changed != data:
            assert isinstance(others["array"].iloc[0], str)
            assert "cannot be read" in others["array"].iloc[0]


def test_damage_in_a_live_log_is_named_and_what_is_around_it_is_read(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(store, seal=False)
    (run,) = store.runs()
    path = Path(run.folder.live)
    data = bytearray(path.read_bytes())
    frames = [at for at in range(len(data)) if data.startswith(batches.MARK, at)]
    data[frames[4] + 20] ^= 1
    data[frames[-1] + 20] ^= 1
    path.write_bytes(data)
    found = live.read(str(path))
    assert len(found.problems) == 2
    assert f"from byte {frames[4]} on are damaged" in found.problems[0]
    loss = store.frame("loss")["loss"].tolist()
    assert 20 <= len(loss) <= 40
    assert set(loss) <= {ord(i) + k / 8 for i in "abcdefgh" for k in range(5)}
    assert f"run {run.run}" in capfd.readouterr().err


def test_folders_that_vanish_while_they_are_read(store: Store) -> None:
    for _ in range(12):
        fill(store, seal=True)
    folders = [run.folder.path for run in store.runs()]
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while os.path.exists(folders[-2]):
                assert len(store.frame("loss")) % 40 == 0
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for folder in folders[:-1]:
        shutil.rmtree(folder)
    reader.join()
    assert errors == []
    assert len(store.frame("loss")) == 40


@pytest.mark.parametrize("loops", [False, True])
def test_a_run_that_is_sealed_between_the_look_for_its_live_log_and_the_reading_of_it(
    store: Store, loops: bool
) -> None:
    """By everything that reads, also where nothing is read a second time: the facts of the planner, `gc`."""
    fill(store, seal=True)
    fill(store, seal=False)
    fill(store, seal=True)
    runs = store.runs()
    read = live.read

    def sealed_first(path: str) -> live.Live:
        with mock.patch.object(live, "read", read):
            sealing.seal(runs[1].folder)
        return read(path)

    with database.connect() as connection:
        with mock.patch.object(live, "read", sealed_first):
            table = records.table(connection, runs, loops=loops)
        assert not os.path.exists(runs[1].folder.live)
        counts = dict(records.fetch(connection, f"select run, count(*) from ({table}) group by run"))
    assert set(counts) == {run.run for run in runs}
    assert len(set(counts.values())) == 1


def test_a_store_in_which_nothing_can_be_written_is_read(store: Store) -> None:
    (store.root / ".flor").mkdir()
    (store.root / ".flor" / "index").write_text("in the way")
    for _ in range(2):
        fill(store, seal=True)
    with mock.patch("flor_replay.store.index.MANY", 2), mock.patch("flor_replay.store.runs.MANY", 2):
        assert len(store.frame("loss")) == 80
        assert len(store.runs()) == 2


def test_clocks_that_disagree(store: Store) -> None:
    with mock.patch("time.time", lambda: 2e9), store.run() as run:
        run.log("x", "ahead")
    with mock.patch("time.time", lambda: 1e9), store.run() as run:
        run.log("x", "behind")
        for i in run.loop("epoch", range(2)):
            with mock.patch("time.time", lambda i=i: 1e9 - 1000 * i):
                run.log("loss", i)
                run.flush()
    assert store.frame("x")["x"].tolist() == ["behind", "ahead"]
    assert store.frame("loss")["loss"].tolist() == [0, 1]
    assert len({run.run for run in store.runs()}) == 2
