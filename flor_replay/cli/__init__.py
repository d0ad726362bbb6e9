"""The command line: one verb a module; `shell` holds what they share."""

from flor_replay.cli.shell import main

__all__ = ["main"]
