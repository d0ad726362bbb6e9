"""What the training loop took, to the file that RESULT names: wall seconds, processor seconds of all threads and of its own."""

from __future__ import annotations

import json
import os
import time


def _now() -> list[float]:
    return [time.perf_counter(), time.process_time(), time.thread_time()]


_began = [0.0, 0.0, 0.0]


def start() -> None:
    _began[:] = _now()


def stop() -> None:
    seconds = [now - began for now, began in zip(_now(), _began, strict=True)]
    with open(os.environ["RESULT"], "w", encoding="ascii") as file:
        json.dump(seconds, file)
