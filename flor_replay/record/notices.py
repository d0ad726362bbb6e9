"""What recording says to people: one line on stderr, never an exception."""

from __future__ import annotations

import contextlib
import sys


def warn(message: str) -> None:
    """One line on stderr: recording never raises in the user's training loop."""
    with contextlib.suppress(OSError, ValueError):
        print(f"flor: {message}", file=sys.stderr, flush=True)
