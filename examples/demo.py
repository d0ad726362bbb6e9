"""The main job on a real training history, checked: ``make demo``.

Builds the history ``fixtures/histories/digits`` (handwritten digits, nine versions of one script) as a git repository in
a scratch folder, records every version with different arguments, adds three statements to the newest, runs ``flor-replay
add-log train.py --yes``, prints the columns across the versions, and compares every backfilled value, bit for bit, with
a run that had the statements from the start.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "fixtures" / "histories")]

from build import Version, build, git, lay_out  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from flor_replay.store.frames import build as dataframe  # noqa: E402
from flor_replay.store.runs import Run, all_runs  # noqa: E402
from tests.support import Project  # noqa: E402

say = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--history", default="digits", help="a folder of fixtures/histories")
    parser.add_argument("--keep", action="store_true", help="keep the scratch folder")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="flor-demo-"))
    try:
        return demo(ROOT / "fixtures" / "histories" / options.history, scratch)
    finally:
        if options.keep:
            say.print(f"kept: {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)


def demo(history: Path, scratch: Path) -> int:
    told = json.loads((history / "history.json").read_text(encoding="utf-8"))
    statements: dict[str, str] = told["statements"]
    names = list(statements.values())
    project = scratch / history.name
    versions = build(history, project)

    say.rule("record: every version, as it was, with its own arguments")
    began = time.perf_counter()
    for version in versions:
        git(project, {}, "checkout", "--quiet", version.sha)
        record(version, project)
        say.print(f"  {version.name}  {version.sha[:8]}  {' '.join(version.command[1:])}")
    git(project, {}, "checkout", "--quiet", "main")
    recorded = runs(project)
    say.print(f"  {len(recorded)} runs in {time.perf_counter() - began:.0f} s")

    say.rule("today: three statements are added to the newest version")
    lay_out(history / "today", project)
    subprocess.run(["git", "--no-pager", "diff", "--stat"], cwd=project, check=True)
    scripts = changed_files(project)
    before = Project(project, repository=False).state()

    say.rule(f"flor-replay add-log {' '.join(scripts)} --yes")
    began = time.perf_counter()
    done = subprocess.run(
        [Path(sys.executable).parent / "flor-replay", "add-log", *scripts, "--yes"], cwd=project, check=False
    )
    seconds = time.perf_counter() - began
    untouched = Project(project, repository=False).state() == before

    say.rule("truth: the same versions with the statements from the start")
    truths = truth_runs(versions, scratch / "truth")

    say.rule("compare: every backfilled value with the truth, bit for bit")
    good = compare(versions, recorded, truths, project, statements)
    show(project, names)
    say.print(f"working tree, HEAD, branch, index, status as before: {'yes' if untouched else 'NO'}")
    say.print(f"add-log took {seconds:.0f} s and left with exit code {done.returncode}")
    return 0 if good and untouched and done.returncode in (0, 3) else 1


def record(version: Version, folder: Path) -> None:
    command = [sys.executable, *version.command[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{version.name} failed:\n{done.stdout}\n{done.stderr}")


def runs(folder: Path) -> list[Run]:
    return [run for run in all_runs(str(folder / ".flor")) if not run.replay_of]


def changed_files(project: Path) -> list[str]:
    return git(project, {}, "diff", "--name-only").splitlines()


def truth_runs(versions: list[Version], base: Path) -> dict[str, tuple[Path, Run]]:
    """For each version a run of its own that had the statements from the start."""

    def one(version: Version) -> tuple[str, tuple[Path, Run]]:
        folder = base / version.name
        folder.mkdir(parents=True)
        git(folder, {}, "init", "--quiet")
        lay_out(version.folder, folder)
        lay_out(version.truth, folder)
        record(version, folder)
        return version.name, (folder, runs(folder)[-1])

    with ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2)) as pool:
        return dict(pool.map(one, versions))


def column(folder: Path, run: Run, name: str) -> list[tuple[Any, ...]]:
    """(loop indices…, value) of a name in one run; loops are compared by depth, they have other names in other versions."""
    frame = dataframe([name], str(folder), runs=[run.run])
    loops = list(frame.attrs.get("loops", ()))
    rows = frame[[*loops, name]].itertuples(index=False, name=None)
    return [row for row in rows if row[-1] is not None and row[-1] == row[-1]]


def compare(
    versions: list[Version],
    recorded: list[Run],
    truths: dict[str, tuple[Path, Run]],
    project: Path,
    statements: dict[str, str],
) -> bool:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("version")
    for place, name in statements.items():
        table.add_column(f"{name} ({place})")
    wrong = 0
    filled = dict.fromkeys(statements.values(), 0)
    for version, run in zip(versions, recorded, strict=True):
        cells = []
        for name in statements.values():
            ours, theirs = column(project, run, name), column(*truths[version.name], name)
            if not ours:
                cells.append("[yellow]not filled[/]")
            elif ours == theirs:
                filled[name] += 1
                cells.append(f"[green]{len(ours)} of {len(theirs)} bit-identical[/]")
            else:
                same = len(set(ours) & set(theirs))
                wrong += 1
                cells.append(f"[red]{same} of {len(theirs)} identical[/]")
        table.add_row(f"{version.name} {version.sha[:8]}", *cells)
    say.print(table)
    enough = all(count >= len(versions) - 1 for count in filled.values())
    return wrong == 0 and enough


def show(project: Path, names: list[str]) -> None:
    """The columns across the versions: the last row of each run."""
    frame = dataframe([*names, "lr"], str(project))
    last = frame.groupby("tstamp", sort=False).tail(1)
    columns = [c for c in last.columns if c in ("tstamp", "filename", *names, "lr")]
    say.print("the columns, each run's last row:", style="bold")
    print(last[columns].to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
