"""ResNet-18 (He et al., Deep Residual Learning for Image Recognition, 2015) for one grey channel, written for CPUs: narrow.

No weights are downloaded: the first round trains from scratch on what the example makes, later rounds go on from the best
checkpoint. The earlier layers are frozen as in the paper: the stem and the first two of the four stages keep what they have.
"""

import pandas as pd
import torch
from torch import nn

import flor


class Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet18(nn.Module):
    """Logits of [other page, first page] for pictures of shape (n, 1, height, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(Block(sizes[n], sizes[n + 1], 1 if n == 0 else 2), Block(sizes[n + 1], sizes[n + 1], 1))
            for n in range(4)
        )
        # A page is not a cat: where the ink is matters, so rows stay apart to the end.
        self.pool = nn.AdaptiveAvgPool2d((4, 2))
        self.head = nn.Linear(8 * width * 8, 2)
        for frozen in (self.stem, self.stages[0], self.stages[1]):
            frozen.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(self.pool(x).flatten(1))


def build(width: int = 8) -> ResNet18:
    torch.manual_seed(7)  # the frozen layers of every round are the same
    return ResNet18(width)


def load_best(model: ResNet18) -> pd.Series | None:
    """The model registry: load the checkpoint with the best recall, then accuracy; None where there is none yet."""
    ranked = flor.dataframe("acc", "recall")
    if ranked.empty:
        return None
    ranked = ranked.dropna(subset=["recall"]).sort_values(["recall", "acc", "tstamp"], ascending=False, kind="stable")
    return flor.checkpoint(ranked, model=model)
