"""Is there a wrong value with verdict ``exact``? Random scripts, random statements at random places, compared with foresight.

A script trains a small model in plain Python: what it is made of (where it stands, its generators, its schedule, what it
logs, what hides state) is drawn by lot. The statement is one that only reads, or one that changes something: draws, switches
a mode, keeps a value, uses up an iterator. Several versions of a script stand in one project, one ``add-log`` fills them all,
and each value that it calls exact must be, bit for bit, what a run with the statement from its start logs.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, environment, git
from flor_replay.processes import cpus

FORESIGHT = """
import atexit, json, sys
_path, _counts, _found = [], {}, []
def log(name, value):
    place = tuple(_path)
    key = (name, place)
    _counts[key] = _counts.get(key, -1) + 1
    _found.append([name, [list(level) for level in place], _counts[key], repr(value)])
    return value
def arg(name, default): return default
def loop(name, iterable):
    index = -1
    for index, item in enumerate(iterable):
        _path.append((name, index))
        try:
            yield item
        finally:
            del _path[[level[0] for level in _path].index(name):]
atexit.register(lambda: json.dump(_found, open(sys.argv[1], "w")))
"""

PURE = (
    "sum(net.w)", "net.w[0]", "lr", "len(history)", "net.training", "float(net.w[-1]) ** 2", "max(net.w)",
    "net.grad[0]", "sum(g * g for g in net.grad) ** 0.5", "epoch", "counter.value", "cache.get('best', 0.0)",
)  # fmt: skip
IMPURE = (
    "gen.random()", "random.random()", "net.noisy()", "counter.next()", "history.append(0.5) or len(history)",
    "net.eval() or net.w[0]", "net.train() or net.w[0]", "order.reverse() or order[0]", "net.forward(0.5)",
    "next(stream)", "cache.setdefault('best', 9.0)", "net.step(0.001)", "random.seed(epoch) or 1",
    "gen.shuffle(order) or order[0]", "setattr(net, 'scale', net.scale * 0.5) or net.scale", "cache.pop('best', None)",
    "touched(net)", "drawn()", "net.grad.clear() or net.grad.extend([0.0] * 4) or 0", "sorted(order)[0] + gen.random()",
    "json_state()", "net.validate(gen)", "[net.w.__setitem__(0, v + 1e-3) for v in net.w[:1]][0]",
)  # fmt: skip
POSITIONS = ("before", "top", "nested", "after_nested", "bottom", "after")

BASE = """
import random
import json
import flor

class Net:
    scale = 1.0
    def __init__(self, rng):
        self.w = [rng.uniform(-1, 1) for _ in range(4)]
        self.grad = [0.0] * 4
        self.training = True
        self.calls = 0
    def train(self): self.training = True
    def eval(self): self.training = False
    def noisy(self):
        return sum(self.w) + random.gauss(0, 0.1)
    def forward(self, x):
        self.calls += 1
        noise = random.gauss(0, 0.05) if self.training else 0.0
        return sum(w * x ** i for i, w in enumerate(self.w)) * self.scale + noise
    def step(self, lr):
        self.w = [w - lr * g for w, g in zip(self.w, self.grad)]
        return self.w[0]
    def validate(self, rng):
        return sum(self.forward(rng.random()) for _ in range(2))

class Counter:
    value = 0
    def next(self):
        self.value += 1
        return self.value

def touched(net):
    net.scale = net.scale * 1.0001
    return net.scale

def drawn():
    return random.uniform(0, 1) * 2

def json_state():
    CALLS.append(1)
    return len(CALLS)

CALLS = []
"""


@dataclass
class Result:
    """What became of the cases of one project."""

    verdicts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # in words, with the script


def script(lot: random.Random) -> str:
    """One script, with a mark ``#POSITION`` where a statement may stand."""

    def yes(chance: float) -> bool:
        return lot.random() < chance

    inner = ["epoch_lr = lr * (0.9 ** epoch)" if yes(0.5) else "epoch_lr = lr / (1 + len(history))"]
    inner += ["gen.shuffle(order)"] if yes(0.6) else []
    inner += ["net.train()"] if yes(0.4) else []
    inner += ["random.seed(epoch)"] if yes(0.15) else []
    inner += ["#top"]
    nested = ["i = order[step % 6]" if yes(0.7) else "i = gen.randrange(6)"]
    nested += ["x = i / 6" if yes(0.6) else "x = next(stream)"]
    nested += ["error = net.forward(x) - (0.3 + x)"]
    nested += ["net.grad = [error * x ** k for k in range(4)]", "#nested", "net.step(epoch_lr)"]
    nested += ["counter.next()"] if yes(0.3) else []
    nested += ["if counter.value % 5 == 4: net.scale = net.scale * 0.99"] if yes(0.3) else []
    nested += ['flor.log("loss", error * error)'] if yes(0.5) else []
    inner += ['for step in flor.loop("step", range(3)):', *("    " + line for line in nested), "#after_nested"]
    inner += ["net.eval()"] if yes(0.4) else []
    inner += ["acc = sum(abs(net.forward(k / 3)) for k in range(3))"]
    inner += ["history.append(acc)"] if yes(0.6) else []
    inner += ["if acc < cache.get('best', 1e9): cache['best'] = acc"] if yes(0.5) else []
    inner += ["if len(CALLS) % 2: net.w[1] += 0.01"] if yes(0.3) else []
    inner += ["if acc > 1e6: break"] if yes(0.3) else []
    inner += ['flor.log("acc", acc)'] if yes(0.7) else []
    inner += ["#bottom"]
    setup = [f"random.seed({lot.randrange(100)})", f"gen = random.Random({lot.randrange(100)})", "net = Net(gen)"]
    setup += ["lr = 0.1", "history = []", "counter = Counter()", "cache = {}", "order = list(range(6))", "epoch = 0"]
    setup += ["stream = iter([k / 100 for k in range(99)])" if yes(0.7) else "stream = (k / 100 for k in range(99))"]
    setup += ["#before"]
    over = lot.choice(["range({n})", "range({n})", "[k for k in range({n})]", "iter(range({n}))"]).format(
        n=lot.choice((4, 5))
    )
    body = [*setup, f'for epoch in flor.loop("epoch", {over}):', *("    " + line for line in inner)]
    body += ['flor.log("final", sum(net.w))'] if yes(0.6) else []
    body += ["#after"]
    if yes(0.5):
        return BASE + "\n" + "\n".join(body) + "\n"
    return (
        BASE
        + "\ndef main():\n"
        + textwrap.indent("\n".join(body), "    ")
        + '\n\nif __name__ == "__main__":\n    main()\n'
    )


