"""What can go wrong with checkpoints.

CheckpointError
├── BadCheckpoint      a file of a checkpoint is missing, damaged or of an unknown form
└── ContentGone        what a new checkpoint would share with an older one was removed meanwhile
"""

from __future__ import annotations


class CheckpointError(Exception):
    """The root of this package's errors."""


class BadCheckpoint(CheckpointError):  # noqa: N818 - the word of the design
    """A checkpoint that must not be used; the message names the file and what is wrong with it."""


class ContentGone(CheckpointError):  # noqa: N818
    """A checkpoint was given up because content that it shares with others is gone; the next one stores it anew."""
