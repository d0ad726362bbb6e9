"""A ResNet-18 whose backbone is frozen, a new head trained on it: 45 MB of state, of which 0.1 MB change."""

import clock
import torch
from torch import nn

import flor

torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        self.aside = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.straight = stride == 1 and before == after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(self.first(x)) + (x if self.straight else self.aside(x)))


def new():
    backbone = nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        Block(64, 64, 1), Block(64, 64, 1), Block(64, 128, 2), Block(128, 128, 1),
        Block(128, 256, 2), Block(256, 256, 1), Block(256, 512, 2), Block(512, 512, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    backbone.eval()
    head = nn.Linear(512, 10)
    return nn.Sequential(backbone, head), head, torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9)


def learn(model, optimizer, part):
    loss = nn.functional.cross_entropy(model(images[part]), labels[part])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def piece(model, head, optimizer):
    return lambda: learn(model, optimizer, torch.arange(32))


images, labels = torch.randn(256, 3, 32, 32), torch.randint(0, 10, (256,))
model, head, optimizer = new()
clock.beside(piece(*new()), steps=1)
clock.start()
with flor.checkpointing(model=model, optimizer=optimizer):
    for epoch in flor.loop("epoch", range(20)):
        for part in flor.loop("step", torch.randperm(256).split(32)):
            loss = learn(model, optimizer, part)
            flor.log("loss", loss.item())
            clock.beat()
        flor.log("norm", head.weight.norm().item())
clock.stop()
