"""What a patch keeps over iterations: each case is a script; its `+` lines were inserted."""

from __future__ import annotations

import textwrap

import pytest
from flor_instrument.analysis.carrying import Carried, carried

HEAD = """\
import flor
import torch
model, loader, history, scheduler = build()
"""
LOOPS = """\
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", loader):
        loss = model(step)
    acc = test(model)
"""


def judge(text: str, head: str = HEAD) -> Carried:
    lines = (head + textwrap.dedent(text).lstrip("\n")).splitlines()
    source = "\n".join(line[1:] if line.startswith("+") else line for line in lines)
    found: list[tuple[int, int]] = []
    for number, line in enumerate(lines, 1):
        if line.startswith("+"):
            if found and found[-1][1] == number - 1:
                found[-1] = (found[-1][0], number)
            else:
                found.append((number, number))
    return carried(source.encode(), found)


KEEPS_OVER_MAIN = {
    "running mean": """
        +ema = 0.0
        for epoch in flor.loop("epoch", range(3)):
            loss = model(epoch)
        +    ema = 0.9 * ema + 0.1 * loss
        +    flor.log("ema", ema)
        """,
    "list": """
        +norms = []
        for epoch in flor.loop("epoch", range(3)):
            loss = model(epoch)
        +    norms.append(loss)
        +    flor.log("mean", sum(norms))
        """,
    "meter": """
        +meter = Meter()
        for epoch in flor.loop("epoch", range(3)):
            loss = model(epoch)
        +    meter.update(loss)
        """,
    "unknown method of an own object": """
        +meter = Meter()
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("m", meter.look(epoch))
        """,
    "augmented": """
        +total = 0
        for epoch in flor.loop("epoch", range(3)):
        +    total += 1
        +    flor.log("n", total)
        """,
    "subscript": """
        +seen = {}
        for epoch in flor.loop("epoch", range(3)):
        +    seen[epoch] = 1
        +    flor.log("n", len(seen))
        """,
    "conditional binding": """
        for epoch in flor.loop("epoch", range(3)):
        +    if epoch == 0:
        +        base = epoch
        +    flor.log("d", epoch - base)
        """,
    "conditional in one branch": """
        for epoch in flor.loop("epoch", range(3)):
        +    if epoch % 2:
        +        base = epoch
        +    else:
        +        pass
        +    flor.log("d", base)
        """,
    "previous value": """
        +last = 0.0
        for epoch in flor.loop("epoch", range(3)):
            loss = model(epoch)
        +    flor.log("delta", loss - last)
        +    last = loss
        """,
    "try to find it": """
        for epoch in flor.loop("epoch", range(3)):
        +    try:
        +        first
        +    except NameError:
        +        first = epoch
        +    flor.log("first", first)
        """,
    "walrus in a condition": """
        for epoch in flor.loop("epoch", range(3)):
        +    if epoch and (best := epoch):
        +        pass
        +    flor.log("best", best)
        """,
    "read after the loop": """
        for epoch in flor.loop("epoch", range(3)):
        +    norm = model(epoch)
        +flor.log("last", norm)
        """,
    "best so far read after": """
        +best = 0
        for epoch in flor.loop("epoch", range(3)):
            acc = model(epoch)
        +    if acc > best:
        +        best = acc
        +flor.log("best", best)
        """,
    "attribute of self": """
        class T:
            def fit(self):
                for epoch in flor.loop("epoch", range(3)):
                    loss = 1
        +            self.total += loss
        +            flor.log("t", self.total)
        T().fit()
        """,
    "list made in the constructor": """
        class T:
            def __init__(self):
                self.n = 1
        +        self.norms = []
            def fit(self):
                for epoch in flor.loop("epoch", range(3)):
        +            self.norms.append(epoch)
                    pass
        T().fit()
        """,
    "attribute of the model": """
        for epoch in flor.loop("epoch", range(3)):
        +    model.seen = epoch
            pass
        """,
    "helper with a global": """
        +count = 0
        +def tick():
        +    global count
        +    count += 1
        +    return count
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", tick())
            pass
        """,
    "helper with a global list": """
        +kept = []
        +def keep(x):
        +    kept.append(x)
        +    return len(kept)
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", keep(epoch))
            pass
        """,
    "helper with a default": """
        +def keep(x, kept=[]):
        +    kept.append(x)
        +    return len(kept)
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", keep(epoch))
            pass
        """,
    "helper with an attribute": """
        +def keep(x):
        +    keep.last = x
        for epoch in flor.loop("epoch", range(3)):
        +    keep(epoch)
            pass
        """,
    "closure": """
        +def counter():
        +    n = 0
        +    def tick():
        +        nonlocal n
        +        n += 1
        +        return n
        +    return tick
        +tick = counter()
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", tick())
            pass
        """,
    "cached helper": """
        +from functools import lru_cache
        +@lru_cache
        +def f(x):
        +    return x
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", f(epoch))
            pass
        """,
    "helper that marks its argument": """
        +def mark(m):
        +    m.calls = 1
        for epoch in flor.loop("epoch", range(3)):
        +    mark(model)
            pass
        """,
    "class with a list": """
        +class Meter:
        +    values = []
        +    def put(self, x):
        +        self.values.append(x)
        for epoch in flor.loop("epoch", range(3)):
        +    Meter().put(epoch)
            pass
        """,
    "class that counts its calls": """
        +class Meter:
        +    n = 0
        +    def put(self):
        +        Meter.n += 1
        for epoch in flor.loop("epoch", range(3)):
        +    Meter().put()
            pass
        """,
    "hook": """
        +acts = []
        +model.register_forward_hook(lambda m, i, o: acts.append(o))
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", len(acts))
            pass
        """,
    "hook registered in the loop": """
        +def hook(m, i, o):
        +    return None
        for epoch in flor.loop("epoch", range(3)):
        +    model.register_forward_hook(hook)
            pass
        """,
    "existing list": """
        for epoch in flor.loop("epoch", range(3)):
        +    history.append(epoch)
        +    flor.log("n", len(history))
            pass
        """,
    "alias of an existing list": """
        for epoch in flor.loop("epoch", range(3)):
        +    mine = history
        +    mine.append(epoch)
            pass
        """,
    "iterator": """
        +it = iter(loader)
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("x", next(it))
            pass
        """,
    "existing iterator": """
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("x", next(loader))
            pass
        """,
    "own random generator": """
        +gen = torch.Generator()
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("x", float(torch.rand(1, generator=gen)))
            pass
        """,
    "generator function": """
        +def numbers():
        +    n = 0
        +    while True:
        +        n += 1
        +        yield n
        +source = numbers()
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("x", next(source))
            pass
        """,
    "existing function that keeps": """
        cache = []
        def keep(x):
            cache.append(x)
            return len(cache)
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("x", keep(epoch))
            pass
        """,
    "globals": """
        for epoch in flor.loop("epoch", range(3)):
        +    globals()["n"] = epoch
            pass
        """,
    "setattr": """
        for epoch in flor.loop("epoch", range(3)):
        +    setattr(model, "n", epoch)
            pass
        """,
    "existing accumulator changed": """
        count = 0
        for epoch in flor.loop("epoch", range(3)):
            pass
        +    count += 1
        +    flor.log("count", count)
        """,
    "in place on a tensor made before": """
        +ema = torch.zeros(3)
        for epoch in flor.loop("epoch", range(3)):
        +    ema.mul_(0.9)
            pass
        """,
    "own list handed to a function": """
        +kept = []
        for epoch in flor.loop("epoch", range(3)):
        +    collect(kept, epoch)
        +    flor.log("n", len(kept))
            pass
        """,
    "own list under a second name": """
        +kept = []
        for epoch in flor.loop("epoch", range(3)):
        +    also = kept
        +    also.append(epoch)
        +    flor.log("n", len(kept))
            pass
        """,
    "one step loop is the main loop": """
        def train():
        +    norms = []
            for step in flor.loop("step", loader):
                pass
        +        norms.append(step)
        +    flor.log("n", len(norms))
        train()
        """,
    "state in a generator": """
        def batches():
        +    n = 0
            for x in loader:
        +        n += 1
        +        flor.log("n", n)
                yield x
        for epoch in flor.loop("epoch", range(3)):
            for step in batches():
                pass
        """,
}

