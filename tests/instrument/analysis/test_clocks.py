"""What of a script tells the time: its own variables, lists and meters, and no more than that."""

from __future__ import annotations

from flor_instrument import ClockFed, clock_fed, volatile_names

METER = b"""
import time
class Meter:
    def __init__(self): self.reset()
    def reset(self):
        self.val = self.sum = self.n = 0
    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.n += n
        self.avg = self.sum / self.n
        self.shown = "yes"
"""


def found(text: str) -> ClockFed:
    return clock_fed([METER, b"import time\n" + text.encode()])


def test_numbers() -> None:
    told = found(
        "t0 = time.time()\nstep = 0\nfor x in data:\n    step += 1\n    dt = time.perf_counter() - t0\n"
        "    self.rate = len(x) / dt\n    loss = f(x)\n    mfu = -1.0\n    mfu = 0.9 * mfu + dt\n"
    )
    assert told.numbers == {"t0", "dt", "rate", "mfu"} and not told.meters and not told.lists


def test_what_is_also_bound_to_something_else_may_matter() -> None:
    assert "x" not in found("x = time.time()\nx = load()\n").numbers
    assert "x" in found("x = None\nx = time.time()\n").numbers
    assert "seed" not in found("seed = int(args.seed) if args.seed else 3\n").numbers


def test_each_of_several_has_its_own() -> None:
    assert found("w, (t0, n) = ones(3), (time.time(), 0)\n").numbers == {"t0"}
    assert found("w, t0 = pair(time.time())\n").numbers == {"w", "t0"}


def test_lists() -> None:
    told = found("times.append(time.time() - t0)\nboth.append(time.time())\nboth.append(loss)\nlosses.append(loss)\n")
    assert told.lists == {"times"}


def test_meters() -> None:
    told = found("batch_time.update(time.time() - end)\nlosses.update(loss.item(), 32)\nend = time.time()\n")
    assert told.meters == {"batch_time"} and told.inside == {"val", "sum", "avg"}
    assert told.numbers == {"end"}
    assert not found("losses.update(loss.item())\n").inside
    assert not found("stats.update({'time': 3})\n").meters


def test_names_that_are_logged() -> None:
    text = b"import time, flor\nt0 = time.time()\nflor.log('took', time.time() - t0)\nflor.log('loss', loss)\n"
    assert volatile_names([text, b"def ("]) == {"took"}
