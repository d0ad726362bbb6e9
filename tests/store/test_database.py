"""One DuckDB for the process: questions do not see each other, and children of a fork ask their own."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from flor_replay.store import database
from tests.store.recording import Store


def test_what_one_question_makes_no_other_sees() -> None:
    with database.connect() as first, database.connect() as second:
        first.execute("create temp table t as select 1 as x")
        first.execute("create temp type kind as enum ('a')")
        first.execute("set variable v = 7")
        for sql in ("select * from t", "select 'a'::kind"):
            with pytest.raises(duckdb.CatalogException):
                second.execute(sql)
        assert second.execute("select getvariable('v')").fetchall() == [(None,)]
    with database.connect() as third, pytest.raises(duckdb.CatalogException):
        third.execute("select * from t")


def test_what_a_users_query_makes_stays_in_it(tmp_path: Path) -> None:
    from flor_replay.store import views

    store = Store(tmp_path)
    with store.run() as run:
        run.log("x", 1)
    views.run_query("create table mine as select 1 as x; select * from mine", str(tmp_path))
    with database.connect() as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("select * from mine")


def test_threads_and_forked_children_read_beside_each_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(3):
        with store.run() as run:
            for step in run.loop("step", range(50)):
                run.log("x", step)
    with ThreadPoolExecutor(4) as threads:
        assert [len(frame) for frame in threads.map(lambda _: store.frame("x"), range(12))] == [150] * 12
    for _ in range(3):
        assert len(store.frame("x")) == 150
        child = os.fork()
        if not child:
            signal.alarm(30)
            try:
                os._exit(0 if len(store.frame("x")) == 150 else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
    assert len(store.frame("x")) == 150
