"""Which variables a checkpoint may lack: small sources with what is dead and live, and programs run with poison."""

from __future__ import annotations

import ctypes
import random
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from flor_instrument.analysis.liveness import Point, live_names, lost_but_dead
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

IDIOMS = Path(__file__).parents[3] / "fixtures" / "idioms"


def live(
    text: str, function: str | None = "main", point: Point = "start", nested: str | None = None, **others: str
) -> frozenset[str] | None:
    files = {"train.py": textwrap.dedent(text).encode()}
    files |= {f"{name}.py": textwrap.dedent(other).encode() for name, other in others.items()}
    return live_names(files, "train.py", function, "epoch", point, nested)


def in_main(body: str, before: str = "", after: str = "") -> str:
    """A function `main` with a main loop of that body."""
    lines = ["import flor", "def main(model, loader):"]
    lines += textwrap.indent(textwrap.dedent(before).strip("\n") or "pass", "    ").splitlines()
    lines += ['    for epoch in flor.loop("epoch", range(3)):']
    lines += textwrap.indent(textwrap.dedent(body).strip("\n"), "        ").splitlines()
    lines += textwrap.indent(textwrap.dedent(after).strip("\n"), "    ").splitlines()
    return "\n".join(lines) + "\n"


# name: (body of the main loop, before it, after it, dead at an iteration's start, live there)
AT_START: dict[str, tuple[str, str, str, str, str]] = {
    "closure for LBFGS": (
        """
        for x, y in flor.loop("step", loader):
            def closure():
                opt.zero_grad()
                return model(x, y)
            opt.step(closure)
        """,
        "opt = LBFGS(model)",
        "",
        "closure epoch",
        "opt model x y loader",
    ),
    "iterator before the loop": ("x = next(it)", "it = iter(loader)", "", "x", "it"),
    "iterator in the loop": ("it = iter(loader)\nx = next(it)", "", "", "it x", "loader"),
    "lambda in the loop": ("f = lambda v: v * scale\nflor.log('a', f(1))", "scale = 2", "", "f", "scale"),
    "progress bar": (
        "bar = tqdm(loader)\nfor b in bar:\n    bar.update(1)",
        "",
        "",
        "bar b",
        "loader",
    ),
    "read after the loop": ("it = iter(loader)", "it = None", "print(it)", "epoch", "it"),
    "rebound after the loop": ("x = 1\nuse(x)", "", "x = 2\nprint(x)", "x", "print use"),
    "loop target read after": ("pass", "", "print(epoch)", "", "epoch"),
    "augmented": ("n += 1", "n = 0", "", "", "n"),
    "bound on one branch": ("if epoch:\n    x = 1\nuse(x)", "", "", "", "x"),
    "bound on both": ("if epoch:\n    x = 1\nelse:\n    x = 2\nuse(x)", "", "", "x", ""),
    "branch that leaves": ("if epoch:\n    x = 1\nelse:\n    continue\nuse(x)", "", "", "x", ""),
    "bound by an inner for": ("for b in loader:\n    pass\nuse(b)", "", "", "", "b"),
    "inner for else": ("for b in loader:\n    pass\nelse:\n    b = 1\nuse(b)", "", "", "b", ""),
    "inner for else with break": ("for b in loader:\n    break\nelse:\n    c = 1\nuse(c)", "", "", "", "c"),
    "while": ("while more():\n    x = 1\nuse(x)", "", "", "", "x"),
    "endless while": ("while True:\n    x = 1\n    if done():\n        break\nuse(x)", "", "", "x", ""),
    "while condition": ("i = 0\nwhile i < n:\n    i += 1", "n = 3", "", "i", "n"),
    "while with walrus": ("while (b := next(it, None)):\n    use(b)", "it = iter(loader)", "", "b", "it"),
    "walrus behind and": ("if a() and (m := f()):\n    use(m)\nelse:\n    use(m)", "", "", "", "m"),
    "walrus used at once": ("if (m := f()) and m.x:\n    use(m)", "", "", "m", "f"),
    "break to the reader": ("if stop():\n    break\nx = 1", "x = 0", "use(x)", "", "x"),
    "main loop else": ("if stop():\n    break", "", "x = 2\nuse(x)", "x", ""),
    "handler reads": ("try:\n    x = f()\nexcept ValueError:\n    use(x)", "", "", "", "x"),
    "handler binds": ("try:\n    x = f()\nexcept ValueError:\n    x = None\nuse(x)", "", "", "x", ""),
    "handler passes": ("try:\n    x = f()\nexcept ValueError:\n    pass\nuse(x)", "", "", "", "x"),
    "else of try": ("try:\n    f()\nexcept ValueError:\n    continue\nelse:\n    x = 1\nuse(x)", "", "", "x", ""),
    "finally reads": ("try:\n    x = f()\nfinally:\n    use(x)", "", "", "", "x"),
    "finally binds": ("try:\n    f()\nfinally:\n    x = 1\nuse(x)", "", "", "x", ""),
    "finally around continue": ("try:\n    continue\nfinally:\n    use(x)\n    x = 1", "", "", "", "x"),
    "exception name": ("try:\n    f()\nexcept ValueError as e:\n    use(e)", "", "", "e", ""),
    "except star": (
        "try:\n    f()\nexcept* ValueError:\n    x = 1\nexcept* TypeError:\n    use(x)",
        "",
        "",
        "",
        "x",
    ),
    "with as": ("with open(p) as f:\n    use(f)", "p = 1", "", "f", "p"),
    "with that may swallow": ("with manager():\n    x = f()\nuse(x)", "", "", "", "x"),
    "with that lets pass": ("with torch.no_grad():\n    x = f()\nuse(x)", "", "", "x", "torch"),
    "comprehension has its own names": ("y = [v * k for v in loader]", "k = 1\nv = 2", "", "v y", "k loader"),
    "set and dict comprehension": ("y = {v: {w for w in v} for v in loader}", "", "", "v w y", "loader"),
    "comprehension reads first": ("y = [y for _ in loader]", "y = 1", "", "", "y"),
    "generator used at once": ("k = 1\ny = sum(k * v for v in loader)", "", "", "k y", "loader"),
    "generator kept": ("k = 1\ng = (k * v for v in loader)\nuse(g)", "", "", "g", "k"),
    "nested function": ("x = 1\nhook()", "def hook():\n    return x", "", "", "x hook"),
    "nested function with its own": ("x = 1\ndef hook(x):\n    return x\nhook(1)", "", "", "x hook", ""),
    "nonlocal": ("bump()", "n = 0\ndef bump():\n    nonlocal n\n    n += 1", "", "", "n"),
    "function in function": (
        "x = 1\ndef a():\n    def b():\n        return x\n    return b\nuse(a)",
        "",
        "",
        "a",
        "x",
    ),
    "default argument": ("def f(v=x):\n    return v\nuse(f)", "x = 1", "", "f v", "x"),
    "decorator": ("@wrap\ndef f():\n    pass\nuse(f)", "", "", "f", "wrap"),
    "class body": ("class C:\n    k = x\n    def m(self):\n        return z\nuse(C)", "x = z = 1", "", "C", "x z"),
    "match captures": (
        "match f():\n    case [a, *b]:\n        use(a, b)\n    case {'k': c, **d}:\n        use(c, d)",
        "",
        "",
        "a b c d",
        "f",
    ),
    "match without a default": ("match f():\n    case 1:\n        x = 1\nuse(x)", "", "", "", "x"),
    "match with a default": (
        "match f():\n    case 1:\n        x = 1\n    case _:\n        x = 2\nuse(x)",
        "",
        "",
        "x",
        "",
    ),
    "match reads values": ("match f():\n    case K.a if g:\n        pass", "K = g = 1", "", "", "K g"),
    "delete needs it": ("del x\nx = 1", "x = 0", "", "", "x"),
    "delete of the new": ("x = f()\nuse(x)\ndel x", "", "", "x", ""),
    "import binds": ("import json\nfrom os import path as p\nuse(json, p)", "", "", "json p", ""),
    "f-string": ("print(f'{x} {y!r:>{w}}')", "x = y = w = 1", "", "", "x y w"),
    "unpacking": ("a, (b, *c) = f()\nuse(a, b, c)", "", "", "a b c", ""),
    "store to a part": ("x[i] = 1\ny.z = 2", "", "", "", "x i y"),
    "annotated": ("x: int = 1\nuse(x)", "", "", "x", ""),
    "annotated only": ("x: int\nuse(x)", "x = 1", "", "", "x"),
    "if expression": ("y = a if c else b", "a = b = c = 1", "", "y", "a b c"),
    "query reads by name": ("x = df.query('a > @limit')", "limit = 1\ndf = f()", "", "x", "limit df"),
    "assert message": ("assert f(), x\nx = 1", "x = 0", "", "", "f"),
    "return in the loop": ("x = 1\nif stop():\n    return x", "", "use(x)", "", "x"),
    "starred call": ("use(*a, **b)", "a = b = 1", "", "", "a b"),
}


