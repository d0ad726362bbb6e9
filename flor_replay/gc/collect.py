"""One collection: what is there, what is to go, and the going."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flor_checkpoint import Manifest, manifests
from flor_checkpoint.manifest import FORMAT, remove_checkpoint
from flor_checkpoint.sweep import PackUse, compressible, look, recover, sweep, used

from flor_replay.errors import StoreError
from flor_replay.gc import leftovers
from flor_replay.gc.leftovers import YOUNG_SECONDS, Leftover, size_of
from flor_replay.gc.thinning import Checkpoint, RunToThin, Thinning, expected_seconds
from flor_replay.plan.facts import gather
from flor_replay.store import layout
from flor_replay.store.runs import Run, all_runs

PAYS = (
    0.5  # a pack is rewritten unasked when at least this part of it is dead: what is copied is less than what is freed
)
_IDLE_SECONDS = 60.0  # with no run under way nothing that nobody refers to can be younger and still be wanted


@dataclass(frozen=True)
class Effect:
    """What a collection means for one run."""

    run: str
    before: int  # checkpoints
    after: int
    seconds_before: float  # expected replay of one statement in one iteration
    seconds_after: float


@dataclass
class Collection:
    """What is to go, or went."""

    store: str
    budget_bytes: int | None
    bytes_before: int
    bytes_after: int = 0  # worked out; measured once it is carried out
    checkpoints: list[Checkpoint] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    packs: list[PackUse] = field(default_factory=list)  # to be deleted, or rewritten where something in them is live
    leftovers: list[Leftover] = field(default_factory=list)
    unsealed: list[Run] = field(default_factory=list)
    untouched: dict[str, str] = field(default_factory=dict)  # run -> why it keeps everything
    notes: list[str] = field(default_factory=list)

    @property
    def compressed(self) -> list[PackUse]:
        """The packs that become smaller; each has what it saves, as far as samples tell."""
        return [pack for pack in self.packs if pack.live and pack.saved_bytes]

    @property
    def within_budget(self) -> bool:
        """Whether the store has come (or would come) down to its budget."""
        return self.budget_bytes is None or self.bytes_after <= self.budget_bytes


@contextlib.contextmanager
def alone(store: str) -> Iterator[None]:
    """One collection at a time. Raises StoreError where another is at work; a killed one holds nothing back."""
    try:
        descriptor = os.open(os.path.join(store, "gc.lock"), os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoreError(f"the store {store} cannot be written ({error.strerror}): nothing was removed") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"another flor-replay gc is at work in {store}: wait for it") from None
        recover(Path(layout.packs(store)))
        yield
    finally:
        os.close(descriptor)


def propose(store: str, budget_bytes: int | None, *, compress: bool = False) -> Collection:
    """Work out what goes. Nothing is changed. Raises StoreError where a manifest cannot be understood.

    `compress`: packs of which it pays are to be rewritten, compressed. It counts before anything is thinned.
    """
    runs = all_runs(store)
    made = Collection(store, budget_bytes, size_of(Path(store)))
    taken = _checkpoints(store)
    packs, unreadable = look(Path(layout.packs(store)))
    made.notes += [f"left as it is: {message}" for message in unreadable]
    made.leftovers = leftovers.find(store, runs)
    made.unsealed = leftovers.unsealed(runs)

    thinned, made.untouched = _to_thin(runs, taken)
    names = {run.run for run in thinned}
    held = {blob for run, found in taken.items() if run not in names for manifest in found for blob in manifest.tensors}
    needed = held | {blob for run in thinned for checkpoint in run.checkpoints for blob in checkpoint.blobs}

    active = any(run.status == "running" for run in runs)
    safe_age = YOUNG_SECONDS if active else _IDLE_SECONDS
    # A pack's manifest follows it: what nobody refers to yet may be wanted in a moment.
    settled = [p for p in packs if p.blobs.keys() <= needed or time.time() - p.modified > safe_age]
    fresh_bytes = sum(pack.bytes for pack in packs) - sum(pack.bytes for pack in settled)

    base = made.bytes_before - sum(item.bytes for item in made.leftovers)
    if compress:
        smaller = {pack.name: pack for pack in compressible(Path(layout.packs(store)), used(settled, needed))}
        settled = [
            replace(pack, saved_bytes=smaller[pack.name].saved_bytes) if pack.name in smaller else pack
            for pack in settled
        ]
        base -= sum(pack.saved_bytes for pack in smaller.values())
    sizes = {
        blob: int(size * (1 - pack.saved_bytes / pack.bytes)) for pack in settled for blob, size in pack.blobs.items()
    }
    if budget_bytes is not None:
        least = base - sum(pack.dead_bytes for pack in used(settled, needed))
        if least > budget_bytes:
            made.checkpoints, _ = Thinning(thinned, sizes, held).choose(least - budget_bytes)
    removed = {checkpoint.key for checkpoint in made.checkpoints}
    for run in thinned:
        left = [checkpoint for checkpoint in run.checkpoints if checkpoint.key not in removed]
        if len(left) < len(run.checkpoints):
            before, after = expected_seconds(run, run.checkpoints), expected_seconds(run, left)
            made.effects.append(Effect(run.run, len(run.checkpoints), len(left), before, after))
    still = held | {b for run in thinned for c in run.checkpoints if c.key not in removed for b in c.blobs}
    base -= sum(checkpoint.own_bytes for checkpoint in made.checkpoints)
    made.packs = _packs_to_sweep(used(settled, still), base, budget_bytes)
    made.bytes_after = base - sum(pack.dead_bytes for pack in made.packs)
    if fresh_bytes and active:
        made.notes.append("packs written within the last hour and not referred to yet stay: a run is under way")
    return made


def carry_out(made: Collection) -> None:
    """Remove what was proposed. May be killed at any moment: what is left over is found by the next collection."""
    from flor_replay.store.sealing import seal

    packs = Path(layout.packs(made.store))
    chosen: dict[str, set[str]] = {}
    for checkpoint in made.checkpoints:
        chosen.setdefault(checkpoint.run, set()).add(checkpoint.id)
    for name, ids in chosen.items():
        for manifest in manifests(Path(layout.RunFolder(made.store, name).checkpoints))[0]:
            if manifest.id in ids:
                remove_checkpoint(manifest)
    for leftover in made.leftovers:
        with contextlib.suppress(OSError):
            leftover.remove()
    whole_first = sorted(made.packs, key=lambda pack: bool(pack.live))  # rewriting needs room on the disk
    for several in ([p for p in whole_first if not p.live], *([p] for p in whole_first if p.live)):
        _, notes = sweep(packs, several, lambda: _needed(made.store))
        made.notes += notes
    for run in made.unsealed:
        try:
            seal(run.folder)
        except Exception as error:  # the live log stays: nothing is lost, it is only slower to read
            made.notes.append(f"the log of {run.run} stays unsealed ({type(error).__name__}: {error})")
    made.bytes_after = size_of(Path(made.store))


def _needed(store: str) -> set[str]:
    return {blob for found in _checkpoints(store).values() for manifest in found for blob in manifest.tensors}


def _checkpoints(store: str) -> dict[str, list[Manifest]]:
    """The manifests of every run folder, readable as a run or not. Raises StoreError."""
    found = {}
    for folder in sorted(Path(store, "runs").glob("*/checkpoints")):
        listed, bad = manifests(folder)
        if bad:
            _refuse_unknown(folder, {manifest.id for manifest in listed})
        if listed:
            found[folder.parent.name] = listed
    return found


def _refuse_unknown(folder: Path, known: set[str]) -> None:
    """A damaged manifest needs nothing: no reader takes it. One that this version cannot read may need anything."""
    for path in folder.glob("*.json"):
        if path.stem in known:
            continue
        try:
            raw = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}): nothing was removed") from None
        except ValueError:
            continue
        if isinstance(raw, dict) and raw.get("format") != FORMAT:
            raise StoreError(
                f"{path} has format {raw.get('format')!r}, which this version does not know: nothing was removed. "
                "Use the version that wrote it"
            )


def _to_thin(runs: Sequence[Run], taken: Mapping[str, Sequence[Manifest]]) -> tuple[list[RunToThin], dict[str, str]]:
    """The runs whose checkpoints may go, and why the others keep theirs."""
    replayed = {run.replay_of for run in runs if run.replay_of and run.status == "running"}
    untouched = {}
    candidates = []
    known = {run.run for run in runs}
    for run in runs:
        if run.run not in taken:
            continue
        if run.status == "running":
            untouched[run.run] = "it is under way"
        elif run.run in replayed:
            untouched[run.run] = "it is being replayed"
        else:
            candidates.append(run)
    untouched |= {name: "its run.json cannot be read" for name in taken if name not in known}
    facts = gather(candidates) if candidates else {}
    found = []
    for run in candidates:
        main = facts[run.run].main
        checkpoints = tuple(_checkpoint(run.run, manifest, main.ordinal if main else -1) for manifest in taken[run.run])
        seconds, nested = (main.seconds, main.nested) if main else ((), {})
        found.append(RunToThin(run.run, seconds, nested, checkpoints))
    return found, untouched


def _checkpoint(run: str, manifest: Manifest, main: int) -> Checkpoint:
    point = manifest.point
    nested = point.get("nested")
    index = point.get("index")
    of_main = point.get("ordinal") == main and isinstance(index, int)
    return Checkpoint(
        run=run,
        id=manifest.id,
        at=str(point.get("at")) if of_main else "another loop",
        index=index if isinstance(index, int) else 0,
        nested=str(nested) if nested is not None else None,
        blobs=frozenset(manifest.tensors),
        own_bytes=size_of(manifest.folder / f"{manifest.id}.json") + size_of(manifest.folder / manifest.graph.file),
        created=manifest.created,
    )


def _packs_to_sweep(packs: Sequence[PackUse], base: int, budget_bytes: int | None) -> list[PackUse]:
    """The dead packs; those of which rewriting pays; and, while the store is over its budget, others with dead content."""
    chosen = [pack for pack in packs if not pack.live or pack.saved_bytes or pack.dead_bytes >= PAYS * pack.bytes]
    if budget_bytes is not None:
        size = base - sum(pack.dead_bytes for pack in chosen)
        rest = [pack for pack in packs if pack not in chosen and pack.dead_bytes]
        for pack in sorted(rest, key=lambda pack: pack.dead_bytes, reverse=True):
            if size <= budget_bytes:
                break
            chosen.append(pack)
            size -= pack.dead_bytes
    return chosen
