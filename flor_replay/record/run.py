"""One run while it is recorded: what the public functions do once there is one."""

from __future__ import annotations

import contextlib
import operator
import os
import sys
import threading
import time
from time import perf_counter

from flor_replay import processes, values
from flor_replay.errors import UsageError
from flor_replay.record import args, entry
from flor_replay.record.device_values import DeviceValues
from flor_replay.record.journal import FULL, Journal
from flor_replay.record.loops import Level, Loop, LoopIterator, Stack, kind_of
from flor_replay.record.notices import warn
from flor_replay.store import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from flor_replay.record.device_values import Late
    from flor_replay.record.loops import LoopObserver
    from flor_replay.record.rng import StartRng
    from flor_replay.record.versioning import VersionTaker

_PLAIN = frozenset((float, int, str, bool, type(None)))
_SHORT_TEXT = 128  # characters
_MUCH_TEXT = 16 << 20  # characters of longer values: they do not wait in memory beyond that
_SCALAR = frozenset((float, int, str, bool))
_LONG_VALUE = 4096  # characters: a loop over whole documents does not copy them into the log


class Session:
    """One run while it is recorded.

    `observer` is told of loops; None builds the recorder's own, which takes checkpoints.
    """

    def __init__(
        self,
        root: str,
        store: str,
        *,
        run: str | None = None,
        info: dict[str, Any] | None = None,
        observer: Callable[[Session], LoopObserver] | None = None,
        rng: StartRng | None = None,
        version: VersionTaker | None = None,
        follows: Session | None = None,
    ) -> None:
        self.root = root
        self.store = store
        self.pid = os.getpid()
        self.began = perf_counter()
        self.stack = Stack(Level("", (), 0))
        self.explicit: dict[str, object] = {}  # what flor.checkpointing names
        self._lock = threading.RLock()
        self._warned: set[str] = set()
        self.closed = False  # to be asked only
        self.looping = 0  # open loops outside of all others, of any thread
        self._waiting_text = 0
        self._valued: set[str] = set()  # loops whose iterations have values
        self._version = version
        layout.prepare(store)
        self.folder = layout.RunFolder(store, run or layout.new_run_id())
        os.makedirs(self.folder.path, exist_ok=True)
        self.info: dict[str, Any] = self._first_info(info or {})
        self._given: dict[str, str | object] | None = None
        self._args: dict[str, object] = {}
        self._device_values = DeviceValues(self.encode)
        self.journal = Journal(self.folder.live, self.stack.levels[0], self.warn_once)
        self.queue = self.journal.queue
        self.full = FULL
        self.relieve = self.journal.relieve
        self.extend: Callable[[Iterable[object]], None] | None = self.journal.extend  # None: `log` looks at each record
        if rng is not None:
            rng.keep(self.folder.rng)
        self.write_info()
        if observer is None:
            from flor_replay.record.checkpoints import Recorder

            self.observer: LoopObserver = Recorder(self)
        else:
            self.observer = observer(self)
        if follows is not None:
            self._go_on(follows)

    def _go_on(self, before: Session) -> None:
        """Take over the loops that were open when `before` was committed. State is captured no more: the run cannot be
        replayed by itself."""
        self.info["follows"] = before.folder.run
        self.write_info()
        self.stack, self.explicit, self.observer = before.stack, before.explicit, before.observer
        self.looping = before.looping
        go_on = getattr(self.observer, "go_on", None)
        if go_on is not None:
            go_on(self)
        levels = self.stack.levels
        levels[0].count_anew()
        for level in levels[1:]:
            level.count_anew()
            if level.value is not None:
                self.note_value(level, level.value)

    def _first_info(self, given: dict[str, Any]) -> dict[str, Any]:
        started = entry.how_started(self.root)
        return {
            "format": layout.FORMAT,
            "run": self.folder.run,
            "projid": os.path.basename(self.root),
            "filename": started["path"],
            "tstamp": time.time(),
            "status": "running",
            "entry": started,
            "environment": entry.environment(),
            "machine": entry.machine(),
            "process": processes.identity(),
            "rank": entry.rank(),
            "start_up_seconds": processes.age_seconds(),  # interpreter and imports, before the first record
            "args": {},
            **given,
        }

    # -- recording ---------------------------------------------------------------------------------------------

    def log(self, name: str, value: object) -> None:
        if type(value) is not float:
            value = self._taken(value)
        if type(name) is not str:
            name = values.clean_name(name)
        level = self.stack.levels[-1]
        self.journal.extend((name, value, level, level.index))
        if len(self.queue) > FULL:
            self.journal.relieve()

    def _taken(self, value: object) -> object:
        """What goes to the journal for `value`: itself where it cannot change, else its stored fields, taken now."""
        kind = type(value)
        if kind is int or kind is bool or value is None or (kind is str and len(value) <= _SHORT_TEXT):  # type: ignore[arg-type]
            return value
        fields = self._take(value)
        if type(fields) is tuple and fields[2] is not None:
            self._waiting_text += len(fields[2])
            if self._waiting_text > _MUCH_TEXT:
                self._waiting_text = 0
                self.journal.relieve()
        return fields

    def _count_outside(self, run: Level, name: str) -> int:
        """The ordinal of a record outside all loops: the one level that threads share."""
        with self._lock:
            ordinal = run.counts.get(name, 0)
            run.counts[name] = ordinal + 1
        return ordinal

    def _take(self, value: object) -> values.Fields | Late:
        """The stored fields of `value`; of one that lies on a device, what will have them without a wait here."""
        late = self._device_values.take(value)
        return self.encode(value) if late is None else late

    def encode(self, value: object) -> values.Fields:
        """The stored fields of `value`. A plain one costs nothing; others are taken now, before they change."""
        if type(value) in _PLAIN and not (type(value) is str and len(value) > values.LARGE_TEXT):
            return values._encode(value, self._keep)
        return values.encode(value, self._keep, self.warn_once)

    def _keep(self, data: bytes, suffix: str) -> str:
        import xxhash

        name = xxhash.xxh3_128_hexdigest(data) + suffix
        path = os.path.join(self.folder.files, name)
        if not os.path.exists(path):
            os.makedirs(self.folder.files, exist_ok=True)
            layout.replace_bytes(path, data)
        return name

    def arg(self, name: str, default: object) -> object:
        if name in self._args:
            return self._args[name]
        if self._given is None:
            self._given = args.given()
        if name in self._given:
            value, source = args.cast(name, self._given[name], default), "given"
        else:
            value, source = default, "default"
        self._args[name] = value
        fields = self.encode(value)
        self.info["args"][name] = {"value": list(fields), "source": source}
        run = self.stack.levels[0]
        self.journal.extend((name, fields, run, run.index))  # a column like any other
        self.write_info()
        return value

    def loop(self, name: str, iterable: Iterable[Any]) -> Loop:
        return Loop(values.clean_name(name), iterable, self.stack, self.observer)

    def iteration(self, name: str, index: int | None, value: object) -> ManualIteration:
        if index is not None:
            try:
                index = operator.index(index)
            except TypeError:
                raise UsageError(f"flor.iteration({name!r}, {index!r}): the index is a whole number") from None
        return ManualIteration(self, values.clean_name(name), index, value)

    @property
    def interactive(self) -> bool:
        """A shell or a notebook: an error there ends nothing."""
        return bool(self.info["entry"]["kind"] == "interactive")

    def records(self) -> int:
        """How many log records there are."""
        self.flush()
        return self.journal.taken

    def commits_itself(self) -> bool:
        """Whether the session does itself what ``flor.commit`` asks for (a replay does)."""
        return False

    # -- told by loops ------------------------------------------------------------------------------------------

    def note_world(self) -> None:
        """Keep that this run trains together with other processes: it cannot be replayed alone."""
        if "distributed" not in self.info:
            _, size = entry.world()
            if size > 1:
                self.info["distributed"] = size
                self.write_info()

    def note_loop_begin(self, loop: LoopIterator) -> None:
        self.looping += 1
        self._note_options()
        self.journal.append(("b", loop.prefix, loop.name, loop.occurrence, 0, 0.0, kind_of(loop.source), ""))

    def _note_options(self) -> None:
        """Keep what argparse gave the script, as it is when the first loop begins (or at the end, where there is none)."""
        if "options" in self.info or "replay_of" in self.info or "argparse" not in sys.modules:
            return
        from flor_replay.record import frames, options

        self.info["options"] = {}
        try:
            spaces, _, _ = frames.namespaces(self.root, self.explicit)
            found = options.parsed(spaces.values())
            self.info["options"] = {name: list(self.encode(value)) for name, value in found.items()}
        except Exception as error:  # whatever objects of the script raise when they are looked at
            self.warn_once(f"the parsed arguments were not kept: {type(error).__name__}: {error}")
        if self.info["options"]:
            self.write_info()

    def note_loop_end(self, loop: LoopIterator, end: str) -> None:
        if not loop.prefix:
            self.looping -= 1
        seconds = perf_counter() - loop.started
        item = (
            "e",
            loop.prefix,
            loop.name,
            loop.occurrence,
            loop.index + 1,
            seconds,
            kind_of(loop.source),
            end,
        )
        self.journal.append(item)

    def note_value(self, level: Level, value: object) -> None:
        """Keep the value of an iteration where it is a scalar that says more than its index."""
        kind = type(value)
        if kind is int and value == level.index:
            return
        if kind.__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()
            kind = type(value)
        elif isinstance(value, os.PathLike):
            value = os.fspath(value)
            kind = type(value)
        if kind not in _SCALAR or (kind is int and value == level.index):
            return
        if kind is str and len(value) > _LONG_VALUE:  # type: ignore[arg-type]
            return
        level.value = value
        self._valued.add(level.name)
        self.journal.append(("v", level.path, self.encode(value)))

    def note_duration(self, level: Level, seconds: float) -> None:
        """Keep how long a main loop's iterations took since the last one of which it was kept: those up to the present."""
        self.journal.durations.extend((level, level.index, seconds, level.began - self.began))

    def note_lost(self, seconds: float, each: float) -> None:
        """Keep what the checkpoints of a main loop cost training (stalls, slowdown while they were written), and what one would."""
        self.info["checkpoints_cost_seconds"] = self.info.get("checkpoints_cost_seconds", 0.0) + seconds
        self.info["checkpoint_seconds"] = each

    # -- the run's own record -------------------------------------------------------------------------------------

    def warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warn(message)

    def write_info(self) -> None:
        with self._lock:
            try:
                layout.replace_json(self.folder.info, self.info)
            except OSError as error:
                self.warn_once(f"the run's record cannot be written ({error.strerror}); training goes on")

    def flush(self) -> None:
        self.journal.flush()

    def end(self, status: str, reason: str | None = None, *, seal: bool = True) -> None:
        """End the run and seal it. Safe to call twice; the first call counts."""
        with self._lock:
            if self.closed or os.getpid() != self.pid:
                return
            self.closed = True
        close = getattr(self.observer, "close", None)
        if close is not None:
            close()
        self._note_options()
        unknown = [name for name in self._given or {} if name not in self.info["args"]]
        if unknown and status == "finished":
            warn(f"no flor.arg asked for {', '.join(map(repr, sorted(unknown)))}: given but not used")
        self.journal.close()
        if "follows" in self.info and not self.journal.taken:  # nothing came after the last commit in a loop
            import shutil

            shutil.rmtree(self.folder.path, ignore_errors=True)
            return
        if self.journal.broken:
            reason = reason or "the log is not complete: the store could not be written"
        self.note_world()
        self.info["status"] = status
        if reason:
            self.info["reason"] = reason
        self.info["ended"] = time.time()
        if status == "finished" and self.info.pop("uncommitted", None) == "request":
            # Requests are ordered by their commits: what is committed later is newer.
            self.info["began"], self.info["tstamp"] = self.info["tstamp"], self.info["ended"]
        self.info["seconds"] = perf_counter() - self.began
        self.info["loop_values"] = sorted(self._valued)
        self.info["packages"] = entry.packages()
        self.info["libraries"] = entry.imported()
        self.info["compute"] = entry.compute()
        self.info["peak_memory_bytes"] = _peak_memory()
        self.write_info()
        if self._version is not None:
            problem = self._version.wait()
            if problem:
                self.warn_once(problem)
        if self.journal.broken or not seal:
            return
        try:
            from flor_replay.store import sealing

            if sealing.has_room():  # else it is read as it is, and `flor-replay gc` seals it
                sealing.seal(self.folder)
        except Exception as error:  # the live log stays: nothing is lost, it is only slower to read
            first = str(error).partition("\n")[0]
            warn(f"the log of this run stays unsealed ({type(error).__name__}: {first})")

    def stop(self, reason: str) -> None:
        """The process is being ended from outside: what was logged goes to disk, unsealed."""
        with contextlib.suppress(Exception):
            self.flush()
            self.info.update(status="stopped", reason=reason, ended=time.time(), seconds=perf_counter() - self.began)
            self.write_info()

    def abandon(self) -> None:
        """In a forked child: record nothing, touch no file of the parent's."""
        self.closed = True
        self.journal.abandon()
        forget = getattr(self.observer, "forget", None)
        if forget is not None:
            forget()


