"""Generators written by lot: after a restore they go on exactly as the recorded one did, or the restore is refused."""

from __future__ import annotations

import gc
import random
import textwrap
from collections import Counter
from pathlib import Path

import flor_checkpoint as fc
import pytest

from tests.checkpoint.conftest import Store

HELPERS = """
import random

class Guard:
    def __init__(self):
        self.entered = 0
    def __enter__(self):
        self.entered += 1
        return self
    def __exit__(self, *error):
        self.entered -= 10
        return False

def sub(n, items):
    for i in range(n):
        items.append(i)
        yield i * 10
    yield from items[-2:]
"""
ITERABLES = (
    "range({n})", "[1, 2, {n}]", "(4, {n}, 6)", "'abcd'", "enumerate(range({n}))", "zip(range({n}), 'xyz')",
    "sub({n}, items)", "list(items)", "items[:4]", "reversed(range({n}))", "map(abs, range({n}))", "iter([{n}, items])",
    "(v * 2 for v in range({n}))", "sorted(items)", "{{1: 2, 3: {n}}}.items()", "{{5, 6}}", "filter(None, [0, {n}, 1])",
)  # fmt: skip


def block(rng: random.Random, depth: int, names: list[str], extra: list[bool]) -> list[str]:
    lines = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(
            ["for", "for", "while", "with", "try", "yield", "yield", "from", "take", "count", "draw", "if"]
        )
        n = rng.randint(1, 4)
        if extra[0] and rng.random() < 0.4:
            lines.append("LOG.append(total)")
        if depth == 0 and kind in ("for", "while", "with", "try", "if"):
            kind = "yield"
        name = f"v{len(names)}"
        if kind == "for":
            inner = block(rng, depth - 1, [*names, name], extra)
            lines += [f"for {name} in {rng.choice(ITERABLES).format(n=n)}:", *indent(inner)]
        elif kind == "while":
            inner = block(rng, depth - 1, [*names, name], extra)
            lines += [f"{name} = {n}", f"while {name} > 0:", *indent([f"{name} -= 1", *inner])]
        elif kind == "with":
            lines += [f"with {rng.choice(['Guard()', 'guard'])}:", *indent(block(rng, depth - 1, names, extra))]
        elif kind == "try":
            end = rng.choice(["finally", "except ValueError"])
            inner = [*block(rng, depth - 1, names, extra), *(["raise ValueError"] if end[0] == "e" else [])]
            lines += ["try:", *indent(inner), f"{end}:", *indent(["total += 100", *rng.choice([[], ["yield total"]])])]
        elif kind == "if":
            lines += [f"if total % 2 == {n % 2}:", *indent(block(rng, depth - 1, names, extra))]
        elif kind == "yield":
            lines.append(f"yield {rng.choice([*names, 'total', 'len(items)', 'random.random()', 'guard.entered'])}")
        elif kind == "from":
            lines.append(f"yield from {rng.choice(ITERABLES).format(n=n)}")
        elif kind == "take":
            lines.append(rng.choice(["items.append((yield total))", f"last = yield {n}", "total += len(str((yield)))"]))
        elif kind == "count":
            lines.append(rng.choice(["total += 1", "items.append(total)", "last = total", "del items[:1]"]))
        else:
            lines.append("total += int(random.random() * 10)")
    return lines


def indent(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def program(seed: int, added: bool) -> str:
    """The same program for a seed, with statements added as by hindsight or without."""
    rng = random.Random(seed)
    body = [line for line in block(rng, 3, [], [True]) if added or line.strip() != "LOG.append(total)"]
    kept = [line for line in body if line.strip()]
    text = "\n".join(["LOG = []", "def gen(items, guard):", *indent(["total, last = 0, None", *kept, "yield 'end'"])])
    if not added:
        text = "\n".join(line for line in text.splitlines() if line.strip() != "LOG.append(total)")
    return HELPERS + text


def made(source: str) -> dict[str, object]:
    namespace: dict[str, object] = {"__name__": "made_by_lot"}
    exec(compile(textwrap.dedent(source), "made_by_lot", "exec"), namespace)
    random.seed(5)
    items: list[object] = [3, 1, 2]
    guard = namespace["Guard"]()  # type: ignore[operator]
    return {
        "gen": namespace["gen"],
        "sub": namespace["sub"],
        "Guard": namespace["Guard"],
        "items": items,
        "guard": guard,
        "it": namespace["gen"](items, guard),  # type: ignore[operator]
    }


def draw(names: dict[str, object], count: int) -> list[str]:
    found = []
    for _ in range(count):
        try:
            found.append(repr(next(names["it"])))  # type: ignore[call-overload]
        except (StopIteration, ValueError, TypeError, RuntimeError) as error:
            found.append(type(error).__name__)
            break
    return [*found, repr(names["items"])[:2000], repr(vars(names["guard"])), repr(random.random())]  # type: ignore[arg-type]


def check(seed: int, folder: Path) -> str:
    rng = random.Random(seed)
    before, entered, drawn = rng.randint(0, 2), rng.randint(0, 9), rng.randint(0, 3)
    store = Store(folder)
    recorded = made(program(seed, False))
    draw(recorded, before)
    capturer = store.capturer()
    capturer.baseline({"frame:0": recorded})
    draw(recorded, entered)
    taken = store.take(capturer, recorded)
    capturer.close()
    assert taken is not None
    if taken.not_captured:
        return "lost"
    truth = draw(recorded, 12)
    live = made(program(seed, rng.random() < 0.5))
    draw(live, before)
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": live})
    draw(live, drawn)
    restored = restorer.restore(store.snapshot(), {"frame:0": live})
    if restored.missing or restored.mismatched:
        return "refused"
    live.update(restored.bindings["frame:0"])
    told = f"seed {seed}: {before} {entered} {drawn}\n{program(seed, False)}"
    assert draw(live, 12) == truth, told
    return "exact"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a yield in a finally, when it is dropped
@pytest.mark.parametrize("seeds", [range(200), pytest.param(range(200, 3000), marks=pytest.mark.slow)])
def test_it_goes_on_exactly_or_is_refused(seeds: range, tmp_path: Path) -> None:
    found = Counter(check(seed, tmp_path / str(seed)) for seed in seeds)
    gc.collect()  # what they raise when they are dropped belongs to this test
    assert found["exact"] > len(seeds) / 2, found
