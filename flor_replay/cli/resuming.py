"""What a backfill that is under way was asked for: kept until it has come to its end, so that it can be gone on with."""

from __future__ import annotations

import os
from typing import Any

from flor_replay.store import layout


def pending(store: str) -> str:
    """Where the backfill that is under way keeps what it was asked for."""
    return os.path.join(store, "backfill.json")


def begin(store: str, options: dict[str, Any]) -> None:
    """Keep what a backfill was asked for until it has come to its end."""
    layout.replace_json(pending(store), {"cwd": os.getcwd(), "options": options})


def end(store: str) -> None:
    """The backfill has come to its end, whatever that was."""
    if os.path.exists(pending(store)):
        os.unlink(pending(store))
