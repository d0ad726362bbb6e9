"""Generators and iterators in the middle of their work: after a restore they go on as the recorded ones did.

Each case makes its state, and draws from it; it is recorded after some draws, made anew in the place of another process
and drawn a different number of times, restored, and from there both must give the same, with all that they share.
"""

from __future__ import annotations

import itertools
import queue
import random
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)


def counting(n):
    total = 0
    for i in range(n):
        total += i
        yield total


def forever(x, size):
    while True:
        rows = torch.randint(0, len(x), (size,))
        yield x[rows]


def epochs(loader):
    epoch = 0
    while True:
        for batch in loader:
            yield epoch, batch
        epoch += 1


def shuffled(n, size, rng):
    order = rng.permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size].copy()


def delegating(n):
    yield "first"
    yield from counting(n)
    for letter in ("a", "b", "c"):
        for number in [1, 2]:
            yield letter, number


def zipped(n):
    for index, (a, b) in enumerate(zip(range(n), [3 * i for i in range(n)], strict=True)):
        yield index, a, b


def keywords(first, /, second=2, *rest, third, **more):
    for part in (first, second, *rest, third, *more.values()):
        yield part, len(rest)


def squares(values):
    return (value * value for value in values)


def guarded(n):
    with torch.no_grad():
        for i in range(n):
            yield i, torch.is_grad_enabled()


class Window:
    """Iterates itself by a generator that changes it."""

    def __init__(self, items):
        self.items = list(items)
        self.seen = 0

    def __iter__(self):
        for item in self.items:
            self.seen += 1
            yield item, self.seen


class Noisy(Dataset):
    def __len__(self):
        return 11

    def __getitem__(self, index):
        return torch.tensor([float(index), random.random()]) + torch.rand(1)


class Stream(IterableDataset):
    def __iter__(self):
        for i in range(9):
            yield torch.tensor(float(i)) + torch.rand(())


def loader(**options):
    return DataLoader(TensorDataset(torch.arange(10.0)), **{"batch_size": 3, "shuffle": True, **options})


def having(key, value, make):
    """A namespace with a thing and what draws from it."""
    return {key: value, "it": make(value)}


# name -> what makes the namespace; `it` is what is drawn from
CASES: dict[str, Callable[[], dict[str, object]]] = {
    "for over a range": lambda: {"it": counting(20)},
    "endless": lambda: having("x", torch.arange(7.0), lambda x: forever(x, 3)),
    "an order drawn once": lambda: having("rng", np.random.default_rng(3), lambda rng: shuffled(20, 3, rng)),
    "yield from": lambda: {"it": delegating(5)},
    "enumerate and zip": lambda: {"it": zipped(12)},
    "every kind of parameter": lambda: {"it": keywords(1, 5, 6, 7, third=8, a=9, b=10)},
    "generator expression": lambda: {"it": squares(range(12))},
    "in a with": lambda: {"it": guarded(12)},
    "a method's": lambda: having("w", Window("abcdefghij"), iter),
    "two that share one": lambda: having("one", counting(30), lambda one: zip(one, one, strict=False)),
    "islice of a generator": lambda: {"it": itertools.islice(counting(30), 1, 20, 2)},
    "chain": lambda: {"it": itertools.chain(counting(3), counting(9))},
    "map": lambda: {"it": map(abs, counting(12))},
    "an iterator of one's own": lambda: {"it": Walking([*range(30)])},
    "a generator over it": lambda: {"it": squares(Walking([*range(40)]))},
    "list iterator": lambda: having("items", list(range(12)), iter),
    "loader": lambda: having("loader", loader(batch_size=1), iter),
    "loader, batches": lambda: having("loader", loader(), epochs),
    "loader, last one dropped": lambda: {"it": epochs(loader(drop_last=True))},
    "loader, a long order": lambda: {
        "it": epochs(DataLoader(TensorDataset(torch.arange(5000.0)), batch_size=700, shuffle=True))
    },
    "loader with a generator": lambda: having("g", torch.Generator(), lambda g: epochs(loader(generator=g))),
    "loader in order": lambda: {"it": epochs(loader(shuffle=False))},
    "loader, noisy": lambda: {"it": epochs(DataLoader(Noisy(), batch_size=2, shuffle=True))},
    "loader, replacement": lambda: {
        "it": epochs(loader(shuffle=False, sampler=RandomSampler(range(10), replacement=True, num_samples=40)))
    },
    "loader, weighted": lambda: {
        "it": epochs(loader(shuffle=False, sampler=WeightedRandomSampler([1.0] * 10, 12)))
    },
    "loader, subset": lambda: {"it": epochs(loader(shuffle=False, sampler=SubsetRandomSampler(range(2, 9))))},
    "loader, batch sampler": lambda: {
        "it": epochs(
            DataLoader(
                TensorDataset(torch.arange(10.0)), batch_sampler=BatchSampler(RandomSampler(range(10)), 4, False)
            )
        )
    },
    "iterable dataset": lambda: {"it": epochs(DataLoader(Stream(), batch_size=2))},
    "samples, not batches": lambda: {"it": epochs(loader(batch_size=None, shuffle=False))},
}  # fmt: skip