def _peak_memory() -> int:
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    except (ImportError, OSError):
        return 0


class ManualIteration:
    """``with flor.iteration(name, index, value):`` one level, opened and closed by the caller."""

    def __init__(self, session: Session, name: str, index: int | None, value: object) -> None:
        self._session = session
        self._name = name
        self._index = index
        self._value = value
        self._level: Level | None = None

    def __enter__(self) -> ManualIteration:
        stack = self._session.stack
        parent = stack.top()
        last = parent.manual.get(self._name)
        index = self._index
        if index is None:
            index = 0 if last is None else last.index + 1
        if last is not None and last.index == index:  # the same iteration goes on: a callback for each of its steps
            level = last
        else:
            goes_on = last is not None and index > last.index  # a smaller one: the loop has begun anew
            occurrence = last.occurrence if last is not None and goes_on else parent.occurs(self._name)
            level = Level(self._name, parent.path, occurrence)
            level.begin(index)
            parent.manual[self._name] = level
            self._session.observer.iteration_begins(level, level.index if self._value is None else self._value)
        self._level = level
        stack.open(level)
        return self

    def __exit__(self, *exc: object) -> None:
        level = self._level
        if level is None:
            return
        self._level = None
        for inner in self._session.stack.close(level):
            if inner is not level:
                inner.drop()
        self._session.observer.iteration_ends(level, perf_counter() - level.began)