@pytest.mark.parametrize("name", AT_START)
def test_at_the_start_of_an_iteration(name: str) -> None:
    body, before, after, dead, alive = AT_START[name]
    found = live(in_main(body, before, after))
    assert found is not None
    assert not found & set(dead.split()), "dead, yet told to be live"
    assert set(alive.split()) <= found, "live, yet told to be dead"


NEST = """
def main(loader):
    for epoch in flor.loop("epoch", range(3)):
        it = iter(loader)
        bar = tqdm(it)
        for step in flor.loop("step", bar):
            loss = f(step)
        else:
            note = 1
        use(loss, note)
        top = f()
        use(top)
    else:
        last = g()
        use(last, epoch)
    use(top)
"""


@pytest.mark.parametrize(
    ("point", "dead", "alive"),
    [
        ("start", "it bar step note last", "loader top"),  # loss: the nested loop may run over nothing
        ("exit", "it bar step last", "loader loss"),
        ("end", "it bar step last loss note loader", "top epoch"),
    ],
)
def test_the_three_points(point: Point, dead: str, alive: str) -> None:
    found = live(NEST, point=point, nested="step")
    assert found is not None
    assert not found & set(dead.split())
    assert set(alive.split()) <= found


def test_exit_where_the_nested_loop_is_in_another_function() -> None:
    text = """
    def train(model, loader):
        it = iter(loader)
        for x in flor.loop("step", it):
            loss = model(x)
        return loss

    def main(model, loader):
        for epoch in flor.loop("epoch", range(3)):
            a = 1
            b = 2
            c = train(model, loader)
            use(b, c)
    """
    inner = live(text, "train", "exit", "step")
    outer = live(text, "main", "exit", "step")
    assert inner is not None
    assert outer is not None
    assert "loss" in inner
    assert not inner & {"it", "x"}
    assert "b" in outer
    assert not outer & {"a", "c"}
    assert live(text, "train", "start") is None  # it does not run then


