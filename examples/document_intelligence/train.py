"""Tunes the model on all that people have labelled by now: first page of a document, or not."""

import torch
from labels import PEOPLE, firsts_of, newest
from model import build, load_best
from pages import pictures, shifted

import flor

torch.manual_seed(flor.arg("seed", 1))
torch.set_num_threads(1)  # the pictures are small: threads would wait for each other more than they work
epochs = flor.arg("epochs", 12)
batch_size = flor.arg("batch_size", 4)

known = newest(*PEOPLE)
data = {"labelled": [], "validation": []}
for name, label in sorted(known.items()):
    firsts = torch.tensor(firsts_of(label["colours"]), dtype=torch.long)
    data["validation" if label["purpose"] == "validation" else "labelled"].append((pictures(name), firsts))
x, y = (torch.cat(part) for part in zip(*data["labelled"], strict=True))
val_x, val_y = (torch.cat(part) for part in zip(*data["validation"], strict=True))
flor.log("pages_labelled", len(y))

net = build()
best = load_best(net)
flor.log("tuned_from_recall", None if best is None else float(best["recall"]))
optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=flor.arg("lr", 1e-3))
weight = torch.tensor([1.0, float((y == 0).sum()) / max(1.0, float((y == 1).sum()))])
with flor.checkpointing(model=net, optimizer=optimizer):
    for _epoch in flor.loop("epoch", range(epochs)):
        net.train()
        order = torch.randperm(len(y))
        for start in flor.loop("step", range(0, len(y), batch_size)):
            picked = order[start : start + batch_size]
            loss = torch.nn.functional.cross_entropy(net(shifted(x[picked])), y[picked], weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            flor.log("loss", loss.item())
        net.eval()
        with torch.no_grad():
            said = net(val_x).argmax(1)
        flor.log("val_loss", torch.nn.functional.cross_entropy(net(val_x), val_y).item())
        flor.log("acc", (said == val_y).float().mean().item())
        flor.log("recall", (said[val_y == 1] == 1).float().mean().item())
