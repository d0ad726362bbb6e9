"""Outcomes counted: by kind, by distance, by what changed around the statement."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

from benchmarks.propagation.measuring import Outcome

_GROUPS: tuple[tuple[str, Callable[[Outcome], bool]], ...] = (
    ("positives", lambda one: one.positive and not one.arguable),
    ("hard part", lambda one: one.positive and not one.arguable and bool(one.hard)),
    ("arguable (author moved it)", lambda one: one.positive and one.arguable),
    ("negatives", lambda one: not one.positive),
    ("distance 1", lambda one: one.positive and not one.arguable and one.distance == 1),
    ("distance 2-4", lambda one: one.positive and not one.arguable and 2 <= one.distance <= 4),
    ("distance 5-19", lambda one: one.positive and not one.arguable and 5 <= one.distance <= 19),
    ("distance 20 and more", lambda one: one.positive and not one.arguable and one.distance >= 20),
    *(
        (f"hard: {kind}", lambda one, kind=kind: one.positive and not one.arguable and kind in one.hard)
        for kind in ("one neighbour", "both neighbours", "header", "nesting", "function", "names")
    ),
)


def summarised(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, float]]]:
    """For each group and contestant: the counts of the verdicts, shares in percent, median and p99 milliseconds."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    contestants = sorted({who for one in outcomes for who in one.verdicts}, key=lambda who: (who != "ours", who))
    for title, belongs in _GROUPS:
        group = [one for one in outcomes if belongs(one)]
        for who in contestants:
            asked = [one.verdicts[who] for one in group if who in one.verdicts]
            if not asked:
                continue
            counts = Counter(one.verdict for one in asked)
            good = counts["right"] + counts["equivalent"]
            placed = good + counts["wrong"]
            times = sorted(one.milliseconds for one in asked)
            out.setdefault(title, {})[who] = {
                "cases": len(asked),
                **{name: counts[name] for name in ("right", "equivalent", "wrong", "refused", "error")},
                "of_all": round(100 * good / len(asked), 2),
                "of_placed": round(100 * good / placed, 2) if placed else 100.0,
                "median_ms": round(statistics.median(times), 1),
                "p99_ms": round(times[int(0.99 * (len(times) - 1))], 1),
            }
    return out


def lines(summary: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """The summary as a table. Of negatives `right` counts refusals and `of all` is the share that was declined."""
    columns = (
        "cases",
        "right",
        "equivalent",
        "wrong",
        "refused",
        "error",
        "of_all",
        "of_placed",
        "median_ms",
        "p99_ms",
    )
    heads = ("cases", "right", "equiv", "wrong", "refused", "error", "of all %", "placed %", "ms", "p99 ms")
    out = ["".join((f"{'':27}", f"{'':15}", *(f"{head:>10}" for head in heads)))]
    for title, found in summary.items():
        for number, (who, values) in enumerate(found.items()):
            cells = "".join(f"{values[column]:>10g}" for column in columns)
            out.append(f"{title if number == 0 else '':27}{who:15}{cells}")
    return out
