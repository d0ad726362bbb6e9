"""The main loop and its nest, over training scripts of many shapes. A case is a script with marks on its loops.

``#> 0 epoch`` at the end of a `for` line: it is wrapped at depth 0 under that name. Lines of the form ``# --- path`` begin
another file. A script without marks is recorded without loops.
"""

from __future__ import annotations

import re

import pytest
from flor_instrument import Found, NoSuchLoopError, find_loops

SHAPES: dict[str, str] = {
    "torch at module level": """
        import torch
        for epoch in range(10):  #> 0 epoch
            for x, y in loader:  #> 1 step
                opt.zero_grad()
                loss(model(x), y).backward()
                opt.step()
            for x, y in val_loader:
                acc = evaluate(model(x), y)
        """,
    "two functions": """
        import torch
        def train_epoch(model, loader, opt):
            model.train()
            for i, (x, y) in enumerate(loader):  #> 1 i
                opt.zero_grad(); model(x).sum().backward(); opt.step()
        def test(model, loader):
            model.eval()
            for x, y in loader:
                model(x)
        def main():
            for epoch in range(1, 11):  #> 0 epoch
                train_epoch(model, loader, opt)
                test(model, loader)
        if __name__ == "__main__":
            main()
        """,
    "trainer class in another module": """
        from lib.trainer import Trainer
        def main():
            trainer = Trainer(make_model())
            trainer.fit(10)
        main()
        # --- lib/trainer.py
        class Trainer:
            def __init__(self, model):
                self.model = model
            def fit(self, epochs):
                for epoch in range(epochs):  #> 0 epoch
                    self.train_epoch(epoch)
                    self.validate()
            def train_epoch(self, epoch):
                self.model.train()
                for batch_idx, batch in enumerate(self.loader):  #> 1 batch_idx
                    loss = self.step(batch)
            def step(self, batch):
                loss = self.model(batch)
                loss.backward()
                self.optimizer.step()
            def validate(self):
                self.model.eval()
                for batch in self.val_loader:
                    self.model(batch)
        """,
    "trainer whose method is called train, as the model's": """
        import torch
        class Trainer:
            def train(self):
                for epoch in range(self.epochs):  #> 0 epoch
                    self.net.train()
                    for batch in self.loader:  #> 1 batch
                        self.net.train()
                        self.net(batch).backward()
                        self.opt.step()
        Trainer().train()
        """,
    "folds": """
        import torch
        for fold, (a, b) in enumerate(split.split(X)):  #> 0 fold
            model = Net()
            for epoch in range(5):  #> 1 epoch
                for xb in batches(a):  #> 2 xb
                    model(xb).backward(); opt.step()
        """,
    "seeds over a function": """
        import torch
        def run(seed):
            for epoch in range(5):  #> 1 epoch
                for xb, yb in loader:  #> 2 step
                    model(xb).backward(); opt.step()
        for seed in (0, 1, 2):  #> 0 seed
            run(seed)
        """,
    "step loop over an endless loader": """
        import torch
        it = iter(loader)
        for step in range(100000):  #> 0 step
            x = next(it)
            loss = model(x)
            loss.backward()
            optimizer.step()
        """,
    "iterations over a loader directly": """
        import torch
        for i, batch in enumerate(loader):  #> 0 i
            model(batch).backward()
            optim.step()
        """,
    "anonymous counter": """
        import torch
        for _ in range(args.num_epochs):  #> 0 epoch
            for data in train_loader:  #> 1 data
                model(data).backward(); optimizer.step()
        """,
    "anonymous counter of nothing told": """
        import torch
        for _ in range(10):  #> 0 epoch
            for _ in range(20):  #> 1 step
                model(1).backward(); optimizer.step()
        """,
    "the same variable twice": """
        import torch
        for i in range(10):  #> 0 i
            for i, x in enumerate(loader):  #> 1 step
                model(x).backward(); optimizer.step()
        """,
    "tqdm": """
        import torch
        from tqdm import tqdm, trange
        for epoch in trange(10):  #> 0 epoch
            for batch in tqdm(loader, desc="train"):  #> 1 batch
                model(batch).backward(); optimizer.step()
        """,
    "progress bar with a name": """
        import torch
        import tqdm
        for epoch in range(10):  #> 0 epoch
            bar = tqdm.tqdm(enumerate(loader), total=3)
            for i, batch in bar:  #> 1 step
                model(batch).backward(); optimizer.step()
        """,
    "two optimizers": """
        import torch
        for epoch in range(10):  #> 0 epoch
            for real in loader:  #> 1 real
                for _ in range(5):  #> 2 step
                    d(real).backward(); opt_d.step()
                g(real).backward(); opt_g.step()
        """,
    "gradient accumulation": """
        import torch
        for epoch in range(10):  #> 0 epoch
            for i, x in enumerate(loader):  #> 1 i
                (model(x) / 4).backward()
                if i % 4 == 3:
                    optimizer.step(); optimizer.zero_grad()
        """,
    "lbfgs with a closure": """
        import torch
        def main():
            for it in range(20):  #> 0 it
                def closure():
                    opt.zero_grad()
                    loss = f()
                    loss.backward()
                    return loss
                opt.step(closure)
        main()
        """,
    "sklearn partial_fit": """
        from sklearn.linear_model import SGDClassifier
        clf = SGDClassifier()
        for epoch in range(5):  #> 0 epoch
            for start in range(0, n, 100):  #> 1 start
                clf.partial_fit(X[start:start + 100], y[start:start + 100])
            print(clf.score(X, y))
        """,
    "sklearn grid": """
        from sklearn.svm import SVC
        for c in (0.1, 1, 10):  #> 0 c
            SVC(C=c).fit(X, y)
        """,
    "an encoder per column is not the training": """
        from sklearn.preprocessing import LabelEncoder
        import torch
        for col in columns:
            df[col] = LabelEncoder().fit(df[col]).transform(df[col])
        for epoch in range(3):  #> 0 epoch
            model(df).backward(); optimizer.step()
        """,
    "numpy by hand": """
        import numpy as np
        w = np.zeros(3)
        for epoch in range(100):  #> 0 epoch
            total = 0
            for row in X:
                total += row.sum()
            w -= lr * (X.T @ (X @ w - y))
        """,
    "numpy in batches": """
        import numpy as np
        for epoch in range(100):  #> 0 epoch
            for start in range(0, len(X), 32):  #> 1 start
                w -= lr * gradient(X[start:start + 32])
        """,
    "a sample at a time: naming would cost more than training": """
        import numpy as np
        for epoch in range(100):  #> 0 epoch
            for x, y in zip(X, Y):
                w -= lr * (w @ x - y) * x
        """,
    "numpy written out": """
        import numpy as np
        def descend(w):
            for step in range(100):  #> 0 step
                w = w - 0.1 * gradient(w)
            return w
        print(descend(np.zeros(3)))
        """,
    "jax": """
        import jax, optax
        @jax.jit
        def update(params, opt_state, batch):
            for layer in range(3):
                params = f(params)
            grads = jax.grad(loss)(params, batch)
            updates, opt_state = optimizer.update(grads, opt_state)
            return optax.apply_updates(params, updates), opt_state
        for epoch in range(10):  #> 0 epoch
            for batch in data():  #> 1 batch
                params, opt_state = update(params, opt_state, batch)
        """,
    "keras by hand": """
        import tensorflow as tf
        for epoch in range(10):  #> 0 epoch
            for step, (x, y) in enumerate(dataset):  #> 1 step
                with tf.GradientTape() as tape:
                    loss = model(x)
                optimizer.apply_gradients(zip(tape.gradient(loss, v), v))
        """,
    "train_on_batch": """
        for epoch in range(10):  #> 0 epoch
            for x, y in batches():  #> 1 batch
                model.train_on_batch(x, y)
        """,
    "accelerate": """
        from accelerate import Accelerator
        accelerator = Accelerator()
        def main():
            for epoch in range(10):  #> 0 epoch
                for batch in loader:  #> 1 batch
                    accelerator.backward(model(batch))
                    optimizer.step()
        if __name__ == "__main__":
            main()
        """,
    "a library's train_one_epoch": """
        from engine import train_one_epoch, evaluate
        for epoch in range(10):  #> 0 epoch
            train_one_epoch(model, loader)
            evaluate(model)
        """,
    "hydra": """
        import hydra, torch
        @hydra.main(config_path="conf")
        def main(cfg):
            for epoch in range(cfg.epochs):  #> 0 epoch
                for batch in loader:  #> 1 batch
                    model(batch).backward(); opt.step()
        main()
        """,
    "spawned by a library": """
        import torch
        import torch.multiprocessing as mp
        def worker(rank, size):
            for epoch in range(3):  #> 0 epoch
                for batch in loader:  #> 1 batch
                    model(batch).backward(); opt.step()
        if __name__ == "__main__":
            mp.spawn(worker, args=(2,), nprocs=2)
        """,
    "one of two branches": """
        import torch
        if mode == "fast":
            for step in range(10):  #> 0 step
                model(x).backward(); opt.step()
        else:
            for step in range(100):  #> 0 step
                model(x).backward(); opt.step()
        """,
    "a warm-up before": """
        import torch
        for _ in range(3):
            model(x).backward(); opt.step()
        for epoch in range(10):  #> 0 epoch
            for batch in loader:  #> 1 batch
                model(batch).backward(); opt.step()
        """,
    "two phases": """
        import torch
        for epoch in range(10):
            pre(x).backward(); opt.step()
        for epoch in range(10):
            fine(x).backward(); opt.step()
        """,
    "nothing is trained": """
        for line in open("a.txt"):
            print(line)
        """,
    "a library has the loop": """
        from transformers import Trainer
        trainer = Trainer(model)
        trainer.train()
        """,
    "while": """
        import torch
        while step < 100:  #> 0 step
            model(x).backward(); opt.step(); step += 1
        """,
    "while around for": """
        import torch
        while step < 100:  #> 0 step
            for batch in loader:  #> 1 batch
                model(batch).backward(); opt.step(); step += 1
        """,
    "while true": """
        import torch
        def main():
            iter_num, local_iter_num = 0, 0
            while True:  #> 0 iter_num
                for micro_step in range(4):  #> 1 micro_step
                    model(x).backward()
                optimizer.step()
                iter_num += 1
                if iter_num > n:
                    break
        main()
        """,
    "while in a trainer": """
        import torch
        class Trainer:
            def run(self):
                while not self.stopped and self.epoch_count < self.most:  #> 0 epoch_count
                    self.train_one()
                    self.epoch_count += 1
            def train_one(self):
                for x in self.loader:  #> 1 x
                    self.loss(x).backward(); self.optimizer.step()
        Trainer().run()
        """,
    "while that tries again": """
        import torch
        while True:
            try:
                for epoch in range(3):  #> 0 epoch
                    model(x).backward(); optimizer.step()
                break
            except RuntimeError:
                size //= 2
        """,
    "while in a class body": """
        import torch
        class Trained:
            step = 0
            while step < 3:
                model(x).backward(); optimizer.step()
                step += 1
        """,
    "while that assigns": """
        import torch
        while (batch := next(it, None)) is not None:
            model(batch).backward(); optimizer.step()
        """,
    "async for": """
        import torch, asyncio
        async def main():
            async for batch in stream():
                model(batch).backward(); opt.step()
        asyncio.run(main())
        """,
    "compiled": """
        import numba, numpy as np
        @numba.njit
        def descend(w):
            for i in range(10):
                w -= 0.1 * w
            return w
        for epoch in range(5):  #> 0 epoch
            w = descend(w)
        """,
    "compiled by name": """
        import torch
        def train(model, loader):
            for x in loader:
                model(x).backward(); opt.step()
        train = torch.compile(train)
        for epoch in range(5):  #> 0 epoch
            train(model, loader)
        """,
    "a generator that yields losses": """
        import torch
        def losses():
            for batch in loader:
                loss = model(batch); loss.backward(); opt.step()
                yield loss
        for loss in losses():  #> 0 loss
            print(loss)
        """,
    "names its loops itself": """
        import flor, torch
        for epoch in flor.loop("epoch", range(3)):
            model(x).backward(); opt.step()
        """,
    "main in a package": """
        from pkg.cli import main
        main()
        # --- pkg/__init__.py
        # --- pkg/cli.py
        from .loop import run
        def main():
            run()
        # --- pkg/loop.py
        import torch
        def run():
            for epoch in range(3):  #> 0 epoch
                for batch in loader:  #> 1 batch
                    model(batch).backward(); opt.step()
        if __name__ == "__main__":
            for epoch in range(9):
                model(x).backward(); opt.step()
        """,
    "reached by what cannot be followed": """
        import registry
        registry.create(name)()
        # --- registry.py
        import torch
        TABLE = {}
        class Job:
            def __call__(self):
                for epoch in range(3):  #> 0 epoch
                    model(x).backward(); opt.step()
        def create(name):
            return TABLE[name]
        """,
    "a counter that is an attribute": """
        import torch
        class T:
            def go(self):
                for self.epoch in range(3):  #> 0 epoch
                    self.loss().backward(); self.opt.step()
        T().go()
        """,
    "reinforcement": """
        import gym, torch
        for episode in range(100):  #> 0 episode
            state = env.reset()
            for t in range(200):  #> 1 t
                state, reward = env.step(policy(state))
                optimizer.zero_grad(); loss.backward(); optimizer.step()
        """,
    "update after an episode of steps": """
        import gym, torch
        for episode in range(100):  #> 0 episode
            for t in range(200):
                state, reward = env.step(policy(state))
            loss.backward(); optimizer.step()
        """,
}
MARK = re.compile(r"#> (\d) (\w+)")


