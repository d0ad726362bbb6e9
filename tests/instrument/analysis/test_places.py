"""Positions of statements: each case is a small project; a trailing `#= …` says every place of its line."""

from __future__ import annotations

import textwrap

import pytest
from flor_instrument.analysis.paths_taken import Place
from flor_instrument.analysis.places import ANYWHERE, where

CASES: dict[str, str | dict[str, str]] = {
    "module level": """
        import flor
        seed = 1  #= BEFORE
        for epoch in flor.loop("epoch", range(3)):  #= BEFORE
            top = 1  #= BEFORE_NESTED
            for step in flor.loop("step", range(3)):  #= BEFORE_NESTED
                x = step  #= NESTED
            bottom = 1  #= AFTER_NESTED
        done = 1  #= AFTER
        """,
    "no nested loop": """
        import flor
        for epoch in flor.loop("epoch", range(3)):
            a = 1  #= ITERATION
            for x in range(3):
                b = 1  #= ITERATION
        c = 1  #= AFTER
        """,
    "import forms": """
        from flor import loop as l, log
        for epoch in l("epoch", range(3)):
            a = 1  #= BEFORE_NESTED
            for step in l("step", range(3)):
                b = 1  #= NESTED
        c = 1  #= AFTER
        """,
    "module alias and wrappers": """
        import flor as f
        from tqdm import tqdm
        for i, epoch in enumerate(f.loop("epoch", range(3))):
            a = 1  #= BEFORE_NESTED
            for x, y in zip(tqdm(f.loop("step", range(3))), range(9)):
                b = 1  #= NESTED
            c = 1  #= AFTER_NESTED
        """,
    "unknown wrapper": """
        import flor
        x = 1  #= ANYWHERE
        for epoch in prefetch(flor.loop("epoch", range(3))):
            a = 1  #= ANYWHERE
        """,
    "consumed at once": """
        import flor
        for epoch in list(flor.loop("epoch", range(3))):
            a = 1  #= ANYWHERE
        """,
    "loop kept in a name": """
        import flor
        epochs = flor.loop("epoch", range(3))
        a = 1  #= BEFORE
        for epoch in epochs:
            b = 1  #= ITERATION
        c = 1  #= AFTER
        """,
    "loop handed on": """
        import flor
        it = iter(flor.loop("epoch", range(3)))
        a = 1  #= ANYWHERE
        """,
    "two nested loops": """
        import flor
        for epoch in flor.loop("epoch", range(3)):
            a = 1  #= BEFORE_NESTED
            for step in flor.loop("step", range(3)):
                b = 1  #= NESTED
            c = 1  #= BETWEEN_NESTED
            for step in flor.loop("val", range(3)):
                d = 1  #= NESTED
            e = 1  #= AFTER_NESTED
        """,
    "two main loops": """
        import flor
        a = 1  #= BEFORE
        for epoch in flor.loop("pre", range(3)):
            b = 1  #= ITERATION
        c = 1  #= BETWEEN
        for epoch in flor.loop("fine", range(3)):
            d = 1  #= ITERATION
        e = 1  #= AFTER
        """,
    "nested loop only sometimes": """
        import flor
        for epoch in flor.loop("epoch", range(3)):
            a = 1  #= BEFORE_NESTED ITERATION
            if epoch % 2:
                b = 1  #= BEFORE_NESTED
                for step in flor.loop("step", range(3)):
                    c = 1  #= NESTED
                d = 1  #= AFTER_NESTED
            e = 1  #= AFTER_NESTED ITERATION
        """,
    "continue before the nested loop": """
        import flor
        for epoch in flor.loop("epoch", range(3)):
            if epoch == 1:
                a = 1  #= ITERATION
                continue
            b = 1  #= BEFORE_NESTED
            for step in flor.loop("step", range(3)):
                c = 1  #= NESTED
            d = 1  #= AFTER_NESTED
        e = 1  #= AFTER
        """,
    "break and else": """
        import flor
        for epoch in flor.loop("epoch", range(3)):
            for step in flor.loop("step", range(3)):
                if step:
                    break
            else:
                a = 1  #= AFTER_NESTED
            if epoch:
                b = 1  #= AFTER_NESTED
                break
            c = 1  #= AFTER_NESTED
        else:
            d = 1  #= AFTER
        e = 1  #= AFTER
        """,
    "while around the nested loop": """
        import flor
        for epoch in flor.loop("epoch", range(3)):
            while not enough():
                a = 1  #= BEFORE_NESTED BETWEEN_NESTED
                for step in flor.loop("step", range(3)):
                    b = 1  #= NESTED
            c = 1  #= ITERATION AFTER_NESTED
        """,
    "while inside": """
        import flor
        for epoch in flor.loop("epoch", range(3)):
            while True:
                a = 1  #= ITERATION
                if a:
                    break
            b = 1  #= ITERATION
        """,
    "main loop in a while": """
        import flor
        while again():
            a = 1  #= BEFORE BETWEEN
            for epoch in flor.loop("epoch", range(3)):
                b = 1  #= ITERATION
            c = 1  #= BETWEEN AFTER
        d = 1  #= BEFORE AFTER
        """,
    "try and finally": """
        import flor
        a = 1  #= BEFORE
        try:
            for epoch in flor.loop("epoch", range(3)):
                b = 1  #= BEFORE_NESTED
                try:
                    for step in flor.loop("step", range(3)):
                        c = 1  #= NESTED
                finally:
                    d = 1  #= ITERATION AFTER_NESTED
        except KeyboardInterrupt:
            e = 1  #= BEFORE AFTER
        finally:
            f = 1  #= BEFORE AFTER
        g = 1  #= BEFORE AFTER
        """,
    "exception inside the nested loop": """
        import flor
        for epoch in flor.loop("epoch", range(3)):
            for step in flor.loop("step", range(3)):
                try:
                    a = 1  #= NESTED
                except ValueError:
                    b = 1  #= NESTED
                    continue
                c = 1  #= NESTED
            d = 1  #= AFTER_NESTED
        """,
    "suppress swallows": """
        import flor
        from contextlib import suppress
        for epoch in flor.loop("epoch", range(3)):
            with suppress(StopIteration):
                for step in flor.loop("step", range(3)):
                    a = 1  #= NESTED
            b = 1  #= ITERATION AFTER_NESTED
        """,
    "checkpointing block": """
        import flor
        with flor.checkpointing(model=m):
            a = 1  #= BEFORE
            for epoch in flor.loop("epoch", range(3)):
                for step in flor.loop("step", range(3)):
                    pass
                b = 1  #= AFTER_NESTED
            c = 1  #= AFTER
        """,
    "function with the nested loop": """
        import flor
        def train_epoch(m):
            a = 1  #= BEFORE_NESTED
            for step in flor.loop("step", range(3)):
                b = 1  #= NESTED
            return 3  #= AFTER_NESTED
        def evaluate(m):
            return 1  #= BEFORE AFTER_NESTED AFTER
        def main():
            c = evaluate(1)  #= BEFORE
            for epoch in flor.loop("epoch", range(3)):
                d = 1  #= BEFORE_NESTED
                train_epoch(m)
                e = evaluate(m)  #= AFTER_NESTED
            return evaluate(m)  #= AFTER
        if __name__ == "__main__":
            main()
            f = 1  #= AFTER
        """,
    "statement that runs the nested loop itself": """
        import flor
        def train_epoch(m):
            for step in flor.loop("step", range(3)):
                pass
        for epoch in flor.loop("epoch", range(3)):
            flor.log("x", train_epoch(1))  #= BEFORE_NESTED AFTER_NESTED
        """,
    "main loop in a function called twice": """
        import flor
        def fit(n):
            a = 1  #= BEFORE BETWEEN
            for epoch in flor.loop("epoch", range(n)):
                b = 1  #= ITERATION
            c = 1  #= BETWEEN AFTER
        fit(1)
        d = 1  #= BETWEEN
        fit(2)
        e = 1  #= AFTER
        """,
    "folds around epochs around steps": """
        import flor
        for fold in flor.loop("fold", range(5)):
            a = 1  #= BEFORE_NESTED
            for epoch in flor.loop("epoch", range(3)):
                b = 1  #= NESTED
                for step in flor.loop("step", range(3)):
                    c = 1  #= NESTED
                d = 1  #= NESTED
            e = 1  #= AFTER_NESTED
        f = 1  #= AFTER
        """,
    "same function as main and as nested loop": """
        import flor
        def fit():
            a = 1  #= BEFORE BEFORE_NESTED
            for epoch in flor.loop("epoch", range(3)):
                b = 1  #= ITERATION NESTED
        fit()
        for fold in flor.loop("fold", range(5)):
            fit()
            c = 1  #= AFTER_NESTED
        """,
    "trainer class": """
        import flor
        class Trainer:
            def __init__(self, model):
                self.model = model  #= BEFORE
            def fit(self):
                a = 1  #= BEFORE
                for epoch in flor.loop("epoch", range(3)):
                    self.train_epoch()
                    self.validate()  #= AFTER_NESTED
                self.report()
            def train_epoch(self):
                self.model.train()
                for step in flor.loop("step", range(3)):
                    self.step()
            def step(self):
                b = 1  #= NESTED
            def validate(self):
                c = 1  #= AFTER_NESTED
            def report(self):
                d = 1  #= AFTER
            def unused(self):
                e = 1  #= ANYWHERE
        t = Trainer(1)
        t.fit()
        f = 1  #= AFTER
        """,
    "train is both the trainer's and the model's": """
        import flor
        import torch
        class Net(torch.nn.Module):
            def forward(self, x):
                return x  #= ANYWHERE
        class Trainer:
            def __init__(self, model):
                self.model = model
            def train(self):
                for epoch in flor.loop("epoch", range(3)):
                    self.model.train()
                    a = 1  #= BEFORE_NESTED
                    for step in flor.loop("step", range(3)):
                        b = self.model(step)  #= NESTED
                    c = 1  #= AFTER_NESTED
        def main():
            model = Net()
            trainer = Trainer(model)
            trainer.train()
            d = 1  #= AFTER
        main()
        """,
    "unpickled receiver": """
        import flor
        import torch
        class T:
            def report(self):
                a = 1  #= BEFORE AFTER
        class U:
            def start(self):
                b = 1  #= BEFORE
        t = T()
        t.report()
        config.unit.start()
        for epoch in flor.loop("epoch", range(3)):
            pass
        s = torch.load("f")
        s.report()
        """,
    "a variable by the name of a function": """
        import flor
        from elsewhere import metrics
        class Metrics:
            def update(self):
                x = 1  #= ITERATION
        def load():
            train = [1, 2]
            return train, len(train)
        def train(n, metrics):
            for epoch in flor.loop("epoch", range(n)):
                a = 1  #= ITERATION
                metrics.update()
        def main():
            data, n = load()
            train(n, Metrics())
            b = 1  #= AFTER
        main()
        """,
    "a function given as an argument": """
        import flor
        def fit(step):
            for epoch in flor.loop("epoch", range(3)):
                step()
        def go():
            a = 1  #= ANYWHERE
        fit(go)
        """,
    "a variable that holds a loop function": """
        import flor
        def fit():
            for epoch in flor.loop("epoch", range(3)):
                a = 1  #= ANYWHERE
        def main(fast):
            run = fit
            run()
        main(1)
        """,
    "unknown receiver may or may not run the loop": """
        import flor
        class Trainer:
            def fit(self):
                for epoch in flor.loop("epoch", range(3)):
                    a = 1  #= ITERATION
        def build(kind):
            return Trainer()
        t = build(1)
        t.fit()
        b = 1  #= BEFORE AFTER
        """,
    "files": {
        "train.py": """
            from engine.loop import run
            import settings  #= BEFORE
            def main():
                run(settings.EPOCHS)
                a = 1  #= AFTER
            if __name__ == "__main__":
                main()
            """,
        "settings.py": """
            EPOCHS = 3  #= BEFORE
            """,
        "engine/__init__.py": "",
        "engine/loop.py": """
            import flor
            from . import metrics
            from .steps import train_epoch as te
            def run(n):
                for epoch in flor.loop("epoch", range(n)):
                    te(n)
                    metrics.accuracy(n)
            """,
        "engine/steps.py": """
            import flor
            def train_epoch(n):
                a = 1  #= BEFORE_NESTED
                for step in flor.loop("step", range(n)):
                    b = 1  #= NESTED
            """,
        "engine/metrics.py": """
            names = []  #= BEFORE
            def accuracy(n):
                return n  #= AFTER_NESTED
            """,
        "other.py": """
            import flor
            def accuracy():
                for x in flor.loop("other", range(3)):
                    pass  #= NOWHERE
            """,
    },
    "trainer over files with inheritance": {
        "train.py": """
            from trainer import DigitsTrainer
            def main():
                DigitsTrainer(3).fit()
                a = 1  #= AFTER
            if __name__ == "__main__":
                main()
            """,
        "base.py": """
            import flor
            class BaseTrainer:
                def fit(self):
                    for epoch in flor.loop("epoch", range(3)):
                        self.train_epoch()
                        self.on_epoch_end()
                def on_epoch_end(self):
                    a = 1  #= AFTER_NESTED
            """,
        "trainer.py": """
            import flor
            from base import BaseTrainer
            class DigitsTrainer(BaseTrainer):
                def train_epoch(self):
                    for step in flor.loop("step", range(3)):
                        a = 1  #= NESTED
                    b = 1  #= AFTER_NESTED
                def on_epoch_end(self):
                    super().on_epoch_end()
                    c = 1  #= AFTER_NESTED
            """,
    },
    "package entry": {
        "pkg/__main__.py": """
            from .train import main
            main()
            a = 1  #= AFTER
            """,
        "pkg/__init__.py": """
            VERSION = 1  #= BEFORE
            """,
        "pkg/train.py": """
            import flor
            def main():
                for epoch in flor.loop("epoch", range(3)):
                    a = 1  #= ITERATION
            if __name__ == "__main__":
                b = 1  #= ANYWHERE
            """,
    },
    "import inside the loop": {
        "train.py": """
            import flor
            for epoch in flor.loop("epoch", range(3)):
                import late
            """,
        "late.py": """
            a = 1  #= ITERATION
            """,
    },
    "src layout and star import": {
        "src/train.py": """
            import flor
            from helpers import *
            for epoch in flor.loop("epoch", range(3)):
                run_epoch()
            """,
        "src/helpers.py": """
            import flor
            def run_epoch():
                for step in flor.loop("step", range(3)):
                    a = 1  #= NESTED
            """,
    },
    "module object": {
        "train.py": """
            import flor
            import lib.tools as tools
            import lib.more
            for epoch in flor.loop("epoch", range(3)):
                tools.first()
                lib.more.second()
            """,
        "lib/tools.py": """
            def first():
                a = 1  #= ITERATION
            """,
        "lib/more.py": """
            def second():
                a = 1  #= ITERATION
            """,
    },
    "dataset and collate": """
        import flor
        from torch.utils.data import DataLoader, Dataset
        class Digits(Dataset):
            def __getitem__(self, i):
                return self.get(i)  #= ANYWHERE
            def __len__(self):
                return 3  #= ANYWHERE
            def get(self, i):
                return i  #= ANYWHERE
        def collate(rows):
            return rows  #= ANYWHERE
        loader = DataLoader(Digits(), collate_fn=collate)
        for epoch in flor.loop("epoch", range(3)):
            for x in flor.loop("step", loader):
                a = 1  #= NESTED
        """,
    "hooks, lambdas, callbacks": """
        import flor
        def hook(module, args, out):
            a = 1  #= ANYWHERE
        def called_by_lambda(x):
            return x  #= ANYWHERE
        model.register_forward_hook(hook)
        schedule = lambda epoch: called_by_lambda(epoch)
        def on_end():
            b = 1  #= ANYWHERE
        callbacks = {"end": on_end}
        for epoch in flor.loop("epoch", range(3)):
            callbacks["end"]()
        """,
    "callback class called by name": """
        import flor
        class Stats:
            def on_epoch_end(self, epoch):
                a = 1  #= AFTER_NESTED
            def on_train_end(self):
                b = 1  #= AFTER
        callbacks = [Stats()]
        for epoch in flor.loop("epoch", range(3)):
            for step in flor.loop("step", range(3)):
                pass
            for cb in callbacks:
                cb.on_epoch_end(epoch)
        for cb in callbacks:
            cb.on_train_end()
        """,
    "callback class of a framework": """
        import flor
        from lightning import Callback
        class Stats(Callback):
            def on_epoch_end(self, epoch):
                a = 1  #= ANYWHERE
        for epoch in flor.loop("epoch", range(3)):
            pass
        """,
    "properties": """
        import flor
        class State:
            @property
            def best(self):
                return 1  #= ANYWHERE
        s = State()
        for epoch in flor.loop("epoch", range(3)):
            s.best
        """,
    "generator of batches": """
        import flor
        def batches(n):
            for i in range(n):
                yield i  #= ANYWHERE
        for epoch in flor.loop("epoch", range(3)):
            for x in flor.loop("step", batches(3)):
                a = 1  #= NESTED
            b = 1  #= AFTER_NESTED
        """,
    "flor loop in a generator": """
        import flor
        def steps():
            for x in flor.loop("step", range(3)):
                yield x
        for epoch in flor.loop("epoch", range(3)):
            for x in steps():
                a = 1  #= ANYWHERE
        """,
    "comprehensions": """
        import flor
        def score(x):
            return x  #= ITERATION
        for epoch in flor.loop("epoch", range(3)):
            a = sum(score(x) for x in range(3))  #= ITERATION
            b = [score(x) for x in range(3) if score(x)]  #= ITERATION
        """,
    "comprehension over a flor loop": """
        import flor
        a = [x for x in flor.loop("x", range(3))]  #= ANYWHERE
        """,
    "nested functions and recursion": """
        import flor
        def main():
            def inner(depth):
                a = 1  #= BEFORE_NESTED
                if depth:
                    inner(depth - 1)
            for epoch in flor.loop("epoch", range(3)):
                inner(3)
                for step in flor.loop("step", range(3)):
                    pass
        main()
        """,
    "recursion around the loop": """
        import flor
        def fit(n):
            for epoch in flor.loop("epoch", range(n)):
                fit(n - 1)  #= ANYWHERE
        fit(3)
        """,
    "no_grad is seen through, unknown decorators are not": """
        import flor
        import torch
        @torch.no_grad()
        def evaluate():
            return 1  #= AFTER_NESTED
        @timed
        def other():
            return 1  #= ANYWHERE
        for epoch in flor.loop("epoch", range(3)):
            for step in flor.loop("step", range(3)):
                pass
            evaluate()
        """,
    "decorated loop cannot be followed": """
        import flor
        @app.task
        def fit():
            for epoch in flor.loop("epoch", range(3)):
                a = 1  #= ANYWHERE
        fit()
        """,
    "hydra": """
        import flor
        import hydra
        @hydra.main(config_path=None)
        def main(cfg):
            for epoch in flor.loop("epoch", range(3)):
                a = 1  #= ITERATION
            b = 1  #= AFTER
        if __name__ == "__main__":
            main()
        """,
    "getattr by a name made at run time": """
        import flor
        class T:
            def on_end(self):
                a = 1  #= ANYWHERE
        t = T()
        for epoch in flor.loop("epoch", range(3)):
            getattr(t, f"on_{x}")()
        """,
    "getattr on a library": """
        import flor
        import torch
        opt = getattr(torch.optim, name)(params)
        for epoch in flor.loop("epoch", range(3)):
            a = 1  #= ITERATION
        """,
    "thread": """
        import flor
        from threading import Thread
        def watch():
            a = 1  #= ANYWHERE
        Thread(target=watch).start()
        for epoch in flor.loop("epoch", range(3)):
            b = 1  #= ITERATION
        """,
    "early return": """
        import flor
        def main(test):
            if test:
                a = 1  #= BEFORE
                return
            for epoch in flor.loop("epoch", range(3)):
                if epoch:
                    b = 1  #= ITERATION
                    return
            c = 1  #= AFTER
        main(0)
        d = 1  #= BEFORE AFTER
        """,
    "constructor runs the loop": """
        import flor
        class Model:
            def __init__(self):
                self.fit()
            def fit(self):
                for epoch in flor.loop("epoch", range(3)):
                    a = 1  #= ITERATION
        m = Model()
        b = 1  #= AFTER
        """,
    "match and with and one line": """
        import flor
        for epoch in flor.loop("epoch", range(3)):
            match epoch:
                case 1:
                    a = 1  #= ITERATION
            with open("f") as f: b = 1  #= ITERATION
            if epoch: c = 1; d = 2  #= ITERATION
        """,
    "wrapped line": """
        import flor
        for epoch in flor.loop(
            "epoch", range(3)  #= BEFORE
        ):
            print(
                epoch,  #= ITERATION
            )
        """,
    "no loop at all": """
        import flor
        flor.log("a", 1)  #= ANYWHERE
        """,
    "lambda statement": """
        import flor
        f = lambda: flor.log("x", 1)  #= ANYWHERE
        for epoch in flor.loop("epoch", range(3)):
            f()
        """,
    "function attribute of another name": """
        import flor
        def a_step():
            x = 1  #= ANYWHERE
        run = a_step
        for epoch in flor.loop("epoch", range(3)):
            run()
        """,
    "replaced method": """
        import flor
        class T:
            def go(self):
                for s in flor.loop("step", range(3)):
                    pass
            def fit(self):
                for epoch in flor.loop("epoch", range(3)):
                    self.go()
                    a = 1  #= AFTER_NESTED ITERATION
        t = T()
        t.go = print
        t.fit()
        """,
}


