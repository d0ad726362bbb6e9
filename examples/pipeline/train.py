"""The second step: finds the direction in which the numbers of the first differ most."""

import json
import math

import flor

batch_size = flor.log("batch_size", 32)
lr = flor.arg("lr", 0.1)
with open("numbers.json") as file:
    rows = json.load(file)
weights = [1.0, 0.0, 0.0, 0.0]
for _epoch in flor.loop("epoch", range(3)):
    for start in flor.loop("step", range(0, len(rows), batch_size)):
        for row in rows[start : start + batch_size]:
            along = sum(w * x for w, x in zip(weights, row, strict=True))
            weights = [w + lr / batch_size * along * x for w, x in zip(weights, row, strict=True)]
        length = math.sqrt(sum(w * w for w in weights))
        weights = [w / length for w in weights]
    flor.log("variance", sum(sum(w * x for w, x in zip(weights, row, strict=True)) ** 2 for row in rows) / len(rows))
