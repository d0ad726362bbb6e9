"""One backfill at a time in a project: a second one waits for the first, and then finds what that has filled."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from flor_replay.store import layout


@contextlib.contextmanager
def turn(store: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the project's turn; `waiting` is told once, in words, where somebody else has it.

    The kernel gives it back when its holder ends, however that is. Where a file system knows no locks nobody waits.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    layout.prepare(store)
    with open(os.path.join(store, "backfill.lock"), "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip()
            waiting(f"another backfill is at work in this project{f' (process {who})' if who else ''}: waiting for it")
            while True:  # not one long wait: Ctrl-C must be heard
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.1)
        except OSError:
            pass
        with contextlib.suppress(OSError):
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
        yield
