"""The ways a process ends: what was logged is on disk before it does.

``atexit`` covers the end of the script and uncaught exceptions; here are the others: ``os._exit``, SIGTERM, SIGHUP, and
what tells a failure from a good end. A signal handler is set only where the signal has its default action, and ends the process by that same signal.
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
    from typing import NoReturn

    # Called with a reason, and with what to do later where it cannot be done now; says whether it was done.
    Emergency = Callable[[str, Callable[[], None]], bool]


def install(emergency: Emergency, leaving: Callable[[str], None], settling: Callable[[], None]) -> None:
    """Call `emergency` before the process is ended from outside or by ``os._exit``; `leaving` on a ``sys.exit`` that says
    that something went wrong; `settling` first where it is the script that ends itself, and so can wait."""
    _wrap_exit(emergency, settling)
    _wrap_sys_exit(leaving)
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, _handler(emergency, name, os.getpid()))


def uncaught() -> str | None:
    """The exception that ends this process, in words. The interpreter notes it, whatever ``sys.excepthook`` is."""
    error = getattr(sys, "last_value", None)
    if error is None:
        return None
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _handler(emergency: Emergency, name: str, owner: int) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, _: FrameType | None) -> None:
        if os.getpid() == owner and not emergency(f"ended by {name}", lambda: handle(number, None)):
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    return handle


def _wrap_exit(emergency: Emergency, settling: Callable[[], None]) -> None:
    leave = os._exit

    def _exit(status: int) -> NoReturn:
        settling()
        emergency(f"os._exit({status})", lambda: leave(status))
        leave(status)

    os._exit = _exit


def _wrap_sys_exit(leaving: Callable[[str], None]) -> None:
    leave = sys.exit

    def exit(status: object = None, /) -> NoReturn:
        if status is not None and status != 0:
            leaving(f"sys.exit({status!r})")
        leave(status)  # type: ignore[arg-type]

    sys.exit = exit
