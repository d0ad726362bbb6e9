"""Values on a CUDA device: logged without a wait, as they were at that moment."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from conftest import python

SCRIPT = """
import torch, flor
x = torch.zeros((), device="cuda")
y = torch.zeros(3, device="cuda", dtype=torch.float16)
n = torch.zeros((), device="cuda", dtype=torch.int64)
side = torch.cuda.Stream()
flor.log("warm", 1)
torch.cuda.synchronize()
torch.cuda.set_sync_debug_mode("error")
for i in range(3000):
    x += 0.5
    n += 1
    flor.log("x", x)
    flor.log("n", n)
    flor.log("negative", x < 0)
    if i % 1000 == 0:
        y += 1
        flor.log("y", y)
        with torch.cuda.stream(side):
            side.wait_stream(torch.cuda.default_stream())
            flor.log("aside", x * 2)
x.fill_(-1)
torch.cuda.set_sync_debug_mode("default")
"""


def test_the_values_are_those_of_the_moment(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    python("train.py", cwd=tmp_path)
    code = """
import json, flor
frame = flor.dataframe("x", "n", "negative")
rows = flor.query("select name, ordinal, int_value, float_value, text_value from logs order by name, ordinal")
print(json.dumps(rows.to_dict("records"), default=str))
"""
    rows = json.loads(python("-c", code, cwd=tmp_path))
    of = {name: [row for row in rows if row["name"] == name] for name in ("x", "n", "negative", "y", "aside")}
    assert [row["float_value"] for row in of["x"]] == [0.5 * (i + 1) for i in range(3000)]
    assert [row["int_value"] for row in of["n"]] == list(range(1, 3001))
    assert [row["int_value"] for row in of["negative"]] == [0] * 3000
    assert [json.loads(row["text_value"])["data"] for row in of["y"]] == [[1.0] * 3, [2.0] * 3, [3.0] * 3]
    assert [row["float_value"] for row in of["aside"]] == [1.0, 1001.0, 2001.0]
    assert torch.cuda.is_available()
