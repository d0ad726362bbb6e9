"""Automatic mixed precision, a scheduler, a moving average, data on the device, a stream that fetches ahead."""

from __future__ import annotations

import torch
from harness import log, loop


class Ahead:
    """Fetches the next batch on a stream of its own, as in many training scripts."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data
        self.stream = torch.cuda.Stream()
        self.at = 0
        self.fetch()

    def fetch(self) -> None:
        with torch.cuda.stream(self.stream):
            self.batch = self.data[self.at : self.at + 64].to("cuda", non_blocking=True)
        self.at = (self.at + 64) % 1024

    def next(self) -> torch.Tensor:
        torch.cuda.current_stream().wait_stream(self.stream)
        batch = self.batch
        batch.record_stream(torch.cuda.current_stream())
        self.fetch()
        return batch


def main() -> None:
    torch.manual_seed(3)
    torch.use_deterministic_algorithms(True)
    model = torch.nn.Sequential(
        torch.nn.Linear(32, 256),
        torch.nn.BatchNorm1d(256),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(256, 4),
    ).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, capturable=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**20, growth_interval=5)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    ahead = Ahead(torch.randn(1024, 32).pin_memory())
    noise = torch.Generator("cuda").manual_seed(5)
    total = torch.zeros((), device="cuda")
    for _ in loop(range(6)):
        for _ in range(8):
            batch = ahead.next()
            with torch.autocast("cuda", dtype=torch.float16):
                target = torch.randn(64, 4, device="cuda", generator=noise)
                loss = (model(batch) - target).square().mean()
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            average.update_parameters(model)
            total += loss.detach()
        scheduler.step()
        log("loss", loss.float())
        log("total", total)
        log("scale", scaler.get_scale())
        log("average", next(average.parameters()))


main()
