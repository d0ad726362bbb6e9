import copy

import torch
from harness import log, loop
from torch import nn
from torch.optim.swa_utils import AveragedModel


def main():
    torch.manual_seed(1)
    gen = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 8))
    disc = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(), nn.Linear(16, 1))
    g_opt = torch.optim.AdamW(gen.parameters(), lr=1e-2)
    d_opt = torch.optim.RMSprop(disc.parameters(), lr=1e-2)
    ema = AveragedModel(gen)
    shadow = copy.deepcopy(disc)
    real = torch.randn(64, 8) + 2
    bce = nn.BCEWithLogitsLoss()
    for _epoch in loop(range(6), gen=gen, disc=disc, g_opt=g_opt, d_opt=d_opt):
        for _ in range(3):
            fake = gen(torch.randn(64, 4))
            d_loss = bce(disc(real), torch.ones(64, 1)) + bce(disc(fake.detach()), torch.zeros(64, 1))
            d_opt.zero_grad()
            d_loss.backward()
            d_opt.step()
            g_loss = bce(disc(fake), torch.ones(64, 1))
            g_opt.zero_grad()
            g_loss.backward()
            g_opt.step()
            ema.update_parameters(gen)
            with torch.no_grad():
                for slow, fast in zip(shadow.parameters(), disc.parameters(), strict=True):
                    slow.mul_(0.9).add_(fast, alpha=0.1)
        log("d", d_loss.item())
        log("g", g_loss.item())
        log("ema", ema.state_dict())
        log("shadow", shadow.state_dict())


main()
