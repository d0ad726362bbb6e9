"""What can go wrong with checkpoints.

CheckpointError
└── BadCheckpoint      a file of a checkpoint is missing, damaged or of an unknown form
"""

from __future__ import annotations


class CheckpointError(Exception):
    """The root of this package's errors."""


class BadCheckpoint(CheckpointError):  # noqa: N818 - the word of the design
    """A checkpoint that must not be used; the message names the file and what is wrong with it."""