def with_statement(source: str, position: str, expression: str) -> str:
    return source.replace(f"#{position}\n", f'flor.log("asked", {expression})\n')


def check(folder: Path, seed: int, versions: int) -> Result:
    """One project of so many versions, one statement: recorded, filled, and compared with foresight."""
    lot = random.Random(seed)
    project = folder / "project"
    project.mkdir()
    git(project, "init", "-q")
    position = lot.choice(POSITIONS)
    expression = lot.choice(PURE if lot.random() < 0.25 else IMPURE)
    sources = [script(lot) for _ in range(versions)]
    (folder / "foresight").mkdir()
    (folder / "foresight" / "flor.py").write_text(FORESIGHT)
    for source in sources:
        (project / "train.py").write_text(source)
        git(project, "add", "-A")
        git(project, "commit", "-q", "--allow-empty", "-m", "a version")
        subprocess.run(
            [sys.executable, "train.py"], cwd=project, check=True, env={**environment(), "FLOR_CHECKPOINTS": "all"}
        )
    (project / "train.py").write_text(with_statement(sources[-1], position, expression))
    command = [str(Path(sys.executable).parent / "flor-replay"), "add-log", "train.py", "--yes", "--json"]
    done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"seed {seed}: {done.stdout}\n{done.stderr}")
    return _compared(folder, project, seed, position, expression)


def _compared(folder: Path, project: Path, seed: int, position: str, expression: str) -> Result:
    from flor_replay.store import database, records
    from flor_replay.store.runs import all_runs
    from flor_replay.values import decode

    result = Result()
    everything = all_runs(str(project / ".flor"))
    recorded = [run for run in everything if not run.replay_of]
    for run in recorded:
        replays = [replay for replay in everything if replay.replay_of == run.run]
        verdicts = {str(replay.fidelity.get("verdict")) for replay in replays} - {"superseded", "failed"}
        result.verdicts[min(verdicts, default="refused")] += 1
        proven = [replay for replay in replays if replay.fidelity.get("verdict") in ("exact", "close")]
        if not proven:
            continue
        # Where a version has lines that today's lacks, its place for the statement may be another: foresight has the same.
        patched = git(project, "show", f"{proven[0].info['patched']}:train.py")
        truth = _foresight(folder, patched)
        for replay in proven:
            with database.connect() as connection:
                rows = records.fetch(
                    connection,
                    "select kind, int_value, float_value, text_value, loops, indices, ordinal "
                    f"from ({records.table(connection, [replay])}) where hindsight > 0",
                )
            for kind, whole, real, text, loops, indices, ordinal in rows:
                place: Any = (tuple(zip(loops, indices, strict=True)), ordinal)  # type: ignore[call-overload]
                value = repr(decode(str(kind), real if kind == "float" else whole, text, replay.folder.files))  # type: ignore[arg-type]
                if truth.get(place) != value:
                    told = replay.info["segment"]
                    result.wrong.append(
                        f"seed {seed}, {position}: {expression} at {place}: {value}, and {truth.get(place)} by foresight\n"
                        f"{replay.fidelity} {replay.info['states']} {told}\n{patched[len(BASE) :]}"
                    )
                    break
    return result


def _foresight(folder: Path, source: str) -> dict[Any, str]:
    """What the script logs under "asked" when it has the statement from its start."""
    path = folder / "foresight" / "train.py"
    path.write_text(source)
    subprocess.run([sys.executable, "train.py", "out.json"], cwd=path.parent, check=True)
    found = json.loads((path.parent / "out.json").read_text())
    return {
        (tuple((name, index) for name, index in place), ordinal): value
        for name, place, ordinal, value in found
        if name == "asked"
    }


def run(quick: bool) -> list[Row]:
    projects, versions = (5, 4) if quick else (50, 10)
    result = Result()

    def fuzz(seed: int) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            return check(Path(folder), seed, versions)

    with ThreadPoolExecutor(cpus()) as threads:
        for found in threads.map(fuzz, range(projects)):
            result.verdicts += found.verdicts
            result.wrong += found.wrong
    for wrong in result.wrong:
        print(wrong, file=sys.stderr)
    cases = sum(result.verdicts.values())
    told = ", ".join(f"{count} {verdict}" for verdict, count in result.verdicts.most_common())
    return [
        Row(
            f"wrong values with verdict exact ({told})",
            len(result.wrong),
            cases,
            "cases",
            len(result.wrong) / cases,
            1,
            "",
        )
    ]
