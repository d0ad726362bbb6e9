"""Proof by state: where a replay comes by a checkpoint of the recorded run, its state must be the one that is in it.

A run that logged nothing leaves no values to compare. Its checkpoints do: parameters, generators, counters, all that the
rest of the run can read. What a replay logs before such a point is proven when every bit there is the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flor_replay.record import frames
from flor_replay.record.loops import LoopIterator
from flor_replay.replay.task import Task
from flor_replay.store import layout

if TYPE_CHECKING:
    from flor_checkpoint import Manifest, Restorer

    from flor_replay.record.run import Session


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

    def reached(self, loop: LoopIterator, at: str) -> None:
        """The loop is about to draw its next item ("start"), or has none left ("end")."""
        if self._restorer is None or loop.level is not self._loop or self.told["different"]:
            return
        if not self.told["open"] and at != "end":
            return
        manifest = self._all().get((self._ordinal, at, loop.index + 1))
        if manifest is None:
            return
        lacking = [entry for entry in manifest.not_captured if not entry.of_running_loop]
        dead = {path for checkpoint, path in self._task.dead if checkpoint == manifest.id}
        if any(entry.path not in dead for entry in lacking):
            return  # what the rest of the run can read, and nobody knows
        # What the loop draws from and nobody could capture shows in the states that come after.
        unread = frozenset(holder for entry in manifest.not_captured for holder in entry.holders)
        try:
            from flor_checkpoint import Clocked, load

            clocked = Clocked(**{name: frozenset(found) for name, found in self._task.clock_fed.items()})
            snapshot = load(manifest, Path(layout.packs(self._task.store)), trust=True)
            found = self._restorer.differences(snapshot, self._namespaces(loop), but=unread, clocked=clocked)
        except Exception:  # a broken checkpoint proves nothing, and spoils nothing
            return
        if found.names:
            self.told["different"] = list(found.names)
            self.told["of_model"] = found.of_model
        else:
            self.told["compared"] += 1
            self.told["open"] = False
            self._ended = at == "end"

    def _namespaces(self, loop: LoopIterator) -> dict[str, dict[str, object]]:
        spaces, _, _ = frames.namespaces(self._session.root, self._session.explicit)
        running = loop.running
        return {**spaces, "loop": running} if running else spaces

    def _all(self) -> dict[tuple[int, str, int], Manifest]:
        if self._points is None:
            from flor_checkpoint import manifests

            listed, _ = manifests(Path(layout.RunFolder(self._task.store, self._task.run).checkpoints))
            self._points = {
                (int(str(m.point.get("ordinal"))), str(m.point.get("at")), int(str(m.point.get("index")))): m
                for m in listed
                if m.point.get("at") in ("start", "end")
            }
        return self._points
