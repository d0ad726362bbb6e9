"""A random walk in numpy: 200,000 iterations of microseconds, 8 kB of state."""

import clock
import numpy as np

import flor

rng = np.random.default_rng(0)
place = np.zeros(1000)
clock.start()
with flor.checkpointing(place=place):
    for step in flor.loop("step", range(200_000)):
        place *= 0.999
        place += rng.standard_normal(1000)
        if step % 2000 == 0:
            flor.log("distance", float(np.abs(place).mean()))
clock.stop()