def draw(names: dict[str, object], count: int) -> list[str]:
    """What the next draws give, and what is left in the random generators."""
    found = [repr(next(names["it"], "end")) for _ in range(count)]  # type: ignore[call-overload]
    rest = [names["rng"].bit_generator.state] if "rng" in names else []  # type: ignore[attr-defined]
    rest += [names["g"].initial_seed(), torch.rand(1, generator=names["g"])] if "g" in names else []  # type: ignore[attr-defined]
    return [*found, repr(rest), repr(torch.rand(2)), repr(random.random()), repr(vars(names.get("w", object)))[:300]]


def seeded(make: Callable[[], dict[str, object]], seed: int) -> dict[str, object]:
    torch.manual_seed(seed)
    random.seed(seed)
    return make()


@pytest.mark.parametrize("before", [0, 1, 4, 6])
@pytest.mark.parametrize("drawn", [0, 1, 3])
@pytest.mark.parametrize("name", CASES)
def test_it_goes_on_as_recorded(store, name, before, drawn):
    """`before`: draws before loop entry and the checkpoint; `drawn`: in the other process, before it is restored."""
    make = CASES[name]
    recorded = seeded(make, 1)
    capturer = store.capturer()
    capturer.baseline({"frame:0": recorded})
    for _ in range(before):
        next(recorded["it"])
    taken = store.take(capturer, recorded)
    capturer.close()
    assert store.warnings == []
    assert taken.not_captured == (), taken.not_captured
    truth = draw(recorded, 7)

    names = seeded(make, 2)
    import flor_checkpoint as fc

    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": names})
    for _ in range(drawn):
        next(names["it"])
    for _ in range(2):  # as often as wanted
        restored = restorer.restore(store.snapshot(), {"frame:0": names})
        assert not restored.missing, restored.missing
        assert not restored.mismatched, restored.mismatched
        names.update(restored.bindings["frame:0"])
        assert draw(names, 7) == truth


def test_made_anew_in_the_loop(store):
    """``except StopIteration: it = iter(loader)``: nothing stands in its place when the loop is entered."""

    def make():
        torch.manual_seed(5)
        made = loader(batch_size=1, generator=torch.Generator())
        return {"loader": made, "it": None, "own": counting(4)}

    def change(names):
        names["it"] = iter(names["loader"])
        names["own"] = epochs(names["loader"])
        next(names["it"])
        for _ in range(3):
            next(names["own"])

    recorded, names, restored = store.round_trip(make, change)
    assert not restored.missing, restored.missing
    assert names["it"]._index_sampler is names["loader"]._index_sampler
    for each in ("it", "own", "it"):
        state = torch.get_rng_state()
        truth = repr([next(recorded[each]) for _ in range(3)])
        torch.set_rng_state(state)
        assert repr([next(names[each]) for _ in range(3)]) == truth


def reading(path):
    with open(path) as file:
        for line in file:
            yield line.strip()


