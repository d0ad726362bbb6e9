"""The replayer's part in loops: skips what is not needed, puts state back, and says which records count."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flor_replay import values
from flor_replay.errors import ReplayMismatch
from flor_replay.plan.segments import Step
from flor_replay.record import args, frames
from flor_replay.record.loops import Level, Loop, LoopIterator
from flor_replay.record.run import ManualIteration, Session
from flor_replay.replay.proving import StateProof
from flor_replay.replay.task import Task
from flor_replay.replay.wrappers import move_on
from flor_replay.store import layout

if TYPE_CHECKING:
    from flor_checkpoint import Manifest


class ReplaySession(Session):
    """A run that is a replay: it tells hindsight records from repeated ones."""

    def __init__(self, task: Task, root: str, finish: Callable[[Session], NoReturn]) -> None:
        self.task = task
        self._finish_here = finish
        self._lines: dict[str, list[tuple[int, int, bool]]] = {}
        for item in task.inserted:
            full = os.path.realpath(os.path.join(root, item.path))
            self._lines.setdefault(full, []).append((item.line, item.end_line, item.replaces))
        self._by_file: dict[str, list[tuple[int, int, bool]] | None] = {}
        info = {
            "replay_of": task.run,
            "patched": task.patched,
            "segment": task.segment.as_data(),
            "names": list(task.names),
            "placed_by": dict(task.placed_by),
            "args": dict(task.args),
            "entry": task.entry,
            "filename": task.entry["path"],
        }
        self._told: set[str] = set()
        self._began_there = False  # the recorded run had begun by now
        super().__init__(
            root,
            task.store,
            run=task.replay,
            info=info,
            observer=lambda session: Replayer(session, task, finish),
        )
        self.extend = None  # each record is looked at

    def log(self, name: str, value: object) -> None:
        if type(name) is not str:
            name = values.clean_name(name)
        self._began_there = True
        frame = sys._getframe(2)  # this method, flor.log, the statement
        flag = self._hindsight(frame.f_code.co_filename, frame.f_globals.get("__file__"), frame.f_lineno)
        level = self.stack.levels[-1]
        every = level.every.get(name, 0)
        level.every[name] = every + 1
        replayer: Replayer = self.observer  # type: ignore[assignment]
        if flag:
            ordinal = every
        else:
            ordinal = level.counts.get(name, 0)
            level.counts[name] = ordinal + 1
        if replayer.keeps(level, bool(flag)):
            self.journal.append(("r", name, self.encode(value), level.path, ordinal, 0.0, flag))

    def _hindsight(self, path: str, module_file: str | None, line: int) -> int:
        """0 for a statement that the recorded version has; 1 for an added one, 2 for one that replaces."""
        if not self.task.recorded:
            return 1
        if path not in self._by_file:
            full = os.path.realpath(module_file if module_file and not os.path.isabs(path) else path)
            self._by_file[path] = self._lines.get(full)
        for first, last, replaces in self._by_file[path] or ():
            if first <= line <= last:
                return 2 if replaces else 1
        return 0

    def arg(self, name: str, default: object) -> object:
        self._began_there = True
        kept = self.info["args"].get(name)
        if kept is None:
            value = default  # the added code asks for it: the recorded run did not
        else:
            value = args.cast(name, _kept(kept, layout.RunFolder(self.task.store, self.task.run).files), default)
        if name not in self._told:
            self._told.add(name)
            run = self.stack.levels[0]
            ordinal = self._count_outside(run, name)
            run.every[name] = run.every.get(name, 0) + 1
            if kept is None:
                self.journal.append(("r", name, self.encode(value), (), ordinal, 0.0, 1))
        return value

    def loop(self, name: str, iterable: Iterable[Any]) -> Loop:
        self._began_there = True
        return super().loop(name, iterable)

    def iteration(self, name: str, index: int | None, value: object) -> ManualIteration:
        self._began_there = True
        return super().iteration(name, index, value)

    def commits_itself(self) -> bool:
        """The recorded run ended at its first commit: so does the replay."""
        if self._began_there:
            self._finish_here(self)
        return True


def _kept(argument: dict[str, Any], files: str) -> object:
    kind, number, text = argument["value"]
    return values.decode(kind, number, text, files)


class Replayer:
    """Drives the main loop of one replay as its segment says."""

    def __init__(self, session: Session, task: Task, finish: Callable[[Session], NoReturn]) -> None:
        self._session = session
        self._task = task
        self._segment = task.segment
        self._finish = finish
        self._entered = 0
        self._main: Level | None = None
        self._region = "prefix"  # then "main", then "suffix"
        self._at = -1  # the running step's place
        self._true = False  # whether the state is the recorded run's own: what is logged now counts
        self._exits: dict[tuple[int, str], str] = {}
        self._skipped: LoopIterator | None = None
        self._restorer: Any = None
        self._manifests: dict[str, Any] | None = None
        self._proof = StateProof(session, task)
        session.info["states"] = self._proof.told

    # -- which records count ---------------------------------------------------------------------------------------

    def keeps(self, level: Level, hindsight: bool) -> bool:
        """Whether a record made now is written: what is asked for, and what can be compared."""
        kept = self._keeps(hindsight)
        if kept and hindsight:
            self._proof.logged()
        return kept

    def _keeps(self, hindsight: bool) -> bool:
        segment = self._segment
        if segment.kind == "whole":
            return True
        if self._region == "prefix":
            return segment.prefix or not hindsight
        if self._region == "suffix":
            return segment.suffix
        step = self._step
        if self._main is None or step is None or not self._true:
            return False
        first, stop = step.keep if hindsight else (step.first, step.stop)
        return first <= self._main.index < stop

    @property
    def _step(self) -> Step | None:
        return self._segment.steps[self._at] if 0 <= self._at < len(self._segment.steps) else None

    @property
    def complete(self) -> bool:
        """Whether everything that the segment asks for has been executed."""
        segment, step = self._segment, self._step
        if segment.kind == "whole" or self._region != "suffix":
            return False
        if segment.suffix or step is None:
            return True
        last = self._at == len(segment.steps) - 1
        return last and self._true and self._main is not None and self._main.index + 1 >= step.stop

    # -- told by loops -----------------------------------------------------------------------------------------------

    def abandoned(self) -> bool:
        return os.getpid() != self._session.pid

    def stretches(self, loop: LoopIterator) -> bool:
        return loop.nested  # a main loop's iterations are where replays begin, end and are checked

    def loop_begins(self, loop: LoopIterator) -> None:
        if loop.depth != 0:
            return
        ordinal = self._entered
        self._entered += 1
        segment = self._segment
        if ordinal == segment.loop:
            if segment.kind == "part" and not segment.steps and not segment.suffix:
                self._finish(self._session)
            self._main = loop.level
            self._region = "main"
            self._prepare(loop)
        self._proof.enter(loop, ordinal, self._restorer if self._main is loop.level else None)

    def before_fetch(self, loop: LoopIterator) -> None:
        segment = self._segment
        main = self._main is not None and loop.level is self._main and self._region == "main"
        if segment.kind == "whole" or self._true or not main:
            self._proof.reached(loop, "start", loop.index + 1)
        if not main:
            return
        if segment.kind == "whole":
            if loop.index + 1 == segment.stop:
                self._finish(self._session)
            return
        step = self._step
        if step is not None and loop.index + 1 < step.stop:
            return
        if self._at + 1 < len(segment.steps):
            self._at += 1
            self._enter(loop, segment.steps[self._at])
        elif segment.end is not None:
            self._restore(segment.end, loop)
            self._true = True
            loop.finish()
        elif not segment.suffix and not self._proof.awaits(loop.index + 1):
            self._finish(self._session)

    def _enter(self, loop: LoopIterator, step: Step) -> None:
        self._exits = {(index, name): checkpoint for index, name, checkpoint in step.exits}
        self._true = not step.blind
        if step.restore is None:
            self._jump(loop, step.first)
        elif self._is_running_known(step.restore):
            move_on(loop, step.first - loop.index - 1)
            loop.resume(step.first, self._restore(step.restore, loop))
        else:
            self._jump(loop, step.first)
            self._restore(step.restore, loop)

    def skips(self, loop: LoopIterator) -> bool:
        if self._segment.kind != "part" or self._region != "main" or self._main is None or loop.depth != 1:
            return False
        checkpoint = self._exits.get((self._main.index, loop.name))
        if checkpoint is None:
            if self._true:
                return False
            raise ReplayMismatch(
                f"the nested loop {loop.name!r} did not run in the recorded iteration {self._main.index}"
            )
        main = self._main.iterator() if self._main.iterator is not None else None
        items = self._restore(checkpoint, main)
        if main is not None and items is not None:
            main.resume(self._main.index + 1, items)
        self._true = True
        self._skipped = loop
        return True

    def iteration_begins(self, level: Level, value: object) -> None:
        if self._region != "main" or self._true:
            self._session.note_value(level, value)

    def iteration_ends(self, level: Level, seconds: float, count: int = 1) -> None:
        if level is self._main:
            self._session.note_duration(level, seconds)
            if self._segment.kind == "part" and self._region == "main" and not self._true:
                raise ReplayMismatch(f"iteration {level.index} of {level.name!r} did not reach its nested loop")

    def loop_ends(self, loop: LoopIterator, end: str) -> None:
        main = self._main
        if loop.depth == 1 and end == "exhausted" and loop.occurrence == 0 and loop is not self._skipped:
            outer = main.iterator() if main is not None and main.iterator is not None else None
            if outer is not None and (self._true or self._segment.kind == "whole"):
                self._proof.reached(outer, f"exit {loop.name}", outer.index)
        self._skipped = None
        if main is None or loop.level is not main:
            if loop.depth == 0:
                self._ended(loop, end)
            return
        if self._segment.end is None and (end == "exhausted" or self._true or self._segment.kind == "whole"):
            self._ended(loop, end)
        self._region = "suffix"
        # A loop that was left may have been left by an exception: the script goes on, and shows it.
        if self._segment.kind == "part" and not self._segment.suffix and end == "exhausted":
            self._finish(self._session)

    def _ended(self, loop: LoopIterator, end: str) -> None:
        if end == "exhausted":
            self._proof.reached(loop, "end", loop.index + 1)
        else:
            self._proof.reached(loop, "left", loop.index)

    # -- state ---------------------------------------------------------------------------------------------------------

    def _jump(self, loop: LoopIterator, index: int) -> None:
        move_on(loop, index - loop.index - 1)
        try:
            loop.jump(index)
        except ValueError as error:
            raise ReplayMismatch(str(error)) from None

    def _prepare(self, loop: LoopIterator) -> None:
        """At the main loop's entry: see what is there, before anything is put back."""
        if not self._segment.checkpoints:
            return
        from flor_checkpoint import Restorer

        root = self._session.root
        self._restorer = Restorer(Path(root))
        spaces, _, _ = frames.namespaces(root, self._session.explicit)
        self._restorer.baseline({**spaces, **_running(loop)})

    def _manifest(self, checkpoint: str) -> Manifest:
        from flor_checkpoint import manifests

        folder = layout.RunFolder(self._task.store, self._task.run)
        if self._manifests is None:
            self._manifests = {manifest.id: manifest for manifest in manifests(Path(folder.checkpoints))[0]}
        manifest: Manifest | None = self._manifests.get(checkpoint)
        if manifest is None:
            raise ReplayMismatch(f"checkpoint {checkpoint} of run {self._task.run} is gone or broken")
        return manifest

    def _is_running_known(self, checkpoint: str) -> bool:
        """Whether the checkpoint has what the main loop runs over, so that no item needs to be drawn to come there."""
        manifest = self._manifest(checkpoint)
        return bool(manifest.point.get("running")) and not any(e.of_running_loop for e in manifest.not_captured)

    def _restore(self, checkpoint: str, loop: LoopIterator | None) -> Iterator[Any] | None:
        """Put the state back; returns the iterator of the main loop where it is another than the one that it has."""
        from flor_checkpoint import BadCheckpoint, load

        manifest = self._manifest(checkpoint)
        root = self._session.root
        spaces, functions, _ = frames.namespaces(root, self._session.explicit)
        running = _running(loop)
        packs, trust = Path(layout.packs(self._task.store)), layout.trusted(self._task.store, self._task.run)
        try:
            snapshot = load(manifest, packs, trust=trust, later=True)
            restored = self._restorer.restore(snapshot, {**spaces, **running})
        except BadCheckpoint as error:  # damaged, or removed since the plan was made
            raise ReplayMismatch(str(error)) from error
        dead = {path for of, path in self._segment.dead if of == checkpoint}
        lacking = {(entry.path, entry.reason) for entry in manifest.not_captured if entry.path in dead}
        lacking |= {(entry.path, entry.reason) for entry in manifest.not_captured if entry.of_running_loop}
        missing = [entry for entry in restored.missing if entry not in lacking]
        problems = [f"{path} ({reason})" for path, reason in (*missing, *restored.mismatched)]
        if problems:
            listed = "; ".join(problems[:3])
            raise ReplayMismatch(f"the state cannot be put back whole: {listed}")
        # What the checkpoint lacks must not be read: without a value that would be seen.
        unbind = {
            space: [*restored.unbind.get(space, ()), *(name for name in names if f"{space}.{name}" in dead)]
            for space, names in spaces.items()
        }
        frames.bind(functions, restored.bindings, unbind)
        found: Iterator[Any] | None = restored.bindings.get("loop", {}).get("iterator")
        return found


def _running(loop: LoopIterator | None) -> dict[str, dict[str, object]]:
    found = loop.running if loop is not None else {}
    return {"loop": found} if found else {}
