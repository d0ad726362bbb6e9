from dataclasses import dataclass, field

import torch
from harness import log, loop
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class History:
    losses: list = field(default_factory=list)
    best: float = float("inf")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 36, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.head(self.drop(self.norm(self.conv(x)).relu().flatten(1)))


class Trainer:
    seen = 0

    def __init__(self):
        torch.manual_seed(0)
        self.model = Net()
        self.generator = torch.Generator().manual_seed(7)
        data = TensorDataset(torch.randn(120, 1, 8, 8), torch.randint(0, 3, (120,)))
        self.loader = DataLoader(data, batch_size=16, shuffle=True, generator=self.generator)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=7)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.history = History()
        self.step = 0

    def fit(self):
        for epoch in loop(range(7)):
            self.model.train()
            for x, target in self.loader:
                loss = nn.functional.cross_entropy(self.model(x), target)
                self.optimizer.zero_grad()
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.step += 1
                Trainer.seen += len(x)
                self.history.losses.append(loss.item())
            self.history.best = min(self.history.best, loss.item())
            self.scheduler.step()
            log("lr", self.scheduler.get_last_lr()[0])
            log("step", (self.step, Trainer.seen, epoch))
            log("losses", self.history.losses)
            log("weights", self.model.state_dict())


if __name__ == "__main__":
    Trainer().fit()
