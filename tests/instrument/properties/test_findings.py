"""Minimal forms of what the random edits found: each was a wrong placement once."""

from __future__ import annotations

import pytest
from flor_instrument import hindsight, propagate

STATE = b"""\
import flor


class State:
    def __init__(self):
        self.weight = 1
        self.steps = 0


def train(state, x):
    out = x + state.steps
    y = out * 2
    state.steps += 1
    return y
"""


def test_attribute_that_is_missing_under_a_renamed_object() -> None:
    today = STATE.replace(b"    y = out * 2\n", b'    flor.log("weight", state.weight)\n    y = out * 2\n')
    old = STATE.replace(b"weight", b"size").replace(b"state, x", b"best, x").replace(b"state.", b"best.")
    result = propagate(hindsight(STATE, today), old)
    assert b"best.weight" not in result.source


LOOP = """\
    for epoch in flor.loop("epoch", range(3)):
        out = model(epoch)
        loss = criterion(out)
        total += loss
"""
TRAIN = 'import flor\n\n\ndef train(model, criterion, total):\n    print("start")\n' + LOOP + "    return total\n"


@pytest.mark.parametrize("between", ["", "    model.eval()\n"])
@pytest.mark.parametrize("counts", [(3, 3), (4, 5)])
def test_two_loops_where_today_has_one(between: str, counts: tuple[int, int]) -> None:
    today = TRAIN.replace("        total += loss\n", '        flor.log("loss", loss)\n        total += loss\n')
    one, two = (LOOP.replace("range(3)", f"range({count})") for count in counts)
    old = TRAIN.replace(LOOP, one + between + two)
    result = propagate(hindsight(TRAIN.encode(), today.encode()), old.encode())
    assert not result.placed


def test_block_that_was_two_with_the_same_condition() -> None:
    base = b"import flor\nfor x in data:\n    if x % 2:\n        step(x)\n        steps(x)\n"
    today = base.replace(b"        steps(x)\n", b'        flor.log("x", x)\n        steps(x)\n')
    old = base.replace(b"        steps(x)\n", b"    if x % 2:\n        steps(x)\n")
    result = propagate(hindsight(base, today), old)
    assert b'\n    flor.log("x", x)' not in result.source


def test_twin_of_the_only_neighbour() -> None:
    base = (
        b"import flor\n\n\ndef train(total, x):\n    total = 0\n    total += x\n    report(total)\n    return total\n"
    )
    today = base.replace(b"    report(total)\n", b'    flor.log("total", total)\n    report(total)\n')
    old = base.replace(b"    total += x\n    report(total)\n", b"    total += x\n    total += x\n")
    result = propagate(hindsight(base, today), old)
    assert not result.placed


def test_function_that_is_defined_twice() -> None:
    today = STATE.replace(b"    y = out * 2\n", b'    flor.log("out", out)\n    y = out * 2\n')
    function = STATE[STATE.index(b"def train") :]
    result = propagate(hindsight(STATE, today), STATE + b"\n\n" + function)
    assert not any(one.line < STATE.count(b"\n") for one in result.placed)


def test_refused_in_its_own_function_it_goes_nowhere_else() -> None:
    base = b"""\
import flor


def store(cell, track, data):
    size(len(data))
    blobs.append(cell)


def again(cell, track, data):
    if cell == track:
        size(len(data))
        found = [cell]
        blobs.append(cell)
        return found
    return None
"""
    after = b"        blobs.append(cell)\n        return"
    today = base.replace(after, b'        flor.log("track", track)\n' + after)
    result = propagate(hindsight(base, today), base.replace(after, b"        track = track\n" + after))
    assert not any(one.line < 9 for one in result.placed)


def test_nothing_matched_but_the_ends_of_another_function() -> None:
    base = b"""\
import flor
def do_part(acc, lr, state):
    for epoch in flor.loop("epoch", range(2)):
        out = (epoch * 3 + acc) % 1009
"""
    today = base.replace(b"    for", b'    flor.log("lr", f"{lr} {lr}")\n    for')
    old = b"""\
import flor as fl
class State:
    def __init__(self, seed):
        self.seen = []
    def norm(self):
        return (self.weight * 7 + sum(self.seen)) % 1009
state = State(8)
lr = 8
try:
    for j in fl.loop("batch", range(3)):
        state.seen.append(j % 5)
finally:
    pass
"""
    result = propagate(hindsight(base, today), old)
    assert not result.placed


def test_function_gone_does_not_lend_its_statement_to_another() -> None:
    base = b"""\
import flor


class State:
    def step(self, value):
        self.weight = (self.weight * 3 + value) % 1009
        self.steps += 1


def evaluate(state, best):
    acc = best + best
    y = (acc * 3 + acc) % 1009
    loss = abs(acc - 1)
    return loss + state.norm()
"""
    today = base.replace(b"    loss = abs", b'    flor.log("best", best)\n    loss = abs')
    result = propagate(hindsight(base, today), base[: base.index(b"def evaluate")])
    assert not result.placed


def test_another_function_that_has_nothing_in_common() -> None:
    base = b"import flor\ndef evaluate(state, best):\n    return best + state.norm()\n"
    today = base.replace(b"    return", b'    flor.log("best", best)\n    return')
    old = b"""\
import flor
def train_step(state, out):
    for i in flor.loop("batch", range(3)):
        if out % 2 == 0:
            state.seen.append(grad % 5)
        else:
            y = i + loss
"""
    result = propagate(hindsight(base, today), old)
    assert not result.placed


SCORE = b"""\
import flor


def score(state, total, y):
    grad = total + state.norm()
    with guard():
        count = total + grad
        state.step(y)
    return grad
"""
# What is `grad` today was called `count` then, and what gives today's `count` its value is not in the function.
IN_A_HELPER = b"""\
import flor


def do_part(count, state, total, y):
    grad = total + count
    state.step(y)
    return grad


def score(state, total, y):
    count = total + state.norm()
    with guard():
        grad = do_part(count, state, total, y)
    return count
"""
NOT_YET = b"""\
import flor


def score(state, total, y):
    count = total + state.norm()
    with guard():
        state.step(y)
    return count
"""


@pytest.mark.parametrize("old", [IN_A_HELPER, NOT_YET])
def test_name_that_stood_for_something_else(old: bytes) -> None:
    today = SCORE.replace(b"        state.step(y)\n", b'        state.step(y)\n        flor.log("count", count)\n')
    result = propagate(hindsight(SCORE, today), old)
    assert b'flor.log("count", count)' not in result.source
