"""``make bench``: every benchmark as a table and, in benchmarks/results.json, as data.

python -m benchmarks             all of them
python -m benchmarks log import  some
python -m benchmarks --quick     fewer and smaller runs, to see that they work
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row

PROPAGATION = "propagation"  # counts instead of seconds: a table of its own
BENCHMARKS = {
    "policy": "benchmarks.policy",
    "checkpoint": "benchmarks.checkpointing",
    "import": "benchmarks.importing",
    "context": "benchmarks.context",
    "open": "benchmarks.opening",
    "log": "benchmarks.logging_calls",
    "read": "benchmarks.reading",
    "record": "benchmarks.recording",
    "replay": "benchmarks.replaying",
    "fuzz": "benchmarks.fuzzing",
    "makespan": "benchmarks.makespan",
    "storage": "benchmarks.storage",
    "faults": "benchmarks.faults",
    "kills": "benchmarks.worker_kills",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all when left out")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in {*BENCHMARKS, PROPAGATION}]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are {', '.join([*BENCHMARKS, PROPAGATION])}")
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    screen.print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs; medians")
    results: dict[str, list[dict[str, object]]] = {}
    for name in options.names or BENCHMARKS:
        if name == PROPAGATION:
            continue
        rows: list[Row] = import_module(BENCHMARKS[name]).run(quick=options.quick)
        table = Table(title=name, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in ("what", "ours", "beside", "ratio", "runs"):
            table.add_column(column)
        for row in rows:
            table.add_row(
                row.what,
                row.show(row.ours),
                f"{row.show(row.beside)} {row.against}",
                f"{row.ratio:.3g} x",
                str(row.runs),
            )
        screen.print(table)
        screen.print()
        results[name] = [row.as_data() for row in rows]
    if not options.names or PROPAGATION in options.names:
        propagation(screen, options.quick)
    keep(results)
    return 0


def keep(results: dict[str, list[dict[str, object]]]) -> None:
    """Put the results beside those of the benchmarks that were not run this time."""
    path = Path(__file__).parent / "results.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**before, **results}, indent=1) + "\n")


def propagation(screen: Console, quick: bool) -> None:
    """The measured repositories' summary; their clones are given by FLOR_BENCH_MIRRORS, nothing is fetched."""
    if not os.environ.get("FLOR_BENCH_MIRRORS"):
        screen.print("propagation: skipped; FLOR_BENCH_MIRRORS names no folder with clones at OWNER/NAME")
        return
    size = ["--cases", "2", "--negatives", "1"] if quick else []
    command = [sys.executable, "-m", "benchmarks.propagation", "--set", "measure", *size]
    subprocess.run(command, check=False)


if __name__ == "__main__":
    sys.exit(main())
