"""How often a statement lands in the right place of an older version, in histories that nobody here wrote.

    python -m benchmarks.propagation REPOSITORY FILE…           any git repository
    python -m benchmarks.propagation --set measure|tune         those of repositories.toml, under --mirrors

--mirrors (or the variable FLOR_BENCH_MIRRORS) is a folder with a clone at OWNER/NAME for each repository; nothing is
fetched and nothing of theirs is kept. --flordb (or FLOR_BENCH_FLORDB) is the interpreter of an environment in which
FlorDB 4.0.1 is installed; it is asked about a sample.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from pathlib import Path

from benchmarks.propagation.measuring import Job, Outcome, Sample, jobs_of_set, measured
from benchmarks.propagation.summary import lines, summarised


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path, nargs="?")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--set", choices=["tune", "measure"])
    parser.add_argument("--mirrors", type=Path, default=os.environ.get("FLOR_BENCH_MIRRORS"))
    parser.add_argument("--flordb", type=Path, default=os.environ.get("FLOR_BENCH_FLORDB"), metavar="PYTHON")
    parser.add_argument("--flordb-share", type=float, default=0.1, help="of the cases, that FlorDB is asked about")
    parser.add_argument("--flordb-lines", type=int, default=400, help="it is only asked about files as long as this")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cases", type=int, default=25, help="statements that stand in both versions, a file")
    parser.add_argument(
        "--negatives", type=int, default=8, help="statements that the older version cannot have, a file"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict there")
    parser.add_argument("--show", action="store_true", help="print what went wrong; not for what is only measured")
    parser.add_argument("--only", metavar="TEXT", help="only cases whose name has this in it")
    options = parser.parse_args()
    if options.set:
        if options.repository:
            parser.error("give either a repository with its files or --set")
        if not options.mirrors:
            parser.error("--set needs --mirrors or FLOR_BENCH_MIRRORS: a folder with a clone at OWNER/NAME")
        if options.show and options.set == "measure":
            parser.error("single cases of the measured set are not looked at: whatever is tuned on them is no measure")
        jobs, missing = jobs_of_set(options.set, Path(options.mirrors))
        for name in missing:
            print(f"not there, left out: {name}", file=sys.stderr)
    elif options.repository and options.files:
        jobs = [Job(options.repository.name, options.repository, file, "given") for file in options.files]
    else:
        parser.error("give a repository and files, or --set")
    if not jobs:
        parser.error("none of the repositories is there")
    outcomes = run_all(jobs, options)
    if options.show:
        for outcome in outcomes:
            if outcome.verdicts["ours"].verdict not in {"right", "equivalent"}:
                print(f"{outcome.name} [{', '.join(outcome.hard)}{' ARGUABLE' * outcome.arguable}]")
                print(f"    {outcome.verdicts['ours'].verdict}: {outcome.verdicts['ours'].said}")
    summary = summarised(outcomes)
    print("\n".join(lines(summary)))
    if options.json:
        data = {"summary": summary, "cases": [outcome.as_data() for outcome in outcomes]}
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    return 0


def run_all(jobs: list[Job], options: argparse.Namespace) -> list[Outcome]:
    """All jobs, in as many processes as asked for; the order is that of the jobs."""
    asked = [
        (
            job,
            options.cases,
            options.negatives,
            options.seed,
            options.peers,
            Path(options.flordb) if options.flordb and options.peers else None,
            Sample(options.flordb_share, options.flordb_lines),
            options.only,
        )
        for job in jobs
    ]
    found: list[list[Outcome]] = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for number, one in enumerate(pool.imap(measured, asked), 1):
            found.append(one)
            print(f"{number} of {len(asked)} files: {jobs[number - 1].file}, {len(one)} cases", file=sys.stderr)
    return [outcome for each in found for outcome in each]


if __name__ == "__main__":
    sys.exit(main())
