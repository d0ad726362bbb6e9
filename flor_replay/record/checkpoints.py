"""The recorder's part in loops: durations and values to the journal, state to checkpoints.

A main loop's iteration that is due is captured at the exit of the loops nested in it: what stands after them can be executed
without them. The start of the next iteration is captured where there is no nested loop, and now and then beside an exit: what
the two share is stored once. A last checkpoint stands at the loop's end.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from pathlib import Path
from time import perf_counter, thread_time

from flor_replay.record import frames
from flor_replay.record.foreign import ForeignModules
from flor_replay.record.loops import Level, LoopIterator
from flor_replay.store import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flor_checkpoint import AdaptivePolicy, Capturer, Slowdown

    from flor_replay.record.run import Session

MAX_MAIN_LOOPS = 64  # a script that enters main loops without end (a server) keeps its first ones replayable


class Recorder:
    """Told by the loops of one run; takes its checkpoints."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._main: _MainLoop | None = None
        self._last: Capturer | None = None  # of a main loop that is over: what it took may still be being written
        self._entered = 0
        self._enabled = os.environ.get("FLOR_CHECKPOINTS", "on").lower() not in ("off", "0", "no")
        self._enabled = self._enabled and session.info["rank"] == 0
        self._always = os.environ.get("FLOR_CHECKPOINTS", "").lower() == "all"  # whatever it costs: for tests
        # State is read from the frames of the thread that trains; a second thread's loops are logged only.
        self._thread = threading.get_ident()

    def abandoned(self) -> bool:
        return os.getpid() != self._session.pid

    def skips(self, loop: LoopIterator) -> bool:
        return False

    def stretches(self, loop: LoopIterator) -> bool:
        return not self._always

    def loop_begins(self, loop: LoopIterator) -> None:
        if loop.depth == 0:
            self._session.note_world()
            self._session.note_loop_begin(loop)
            ordinal = self._entered
            self._entered += 1
            if self._enabled and ordinal < MAX_MAIN_LOOPS and threading.get_ident() == self._thread:
                self.settle()  # else two of them would hold copies
                self._main = _MainLoop(self._session, loop, ordinal, self._always)

    def before_fetch(self, loop: LoopIterator) -> None:
        if self._main is not None and self._main.level is loop.level:
            self._main.guarded(self._main.before_fetch)

    def iteration_begins(self, level: Level, value: object) -> None:
        self._session.note_value(level, value)

    def iteration_ends(self, level: Level, seconds: float, count: int = 1) -> None:
        if not level.prefix:
            self._session.note_duration(level, seconds)
            if self._main is not None and self._main.level is level:
                self._main.guarded(self._main.iteration_ends, seconds, count)

    def loop_ends(self, loop: LoopIterator, end: str) -> None:
        if loop.depth < 2 or end == "closed":
            self._session.note_loop_end(loop, end)
        main = self._main
        if main is None or threading.get_ident() != self._thread:
            return
        if main.level is loop.level:
            self._main = None
            main.guarded(main.ends, end)
            self._last = main.leave()
        elif loop.depth == 1 and end == "exhausted" and loop.occurrence == 0:
            main.guarded(main.nested_ends, loop)

    def close(self) -> None:
        if self._main is not None:
            self._last = self._main.leave()
            self._main = None
        self.settle()

    def settle(self) -> None:
        """Wait until the checkpoints of the main loop that is over are written."""
        last, self._last = self._last, None
        if last is not None:
            with contextlib.suppress(Exception):
                last.close()

    def go_on(self, session: Session) -> None:
        """The run was committed inside its loop: tell `session` what the loop does from now on, and capture no more."""
        self._session = session
        self.forget()

    def forget(self) -> None:
        """In a forked child: take no checkpoints, and leave the parent's alone."""
        self._main = None
        self._last = None
        self._enabled = False


class _Stall:
    """Seconds that the training thread loses to what is done here, as far as it is to blame.

    Where other processes want the processor too the clock runs on while this thread has none, as it would have in training.
    """

    __slots__ = ("_cpu", "_wall")

    def __init__(self) -> None:
        self._wall, self._cpu = perf_counter(), thread_time()

    def seconds(self) -> float:
        return min(perf_counter() - self._wall, _WAITING * (thread_time() - self._cpu) + _UNSEEN_SECONDS)


_WAITING = 2.0  # waiting for memory, locks and devices may double what the processor says
_UNSEEN_SECONDS = 0.0005


