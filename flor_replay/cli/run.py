"""``flor-replay run``: records a script that has no flor in it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from flor_replay import project
from flor_replay.cli.shell import DONE, say
from flor_replay.errors import UsageError
from flor_replay.history.imported import imported_sources, module_file
from flor_replay.record.entry import interpreter_flags
from flor_replay.record.hands_free import VARIABLE, told_of
from flor_replay.record.wrapping import Wrap


@click.command(
    "run",
    short_help="Record a script that has no flor in it.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-m", "module", is_flag=True, help="SCRIPT is a module, as for python -m.")
@click.option(
    "--loop", "loops", multiple=True, metavar="FILE:LINE", help="This for loop is the main one (may be repeated)."
)
@click.option("--no-loops", is_flag=True, help="Name no loops: the whole script is one piece.")
@click.option("--dry-run", is_flag=True, help="Say which loops would be named; run nothing.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    module: bool, loops: Sequence[str], no_loops: bool, dry_run: bool, script: str, arguments: Sequence[str]
) -> int:
    """Run SCRIPT with ARGUMENTS as python does, and record it: its version, output, state and main loop.

    The loops are found in the source and named in memory; no file is changed. Statements that you add to the script
    later (import flor, flor.log(...)) are then filled in for this run by flor-replay add-log.
    """
    if loops and no_loops:
        raise UsageError("--loop and --no-loops: one of them")
    path = _file(script, module)
    root = os.path.realpath(project.project_root(path))
    wraps, reason, digests = _decide(path, root, loops, no_loops)
    if dry_run:
        return DONE
    told = told_of(root, path, script if module else None, wraps, reason, digests)
    sys.stdout.flush()
    sys.stderr.flush()
    return _become(told, ["-m", script, *arguments] if module else [script, *arguments])


def _file(script: str, module: bool) -> str | None:
    """The file that is run; None for a module that is not found among files. Raises UsageError."""
    if module:
        return module_file(script, [os.getcwd(), *sys.path[1:]])
    if script == "-":
        raise UsageError("standard input cannot be recorded: name a file")
    if os.path.isdir(script):
        raise UsageError(f"{script} is a folder: name the script in it, or -m and its module")
    try:
        with open(script, "rb"):
            return os.path.abspath(script)
    except OSError as error:
        raise UsageError(f"{script} cannot be run: {error.strerror}") from None


def _decide(
    path: str | None, root: str, loops: Sequence[str], no_loops: bool
) -> tuple[tuple[Wrap, ...], str, dict[str, str]]:
    """The loops to wrap, why there are none, and the digests of the files that they stand in. Says it on stderr."""
    if no_loops or path is None:
        reason = "--no-loops" if no_loops else "the module is in no file of this project"
        say(f"flor-replay: recording, no loop is named ({reason})")
        return (), reason, {}
    from flor_instrument import Found, NoSuchLoopError, find_loops

    script = project.relative(path, root)
    named = [_place(text, root) for text in loops]
    files: dict[str, bytes] = {}
    try:
        files = imported_sources(root, path)
        found = find_loops(files, script, named)
    except NoSuchLoopError as error:
        raise UsageError(f"--loop: {error}") from None
    except Exception as error:  # whatever a source brings: it is the script that has to run
        found = Found((), f"its source could not be followed ({type(error).__name__}: {error})")
    if not found.loops:
        say(f"flor-replay: recording {script}; no loop is named: {found.reason}")
        if found.candidates:
            for one in found.candidates[:8]:
                within = f" in {one.function}" if one.function else ""
                say(f"  --loop {one.path}:{one.line}  would name the {one.name} loop{within}")
        elif "flor.loop" not in found.reason and "parsed" not in found.reason:
            say("  --loop FILE:LINE names one by the line of its for")
        return (), found.reason, {}
    told = ", ".join(f"{loop.name} ({loop.path}:{loop.line})" for loop in found.loops)
    say(f"flor-replay: recording {script}; loops: {told}")
    wraps = tuple(Wrap(loop.path, loop.line, loop.name, loop.inside) for loop in found.loops)
    digests = {wrap.path: hashlib.sha256(files[wrap.path]).hexdigest() for wrap in wraps}
    return wraps, "", digests


def _place(text: str, root: str) -> tuple[str, int]:
    file, found, line = text.rpartition(":")
    if not found or not line.isdigit():
        raise UsageError(f"--loop {text}: write it as FILE:LINE, e.g. train.py:31")
    return project.relative(os.path.abspath(file), root), int(line)


def _become(told: str, words: list[str]) -> NoReturn:
    """Go on as a fresh interpreter: the same process, so its parent, terminal, signals and exit code are the script's."""
    from flor_replay.record import launch

    os.environ[VARIABLE] = told
    os.execv(sys.executable, [sys.executable, *interpreter_flags(), str(launch.__file__), *words])
