"""Which threads the processors serve first."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

_NICENESS = 10
"""About a tenth of a processor where training wants all of them; a whole one where one is idle.

Not the lowest there is: a thread that holds the interpreter lock must get on, or training waits for it.
"""


def step_back() -> None:
    """Let other threads go before the calling one, where the system knows the priority of a thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
