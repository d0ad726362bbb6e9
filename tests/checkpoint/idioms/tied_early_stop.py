import copy

import torch
from harness import log, loop
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.rnn = nn.LSTM(6, 6, batch_first=True, num_layers=2, dropout=0.2)
        self.out = nn.Linear(6, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x, state=None):
        hidden, state = self.rnn(self.embed(x), state)
        return self.out(hidden), state


def train(patience):
    torch.manual_seed(5)
    model = Tied()
    params = list(model.parameters())
    assert len({id(p) for p in params}) == len(params)
    opt = torch.optim.Adam([{"params": params[:2]}, {"params": params[2:], "lr": 1e-3}], lr=1e-2)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=1)
    warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda n: min(1.0, (n + 1) / 3))
    data = torch.randint(0, 11, (8, 12))
    best, best_state, bad, state = float("inf"), None, 0, None
    for epoch in loop(range(8)):
        logits, state = model(data[:, :-1], state)
        state = tuple(part.detach() for part in state)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), data[:, 1:].flatten())
        opt.zero_grad(set_to_none=epoch % 2 == 0)
        loss.backward()
        opt.step()
        warm.step()
        plateau.step(loss.item())
        if loss.item() < best:
            best, bad = loss.item(), 0
            best_state = copy.deepcopy(model.state_dict())
        else:
            bad += 1
            if bad > patience:
                model.load_state_dict(best_state)
        if epoch == 4:
            for p in model.rnn.parameters():
                p.requires_grad_(False)
        log("tied", model.out.weight is model.embed.weight)
        log("same", opt.param_groups[0]["params"][0] is params[0])
        log("loss", loss.item())
        log("bad", bad)
        log("best", best_state)
        log("model", model.state_dict())
        log("frozen", [p.requires_grad for p in params])


train(1)