def test_nested_loops_of_one_name_outside_the_main_loop_do_not_count() -> None:
    text = """
    def main(loader):
        first = second = 1
        for warm in flor.loop("warmup", range(3)):
            for x in flor.loop("step", loader):
                pass
            use(first)
        for epoch in flor.loop("epoch", range(3)):
            for x in flor.loop("step", loader):
                pass
            use(second)
    """
    found = live(text, point="exit", nested="step")
    assert found is not None
    assert "second" in found
    assert "first" not in found


TRAINER = """
class Trainer(Base):
    def __init__(self):
        self.bar = None

    def fit(self, loader):
        batches = iter(loader)
        for epoch in flor.loop("epoch", range(3)):
            batches = iter(loader)
            self.train_epoch(batches)

    def train_epoch(self, batches):
        for b in flor.loop("step", batches):
            loss = self.step(b)
        self.note(loss)

class Base:
    pass

def main():
    trainer = Trainer()
    spare = make()
    try:
        trainer.fit(spare)
        done = True
    finally:
        trainer.close(done)
    use(result)

if __name__ == "__main__":
    start = now()
    main()
    print(start)
"""


def test_trainer_methods() -> None:
    found = live(TRAINER, "Trainer.fit")
    assert found is not None
    assert "batches" not in found
    assert {"self", "loader"} <= found
    found = live(TRAINER, "Trainer.train_epoch", "exit", "step")
    assert found is not None
    assert {"loss", "self"} <= found
    assert not found & {"b", "batches"}


def test_callers_frames() -> None:
    found = live(TRAINER, "main")
    assert found is not None
    assert {"trainer", "done"} <= found  # `finally` runs when fit raises, too
    top = live(TRAINER, None)
    assert top is not None
    assert {"start", "make"} <= top
    assert live(TRAINER, "Trainer.__init__") is None
    assert live(TRAINER, "nowhere") is None


def test_module_level_loop() -> None:
    text = """
    import flor
    from torch import *
    it = iter(data)
    scale = 1
    limit = 2
    def step(x, limit):
        global count
        count = 0
        return x * scale + limit
    for epoch in flor.loop("epoch", range(3)):
        it = iter(data)
        for x in it:
            limit = step(x, 1)
        hook = lambda v: v + shift
        use(hook)
    """
    found = live(text, None)
    assert found is not None
    assert not found & {"it", "x", "hook", "limit", "epoch"}
    assert {"data", "scale", "shift", "step", "use", "count"} <= found