class _MainLoop:
    """Checkpoints of one main loop. Any failure in here switches checkpoints off and leaves training alone."""

    def __init__(self, session: Session, loop: LoopIterator, ordinal: int, always: bool) -> None:
        assert loop.level is not None
        self.level = loop.level
        self._name = loop.name
        self._loop = weakref.ref(loop)  # weak: its end is how ``break`` is seen
        self._session = session
        self._ordinal = ordinal
        self._capturer: Capturer | None = None
        self._policy: AdaptivePolicy | None = None
        self._always = always
        self._failed = False  # no more checkpoints
        self._wanted = False  # the running iteration is due: the exits of its nested loops are captured
        self._asked = -1  # the iteration for which the policy was asked
        self._taken = 0  # checkpoints of this group, so far
        self._start = False  # an iteration's start among them
        self._stall = 0.0
        self._slowdown: Slowdown | None = None
        self._foreign: ForeignModules | None = None

    def before_fetch(self) -> None:
        if self._failed:
            return
        if self._policy is None:
            self._enter()
            return
        if self._start_is_due():
            self._start = True
            self._capture({"at": "start", "index": self.level.index + 1})
        if self._stall:
            self._finish_group()

    def iteration_ends(self, seconds: float, count: int) -> None:
        policy, slowdown = self._policy, self._slowdown
        if policy is not None and slowdown is not None:
            policy.iteration(seconds, count)
            if slowdown.watching:
                lost = slowdown.iteration(seconds, count)
                if lost:
                    policy.slowed(lost)
            else:
                slowdown.quiet(seconds / count)

    def nested_ends(self, nested: LoopIterator) -> None:
        if self._policy is None:
            return
        began, loop = perf_counter(), self._loop()
        if self._asked != self.level.index:
            self._wanted = self._due(began - self.level.began - (loop.paused if loop is not None else 0.0))
        if self._wanted:
            self._capture({"at": "exit", "index": self.level.index, "nested": nested.name})
            if loop is not None:
                loop.paused += perf_counter() - began

    def ends(self, end: str) -> None:
        policy = self._policy
        complete = policy is not None and end == "exhausted" and self.level.index >= 0
        # The exit of the last nested loop may be a moment old: the end shares what it copied.
        if complete and (self._always or self._wanted or (policy is not None and policy.due_at_end())):
            self._capture({"at": "end", "index": self.level.index + 1})
        elif end == "closed" and self.level.index >= 0 and policy is not None and (self._always or policy.due_at_end()):
            # Nothing can be entered here: what follows a ``break`` is not what follows the last iteration. It proves a replay.
            self._capture({"at": "left", "index": self.level.index})
        self._finish_group()

    def leave(self) -> Capturer | None:
        """Take no more; what is to be closed when the last ones are written. Training goes on meanwhile."""
        if self._policy is not None:
            self._session.note_lost(self._policy.spent, self._policy.estimate)
        self._policy = None
        capturer, self._capturer = self._capturer, None
        return capturer

    def _start_is_due(self) -> bool:
        if self._asked != self.level.index:  # there was no nested loop to ask for
            return self._due()
        policy = self._policy
        return self._wanted and policy is not None and (self._always or policy.due_start())

    def _due(self, running: float = 0.0) -> bool:
        self._asked = self.level.index
        return self._policy is not None and (self._always or self._policy.due(running))

    def _enter(self) -> None:
        began, stall = perf_counter(), _Stall()
        from flor_checkpoint import AdaptivePolicy, Capturer, Slowdown

        session = self._session
        os.makedirs(session.folder.checkpoints, exist_ok=True)
        modules = [module for _, module in frames.project_modules(session.root)]
        capturer = Capturer(
            Path(layout.packs(session.store)),
            Path(session.folder.checkpoints),
            project_root=Path(session.root),
            on_warning=session.warn_once,
        )
        spaces, _, _ = frames.namespaces(session.root, session.explicit)
        capturer.baseline({**spaces, **self._running()})
        self._capturer = capturer
        self._foreign = ForeignModules(modules)
        self._slowdown = Slowdown(capturer)
        before = began - session.began + (session.info["start_up_seconds"] or 0.0)
        loop = self._loop()
        self._policy = AdaptivePolicy(before=before, count=None if loop is None else loop.length)
        self._policy.baseline(stall.seconds(), capturer.estimate(self._slowdown.idle_at_first()), capturer.later)

    def _capture(self, point: dict[str, Any]) -> None:
        if self._capturer is None:
            return
        stall = _Stall()
        spaces, functions, unseen = frames.namespaces(self._session.root, self._session.explicit)
        where = {"loop": self._name, "occurrence": self.level.occurrence, "ordinal": self._ordinal, **point}
        where["files"] = frames.files_of(self._session.root, spaces, functions)
        running = self._running() if point["at"] != "left" else {}
        where["running"] = bool(running)
        if self._foreign is not None:
            unseen += [f"{name}, an attribute of an installed module" for name in self._foreign.changed()]
        if unseen:
            where["not_captured"] = unseen
        if self._always:
            self._capturer.wait(60.0)
        again = self._taken > 0
        if self._capturer.capture({**spaces, **running}, where, again=again) is not None:
            self._taken += 1
        self._stall += stall.seconds()

    def _running(self) -> dict[str, dict[str, object]]:
        """The namespace of what the loop runs over, where its state is more than an index."""
        loop = self._loop()
        found = loop.running if loop is not None else {}
        return {"loop": found} if found else {}

    def _finish_group(self) -> None:
        policy = self._policy
        if policy is not None and self._stall:
            if self._taken:
                policy.captured(self._stall, count=self._taken, start=self._start)
                if self._slowdown is not None:
                    self._slowdown.watch()
            else:
                policy.lost(self._stall)
                policy.skipped()
        self._stall = 0.0
        self._taken = 0
        self._wanted = self._start = False

    def guarded(self, action: Any, *given: Any) -> None:
        """Do it; whatever fails in it costs the loop its further checkpoints, and nothing else."""
        try:
            action(*given)
        except Exception as error:
            self._failed = True
            self._policy = None
            self._session.warn_once(
                f"no more checkpoints of loop {self._name!r}: {type(error).__name__}: {error}; training goes on"
            )
            if os.environ.get("FLOR_DEBUG"):
                sys.excepthook(type(error), error, error.__traceback__)
