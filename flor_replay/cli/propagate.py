"""``flor-replay propagate NEW BASE TARGET``: the step from an edit to one older file, alone."""

from __future__ import annotations

import os
import sys

import click

from flor_replay.cli.shell import DONE, PARTLY, say
from flor_replay.errors import SourceProblem, UsageError


@click.command("propagate", short_help="Carry statements between three files; no store, no runs.")
@click.argument("new")
@click.argument("base")
@click.argument("target")
@click.option("--all", "every", is_flag=True, help="Carry any added statement, not only flor.log.")
def command(new: str, base: str, target: str, every: bool) -> int:
    """Carry what NEW has and BASE lacks into TARGET, an older version of the file; prints the patched target.

    Exit code 3: refused, with the reason on stderr.
    """
    from flor_instrument import SourceError, hindsight, propagate

    today, recorded, old = (_read(path) for path in (new, base, target))
    try:
        patch = hindsight(recorded, today, any_statement=every)
    except SourceError as error:
        raise SourceProblem(f"{new}: {error}") from None
    if not patch.units:
        raise SourceProblem(f"{new} has no {'statement' if every else 'flor.log statement'} that {base} lacks")
    result = propagate(patch, old)
    for refusal in result.refused:
        at = f"{new} line {refusal.line}: " if refusal.line else ""
        say(f"refused: {at}{refusal.reason}")
    if result.refused:
        return PARTLY
    sys.stdout.flush()
    os.write(sys.stdout.fileno(), result.source)
    return DONE


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