def test_a_class_body_in_a_function_may_read_past_its_locals() -> None:
    text = "x = 1\nfor e in flor.loop('epoch', range(3)):\n    x = 2\n"
    found = live(text + "def f(x):\n    class C:\n        x = x\n", None)
    assert found is not None
    assert "x" in found  # the global, where the class has none yet


def test_globals_are_read_by_other_files() -> None:
    text = "import flor\nimport helper\nit = 1\nfor epoch in flor.loop('epoch', range(3)):\n    it = helper.f()\n"
    dead = live(text, None, helper="def f():\n    return other.it\n")
    assert dead is not None
    assert "it" not in dead  # nobody imports the script
    for other in ("import train\ndef f():\n    return train.it", "def f():\n    from train import it\n    return it"):
        found = live(text, None, helper=other)
        assert found is not None
        assert "it" in found
    assert live(text, None, helper="from train import *") is None
    assert live(text, None, helper="import sys\ndef f():\n    return sys.modules['__main__'].it") is None


def test_globals_of_an_imported_module() -> None:
    files = {
        "train.py": b"import flor, utils\nfor epoch in flor.loop('epoch', range(3)):\n    utils.run()\n",
        "utils.py": b"spare = lambda: 1\nhelper = lambda: 2\ndef run():\n    return helper()\n",
    }
    found = live_names(files, "utils.py", None, "epoch", "start")
    assert found is not None
    assert "helper" in found
    assert "spare" not in found


@pytest.mark.parametrize(
    "statement",
    [
        "exec(code)",
        "eval('x')",
        "y = locals()",
        "y = vars()",
        "f = eval",
        "y = sys._getframe()",
        "y = [eval(v) for v in loader]",
    ],
)
def test_names_looked_up_at_run_time_are_unknown(statement: str) -> None:
    assert live(in_main(statement)) is None
    assert live(f"for epoch in flor.loop('epoch', range(3)):\n    {statement}\n", None) is None


def test_what_only_looks_like_it_is_known() -> None:
    assert live(in_main("model.eval()\ny = vars(model)")) is not None
    assert live("def eval(m):\n    pass\n" + in_main("eval(model)")) is not None


@pytest.mark.parametrize(
    "text",
    [
        "def main():\n    it = iter(flor.loop('epoch', range(3)))\n    next(it)\n",
        "def main():\n    f = lambda: [e for e in flor.loop('epoch', range(3))]\n    f()\n",
        "def main():\n    return flor.loop('epoch', range(3))\n",
        "loop = flor.loop\ndef main():\n    for e in loop('epoch', range(3)):\n        pass\n",
        "def loops(n, i):\n    return flor.loop(n, i)\ndef main():\n    for e in loops('epoch', [1]):\n        pass\n",
        "def main():\n    class C:\n        for e in flor.loop('epoch', range(3)):\n            pass\n",
        "def main(:\n",
        "",
    ],
)
def test_a_loop_that_cannot_be_followed_is_unknown(text: str) -> None:
    assert live(text) is None


@pytest.mark.parametrize(
    "loop",
    [
        "for e in flor.loop('epoch', range(3)):",
        "for i, e in enumerate(flor.loop('epoch', range(3))):",
        "for e in tqdm(flor.loop('epoch', range(3)), desc='x'):",
        "for e in tqdm(iterable=flor.loop('epoch', range(3))):",
        "for e in loop(name='epoch', iterable=range(3)):",
        "bar = tqdm(flor.loop('epoch', range(3)))\n    for e in bar:",
        "for e in F.loop('epoch', range(3)):",
        "async for e in flor.loop('epoch', range(3)):",
        "for self.e in flor.loop('epoch', range(3)):",
    ],
)
def test_spellings_of_the_loop(loop: str) -> None:
    kind = "async def" if "async" in loop else "def"
    found = live(f"{kind} main(it):\n    {loop}\n        it = f()\n        use(it)\n")
    assert found is not None
    assert "it" not in found


def test_loop_in_a_comprehension() -> None:
    found = live("def main(a, b):\n    a = 1\n    x = [f(e, a) for e in flor.loop('epoch', range(3))]\n    use(x)\n")
    assert found is not None
    assert "a" in found
    assert not found & {"b", "x"}


