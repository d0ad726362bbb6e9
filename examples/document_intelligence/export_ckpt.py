"""Writes the weights of the checkpoint with the best recall to model.pth."""

import sys

import torch
from model import build, load_best

import flor

net = build()
best = load_best(net)
if best is None:
    raise SystemExit("no training has kept a checkpoint yet: make train")
torch.save(net.state_dict(), "model.pth")
flor.log("exported_recall", float(best["recall"]))
print(f"epoch {best['epoch']} of {best['tstamp']:%Y-%m-%d %H:%M:%S}: recall {best['recall']:.2f}", file=sys.stderr)
