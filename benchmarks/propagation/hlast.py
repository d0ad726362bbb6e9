"""The 72 published cases of hlast, from the latest version to each older one: right, wrong, refused or error.

    python benchmarks/propagation/hlast.py CHECKOUT [--path] [--verbose]

CHECKOUT is a checkout of the public repository adandamudi/hlast, kept outside of this project. A case is a file with a
statement in `vN-log` that `vN` has not, and an older version with the true place in `vM-gt`. A case whose truth has no
statement (the older version has no place for it) is counted apart: right means refused.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flor_instrument import Propagation, hindsight, propagate

from benchmarks.propagation.verdicts import equivalent


@dataclass(frozen=True)
class Case:
    name: str
    base: bytes
    today: bytes
    target: bytes
    truth: bytes
    path: tuple[bytes, ...]


def cases(checkout: Path) -> Iterator[Case]:
    """Every file of every code base, for every older version that has it."""
    for codebase in sorted((checkout / "tests").iterdir()):
        logs = list(codebase.glob("v*-log"))
        if len(logs) != 1:
            continue
        newest = int(re.sub(r"\D", "", logs[0].name))
        for today in sorted(logs[0].glob("*.py")):
            base = codebase / f"v{newest}" / today.name
            if base.read_bytes() == today.read_bytes():
                continue
            for older in range(newest - 1, 0, -1):
                target, truth = (codebase / f"v{older}{suffix}" / today.name for suffix in ("", "-gt"))
                if not target.exists() or not truth.exists():
                    continue
                between = [codebase / f"v{number}" / today.name for number in range(newest - 1, older, -1)]
                yield Case(
                    f"{codebase.name}/v{older}/{today.stem}",
                    base.read_bytes(),
                    today.read_bytes(),
                    target.read_bytes(),
                    truth.read_bytes(),
                    tuple(one.read_bytes() for one in between if one.exists()),
                )


def same(one: bytes, two: bytes) -> bool:
    try:
        return ast.dump(ast.parse(one)) == ast.dump(ast.parse(two))
    except SyntaxError:
        return one.split() == two.split()


def verdict(case: Case, result: Propagation) -> str:
    """Right, equivalent, wrong, refused; of a case without a true place right means refused."""
    if same(case.truth, case.target):
        return "right (declined)" if not result.placed else "wrong (should decline)"
    if not result.placed or result.refused:
        return "refused"
    if same(result.source, case.truth):
        return "right"
    return "equivalent" if equivalent(result.source, case.truth, case.target) else "wrong"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--path", action="store_true", help="give the versions between the two as well")
    parser.add_argument("--verbose", action="store_true", help="show every case that is not right")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    times: list[float] = []
    listing: dict[str, str] = {}
    for case in cases(options.checkout):
        started = time.perf_counter()
        try:
            patch = hindsight(case.base, case.today, any_statement=True)
            started = time.perf_counter()
            result = propagate(patch, case.target, case.path if options.path else ())
            found = verdict(case, result)
            detail = "; ".join(refusal.reason for refusal in result.refused)
        except Exception as error:  # an error is a result here
            found, detail = "error", repr(error)
            result = None
        times.append((time.perf_counter() - started) * 1000)
        counts[found] += 1
        listing[case.name] = found
        if options.verbose and not found.startswith("right"):
            print(f"{case.name}: {found} {detail}", file=sys.stderr)
            if result is not None and found in {"wrong", "equivalent"}:
                for placement in result.placed:
                    print(
                        f"    line {placement.line}: {placement.text}\n"
                        f"    between {placement.after!r} and {placement.before!r}",
                        file=sys.stderr,
                    )
    times.sort()
    summary = {
        "cases": len(times),
        **counts,
        "median_ms": round(statistics.median(times), 1),
        "p99_ms": round(times[int(0.99 * (len(times) - 1))], 1),
    }
    if options.json:
        print(json.dumps({"summary": summary, "cases": listing}, indent=2))
    else:
        print(", ".join(f"{name}: {value}" for name, value in summary.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