KEEPS_OVER_NESTED = {
    "list of the iteration": (
        """
        for epoch in flor.loop("epoch", range(3)):
        +    norms = []
            for step in flor.loop("step", loader):
                loss = model(step)
        +        norms.append(loss)
        +    flor.log("mean", sum(norms))
        """,
        ("norms",),
    ),
    "sum of the iteration": (
        """
        for epoch in flor.loop("epoch", range(3)):
        +    total = 0.0
            for step in flor.loop("step", loader):
                loss = model(step)
        +        total += loss
        +    flor.log("mean", total)
        """,
        ("total",),
    ),
    "in a function that an iteration calls": (
        """
        def train_epoch():
        +    norms = []
            for step in flor.loop("step", loader):
                pass
        +        norms.append(step)
        +    flor.log("n", len(norms))
        for epoch in flor.loop("epoch", range(3)):
            train_epoch()
        """,
        ("norms",),
    ),
    "last of the nested loop": (
        """
        for epoch in flor.loop("epoch", range(3)):
            for step in flor.loop("step", loader):
                loss = model(step)
        +        seen = loss
        +    flor.log("seen", seen)
        """,
        ("seen",),
    ),
}

KEEPS_NOTHING = {
    "imports": "+import math\n+from torch import nn\n" + LOOPS + '+    flor.log("x", math.pi)\n',
    "plain log": LOOPS + '+    flor.log("acc", acc)\n',
    "helper": """
        +def grad_norm(model):
        +    total = 0.0
        +    for p in model.parameters():
        +        if p.grad is not None:
        +            total += p.grad.norm().item() ** 2
        +    return total ** 0.5
        for epoch in flor.loop("epoch", range(3)):
            for step in flor.loop("step", loader):
                loss = model(step)
        +        flor.log("grad_norm", grad_norm(model))
        """,
    "helper with local list": """
        +def norms(model):
        +    found = []
        +    for p in model.parameters():
        +        found.append(float(p.norm()))
        +    return torch.stack(found)
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", norms(model).mean())
            pass
        """,
    "helper under no_grad": """
        +@torch.no_grad()
        +def weight_norm(model):
        +    return float(sum(p.pow(2).sum() for p in model.parameters()) ** 0.5)
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", weight_norm(model))
            pass
        """,
    "constant": """
        +scale = 100.0
        for epoch in flor.loop("epoch", range(3)):
            acc = model(epoch)
        +    flor.log("n", scale * acc)
        """,
    "constants in a tuple": """
        +LOW, HIGH = 1, 2
        +NAMES = ("a", "b")
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", HIGH - LOW + len(NAMES))
            pass
        """,
    "list that is only read": """
        +levels = [0.1, 0.5]
        for epoch in flor.loop("epoch", range(3)):
        +    for q in levels:
        +        flor.log("q", q)
            pass
        """,
    "starting weights": """
        +start = model.weight.detach().clone()
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("moved", float((model.weight - start).norm()))
            pass
        """,
    "fixed batch": """
        +fixed_x, fixed_y = next(iter(loader))
        for epoch in flor.loop("epoch", range(3)):
        +    with torch.no_grad():
        +        confidence = model(fixed_x).softmax(1).max(1).values.mean()
        +    flor.log("confidence", confidence.item())
            pass
        """,
    "bound before use": """
        for epoch in flor.loop("epoch", range(3)):
            acc = model(epoch)
        +    err = 1 - acc
        +    flor.log("err", err)
        """,
    "bound in the enclosing suite": """
        for epoch in flor.loop("epoch", range(3)):
        +    rate = scheduler.get_last_lr()[0]
            for step in flor.loop("step", loader):
        +        flor.log("rate", rate)
                pass
        """,
    "both branches": """
        for epoch in flor.loop("epoch", range(3)):
        +    if epoch:
        +        x = 1
        +    else:
        +        x = 2
        +    flor.log("x", x)
            pass
        """,
    "comprehension names": """
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", sum(p.norm() for p in model.parameters()))
            pass
        """,
    "accumulator of one iteration": """
        for epoch in flor.loop("epoch", range(3)):
        +    rows = []
        +    for p in model.parameters():
        +        rows.append(p.norm())
        +    flor.log("n", max(rows))
            pass
        """,
    "with as": """
        for epoch in flor.loop("epoch", range(3)):
        +    with open("f") as f:
        +        flor.log("n", len(f.name))
            pass
        """,
    "after the loop": LOOPS + "+counts = {}\n+for p in range(3):\n+    counts[p] = 1\n+flor.log('n', len(counts))\n",
    "loss object": """
        +crit = torch.nn.CrossEntropyLoss()
        for epoch in flor.loop("epoch", range(3)):
            out = model(epoch)
        +    flor.log("ce", crit(out, epoch).item())
        """,
    "own class made anew": """
        +class Meter:
        +    def __init__(self):
        +        self.n = 0
        +    def put(self, x):
        +        self.n += x
        for epoch in flor.loop("epoch", range(3)):
        +    meter = Meter()
        +    meter.put(epoch)
        +    flor.log("n", meter.n)
            pass
        """,
    "existing function": """
        def test(model):
            right = 0
            model.eval()
            for x in loader:
                right += int(model(x))
            return right
        for epoch in flor.loop("epoch", range(3)):
            pass
        +    flor.log("right", test(model))
        """,
    "locals of a function in the loop": """
        def test(model):
        +    wrong = []
            for x in loader:
        +        wrong.append(x)
                model(x)
        +    flor.log("n", len(wrong))
            return 1
        for epoch in flor.loop("epoch", range(3)):
            test(model)
        """,
    "constant of self": """
        class T:
            def __init__(self):
                self.n = 1
        +        self.scale = 10
            def fit(self):
                for epoch in flor.loop("epoch", range(3)):
        +            flor.log("n", self.n * self.scale)
                    pass
        T().fit()
        """,
    "walrus used at once": """
        for epoch in flor.loop("epoch", range(3)):
        +    norm = model(epoch)
        +    flor.log("n", norm)
            pass
        """,
    "library calls": """
        for epoch in flor.loop("epoch", range(3)):
        +    flor.log("n", float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)))
            pass
        """,
}


