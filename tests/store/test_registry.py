"""The model registry: states of runs by what was logged in them."""

from __future__ import annotations

import pytest

from tests.support import Project

MODEL = """
import torch
def build(width=4):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
"""
TRAIN = """
import flor, torch
from model import build
def main():
    net = build()
    optimizer = torch.optim.Adam(net.parameters(), lr=flor.arg("lr", 0.01))
    recalls = {0.01: [0.1, 0.9, 0.3], 0.1: [0.2, 0.8, 0.95]}[flor.arg("lr", 0.01)]
    with flor.checkpointing(model=net, optimizer=optimizer):
        for epoch in flor.loop("epoch", range(3)):
            for step in flor.loop("step", range(2)):
                loss = (net(torch.randn(16, 4)) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            flor.log("recall", recalls[epoch])
            flor.log("weight", net[0].weight.sum().item())
            flor.log("mean", net[1].running_mean.sum().item())
main()
"""


@pytest.mark.slow
def test_the_best_is_loaded_in_place(project: Project) -> None:
    code = """
    import torch, flor, pytest
    from model import build
    model = build()
    weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters())
    frame = flor.dataframe("recall", "weight", "mean", "lr")
    before = torch.get_rng_state()
    best = flor.checkpoint(frame.sort_values("recall", ascending=False), model=model)
    assert best["recall"] == 0.95 and best["epoch"] == 2 and best["lr"] == 0.1
    assert model[0].weight is weight and weight.sum().item() == best["weight"]
    assert model[1].running_mean.sum().item() == best["mean"]
    for place in range(len(frame)):
        row = flor.checkpoint(frame.iloc[place : place + 1], net=model)
        assert weight.sum().item() == frame["weight"][place] == row["weight"]
    row = frame.iloc[1]
    assert flor.checkpoint(row, model=model)["weight"] == weight.sum().item()
    run = flor.query("select run from runs order by tstamp limit 1")["run"][0]
    assert flor.checkpoint(run, model=model) is not None and weight.sum().item() == frame["weight"][2]
    assert torch.equal(before, torch.get_rng_state())
    assert flor.checkpoint(frame, nothing_of_that_name=model) is None
    assert flor.checkpoint(frame.iloc[:0], model=model) is None
    for other in (torch.nn.Linear(4, 8), build(5), optimizer):
        with pytest.raises(Exception, match="is not|in place"):
            flor.checkpoint(frame, model=other)
    with pytest.raises(Exception, match="no run is called"):
        flor.checkpoint("nobody", model=model)
    """
    project.commit(files={"model.py": MODEL, "train.py": TRAIN, "best.py": code})
    project.run("train.py")
    project.run("train.py", "--kwargs", "lr=0.1")
    project.python("best.py")
    assert len(project.runs()) == 2


@pytest.mark.slow
def test_where_no_state_was_kept_there_is_none(project: Project) -> None:
    code = """
    import flor
    from model import build
    assert flor.checkpoint(flor.dataframe("recall"), model=build()) is None
    """
    project.commit(files={"model.py": MODEL, "train.py": TRAIN, "best.py": code})
    project.run("train.py", env={"FLOR_CHECKPOINTS": "off"}, every=False)
    project.python("best.py")
