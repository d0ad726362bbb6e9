"""Proof by state: where a replay comes by a checkpoint of the recorded run, its state must be the one that is in it.

A run that logged nothing leaves no values to compare. Its checkpoints do: parameters, generators, counters, all that the
rest of the run can read. What a replay logs before such a point is proven when every bit there is the same. And a statement
that changes what training computes (a draw from a generator, a mode that is switched) shows there, whatever is logged.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from flor_replay.record import frames
from flor_replay.record.loops import LoopIterator
from flor_replay.replay.task import Task
from flor_replay.store import layout

if TYPE_CHECKING:
    from flor_checkpoint import Manifest, Restorer

    from flor_replay.record.run import Session


SHARE = 0.1  # of a replay's time that comparing may take where values can be compared as well
FREE_SECONDS = 0.5


class StateProof:
    """The comparisons of one replay; `told` goes into its run.json.

    ``compared``: points whose state was the same. ``open``: values were logged that no later point has proven;
    what follows the loop has none, and counts as proven by the loop's end.
    ``different``: what was not the same, at the first such point; ``of_model``: it decides what training computes.
    """

    def __init__(self, session: Session, task: Task) -> None:
        self._session = session
        self._task = task
        self._loop: Any = None  # the level of the loop that is looked at
        self._ordinal = -1
        self._ended = False  # with the recorded state: what follows the loop goes on from there
        self._restorer: Restorer | None = None
        self._points: dict[tuple[int, str, int], Manifest] | None = None
        self._began = perf_counter()
        self._spent = 0.0  # seconds
        self.told: dict[str, Any] = {"compared": 0, "open": False, "different": [], "of_model": False}

    def enter(self, loop: LoopIterator, ordinal: int, restorer: Restorer | None) -> None:
        """An outermost loop begins. `restorer`: one that has looked at the state here, if there is one."""
        if all(key[0] != ordinal for key in self._all()):
            return
        if restorer is None:
            from flor_checkpoint import Restorer

            restorer = Restorer(Path(self._session.root))
            restorer.baseline(self._namespaces(loop))
        self._restorer, self._loop, self._ordinal, self._ended = restorer, loop.level, ordinal, False

    def logged(self) -> None:
        """A value was logged by hindsight."""
        self.told["open"] = self.told["open"] or not self._ended

    def awaits(self, index: int) -> bool:
        """Whether a comparison at the loop's end, after `index` iterations, would tell something."""
        return bool(self.told["open"]) and not self.told["different"] and (self._ordinal, "end", index) in self._all()

    def reached(self, loop: LoopIterator, at: str, index: int) -> None:
        """`loop` has come, in the run's own state, to where a checkpoint may have been taken.

        "start": it is about to draw the item of iteration `index`; "exit NAME": the loop NAME in `index` has ended;
        "end": it has none left; "left": it was left in `index`, by ``break`` or otherwise.
        """
        if self._restorer is None or loop.level is not self._loop or self.told["different"]:
            return
        if not self.told["open"] and (at not in ("end", "left") or not self._task.prove):
            return
        manifest = self._all().get((self._ordinal, at, index))
        if manifest is None or not self._affordable():
            return
        began = perf_counter()
        lacking = [entry for entry in manifest.not_captured if not entry.of_running_loop]
        dead = {path for checkpoint, path in self._task.dead if checkpoint == manifest.id}
        if any(entry.path not in dead for entry in lacking):
            return  # what the rest of the run can read, and nobody knows
        # What the loop draws from and nobody could capture shows in the states that come after.
        unread = frozenset(holder for entry in manifest.not_captured for holder in entry.holders)
        try:
            from flor_checkpoint import Clocked, load

            clocked = Clocked(**{name: frozenset(found) for name, found in self._task.clock_fed.items()})
            snapshot = load(
                manifest, Path(layout.packs(self._task.store)), trust=layout.trusted(self._task.store, self._task.run)
            )
            now = self._namespaces(loop if at != "left" else None)
            found = self._restorer.differences(snapshot, now, but=unread, clocked=clocked)
        except Exception:  # a broken checkpoint proves nothing, and spoils nothing
            return
        if found.names and at == "left":
            pass  # when Python lets go of a loop that was left is not for sure: it may have been later in one of the two
        elif found.names:
            self.told["different"] = list(found.names)
            self.told["of_model"] = found.of_model
            self.told["at"] = f"the {at.partition(' ')[0]} of iteration {index}" if at != "end" else "the loop's end"
        else:
            self.told["compared"] += 1
            self.told["open"] = False
            self._ended = at in ("end", "left")
        self._spent += perf_counter() - began

    def _affordable(self) -> bool:
        """Where nothing else proves the values every point is looked at, elsewhere as many as cost little."""
        if self._task.prove or self._task.effects or not self.told["compared"]:
            return True
        return self._spent <= FREE_SECONDS + SHARE * (perf_counter() - self._began)

    def _namespaces(self, loop: LoopIterator | None) -> dict[str, dict[str, object]]:
        spaces, _, _ = frames.namespaces(self._session.root, self._session.explicit)
        running = loop.running if loop is not None else {}
        return {**spaces, "loop": running} if running else spaces

    def _all(self) -> dict[tuple[int, str, int], Manifest]:
        if self._points is None:
            from flor_checkpoint import manifests

            listed, _ = manifests(Path(layout.RunFolder(self._task.store, self._task.run).checkpoints))
            self._points = {}
            for one in listed:
                at = str(one.point.get("at"))
                at = f"exit {one.point.get('nested')}" if at == "exit" else at
                self._points[int(str(one.point.get("ordinal"))), at, int(str(one.point.get("index")))] = one
        return self._points