def test_generators_and_coroutines() -> None:
    text = """
    def epochs(n):
        spare = 1
        for e in flor.loop("epoch", range(n)):
            spare = 2
            yield spare

    async def train(n):
        other = 1
        for e in epochs(n):
            other = 2
            await note(other)
        await last()

    def main():
        before = 1
        asyncio.run(train(3))
        after = 2
        use(after)
    """
    own = live(text, "epochs")
    assert own is not None
    assert "spare" not in own
    caller = live(text, "train")
    assert caller is not None  # the generator may be asked anywhere in its caller
    assert "other" in caller
    main = live(text, "main")
    assert main is not None


def test_a_function_that_is_handed_on_may_be_called_anywhere() -> None:
    text = "def train():\n    for e in flor.loop('epoch', range(3)):\n        x = 1\n        use(x)\n"
    direct = live(text + "def main():\n    a = 1\n    use(a)\n    train()\n")
    kept = live(text + "def main():\n    f = train\n    a = 1\n    use(a)\n    f()\n")
    assert direct is not None
    assert "a" not in direct
    assert kept is not None
    assert "a" in kept
    assert live(text + "def main():\n    REGISTRY['train']()\n") is None


def test_recursion_is_both_at_the_loop_and_at_the_call() -> None:
    text = "def main(n):\n    a = b = 1\n    if n:\n        main(n - 1)\n        use(a)\n"
    text += "    for e in flor.loop('epoch', range(3)):\n        use(b)\n"
    found = live(text)
    assert found is not None
    assert {"a", "b"} <= found


def test_qualified_names() -> None:
    text = """
    def outer():
        far = 1
        def inner(near):
            for e in flor.loop("epoch", range(3)):
                near = 1
                use(near, far)
        inner(2)
        use(far)
    """
    found = live(text, "outer.<locals>.inner")
    assert found is not None
    assert "near" not in found
    assert "far" in found
    assert "far" in (live(text, "outer") or ())


def test_private_names_are_mangled() -> None:
    text = "class A:\n    def fit(self, __x):\n        for e in flor.loop('epoch', range(3)):\n            use(__x)\n"
    assert "_A__x" in (live(text, "A.fit") or ())


def dead(text: str, *names: str, point: Point = "start", nested: str | None = None, **others: str) -> set[str]:
    """Of names such as ``main.closure``, ``:spare`` (a global) or ``utils:main.closure`` those that need not be there."""
    files = {"train.py": textwrap.dedent(text).encode()}
    files |= {f"{name}.py": textwrap.dedent(other).encode() for name, other in others.items()}
    asked = {}
    for name in names:
        module, _, rest = name.rpartition(":")
        scope, _, last = rest.rpartition(".")
        asked[f"{module or 'train'}.py", scope or None, last] = name
    found = lost_but_dead(files, "train.py", asked, "epoch", point, nested)
    return {asked[holder] for holder in found}


def test_lost_but_dead_asks_each_name_in_its_scope() -> None:
    body = "def closure():\n    return 1\nopt.step(closure)\nit = iter(loader)\nobj = next(it)\nuse(opt)"
    text = in_main(body, "opt = f()\nspare = g()") + "batch_iter = iter([])\nmain(1, 2)\n"
    assert dead(text, "main.closure", "main.it", ":batch_iter") == {"main.closure", "main.it", ":batch_iter"}
    assert dead(text, "main.spare") == {"main.spare"}
    for needed in ("main.opt", "main.unheard_of", "other.closure", "nowhere:x", ":unheard_of"):
        assert not dead(text, needed)


def test_a_closure_handed_over_by_keyword() -> None:
    body = "def closure():\n    return 1\n{}"
    assert dead(in_main(body.format("opt.step(closure=closure)"), "opt = f()"), "main.closure")
    assert not dead(in_main(body.format("opt.keep(closure=closure)"), "opt = f()"), "main.closure")


def test_lost_but_dead_of_methods_and_modules() -> None:
    text = TRAINER.replace("self.train_epoch(batches)", "for b in batches:\n                use(b)")
    assert dead(text, "Trainer.fit.batches") == {"Trainer.fit.batches"}
    assert not dead(text, "Trainer.fit.self")
    helper = "spare = lambda: 1\nhelper = lambda: 2\ndef run():\n    return helper()\n"
    text = "import utils\n" + in_main("utils.run()")
    assert dead(text, "utils:spare", "utils:helper", utils=helper) == {"utils:spare"}


