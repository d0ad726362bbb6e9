"""The command's frame: the group of verbs, and the one place that turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from flor_replay.errors import FlorError

DONE, ERROR, USAGE, PARTLY, INTERRUPTED = 0, 1, 2, 3, 130

VERBS = {
    "add-log": "flor_replay.cli.add_log",
    "run": "flor_replay.cli.run",
    "runs": "flor_replay.cli.runs",
    "show": "flor_replay.cli.show",
    "lineage": "flor_replay.cli.lineage",
    "plan": "flor_replay.cli.plan",
    "replay": "flor_replay.cli.replay",
    "compare": "flor_replay.cli.compare",
    "propagate": "flor_replay.cli.propagate",
    "doctor": "flor_replay.cli.doctor",
    "gc": "flor_replay.cli.gc",
    "export": "flor_replay.cli.export",
    "import": "flor_replay.cli.import_runs",
    "push": "flor_replay.cli.push",
    "pull": "flor_replay.cli.pull",
}


class Verbs(click.Group):
    """Loads a verb's module when the verb is asked for: pandas and libcst take their time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(VERBS[cmd_name]).command
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flor-replay", prog_name="flor-replay")
def cli() -> None:
    """Hindsight replay: add a flor.log line today, get its values for every older version.

    \b
    flor-replay add-log train.py     fill today's new statements for older versions
    flor-replay run train.py         record a script that has no flor in it
    flor-replay show grad_norm loss  print the columns
    """


def main() -> None:
    """The console command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    try:
        result: Any = cli.main(args=arguments, prog_name="flor-replay", standalone_mode=False)
        return result if isinstance(result, int) else DONE
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return USAGE if isinstance(error, click.UsageError) else ERROR
    except FlorError as error:
        say(f"flor-replay: {error}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("flor-replay: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def say(message: str) -> None:
    """One line on stderr: stdout is for data."""
    print(message, file=sys.stderr, flush=True)
