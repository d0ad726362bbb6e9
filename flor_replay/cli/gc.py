"""``flor-replay gc``: keep the store within a size, and remove what nobody needs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import click
from rich.console import Console

from flor_replay.cli.common import duration, find_project, plural, table_of
from flor_replay.cli.shell import DONE, PARTLY
from flor_replay.errors import StoreError, UsageError

if TYPE_CHECKING:
    from flor_replay.gc.collect import Collection

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@click.command("gc", short_help="Keep the store within a size; remove what nobody needs.")
@click.option(
    "--budget",
    metavar="SIZE",
    envvar="FLOR_BUDGET",
    help="What .flor may take, e.g. 20GB: checkpoints are thinned until it holds [default: FLOR_BUDGET; none thinned].",
)
@click.option(
    "--compress",
    is_flag=True,
    help="Compress checkpoints where it pays (floats to about 4/5, no loss); reading them back takes longer.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(budget: str | None, compress: bool, dry_run: bool, as_json: bool) -> int:
    """Free disk space. Runs, logs and values stay; checkpoints go where they are missed least.

    Without --budget only what nobody needs is removed: content that no checkpoint refers to, what killed processes left.
    With it, checkpoints are thinned evenly over all runs, those first that make replays least slower for each byte freed.
    A run that is under way, or that is being replayed, keeps everything. Exit code 3: the budget could not be reached.
    """
    from flor_replay.gc.collect import alone, carry_out, propose

    budget_bytes = parse_size(budget) if budget else None
    root, store = find_project()
    import os

    if not os.path.isdir(os.path.join(store, "runs")):
        raise StoreError(f"no runs are recorded in {root}: there is nothing to remove")
    if dry_run:
        made = propose(store, budget_bytes, compress=compress)
    else:
        from flor_replay.gc.outside import discard_scratch, drop_patched

        with alone(store):
            made = propose(store, budget_bytes, compress=compress)
            carry_out(made)
            made.notes += drop_patched(root, store)
            discard_scratch()
    if as_json:
        print(json.dumps(_data(made, dry_run), indent=1))
    else:
        _report(made, dry_run)
    return DONE if made.within_budget else PARTLY


def parse_size(text: str) -> int:
    """Bytes: ``20GB``, ``500 MB``, ``1.5TiB``, ``1000``. Raises UsageError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", text.lower())
    if not found or found[2] not in _UNITS:
        raise UsageError(f"--budget {text!r}: write a size such as 20GB, 500MB or 1.5TiB")
    return int(float(found[1]) * _UNITS[found[2]])


def _size(count: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 10 else f"{seconds:.2g} s"


def _data(made: Collection, dry_run: bool) -> dict[str, object]:
    return {
        "store": made.store,
        "dry_run": dry_run,
        "budget_bytes": made.budget_bytes,
        "within_budget": made.within_budget,
        "bytes_before": made.bytes_before,
        "bytes_after": made.bytes_after,
        "checkpoints": [{"run": c.run, "checkpoint": c.id, "at": c.at, "iteration": c.index} for c in made.checkpoints],
        "runs": [effect.__dict__ for effect in made.effects],
        "compressed_packs": len(made.compressed),
        "packs_deleted": sum(not pack.live for pack in made.packs),
        "packs_rewritten": sum(bool(pack.live) for pack in made.packs),
        "leftovers": [{"path": str(x.path), "kind": x.kind, "bytes": x.bytes} for x in made.leftovers],
        "sealed": [run.run for run in made.unsealed],
        "untouched": made.untouched,
        "notes": made.notes,
    }


def _report(made: Collection, dry_run: bool) -> None:
    screen = Console(highlight=False, soft_wrap=True)
    would = "would be " if dry_run else ""
    freed = made.bytes_before - made.bytes_after
    of = f" (budget {_size(made.budget_bytes)})" if made.budget_bytes is not None else ""
    screen.print(
        f"store {made.store}: {_size(made.bytes_before)} -> {_size(made.bytes_after)}{of}, {_size(max(0, freed))} {would}freed"
    )
    if made.checkpoints:
        screen.print(
            f"{plural(len(made.checkpoints), 'checkpoint')} of {plural(len(made.effects), 'run')} {would}removed"
        )
        table = table_of("run", "checkpoints", "replay of one iteration", wrapped=())
        for effect in made.effects:
            now = (
                _seconds(effect.seconds_after) if effect.after else f"{_seconds(effect.seconds_after)}, from the start"
            )
            table.add_row(
                effect.run[-8:], f"{effect.before} -> {effect.after}", f"{_seconds(effect.seconds_before)} -> {now}"
            )
        screen.print(table)
    smaller = len(made.compressed)
    if smaller:
        saved = sum(pack.saved_bytes for pack in made.compressed)
        screen.print(f"{plural(smaller, 'pack')} {would}compressed: about {_size(saved)} less")
    deleted, rewritten = sum(not p.live for p in made.packs), sum(bool(p.live) for p in made.packs) - smaller
    if deleted or rewritten:
        screen.print(f"{plural(deleted, 'pack')} {would}deleted, {rewritten} rewritten without what nobody needs")
    kinds: dict[str, list[int]] = {}
    for leftover in made.leftovers:
        kinds.setdefault(leftover.kind, []).append(leftover.bytes)
    for kind, sizes in kinds.items():
        screen.print(f"{kind} {would}removed: {len(sizes)}, {_size(sum(sizes))}")
    if made.unsealed:
        screen.print(f"logs of runs that were cut off {would}sealed: {len(made.unsealed)}")
    for run, why in made.untouched.items():
        screen.print(f"{run[-8:]} keeps everything: {why}")
    for note in made.notes:
        screen.print(note)
    if not made.within_budget:
        screen.print("the budget cannot be reached: what is left is logs, values, and what runs under way need")
