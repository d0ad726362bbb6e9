"""One hindsight statement through every version of a long history, as `flor-replay add-log` carries it.

    python -m benchmarks.propagation.long_history [--versions 500] [--lines 1500] [--near-identical]
    python -m benchmarks.propagation.long_history REPOSITORY FILE LINE

Without a repository the history is made up, from a seed: a training script with many functions, whose variables and
functions are renamed, and whose statements come, go and change, a few in each version; every tenth version is an
earlier one again. `--near-identical`: all statements look alike, which is the worst case for an alignment. With a
repository: the file's versions, and today's file is its newest with a log of a name that line LINE reads, put after it.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import re
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flor_instrument import Propagation, hindsight, propagate

from benchmarks.propagation.history import versions
from flor_replay.replay.proposing import collecting_seldom

_TRAIN = """\
def train(model, optimizer, loader, epochs):
    best = 0.0
    for epoch in flor.loop("epoch", range(epochs)):
        running = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        flor.log("running", running)
        best = max(best, running)
    return best
"""
_LOGGED = '            flor.log("objective", loss.item())'
_AFTER = "            loss.backward()"


@dataclass
class Function:
    name: str
    names: list[str]  # its variables
    body: list[str]  # lines, with {0}, {1}… where the variables stand


@dataclass
class Script:
    """A script that can be changed a little; `text` is what it looks like now."""

    chance: random.Random
    lines: int
    near_identical: bool
    made: int = 0
    words: dict[str, str] = field(default_factory=dict)  # what the names of the training function are called now
    functions: list[Function] = field(default_factory=list)

    def __post_init__(self) -> None:
        while len(self.text().splitlines()) < self.lines:
            self.functions.append(self._function())

    def _new_name(self, kind: str) -> str:
        self.made += 1
        return f"{kind}_{self.made}"

    def _function(self) -> Function:
        names = [self._new_name("value") for _ in range(6)]
        return Function(
            self._new_name("prepare"), names, [self._statement() for _ in range(self.chance.randint(10, 40))]
        )

    def _statement(self) -> str:
        one, two = (f"{{{self.chance.randrange(6)}}}" for _ in range(2))
        if self.near_identical:
            return f"    {one} = combine({two}, 1)"
        shapes = [
            f"    {one} = combine({two}, {self.chance.randrange(100)})",
            f"    {one} = helper_{self.chance.randrange(30)}({two}, scale={self.chance.randrange(9)})",
            f'    print("{self.chance.choice("abcdefgh")} is", {one})',
            f"    if {one} > {self.chance.randrange(50)}:\n        {two} = {one} - {self.chance.randrange(9)}",
            f"    {one}.append({two})",
        ]
        return self.chance.choice(shapes)

    def text(self) -> str:
        out = ["import flor\n\n"]
        for one in self.functions:
            body = "\n".join(one.body).format(*one.names)
            out.append(f"def {one.name}({one.names[0]}, {one.names[1]}):\n{body}\n    return {one.names[0]}\n\n")
        train = _TRAIN
        for name, now in self.words.items():
            train = re.sub(rf"\b{name}\b", now, train)
        return "\n".join([*out, train])

    def change(self) -> None:
        """One to four edits, of the kinds that a history is made of."""
        for _ in range(self.chance.randint(1, 4)):
            function = self.chance.choice(self.functions)
            place = self.chance.randrange(len(function.body))
            kind = self.chance.randrange(12)
            if kind == 0:
                function.name = self._new_name("prepare")
            elif kind == 1:
                function.names[self.chance.randrange(6)] = self._new_name("value")
            elif kind == 2:
                self.words[self.chance.choice(["model", "optimizer", "loss", "running"])] = self._new_name("thing")
            elif kind < 6:
                function.body.insert(place, self._statement())
            elif kind < 9 and len(function.body) > 5:
                del function.body[place]
            else:
                function.body[place] = self._statement()


def made_up(count: int, lines: int, near_identical: bool, seed: int) -> tuple[list[bytes], bytes]:
    """The recorded versions, newest first, and today's file."""
    script = Script(random.Random(seed), lines, near_identical)
    out = [script.text().encode()]
    today = out[0].decode().replace(_AFTER, f"{_AFTER}\n{_LOGGED}").encode()
    while len(out) < count:
        if len(out) % 10 == 9:
            out.append(script.chance.choice(out))
            continue
        script.change()
        out.append(script.text().encode())
    return out, today


def from_repository(repository: Path, file: str, line: int) -> tuple[list[bytes], bytes]:
    """The same of a file's history, with a log of a name that the statement on the line reads, after it."""
    found = versions(repository, file)
    lines = found[0].decode().splitlines(keepends=True)
    statement = next(
        node for node in ast.walk(ast.parse(found[0])) if isinstance(node, ast.stmt) and node.lineno == line
    )
    name = next(
        node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )
    indent = " " * statement.col_offset
    end = statement.end_lineno or line
    return found, "".join(
        ["import flor\n", *lines[:end], f'{indent}flor.log("hindsight", {name})\n', *lines[end:]]
    ).encode()


def carry(recorded: Sequence[bytes], today: bytes) -> tuple[list[float], Counter[str]]:
    """Milliseconds of processor time for each content, and what became of each version."""
    patch = hindsight(recorded[0], today)
    results: dict[bytes, Propagation] = {}
    spent: list[float] = []
    ends: Counter[str] = Counter()
    with collecting_seldom() as turn:
        for version in recorded:
            if version not in results:
                began = time.process_time()
                results[version] = propagate(patch, version, tuple(results))
                turn()
                spent.append((time.process_time() - began) * 1000)
            result = results[version]
            ends[f"placed ({result.route})" if result.placed else "refused"] += 1
    return spent, ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path, nargs="?")
    parser.add_argument("file", nargs="?")
    parser.add_argument("line", type=int, nargs="?")
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--lines", type=int, default=1500)
    parser.add_argument("--near-identical", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.repository is not None and options.line is None:
        parser.error("give a repository, a file and a line, or none of them")
    if options.repository is not None:
        recorded, today = from_repository(options.repository, options.file, options.line)
    else:
        recorded, today = made_up(options.versions, options.lines, options.near_identical, options.seed)
    began = time.perf_counter()
    spent, ends = carry(recorded, today)
    elapsed = time.perf_counter() - began
    spent.sort()
    print(
        json.dumps(
            {
                "versions": len(recorded),
                "contents": len(spent),
                "lines": max(one.count(b"\n") for one in recorded),
                **ends,
                "elapsed_s": round(elapsed, 1),
                "processor_s": round(sum(spent) / 1000, 1),
                "median_ms": round(statistics.median(spent), 1),
                "p99_ms": round(spent[int(0.99 * (len(spent) - 1))], 1),
                "slowest_ms": round(spent[-1], 1),
                "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
