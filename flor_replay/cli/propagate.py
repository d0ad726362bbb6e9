"""``flor-replay propagate NEW BASE TARGET``: the step from an edit to one older file, alone."""

from __future__ import annotations

import sys

import click

from flor_replay.cli.common import plural
from flor_replay.cli.shell import DONE, PARTLY, say
from flor_replay.errors import SourceProblem, UsageError


@click.command("propagate", short_help="Carry statements between three files; no store, no runs.")
@click.argument("new")
@click.argument("base")
@click.argument("target")
@click.option("--all", "every", is_flag=True, help="Carry any added or changed statement, not only flor.log.")
def command(new: str, base: str, target: str, every: bool) -> int:
    """Carry what NEW has and BASE lacks into TARGET, an older version of the file; prints the patched target.

    One of the three may be -, for standard input. It is all or nothing: where one statement has no sure place, nothing is
    printed, the reasons are on stderr, and the exit code is 3. A TARGET that is no Python of today is refused as well.
    """
    from flor_instrument import SourceError, hindsight, propagate

    if (new, base, target).count("-") > 1:
        raise UsageError("only one of the three files can be standard input (-)")
    today, recorded, old = (_read(path) for path in (new, base, target))
    for path, data in ((new, today), (base, recorded)):
        problem = _problem(data)
        if problem is not None:
            raise SourceProblem(f"{_named(path)}{problem}")
    problem = _problem(old)
    if problem is not None:
        say(f"refused: {_named(target)}{problem}")
        return PARTLY
    if today == recorded:
        raise SourceProblem(f"{new} and {base} are the same: there is nothing to carry")
    try:
        patch = hindsight(recorded, today, any_statement=every)
    except SourceError as error:  # nested too deeply for both together
        raise SourceProblem(f"{_named(new)}: {error}") from None
    if not patch.units:
        raise SourceProblem(f"{new} has no {'statement' if every else 'flor.log statement'} that {base} lacks")
    result = propagate(patch, old)
    for refusal in result.refused:
        at = f"{_named(new)} line {refusal.line}: " if refusal.line else ""
        say(f"refused: {at}{refusal.reason}")
    if result.refused:
        if len(patch.units) > len(result.refused):
            say(f"nothing is printed: {len(result.refused)} of {plural(len(patch.units), 'statement')} refused")
        return PARTLY
    if not result.placed:
        say(f"{_named(target)} has what {_named(new)} adds already")
    sys.stdout.flush()
    sys.stdout.buffer.write(result.source)
    sys.stdout.buffer.flush()
    return DONE


def _named(path: str) -> str:
    return "standard input" if path == "-" else path


def _problem(data: bytes) -> str | None:
    """Why a file cannot be used, to stand behind its name."""
    from flor_instrument import SourceError, functions_in

    try:
        functions_in(data)
    except SourceError as error:
        return error.located
    except (RecursionError, MemoryError):
        return ": The file is nested too deeply to be analysed."
    return None


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # a name with NUL
        raise UsageError(f"{path!r}: {error}") from None