def files_of(text: str) -> dict[str, str]:
    import textwrap

    found: dict[str, list[str]] = {"train.py": []}
    current = "train.py"
    for line in textwrap.dedent(text).splitlines()[1:]:
        if line.startswith("# --- "):
            current = line[6:].strip()
            found[current] = []
        else:
            found[current].append(line)
    return {path: "\n".join(lines) + "\n" for path, lines in found.items()}


def look(text: str, **options: object) -> Found:
    files = {path: source.encode() for path, source in files_of(text).items()}
    return find_loops(files, "train.py", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loops_that_a_person_would_name(shape: str) -> None:
    marked = set()
    for path, source in files_of(SHAPES[shape]).items():
        for number, line in enumerate(source.splitlines(), 1):
            if found := MARK.search(line):
                marked.add((path, number, int(found[1]), found[2]))
    chosen = look(SHAPES[shape])
    assert {(one.path, one.line, one.depth, one.name) for one in chosen.loops} == marked, chosen
    assert bool(chosen.reason) == (not marked)


def test_what_counts_stays_around_the_loop() -> None:
    inside = {
        "range(3)": 0,
        "enumerate(loader)": 1,
        "enumerate(loader, start=1)": 1,
        "tqdm(enumerate(loader))": 2,
        "enumerate(tqdm(loader))": 2,
        "trange(3)": 0,
        "zip(a, b)": 0,
        "enumerate(x for x in y)": 0,  # the brackets of the call are the generator's own
        "enumerate(*pair)": 0,
        "reversed(range(3))": 0,
    }
    for iterable, count in inside.items():
        source = f"import torch\nfrom tqdm import tqdm, trange\nfor i in {iterable}:\n    l.backward(); opt.step()\n"
        [loop] = find_loops({"t.py": source.encode()}, "t.py").loops
        assert loop.inside == count, iterable
    source = "import torch\ndef enumerate(x): return x\nfor i in enumerate(y):\n    l.backward()\n"
    [loop] = find_loops({"t.py": source.encode()}, "t.py").loops
    assert loop.inside == 0  # their own


def test_a_person_names_the_loop() -> None:
    found = look(SHAPES["two phases"], named=[("train.py", 4)])
    assert [(one.line, one.name) for one in found.loops] == [(4, "epoch")]
    both = look(SHAPES["two phases"], named=[("train.py", 2), ("train.py", 4)])
    assert [one.line for one in both.loops] == [2, 4]
    assert [one.line for one in look(SHAPES["two phases"]).candidates] == [2, 4]
    untrained = look(SHAPES["nothing is trained"], named=[("train.py", 1)])
    assert [one.name for one in untrained.loops] == ["line"]
    for shape, line, words in (
        ("while that assigns", 2, "its condition assigns a variable"),
        ("async for", 3, "async for"),
        ("compiled", 4, "compiled by a library"),
        ("a generator that yields losses", 3, "in a generator"),
        ("two phases", 3, "no loop begins at train.py line 3: its loops begin at lines 2, 4"),
    ):
        with pytest.raises(NoSuchLoopError, match=words):
            look(SHAPES[shape], named=[("train.py", line)])


def test_sources_that_cannot_be_read() -> None:
    assert "cannot be parsed" in find_loops({"t.py": b"for x in"}, "t.py").reason
    assert find_loops({"t.py": b"\x00"}, "t.py").reason
    deep = b"x = " + b"(" * 150 + b"1" + b")" * 150 + b"\n"
    assert not find_loops({"t.py": deep}, "t.py").loops
