"""An LSTM on sequences, with a scheduler and clipped gradients: epochs of a second, 13 MB of state."""

import clock
import torch
from torch import nn

import flor

torch.manual_seed(0)
sequences = torch.randn(512, 24, 32)
target = sequences.cumsum(1).mean(2)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(32, 256, num_layers=2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(256, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0]).squeeze(-1)


def new():
    model = Model()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 3)


def learn(model, optimizer, part):
    loss = nn.functional.mse_loss(model(sequences[part]), target[part])
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss


def piece(model, optimizer, _scheduler):
    return lambda: learn(model, optimizer, torch.arange(32))


model, optimizer, scheduler = new()
best = float("inf")
clock.beside(piece(*new()), steps=1)
clock.start()
with flor.checkpointing(model=model, optimizer=optimizer):
    for epoch in flor.loop("epoch", range(20)):
        for part in flor.loop("step", torch.randperm(512).split(32)):
            loss = learn(model, optimizer, part)
            flor.log("loss", loss.item())
            clock.beat()
        scheduler.step()
        best = min(best, loss.item())
        flor.log("best", best)
clock.stop()
