"""Scripts as they were written for FlorDB run unchanged, under either name."""

from __future__ import annotations

import json

import pytest

from tests.support import Project

TRAIN = """
{start}
import torch

hidden = {flor}arg("hidden", 8)
lr = {flor}arg("lr", 1e-2)
torch.manual_seed({flor}arg("seed", 3))
net = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=lr)
with {flor}checkpointing(model=net, optimizer=optimizer):
    for epoch in {flor}loop("epoch", range({flor}arg("epochs", 3))):
        for i, x in {flor}loop("step", enumerate(torch.randn(4, 8, 4))):
            loss = net(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            {flor}log("loss", loss.item())
        {flor}log("acc", float(net.weight.sum()))
for name in ("a.pdf", "b.pdf"):
    with {flor}iteration("document", None, name):
        for page in {flor}loop("page", range(2)):
            {flor}log("first_page", page == 0)
{flor}commit()
"""
LOOK = """
import {module} as flor, json
df = flor.dataframe("first_page")
latest = flor.utils.latest(df)
print(json.dumps([len(df), len(latest), latest["document_value"].tolist(), flor.dataframe("lr")["lr"].tolist()]))
"""


@pytest.mark.parametrize(
    ("start", "flor"),
    [
        pytest.param("import flor", "flor.", marks=pytest.mark.slow),
        pytest.param("import flordb as flor", "flor.", marks=pytest.mark.slow),
        pytest.param("import flordb", "flordb.", marks=pytest.mark.slow),
        ("from flordb import arg, checkpointing, commit, iteration, log, loop", ""),
    ],
)
def test_a_script_of_flordb(project: Project, start: str, flor: str) -> None:
    module = "flordb" if "flordb" in start else "flor"
    script = TRAIN.format(start=start, flor=flor)
    project.commit(files={"train.py": script, "look.py": LOOK.format(module=module)})
    project.python("train.py", "--kwargs", "lr=0.5", "epochs=2", env={"FLOR_CHECKPOINTS": "all"})
    project.python("train.py", "--kwargs", "lr=0.25", env={"FLOR_CHECKPOINTS": "all"})
    found = json.loads(project.python("look.py").stdout)
    assert found == [8, 4, ["a.pdf", "a.pdf", "b.pdf", "b.pdf"], [0.5, 0.25]]
    assert [run.filename for run in project.runs()] == ["train.py", "train.py"]
    statement = f'            {flor}log("norm", float(net.weight.grad.norm()))\n'
    mark = f'            {flor}log("loss", loss.item())\n'
    project.write({"train.py": script.replace(mark, mark + statement)})
    project.command("add-log", "train.py", "--yes")
    frame = project.dataframe("norm", "loss", fidelity=True)
    assert len(frame) == 20 and (frame["norm_fidelity"] == "exact").all()