def test_files_that_the_script_does_not_import_have_no_say() -> None:
    body = "def closure():\n    return 1\nopt.step(closure)"
    text = in_main(body, "opt = f()")
    strange = "import flor\nloop = flor.loop\nsys._getframe()\n"
    assert dead(text, "main.closure", other=strange) == {"main.closure"}
    assert not dead("import other\n" + text, "main.closure", other=strange)
    assert not dead(text, "other:main.closure", other=text)


def test_functions_of_one_name_are_told_apart_by_file() -> None:
    loop = "for e in flor.loop('epoch', range(3)):"
    first = f"import utils\ndef main():\n    {loop}\n        it = f()\n        next(it)\n"
    second = f"def main():\n    it = f()\n    {loop}\n        next(it)\n"
    assert dead(first, "main.it", "utils:main.it", utils=second) == {"main.it"}


@pytest.mark.parametrize(
    "body",
    [
        "def hook(*a):\n    pass\nmodel.register_forward_hook(hook)",
        "hook = lambda: 1\nself.hook = hook",
        "hook = model.hook",
        "a = hook = f()",
        "hook = f()\nmodel.hooks += [hook]",
        "@register\ndef hook():\n    pass",
        "for hook in model.hooks:\n    pass",
        "hook = f()\nother = hook.method",
    ],
)
def test_what_something_else_may_hold_is_not_dead(body: str) -> None:
    assert not dead(in_main(body), "main.hook")


def test_what_only_the_name_holds_is_dead() -> None:
    for body in (
        "hook = tqdm(loader)\nfor i, b in enumerate(hook):\n    hook.set_postfix(loss=b)",
        "hook = iter(loader)\nfor b in flor.loop('step', hook):\n    pass",
        "with open('x') as hook:\n    hook.write('y')",
        "hook = (v for v in loader)\nx = sum(hook)",
        "hook = None\nif hook is None:\n    hook = f()\nhook()",
    ):
        assert dead(in_main(body), "main.hook"), body


def test_nothing_missing_costs_nothing() -> None:
    assert not lost_but_dead({"train.py": b"def ("}, "train.py", [], "epoch", "start")


def test_deep_sources_do_not_crash() -> None:
    text = "def main():\n    x = " + "-" * 5000 + "1\n    for e in flor.loop('epoch', range(3)):\n        pass\n"
    live(text)
    live("def main():\n    for e in flor.loop('epoch', range(3)):\n        x = " + "+".join(["a"] * 3000) + "\n")


@pytest.mark.parametrize("path", sorted(IDIOMS.glob("*.py")), ids=lambda p: p.stem)
def test_idioms_are_known(path: Path) -> None:
    source = path.read_text()
    if "flor.loop" not in source or path.stem == "expand":
        pytest.skip("no loop")
    name = "fold" if path.stem == "folds" else "epoch" if 'loop("epoch"' in source else "step"
    function = "main" if "def main(" in source else None
    assert live_names({path.name: source.encode()}, path.name, function, name, "start") is not None


# -- programs run for real: what is not live may be poison, or not there ------------------------------------------

HELPERS = """
def boom(n):
    if n % 3 == 1:
        raise ValueError(n)
    return n

class Manager:
    def __init__(self, swallows):
        self.swallows = swallows
    def __enter__(self):
        return 1
    def __exit__(self, *error):
        return self.swallows and error[0] is ValueError
"""


class _OutOfFuel(BaseException):
    pass


class _Poison(BaseException):
    pass


def _raise(*_args: object) -> Any:
    raise _Poison


class Poison:
    __slots__ = ()


SPECIAL = """
repr str bool int add radd iadd sub rsub call iter next eq ne lt gt le ge enter exit hash index len mod rmod
"""
for _special in SPECIAL.split():
    setattr(Poison, f"__{_special}__", _raise)


