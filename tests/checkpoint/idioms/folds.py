import numpy as np
import torch
from harness import log, loop
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    def __init__(self, x, y):
        self.x, self.y, self.asked = x, y, 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        self.asked += 1
        return self.x[i], self.y[i]


def main():
    torch.manual_seed(0)
    np.random.seed(0)
    x, y = torch.randn(60, 5), torch.randn(60, 1)
    scores = {}
    whole = Rows(x, y)
    for fold in loop(range(4)):
        keep = np.arange(60) % 4 != fold
        data = Rows(x[keep], y[keep])
        loader = DataLoader(data, batch_size=9, shuffle=True, num_workers=2 if fold == 1 else 0)
        net = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.1), nn.Linear(4, 1))
        opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        sched = torch.optim.lr_scheduler.StepLR(opt, 1)
        for _ in range(2):
            for a, b in loader:
                opt.zero_grad()
                nn.functional.mse_loss(net(a), b).backward()
                opt.step()
            sched.step()
        scores[fold] = float(net(whole[fold][0]).sum())
        log("scores", scores)
        log("asked", (data.asked, whole.asked))
        log("net", net.state_dict())


main()
