"""Delete-and-recover: cases made from the history of any git repository, with the true place known.

    python benchmarks/propagation/recover.py REPOSITORY FILE… [--cases 200] [--seed 0] [--verbose]

A single-line call statement that stands in a newer and an older version is taken out of the older one; propagating it
from the newer version (with and without it) must give the older version back. Negative cases: a statement of the newer
version that reads a name which the older one does not have; right means refused. Repositories stay outside the project.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flor_instrument import Propagation, hindsight, propagate

from benchmarks.propagation.equivalence import equivalent

_LOGS = re.compile(r"log|print|summary|writer|wandb|progress|meter|update\(|add_scalar|append", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    name: str
    positive: bool
    hard: bool
    base: bytes
    today: bytes
    target: bytes
    truth: bytes


def versions(repository: Path, file: str) -> list[bytes]:
    """The distinct contents of a file, newest first."""

    def git(*arguments: str) -> bytes:
        command = ["git", "-C", str(repository), *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout

    out: list[bytes] = []
    name = file
    log = git("log", "--follow", "--format=%x01%H", "--name-only", "--", file).decode(errors="replace")
    for entry in log.split("\x01")[1:]:
        commit, *rest = entry.split("\n")
        name = next((line for line in rest if line.strip()), name)
        try:
            data = git("show", f"{commit}:{name}")
            ast.parse(data)
        except (subprocess.CalledProcessError, SyntaxError, ValueError):
            continue
        if not out or out[-1] != data:
            out.append(data)
    return out


@dataclass(frozen=True)
class Call:
    line: int
    text: str
    before: str
    after: str
    scope: str
    names: frozenset[str]


def calls(data: bytes) -> list[Call]:
    """The call statements that take one line of their own, with their neighbours."""
    out: list[Call] = []

    def visit(node: ast.AST, scope: str) -> None:
        for name in ("body", "orelse", "finalbody", "handlers"):
            block = getattr(node, name, None)
            if not isinstance(block, list):
                continue
            for index, statement in enumerate(block):
                inner = f"{scope}.{statement.name}" if isinstance(statement, _NAMED) else scope
                if (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Call)
                    and statement.lineno == statement.end_lineno
                    and len(block) > 1
                ):
                    around = [
                        ast.unparse(block[near]).split("\n")[0] if 0 <= near < len(block) else ""
                        for near in (index - 1, index + 1)
                    ]
                    names = frozenset(n.id for n in ast.walk(statement) if isinstance(n, ast.Name))
                    out.append(Call(statement.lineno, ast.unparse(statement), *around, scope, names))
                visit(statement, inner)

    visit(ast.parse(data), "")
    return out


_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def without(data: bytes, line: int) -> bytes | None:
    lines = data.splitlines(keepends=True)
    out = b"".join(lines[: line - 1] + lines[line:])
    try:
        ast.parse(out)
    except SyntaxError:
        return None
    return out


def cases(history: list[bytes], count: int, chance: random.Random, name: str) -> Iterator[Case]:
    tries = 0
    made = 0
    if len(history) < 2:
        return
    parsed: dict[int, list[Call]] = {}
    while made < count and tries < count * 30:
        tries += 1
        new, old = sorted(chance.sample(range(len(history)), 2))
        ours = parsed.setdefault(new, calls(history[new]))
        theirs = parsed.setdefault(old, calls(history[old]))
        ours_logs = [call for call in ours if _LOGS.search(call.text)]
        if not ours_logs:
            continue
        call = chance.choice(ours_logs)
        base = without(history[new], call.line)
        if base is None or sum(one.text == call.text for one in ours) != 1:
            continue
        same = [one for one in theirs if one.text == call.text]
        label = f"{name}@{new}->{old}:{call.line}"
        if len(same) == 1:
            target = without(history[old], same[0].line)
            if target is None:
                continue
            hard = (same[0].before, same[0].after, same[0].scope) != (call.before, call.after, call.scope)
            made += 1
            yield Case(label, True, hard, base, history[new], target, history[old])
        elif not same:
            words = set(re.findall(rb"\w+", history[old]))
            if any(one.encode() not in words for one in call.names):
                made += 1
                yield Case(label, False, False, base, history[new], history[old], history[old])


def verdict(case: Case, result: Propagation) -> str:
    if not case.positive:
        return "wrong" if result.placed else "right"
    if result.refused or not result.placed:
        return "refused"
    if ast.dump(ast.parse(result.source)) == ast.dump(ast.parse(case.truth)):
        return "right"
    return "equivalent" if equivalent(result, case.truth) else "wrong"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = {"positive": Counter(), "hard": Counter(), "negative": Counter()}
    times: list[float] = []
    for file in options.files:
        history = versions(options.repository, file)
        for case in cases(history, options.cases, random.Random(options.seed), file):
            started = time.perf_counter()
            try:
                patch = hindsight(case.base, case.today, any_statement=True)
                started = time.perf_counter()
                result = propagate(patch, case.target)
                found = verdict(case, result)
            except Exception as error:  # an error is a result here
                found, result = f"error {error!r}", None
            times.append((time.perf_counter() - started) * 1000)
            kind = "negative" if not case.positive else "positive"
            counts[kind][found] += 1
            if case.hard:
                counts["hard"][found] += 1
            if options.verbose and found != "right":
                _show(case, found, result)
    for kind, counter in counts.items():
        print(f"{kind}: {sum(counter.values())} {dict(counter)}")
    if times:
        times.sort()
        print(f"median {statistics.median(times):.1f} ms, p99 {times[int(0.99 * (len(times) - 1))]:.1f} ms")
    return 0


def _show(case: Case, found: str, result: Propagation | None) -> None:
    print(f"--- {case.name}: {found}")
    if result is None:
        return
    for refusal in result.refused:
        line = case.today.splitlines()[(refusal.line or 1) - 1].strip().decode(errors="replace")
        print(f"    {line}\n    {refusal.reason}")
    for placement in result.placed:
        print(f"    line {placement.line}: {placement.text}  {dict(placement.renames)}")
        print(f"    after  {placement.after}\n    before {placement.before}")
    if case.positive and result.placed:
        text = set(case.truth.splitlines()) - set(case.target.splitlines())
        where = [n for n, line in enumerate(case.truth.splitlines(), 1) if line in text]

        print(f"    true line {where}")


if __name__ == "__main__":
    sys.exit(main())