@pytest.mark.parametrize("name", KEEPS_OVER_MAIN)
def test_what_lives_over_main_iterations_is_found(name: str) -> None:
    found = judge(KEEPS_OVER_MAIN[name])
    assert found.across_main, found
    assert found.reasons


@pytest.mark.parametrize("name", KEEPS_OVER_NESTED)
def test_what_one_main_iteration_makes_is_carried_over_the_nested_loop_only(name: str) -> None:
    text, names = KEEPS_OVER_NESTED[name]
    found = judge(text)
    assert (found.across_main, found.across_nested) == ((), names), found


@pytest.mark.parametrize("name", KEEPS_NOTHING)
def test_what_ends_with_its_iteration_is_not_reported(name: str) -> None:
    found = judge(KEEPS_NOTHING[name])
    assert found == Carried((), (), ()), found


def test_a_source_that_cannot_be_parsed_is_carried() -> None:
    assert carried(b"def (", [(1, 1)]).across_main


def test_other_files_tell_which_loop_is_the_main_one() -> None:
    steps = b"import flor\ndef epoch_of(n):\n    seen = []\n"
    steps += b"    for s in flor.loop('step', range(n)):\n        seen.append(s)\n"
    script = b"import flor\nfrom steps import epoch_of\nfor e in flor.loop('epoch', range(3)):\n    epoch_of(3)\n"
    ranges = [(3, 3), (5, 5)]
    alone = carried(steps, ranges)
    known = carried(steps, ranges, files={"train.py": script}, script="train.py", path="steps.py")
    assert alone.across_main == ("seen",)
    assert (known.across_main, known.across_nested) == ((), ("seen",))
