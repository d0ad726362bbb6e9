"""The tree of errors. One place (`flor_replay.cli.shell`) turns them into messages and exit codes.

FlorError
├── UsageError            the command line or a call was wrong (exit 2)
├── NotAProject           not inside a git repository (exit 1)
├── GitError              git refused or is missing (exit 1)
├── SourceProblem         today's file cannot be used (exit 1)
├── StoreError            the store cannot be read or written (exit 1)
├── QueryError            a query or a filter is wrong (exit 2)
└── ReplayError           a replay could not be carried out (exit 1)
    └── ReplayMismatch    what a checkpoint says and what the script did differ (the whole run is tried instead)
"""

from __future__ import annotations


class FlorError(Exception):
    """Anything flor-replay says no to. The message says what, which value, and what to do."""

    exit_code = 1


class UsageError(FlorError):
    """The command line or a call was wrong."""

    exit_code = 2


class NotAProject(FlorError):  # noqa: N818
    """There is no git repository here."""


class GitError(FlorError):
    """Git refused something or is missing."""


class SourceProblem(FlorError):  # noqa: N818
    """Today's file cannot be used."""


class StoreError(FlorError):
    """The store cannot be read or written."""


class QueryError(FlorError):
    """A query, a filter or a name in it is wrong."""

    exit_code = 2


class ReplayError(FlorError):
    """A replay could not be carried out."""


class ReplayMismatch(ReplayError):  # noqa: N818
    """What a checkpoint says and what the script did differ: replay the whole run instead."""
