"""The first step of a small pipeline: makes numbers."""

import json
import random

import flor

batch_size = flor.log("batch_size", 64)
random.seed(flor.arg("seed", 1))
with open("numbers.json", "w") as file:
    json.dump([[random.gauss(0, 1) for _ in range(4)] for _ in range(4 * batch_size)], file)