class Programs:
    """Writes random programs with a main loop."""

    names = "abcd"

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.calls: list[str] = []
        self.made = 0

    def name(self) -> str:
        return self.rng.choice(self.names)

    def expr(self, depth: int = 0) -> str:
        a, b, r = self.name(), self.name(), self.rng
        kinds = [
            f"{a}",
            f"({a} + {b}) % 7",
            f"{r.randrange(5)}",
            f"boom({a})",
            f"sum({b} + v for v in (1, 2)) % 7",
            f"len([{a} for {a} in (1, 2) if {b} != 1])",
            f"({a} := {r.randrange(4)})",
            f"({a} if {b} > 1 else {self.name()})",
            f"({a} and ({b} := 2) or {b})",
            f"(lambda {a}: {a} + {b})(1) % 7",
            f"(lambda: {a})()",
        ]
        kinds += [f"{call}()" for call in self.calls]
        return r.choice(kinds)

    def block(self, depth: int, in_loop: bool, function: bool, extra: list[str] | None = None) -> list[str]:
        lines = ["tick()"]
        count = self.rng.randrange(1, 4)
        place = self.rng.randrange(count + 1)
        for number in range(count + 1):
            if number == place and extra is not None:
                lines += extra
            elif number < count:
                lines += self.statement(depth, in_loop, function)
        return lines

    def sub(self, depth: int, in_loop: bool, function: bool) -> list[str]:
        return ["    " + line for line in self.block(depth + 1, in_loop, function)]

    def statement(self, depth: int, in_loop: bool, function: bool) -> list[str]:
        r, a, b = self.rng, self.name(), self.name()
        simple = r.randrange(14 if depth < 3 else 9)
        if simple < 3:
            return [f"{a} = {self.expr()}"]
        if simple < 5:
            return [f"log({self.expr()})"]
        if simple == 5:
            return r.choice([[f"{a} += 1"], [f"{a}, {b} = {self.expr()}, {self.expr()}"], [f"del {a}"]])
        if simple == 6:
            leave = ["continue", "break"] if in_loop else []
            leave += ["return"] if function else []
            return [f"if {a} == {r.randrange(4)}:", f"    {r.choice(leave)}"] if leave else [f"log({a})"]
        if simple == 7:
            self.made += 1
            f = f"f{self.made}"
            body = r.choice([[f"return {self.expr()}"], [f"{b} = {a}", f"return {b}"], [f"{a} = 1", f"return {a}"]])
            if function and r.random() < 0.4:
                body = [f"nonlocal {a}", f"{a} = {r.randrange(4)}", f"return {b}"]
            lines = [f"def {f}():", *("    " + line for line in body)]
            return (
                [*lines, f"log({f}())"]
                if r.random() < 0.5
                else [*lines, f"{a} = {f}", f"log({a}() if callable({a}) else 0)", f"{a} = 3"]
            )
        if simple == 8:
            return [f"class K{r.randrange(3)}:", f"    {a} = {b}", f"    log({a})"]
        if simple == 9:
            lines = [f"if {self.expr()} > 1:", *self.sub(depth, in_loop, function)]
            return [*lines, "else:", *self.sub(depth, in_loop, function)] if r.random() < 0.5 else lines
        if simple == 10:
            lines = [f"for {a} in range({r.randrange(3)}):", *self.sub(depth, True, function)]
            return [*lines, "else:", *self.sub(depth, in_loop, function)] if r.random() < 0.3 else lines
        if simple == 11:
            return [f"while {self.expr()} < {r.randrange(3)}:", *self.sub(depth, True, function)]
        if simple == 12:
            lines = ["try:", *self.sub(depth, in_loop, function)]
            if r.random() < 0.7:
                name = r.choice([" as e", "", f" as {a}"])
                lines += [f"except (ValueError, NameError){name}:", *self.sub(depth, in_loop, function)]
                if r.random() < 0.3:
                    lines += ["else:", *self.sub(depth, in_loop, function)]
                if r.random() < 0.6:
                    return lines
            return [
                *lines,
                "finally:",
                *self.sub(depth, False, False),
            ]  # no jump there: it would swallow the end of the fuel
        if r.random() < 0.5:
            return [f"with Manager({r.random() < 0.6}) as {a}:", *self.sub(depth, in_loop, function)]
        guard = r.choice(["", f" if {self.name()} > 0"])
        lines = [f"match ({a}, {self.expr()}):", f"    case (0, {b}){guard}:"]
        lines += ["    " + line for line in self.sub(depth, in_loop, function)]
        if r.random() < 0.6:
            lines += ["    case (c, _):", *("    " + line for line in self.sub(depth, in_loop, function))]
        return lines

    def looping(self, function: bool) -> list[str]:
        """The main loop with one nested in it, perhaps inside of something else."""
        nested = ["for n in flor.loop('step', range(2)):", *self.sub(1, True, function)]
        if self.rng.random() < 0.3:
            nested += ["else:", *self.sub(1, True, function)]
        main = [f"for {self.rng.choice(['epoch', self.name()])} in flor.loop('epoch', range(3)):"]
        main += ["    " + line for line in self.block(1, True, function, nested)]
        if self.rng.random() < 0.3:
            main += ["else:", *self.sub(1, False, function)]
        if self.rng.random() < 0.4:
            main = [
                "try:",
                *("    " + line for line in main),
                *self.rng.choice([["finally:"], ["except (ValueError, NameError):"]]),
            ]
            main += self.sub(1, False, False)
        return main

    def program(self) -> str:
        first = [f"{name} = {self.rng.randrange(4)}" for name in self.names]
        shape = self.rng.randrange(3)
        if shape == 0:
            return "\n".join(
                [HELPERS, *first, *self.block(1, False, False, self.looping(False)), *self.block(2, False, False)]
            )
        body = [*first, *self.block(1, False, True, self.looping(True)), *self.block(2, False, True)]
        lines = [HELPERS, "def main():", *("    " + line for line in body)]
        if shape == 2:
            self.calls = ["main"]
            outer = [
                *first,
                *self.block(1, False, True, [self.rng.choice(["a = main()", "if main(): pass", "log(main(), a)"])]),
            ]
            outer += self.block(2, False, True)
            lines += ["def outer():", *("    " + line for line in outer), *first, "outer()"]
        else:
            lines += [*first, "log(main())"]
        return "\n".join([*lines, *self.block(2, False, False)])


