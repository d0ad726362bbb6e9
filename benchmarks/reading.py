"""``flor.dataframe`` beside a hand-written DuckDB query over the same Parquet, beside FlorDB, and as stores grow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Row, compared, git

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

NAMES = [f"m{number}" for number in range(6)]
FLORDB = """
import json, sys, time
import flordb as flor
names, steps = sys.argv[1].split(","), int(sys.argv[2])
for step in flor.loop("step", range(steps)):
    for name in names:
        flor.log(name, step * 0.5)
flor.commit()
found = {}
for kept in (1, len(names)):
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        frame = flor.dataframe(*names[:kept])
        seconds.append(time.perf_counter() - began)
    found[kept] = [min(seconds), len(frame)]
print("\\nRESULT", json.dumps(found))
"""
# Linux: a process begins with the highest size of the one that started it, so that is set back.
PEAK = """
import json, re, sys
from pathlib import Path
from flor_replay.store.frames import build
def size(field):
    return 1024 * int(re.search(field + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
build(["m0"], sys.argv[1], last=0)
Path("/proc/self/clear_refs").write_text("5")
before = size("VmRSS")
frame = build(sys.argv[2].split(","), sys.argv[1])
print(json.dumps([size("VmHWM") - before, int(frame.memory_usage(deep=False).sum())]))
"""


def run(quick: bool) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        sizes: Sequence[tuple[int, int]] = ((10_000, 1), (100_000, 10))
        if not quick:
            sizes = ((1_000, 1), (10_000, 1), (100_000, 10), (1_000_000, 1), (1_000_000, 100), (10_000_000, 10))
        for records, runs in sizes:
            root = here / f"store-{records}-{runs}"
            _fill(root, records, runs)
            for count in (1, 3, 6):
                rows.append(_beside_duckdb(root, records, runs, NAMES[:count], 3 if records > 10**6 else 5))
            if records >= (100_000 if quick else 10_000_000):
                rows.append(_memory(root, records, NAMES[:1]))
                rows.append(_memory(root, records, NAMES))
            shutil.rmtree(root)
        rows += _many(here, 500 if quick else 10_000)
        rows += _beside_flordb(here, 24_000 if quick else 1_200_000)
        rows += _growth(here, (1_000, 10_000, 100_000) if quick else (1_000, 10_000, 100_000, 1_000_000, 10_000_000))
    return rows


def _fill(root: Path, records: int, runs: int, names: Sequence[str] = NAMES) -> float:
    """Record so many records in all; seconds from the first record to the end of the last seal."""
    os.environ["FLOR_CHECKPOINTS"] = "off"
    from flor_replay.record.run import Session

    root.mkdir(parents=True, exist_ok=True)
    each = max(1, records // runs // len(names))
    inner = min(1000, each)
    seconds = 0.0
    for _ in range(runs):
        session = Session(str(root), str(root / ".flor"))
        began = time.perf_counter()
        for _ in session.loop("epoch", range(max(1, each // inner))):
            for step in session.loop("step", range(inner)):
                for name in names:
                    session.log(name, step * 0.5)
        session.end("finished")
        seconds += time.perf_counter() - began
    return seconds


def _beside_duckdb(root: Path, records: int, runs: int, names: Sequence[str], turns: int) -> Row:
    import duckdb

    from flor_replay.store.frames import build

    files = [str(path) for path in root.glob(".flor/runs/*/log.parquet")]
    ours, theirs = [], []
    connection = duckdb.connect()
    for turn in range(turns + 1):
        began = time.perf_counter()
        mine = build(names, str(root))
        middle = time.perf_counter()
        other = _by_hand(connection, files, names)
        if turn:  # the first one warms both
            ours.append(middle - began)
            theirs.append(time.perf_counter() - middle)
        assert len(mine) == len(other)
        del mine, other
    told = f"{records:,} records, {runs} run{'s' if runs > 1 else ''}, {len(names)} name{'s' if len(names) > 1 else ''}"
    return compared(f"flor.dataframe: {told}", ours, theirs, "hand-written DuckDB query")


def _by_hand(connection: duckdb.DuckDBPyConnection, files: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """What somebody who knows the files would write."""
    if len(names) == 1:
        sql = (
            "select filename, i1 as epoch, i2 as step, float_value from read_parquet(?, filename = true) where name = ?"
        )
        return connection.execute(sql, [list(files), names[0]]).df()
    pivoted = ", ".join(f"max(float_value) filter (where name = '{name}') as {name}" for name in names)
    listed = ", ".join(f"'{name}'" for name in names)
    return connection.execute(
        f"select filename, i1 as epoch, i2 as step, {pivoted} from read_parquet(?, filename = true) "
        f"where name in ({listed}) group by all order by all",
        [list(files)],
    ).df()


def _memory(root: Path, records: int, names: Sequence[str]) -> Row:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(root), ",".join(names)], capture_output=True, text=True, check=True
    )
    taken, result = json.loads(done.stdout)
    told = f"{records:,} records, {len(names)} name{'s' if len(names) > 1 else ''}"
    return Row(f"memory at its peak: {told}", taken, result, "the frame itself", taken / result, 1, "B")


def _many(here: Path, count: int) -> list[Row]:
    from flor_replay.store.frames import build
    from flor_replay.store.runs import all_runs

    root = here / "many"
    _fill(root, 60, 1)
    store = root / ".flor"
    (first,) = (store / "runs").iterdir()
    (first / "version.json").write_text('{"commit": "' + "a" * 40 + '"}')
    info = json.loads((first / "run.json").read_text())
    for number in range(1, count):
        name = f"20260101T{number:06d}.000000-{number:08x}"
        folder = store / "runs" / name
        folder.mkdir()
        for file in ("log.parquet", "loops.parquet", "version.json"):
            shutil.copyfile(first / file, folder / file)
        (folder / "run.json").write_text(json.dumps({**info, "run": name, "tstamp": 1e9 + number}))
    listed, folders, bare, framed = [], [], [], []
    for turn in range(6):
        began = time.perf_counter()
        assert len(all_runs(str(store))) == count
        middle = time.perf_counter()
        entries = [entry.stat() for entry in os.scandir(store / "runs")]
        third = time.perf_counter()
        os.listdir(store / "runs")
        fourth = time.perf_counter()
        frame = build(["m0"], str(root))
        assert len(frame) == 10 * count and len(entries) == count
        if turn:
            listed.append(middle - began)
            folders.append(third - middle)
            bare.append(fourth - third)
            framed.append(time.perf_counter() - fourth)
    shutil.rmtree(root)
    return [
        compared(f"{count:,} runs listed", listed, folders, "listing the folder with sizes and times"),
        compared(f"{count:,} runs listed", listed, bare, "listing the folder's names"),
        compared(
            f"flor.dataframe of {count:,} runs, 10 rows each",
            framed,
            folders,
            "listing the folder with sizes and times",
        ),
    ]


def _beside_flordb(here: Path, records: int) -> list[Row]:
    interpreter = os.environ.get("FLOR_BENCH_PEERS")
    if not interpreter:
        print("read: FlorDB is left out; FLOR_BENCH_PEERS names no Python that has it", file=sys.stderr)
        return []
    from flor_replay.store.frames import build

    root = here / "beside"
    _fill(root, records, 1)
    folder = here / "flordb"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "a")
    (folder / "script.py").write_text(FLORDB)
    words = [interpreter, "script.py", ",".join(NAMES), str(records // len(NAMES))]
    env = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        print(f"read: FlorDB does not get through {records:,} records:\n{done.stderr[-500:]}", file=sys.stderr)
    rows = []
    for count, (theirs, length) in (json.loads(lines[-1].removeprefix("RESULT ")) if lines else {}).items():
        ours = []
        for _ in range(5):
            began = time.perf_counter()
            assert len(build(NAMES[: int(count)], str(root))) == length
            ours.append(time.perf_counter() - began)
        rows.append(compared(f"flor.dataframe: {records:,} records, {count} names", ours, [theirs] * 5, "FlorDB"))
    shutil.rmtree(root)
    return rows


def _growth(here: Path, sizes: Sequence[int]) -> list[Row]:
    """Seconds a record of writing and sealing, and of reading, against those at the size before the largest's tenth."""
    from flor_replay.store.frames import build

    cost: dict[int, tuple[float, float]] = {}
    for size in sizes:
        written, read = [], []
        for _ in range(3 if size <= 100_000 else 1):
            root = here / f"growth-{size}"
            written.append(_fill(root, size, 1, ["m0"]))
            for _ in range(3):
                began = time.perf_counter()
                build(["m0"], str(root))
                read.append(time.perf_counter() - began)
            shutil.rmtree(root)
        cost[size] = min(written), min(read)
    first = sizes[0]
    rows = []
    for size in sizes[1:]:
        for at, what in enumerate(("written and sealed", "read")):
            # What a run of any size costs is taken off: it is shared by more records the more there are.
            fixed = cost[first][at]
            mine = (cost[size][at] - fixed) / (size - first)
            largest = (cost[sizes[-1]][at] - fixed) / (sizes[-1] - first)
            rows.append(Row(f"{size:,} records {what}, each", mine, largest, f"at {sizes[-1]:,}", mine / largest, 1))
    return rows
