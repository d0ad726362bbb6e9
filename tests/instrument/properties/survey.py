"""How much is refused, by kind of edit: ``python -m tests.instrument.properties.survey {run,read,negative} [CASES] [SEED]``.

A property that says "right or refused" also holds of what refuses everything; this table shows that it does not.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from random import Random

from .cases import Case, negative_case, real_case, running_case
from .edits import EVERY
from .judging import by_reading, by_running

KINDS = sorted(EVERY)
GOOD = ("right", "equivalent", "refused")


def _kinds(chance: Random) -> tuple[list[str], list[str], bool]:
    before = [chance.choice(KINDS) for _ in range(chance.choice([0, 0, 1, 4]))]
    after = [chance.choice(KINDS) for _ in range(chance.randint(1, 12))]
    return before, after, chance.random() < 0.7


def _run(chance: Random) -> tuple[Case | None, Callable[[Case], str]]:
    before, after, near = _kinds(chance)
    return running_case(chance, before, after, near=near), by_running


def _read(chance: Random) -> tuple[Case | None, Callable[[Case], str]]:
    before, after, _ = _kinds(chance)
    return real_case(chance, before[:1], after[:5], near=False), by_reading


def _negative(chance: Random) -> tuple[Case | None, Callable[[Case], str]]:
    return negative_case(chance), by_reading


WAYS = {"run": _run, "read": _read, "negative": _negative}


def survey(way: str, count: int, seed: int) -> tuple[dict[str, Counter[str]], list[tuple[int, str]]]:
    """Verdicts by kind of edit (of all cases: "all"), and the seeds whose verdict is none of the good ones."""
    counts: dict[str, Counter[str]] = {"all": Counter()}
    bad: list[tuple[int, str]] = []
    for number in range(seed, seed + count):
        case, judge = WAYS[way](Random(number))
        if case is None:
            continue
        try:
            said = judge(case)
        except AssertionError as broken:
            said = f"broken: {broken}".partition("\n")[0]
        if said not in GOOD:
            bad.append((number, said))
        for kind in ("all", *case.kinds):
            counts.setdefault(kind, Counter())[said if said in GOOD else "wrong"] += 1
    return counts, bad


def main() -> int:
    way, count, seed = [*sys.argv[1:], *("run", "200", "0")[len(sys.argv) - 1 :]]
    counts, bad = survey(way, int(count), int(seed))
    print(f"{'kind of edit':24}{'cases':>7}" + "".join(f"{one:>12}" for one in (*GOOD, "wrong")) + f"{'% refused':>12}")
    for kind, said in sorted(counts.items(), key=lambda entry: (entry[0] != "all", entry[0])):
        total = sum(said.values())
        shares = "".join(f"{said[one]:>12}" for one in (*GOOD, "wrong"))
        print(f"{kind:24}{total:>7}{shares}{100 * said['refused'] / max(1, total):>12.1f}")
    for number, said in bad:
        print(f"seed {number}: {said}")
    return bool(bad)


if __name__ == "__main__":
    raise SystemExit(main())
