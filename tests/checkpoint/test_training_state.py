"""What trainings hold, changed in the loop and put back: the training goes on as the recorded one does, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

Names = dict[str, Any]
INPUT = torch.arange(12.0).view(3, 4) / 12


def with_optimizer(
    model: Callable[[], nn.Module], optimizer: Callable[..., Any], **options: Any
) -> Callable[[], Names]:
    def make() -> Names:
        torch.manual_seed(0)
        made = model()
        return {"model": made, "optimizer": optimizer(list(made.parameters()), **options), "out": []}

    return make


def step(names: Names) -> None:
    model, optimizer = names["model"], names["optimizer"]

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.tensor([1, 2]) if isinstance(model, nn.Embedding) else INPUT).square().mean()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    names["out"] = [*names["out"][-2:], loss.item()]
    for name in ("schedule", "plateau", "cycle", "sequence", "by_function"):
        if name in names:
            names[name].step(*([1.0] if name == "plateau" else []))
    if "average" in names:
        names["average"].update_parameters(model)
    if "shadow" in names:
        with torch.no_grad():
            for slow, fast in zip(names["shadow"].parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.1)


def scheduled() -> Names:
    names = with_optimizer(lambda: nn.Linear(4, 2), torch.optim.SGD, lr=0.1, momentum=0.9)()
    optimizer, schedulers = names["optimizer"], torch.optim.lr_scheduler
    first, then = schedulers.ConstantLR(optimizer), schedulers.ExponentialLR(optimizer, 0.9)
    return {
        **names,
        "average": torch.optim.swa_utils.AveragedModel(names["model"]),
        "schedule": torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05),
        "plateau": schedulers.ReduceLROnPlateau(optimizer, patience=0),
        "cycle": schedulers.OneCycleLR(optimizer, 0.1, total_steps=50),
        "sequence": schedulers.SequentialLR(optimizer, [first, then], [2]),
        "by_function": schedulers.LambdaLR(optimizer, lambda epoch: 0.95**epoch),
        "shadow": copy.deepcopy(names["model"]),
    }


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    return model


TRAININGS = {
    "lbfgs": with_optimizer(lambda: nn.Linear(4, 1), torch.optim.LBFGS, lr=0.1, history_size=5),
    "sparse gradients": with_optimizer(lambda: nn.Embedding(10, 3, sparse=True), torch.optim.SparseAdam),
    "amsgrad": with_optimizer(lambda: nn.Linear(4, 2), torch.optim.Adam, amsgrad=True),
    "spectral norm": with_optimizer(
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)), torch.optim.AdamW
    ),
    "weight norm by hooks": with_optimizer(lambda: nn.utils.weight_norm(nn.Linear(4, 3)), torch.optim.Adam),
    "data parallel": with_optimizer(lambda: nn.DataParallel(nn.Linear(4, 3)), torch.optim.RMSprop),
    "tied weights": with_optimizer(tied, torch.optim.Adagrad),
    "normalised, with dropout": with_optimizer(
        lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)), torch.optim.NAdam
    ),
    "schedulers and averages": scheduled,
}  # fmt: skip


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.filterwarnings("ignore")
def test_the_training_goes_on(store, name):
    def change(names: Names) -> None:
        for _ in range(3):
            step(names)

    recorded, names, restored = store.round_trip(TRAININGS[name], change)
    assert (restored.missing, restored.mismatched) == ([], [])
    found = []
    for each in (recorded, names):
        torch.manual_seed(7)
        for _ in range(3):
            step(each)
        found.append([each["out"], {key: value.tolist() for key, value in each["model"].state_dict().items()}])
    assert repr(found[0]) == repr(found[1])


def test_a_gradient_scaler(store):
    def make() -> Names:
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1), "scaler": scaler}

    def change(names: Names) -> None:
        for _ in range(3):
            names["optimizer"].zero_grad()
            names["scaler"].scale(names["model"](INPUT).sum()).backward()
            names["scaler"].step(names["optimizer"])
            names["scaler"].update()

    recorded, names, restored = store.round_trip(make, change)
    assert restored.missing == []
    assert names["scaler"].state_dict() == recorded["scaler"].state_dict()
    change(recorded)
    change(names)
    assert torch.equal(names["model"].weight, recorded["model"].weight)
    assert names["scaler"].get_scale() == recorded["scaler"].get_scale()


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "complex128", "uint8"])
def test_types_of_numbers(store, kind):
    wanted = torch.randn(700).to(getattr(torch, kind)) if kind != "uint8" else torch.arange(256).to(torch.uint8)
    _, names, restored = store.round_trip(dict, lambda names: names.update(x=wanted))
    assert restored.missing == []
    assert names["x"].dtype == wanted.dtype
    assert torch.equal(names["x"].view(torch.uint8), wanted.view(torch.uint8))
