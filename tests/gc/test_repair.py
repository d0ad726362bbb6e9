"""``flor-replay doctor --repair``: what is broken is made whole or set aside, nothing is deleted."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flor_replay.store import batches
from tests.support import Project, json_of

SCRIPT = """
import os, sys, flor
for epoch in flor.loop("epoch", range(3)):
    flor.log("loss", epoch / 2)
    if "cut" in sys.argv:
        from flor_replay.record import session
        session.running().flush()
if "cut" in sys.argv:
    os.kill(os.getpid(), 9)
"""


def test_doctor_repairs_and_says_what(project: Project) -> None:
    project.commit("one", {"train.py": SCRIPT})
    project.python("train.py", "cut", check=False)
    (cut,) = project.runs()
    whole, headless, flipped = (project.run(every=False) for _ in range(3))
    live = Path(cut.folder.live)
    data = bytearray(live.read_bytes())
    second = data.find(batches.MARK, data.find(b'"loss"'))
    data[second + 30] ^= 4
    live.write_bytes(data)
    os.utime(live, (time.time() - 1000,) * 2)
    Path(headless.folder.info).write_text("{")
    log = Path(flipped.folder.log)
    bytes_of = bytearray(log.read_bytes())
    bytes_of[60] ^= 1
    log.write_bytes(bytes_of)
    (project.store / "index" / "merged").mkdir(parents=True, exist_ok=True)
    (project.store / "index" / "merged" / "merged.json").write_text("nonsense")
    before = project.state()
    first = json_of(project.command("doctor", "--json", check=1))
    bad = [finding["text"] for finding in first if finding["state"] == "bad"]
    assert len(bad) == 2
    assert any(headless.run in text for text in bad)
    assert any(flipped.run in text for text in bad)
    done = project.command("doctor", "--repair").stdout
    assert f"{headless.run}: run.json could not be read; it is made anew" in done
    assert f"{flipped.run}: log.parquet cannot be read; set aside as *.broken" in done
    assert f"{cut.run}: its log is sealed; lost are" in done
    assert project.state() == before
    assert not live.exists()
    assert log.with_name("log.parquet.broken").read_bytes() == bytes(bytes_of)
    frame = project.dataframe("loss")
    assert frame[frame["tstamp"] == whole.started]["loss"].tolist() == [0.0, 0.5, 1.0]
    left = frame[frame["tstamp"] == cut.started]["loss"].tolist()
    assert left and set(left) <= {0.0, 0.5, 1.0}  # what was in other batches than the damaged one
    assert len(frame) == 3 + 3 + len(left)
    assert sum(run.run == headless.run for run in project.runs()) == 1
    assert "bad " not in project.command("doctor").stdout