class Drawing(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.generator = counting(9)


def failing():
    try:
        raise ValueError
    except ValueError:
        yield 1


LOST: dict[str, Callable[[], object]] = {
    "an open file": lambda: reading(__file__),
    "a file handed over": lambda: squares(open(__file__)),  # noqa: SIM115
    "an exception": failing,
    "worker processes": lambda: iter(loader(num_workers=1)),
    "inside them": lambda: epochs(loader(num_workers=1)),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_elsewhere_is_lost(store, name):
    it = LOST[name]()
    capturer = store.capturer()
    capturer.baseline({"frame:0": {"it": it}})
    if name != "a file handed over":
        next(it)
    taken = store.take(capturer, {"it": it})
    capturer.close()
    assert any(entry.path.startswith("frame:0.it") for entry in taken.not_captured)
    assert all(entry.holders == (("frame:0", "it"),) for entry in taken.not_captured)


def test_a_threads_generator_is_lost(store):
    thread = Drawing()
    capturer = store.capturer()
    capturer.baseline({"frame:0": {"thread": thread}})
    next(thread.generator)
    assert [entry.path for entry in store.take(capturer, {"thread": thread}).not_captured]
    capturer.close()


class Prefetching:
    """Draws ahead in a thread."""

    def __init__(self, items):
        self.generator = items
        self.queue = queue.Queue(2)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for item in self.generator:
            self.queue.put(item)

    def __iter__(self):
        return self

    def __next__(self):
        return self.queue.get()


class Walking:
    """An iterator of the project's own."""

    def __init__(self, items):
        self.items, self.at = items, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.at += 1
        return self.items[self.at]


@pytest.mark.parametrize("wrap", [lambda made: made, epochs, squares])
def test_what_a_thread_feeds_is_lost(store, wrap):
    prefetching = Prefetching(counting(1000))
    names = {"it": wrap(prefetching), "prefetching": prefetching}
    capturer = store.capturer()
    capturer.baseline({"frame:0": names})
    next(names["it"])
    paths = {entry.path for entry in store.take(capturer, names).not_captured}
    capturer.close()
    assert "frame:0.it" in paths


def other_code(n):
    yield n
    for i in range(n):
        yield i, n


def test_code_that_has_changed_is_refused(store):
    """As when a statement added by hindsight holds a yield."""
    import flor_checkpoint as fc

    capturer = store.capturer()
    names = {"it": counting(5)}
    capturer.baseline({"frame:0": names})
    next(names["it"])
    store.take(capturer, names)
    capturer.close()
    live = {"it": other_code(5)}
    restorer = fc.Restorer(None)
    restorer.baseline({"frame:0": live})
    before = counting.__code__
    counting.__code__ = other_code.__code__.replace(co_qualname="counting", co_name="counting")
    try:
        restored = restorer.restore(store.snapshot(), {"frame:0": live})
    finally:
        counting.__code__ = before
    assert [path for path, _ in restored.missing] == ["frame:0.it"]


@pytest.mark.parametrize("mode", ["r", "rb", "r+"])
def test_a_file_is_read_on_from_where_it_was(store, tmp_path, mode):
    import flor_checkpoint as fc

    path = tmp_path / "lines.txt"
    path.write_bytes("".join(f"line {i} \N{SNOWMAN}\n" for i in range(20)).encode())
    with open(path, mode) as recorded, open(path, mode) as live, open(tmp_path / "log", "w") as log:
        capturer = store.capturer()
        names = {"file": recorded, "log": log}
        capturer.baseline({"frame:0": names})
        for _ in range(7):
            recorded.readline()
        assert store.take(capturer, names).not_captured == ()
        capturer.close()
        restorer = fc.Restorer(None)
        restorer.baseline({"frame:0": {"file": live, "log": log}})
        live.readline()
        restored = restorer.restore(store.snapshot(), {"frame:0": {"file": live, "log": log}})
        assert (restored.missing, restored.bindings["frame:0"]) == ([], {})
        assert live.readline() == recorded.readline()


def test_a_file_in_a_for_statement_is_lost(store):
    with open(__file__) as file, open(__file__) as later:
        capturer = store.capturer()
        capturer.baseline({"frame:0": {"file": file}})
        for _ in file:
            taken = store.take(capturer, {"file": file, "later": later})
            break
        capturer.close()
    assert sorted(entry.path for entry in taken.not_captured) == ["frame:0.file", "frame:0.later"]
