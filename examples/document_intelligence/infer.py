"""Segments every document: the model says which pages are first ones; without a model (none was trained yet) a rule does."""

import glob
import json
import os
import sys

import torch
from labels import colours_of
from model import build
from pages import pictures

import flor

torch.set_num_threads(1)
ranked = flor.dataframe("acc", "recall")
net = None
if os.path.exists("model.pth") and not ranked.empty:
    net = build()
    net.load_state_dict(torch.load("model.pth", weights_only=True))
    net.eval()
flor.log("best_recall", float(ranked["recall"].max()) if net is not None else None)
with open("features.json") as file:
    features = json.load(file)

for name in flor.loop("document", sorted(os.path.basename(path) for path in glob.glob("pages/*"))):
    if net is None:
        firsts = [page["page_number"] == 1 for page in features[name]]
    else:
        with torch.no_grad():
            firsts = (net(pictures(name)).argmax(1) == 1).tolist()
    flor.log("labeller", "rule" if net is None else "model")
    firsts[0] = True
    for colour in flor.loop("page", colours_of(firsts)):
        flor.log("page_colour", colour)
print("segmented by", "a rule" if net is None else "the model", file=sys.stderr)