def _sources(case: str | dict[str, str]) -> dict[str, str]:
    files = {"train.py": case} if isinstance(case, str) else case
    return {path: textwrap.dedent(text).lstrip("\n") for path, text in files.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_place_of_a_line(name: str) -> None:
    sources = _sources(CASES[name])
    script = next(iter(sources))
    files = {path: text.encode() for path, text in sources.items()}
    checked = 0
    for path, text in sources.items():
        for number, line in enumerate(text.splitlines(), 1):
            if "#= " not in line:
                continue
            wanted = line.split("#= ")[1].split()
            named = {"ANYWHERE": ANYWHERE, "NOWHERE": frozenset()}
            expected = named[wanted[0]] if wanted[0] in named else {Place[w] for w in wanted}
            found = where(files, script, (path, number))
            assert found.places == expected, (path, line, found)
            assert found.reason
            checked += 1
    assert checked


def _one(text: str, marker: str) -> tuple[dict[str, bytes], tuple[str, int]]:
    text = textwrap.dedent(text)
    line = next(i for i, one in enumerate(text.splitlines(), 1) if marker in one)
    return {"train.py": text.encode()}, ("train.py", line)


def test_the_loops_around_a_statement_are_named() -> None:
    files, target = _one(
        """
        import flor
        def step():
            x = 1  # here
        for fold in flor.loop("fold", range(3)):
            for epoch in flor.loop(name="epoch", iterable=range(3)):
                step()
        """,
        "# here",
    )
    found = where(files, "train.py", target)
    assert found.loops == ("fold", "epoch")
    assert [m.name for m in found.mains] == ["fold"]


def test_several_main_loops_are_told_apart() -> None:
    files, target = _one(
        """
        import flor
        for a in flor.loop("first", range(3)):
            pass
        for a in flor.loop("second", range(3)):
            x = 1  # here
        """,
        "# here",
    )
    found = where(files, "train.py", target)
    assert [m.name for m in found.mains] == ["second"]
    assert [m.name for m in found.all_mains] == ["first", "second"]


@pytest.mark.parametrize(
    ("files", "target", "words"),
    [
        ({"train.py": b"def ("}, ("train.py", 1), "cannot be parsed"),
        ({"train.py": b"x = 1\n"}, ("other.py", 1), "not among the files"),
        ({"train.py": b"import importlib\n", "b.py": b"y = 1\n"}, ("b.py", 1), "imports at run time"),
        ({"train.py": b"import b\n", "b.py": b"y = (\n"}, ("train.py", 1), "b.py cannot be parsed"),
        ({"train.py": b"x = 1\n\n"}, ("train.py", 2), "no statement"),
        ({"train.py": b"\xff\xfe\x00"}, ("train.py", 1), "cannot be parsed"),
        ({"train.py": b"import flor\nx = 1\n"}, ("train.py", 2), "runs no flor.loop"),
    ],
)
def test_what_cannot_be_read_may_be_anywhere(files: dict[str, bytes], target: tuple[str, int], words: str) -> None:
    found = where(files, "train.py", target)
    assert found.places == ANYWHERE
    assert words in found.reason


def test_a_file_that_is_not_imported_is_nowhere() -> None:
    found = where({"train.py": b"x = 1\n", "b.py": b"y = 1\n"}, "train.py", ("b.py", 1))
    assert found.places == frozenset()
    assert "does not import" in found.reason
