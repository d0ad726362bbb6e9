"""A transformer of 10.8 million parameters on characters, one long loop of steps: 130 MB of state."""

import clock
import torch
from torch import nn

import flor

torch.manual_seed(0)
text = torch.randint(0, 64, (100_000,))
width, context, batch = 384, 32, 4


class Gpt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(64, width)
        self.places = nn.Embedding(context, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 6, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True)
            for _ in range(6)
        )
        self.head = nn.Linear(width, 64, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.characters(x) + self.places(torch.arange(x.shape[1]))
        for layer in self.layers:
            x = layer(x, src_mask=self.mask, is_causal=True)
        return self.head(x)


def new():
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    return model, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 240)


def learn(model, optimizer, scheduler):
    begins = torch.randint(0, len(text) - context - 1, (batch,))
    x = torch.stack([text[i : i + context] for i in begins])
    y = torch.stack([text[i + 1 : i + 1 + context] for i in begins])
    loss = nn.functional.cross_entropy(model(x).view(-1, 64), y.view(-1))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    return loss


def piece(model, optimizer, scheduler):
    return lambda: learn(model, optimizer, scheduler)


model, optimizer, scheduler = new()
clock.beside(piece(*new()), steps=1)
clock.start()
with flor.checkpointing(model=model, optimizer=optimizer):
    for step in flor.loop("step", range(240)):
        loss = learn(model, optimizer, scheduler)
        flor.log("loss", loss.item())
        clock.beat()
clock.stop()
