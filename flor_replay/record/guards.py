"""The ways a process ends: what was logged is on disk before it does.

``atexit`` covers the end of the script and uncaught exceptions; here are the others: ``os._exit``, SIGTERM, SIGHUP. A
signal handler is set only where the signal has its default action, and ends the process by that same signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def install(emergency: Callable[[str], None], failed: Callable[[str], None]) -> None:
    """Call `emergency` with a reason before the process is ended from outside or by ``os._exit``; `failed` on an uncaught
    exception or a non-zero ``sys.exit``."""
    _wrap_exit(emergency)
    _wrap_excepthook(failed)
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, _handler(emergency, name, os.getpid()))


def _handler(emergency: Callable[[str], None], name: str, owner: int) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            emergency(f"ended by {name}")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    return handle


def _wrap_exit(emergency: Callable[[str], None]) -> None:
    leave = os._exit

    def _exit(status: int) -> None:
        emergency(f"os._exit({status})")
        leave(status)

    os._exit = _exit  # type: ignore[assignment]


def _wrap_excepthook(failed: Callable[[str], None]) -> None:
    shown = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: object) -> None:
        failed(f"{kind.__name__}: {error}")
        shown(kind, error, trace)  # type: ignore[arg-type]

    sys.excepthook = excepthook