class Run:
    """Runs a program; at one restore point everything that is not live is made unusable."""

    def __init__(self, source: str, strike: int | None, unbind: bool) -> None:
        self.source = source
        self.strike = strike
        self.unbind = unbind
        self.logged: list[str] = []
        self.points = 0
        self.fuel = 150
        self.depth = 0

    def tick(self) -> None:
        self.fuel -= 1
        if self.fuel < 0:
            raise _OutOfFuel

    def log(self, *values: object) -> int:
        self.tick()
        self.logged.append(" ".join("function" if callable(v) and type(v) is not Poison else str(v) for v in values))
        return 1

    def loop(self, name: str, items: range) -> Iterator[int]:
        return _Loop(self, name, items)

    def point(self, kind: Point) -> None:
        self.points += 1
        if self.points - 1 != self.strike:
            return
        frame: FrameType | None = sys._getframe(2)
        files = {"train.py": self.source.encode()}
        while frame is not None and frame.f_code.co_filename == "<program>":
            top = frame.f_code.co_name == "<module>"
            if top or frame.f_code.co_qualname in ("main", "outer"):
                function = None if top else frame.f_code.co_qualname
                found = live_names(files, "train.py", function, "epoch", kind, "step")
                assert found is not None
                gone = [n for n in frame.f_locals if n not in found and not n.startswith("__")]
                self.spoil(frame, gone)
            frame = frame.f_back

    def spoil(self, frame: FrameType, names: list[str]) -> None:
        for name in names:
            if self.unbind:
                frame.f_locals.pop(name, None)
            else:
                frame.f_locals[name] = Poison()
        if frame.f_locals is not frame.f_globals and sys.version_info < (3, 13):
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(1))

    def run(self) -> list[str]:
        space = {"flor": self, "log": self.log, "tick": self.tick, "__name__": "__main__"}
        try:
            exec(compile(self.source, "<program>", "exec"), space)
            self.logged.append("done")
        except (_OutOfFuel, _Poison, ValueError, NameError, TypeError) as error:
            self.logged.append(type(error).__name__)
        return self.logged


class _Loop:
    def __init__(self, run: Run, name: str, items: range) -> None:
        self.of = run
        self.name = name
        self.items = iter(items)

    def __iter__(self) -> _Loop:
        return self

    def __next__(self) -> int:
        if self.name == "epoch":
            self.of.point("start")
        try:
            return next(self.items)
        except StopIteration:
            self.of.point("end" if self.name == "epoch" else "exit")
            raise


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="locals of a live frame cannot be unbound")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_poison_in_dead_names_changes_nothing(rng: random.Random) -> None:
    source = Programs(rng).program()
    check(source, rng)


def check(source: str, rng: random.Random) -> int:
    try:
        compile(source, "<program>", "exec")
    except SyntaxError:
        return 0
    plain = Run(source, None, False)
    expected = plain.run()
    strikes = rng.sample(range(plain.points), min(3, plain.points))
    for strike in strikes:
        for unbind in (False, True):
            assert Run(source, strike, unbind).run() == expected, f"strike {strike}, unbind {unbind}\n{source}"
    return len(strikes)
