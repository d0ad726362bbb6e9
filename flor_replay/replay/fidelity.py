"""Is a replay the recorded run again? Each value that it logs again is compared with the recorded one."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flor_replay import values

TOLERANCE = 1e-5  # relative; what accelerators' own sums differ by from run to run

Key = tuple[str, tuple[tuple[str, int, int], ...], int]  # (name, loop path, ordinal)


@dataclass(frozen=True)
class Difference:
    """The first place where a replay is not the recorded run."""

    name: str
    path: tuple[tuple[str, int, int], ...]
    recorded: str
    replayed: str

    def describe(self) -> str:
        where = ", ".join(f"{loop}={index}" for loop, _, index in self.path) or "outside loops"
        return f"{self.name} at {where}: {self.recorded} was recorded, {self.replayed} replayed"


@dataclass(frozen=True)
class States:
    """What the checkpoints that a replay came by say of it (see `flor_replay.replay.proving`)."""

    compared: int
    open: bool
    different: tuple[str, ...]
    of_model: bool
    at: str = ""  # the first point at which it was different

    @staticmethod
    def from_data(data: Mapping[str, Any] | None) -> States | None:
        """What run.json has of it; None where nothing was to be proven so."""
        if data is None:
            return None
        return States(
            int(data["compared"]),
            bool(data["open"]),
            tuple(data["different"]),
            bool(data["of_model"]),
            str(data.get("at", "")),
        )

    @property
    def verdict(self) -> str:
        """``exact``: every value was logged before a point at which all bits were the same."""
        if self.different:
            return "diverged" if self.of_model else "unchecked"
        return "exact" if self.compared and not self.open else "unchecked"

    @property
    def described(self) -> str:
        """What was different, in words."""
        more = f" and {len(self.different) - 3} more" if len(self.different) > 3 else ""
        return f"{', '.join(self.different[:3])}{more}"


@dataclass(frozen=True)
class Verdict:
    """``exact``: the same bits; ``close``: within `TOLERANCE`; ``diverged``; ``unchecked``: nothing to compare.

    Values of a replay that read other files than the recorded run did are not proven by what came out the same: it has
    diverged as well.
    """

    verdict: str
    compared: int
    first: Difference | None = None
    left_out: tuple[str, ...] = ()  # names that read the clock
    of_the_replay: tuple[str, ...] = ()  # backfilled names that do: what they say is about the replay
    states: States | None = None  # what checkpoints proved
    changed: tuple[str, ...] = ()  # a sentence for each file that is not what the recorded run read

    @property
    def unproven(self) -> bool:
        """Values came out the same, but whether the added code leaves training alone is not known."""
        return self.verdict == "unchecked" and self.compared > 0

    @property
    def why(self) -> str | None:
        """Why it has diverged, in words."""
        if self.changed:
            more = f" (and {len(self.changed) - 1} more files)" if len(self.changed) > 1 else ""
            shown = f"; {self.first.describe()}" if self.first else ""
            return f"it reads what the recorded run did not: {self.changed[0]}{more}{shown}"
        if self.first is None and self.states is not None and self.verdict == "diverged":
            return f"at {self.states.at} the state was not the recorded one: {self.states.described}"
        return self.first.describe() if self.first else None

    def as_data(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "compared": self.compared,
            "first": self.why,
            "left_out": list(self.left_out),
            "of_the_replay": list(self.of_the_replay),
            "states": self.states.compared if self.states is not None else 0,
        }


def worst(verdicts: Iterable[str]) -> str:
    """The verdict on parts together: nothing compared in one part does not spoil what was exact in another."""
    found = set(verdicts)
    for verdict in ("diverged", "close", "exact"):
        if verdict in found:
            return verdict
    return "unchecked"


def compare(
    recorded: Mapping[Key, values.Fields],
    replayed: Mapping[Key, values.Fields],
    *,
    volatile: Iterable[str] = (),
    moments: Collection[str] = (),
    only_moments: bool = False,
    open_ended: bool = False,
    changed: Sequence[str] = (),
    states: States | None = None,
    effects: str | None = None,
) -> Verdict:
    """The verdict on a replay.

    `recorded` holds what the recorded run logged in the part that was executed, in order; `replayed` what was logged
    again. Names in `volatile` (they read the clock) are left out. `moments`: those of them that are backfilled, and `only_moments`: nothing else is. `open_ended`: the recorded run was cut off, so the
    replay may log more. `changed`: files that the replay read and that are not what the recorded run read.
    `states`: what the checkpoints say that it came by. `effects`: why the added code may change what training computes,
    of a replay that put a state back.
    """
    found = _compare(recorded, replayed, frozenset(volatile), open_ended)
    if states is not None:
        found = replace(found, verdict=_with_states(found, states, effects), states=states)
    if only_moments and found.verdict in ("exact", "close"):
        found = replace(found, verdict="unchecked")
    found = replace(found, of_the_replay=tuple(sorted(moments)))
    return replace(found, verdict="diverged", changed=tuple(changed)) if changed else found


def _with_states(found: Verdict, states: States, effects: str | None) -> str:
    """The verdict of values, and what the checkpoints say of it.

    The values after a restored state are those of the recorded run; a run that had the statement from its start would have
    had what the statement does to the state as well. So where it may do something, the state after it decides.
    """
    if found.verdict == "unchecked":
        return states.verdict
    if states.different and states.of_model:
        return "diverged"
    if effects is not None and found.verdict in ("exact", "close") and (states.different or not states.compared):
        return "unchecked"
    return found.verdict


def _compare(
    recorded: Mapping[Key, values.Fields],
    replayed: Mapping[Key, values.Fields],
    unstable: frozenset[str],
    open_ended: bool,
) -> Verdict:
    left_out = {key[0] for key in recorded if key[0] in unstable}
    compared = 0
    close = False
    for key, old in recorded.items():
        if key[0] in unstable or old[0] == "repr":
            continue
        new = replayed.get(key)
        if new is None:
            return Verdict("diverged", compared, _difference(key, old, None), tuple(sorted(left_out)))
        compared += 1
        if values.same_bits(old, new):
            continue
        if not _near(old, new):
            return Verdict("diverged", compared, _difference(key, old, new), tuple(sorted(left_out)))
        close = True
    if not open_ended:
        for key, new in replayed.items():
            if key not in recorded and key[0] not in unstable:
                return Verdict("diverged", compared, _difference(key, None, new), tuple(sorted(left_out)))
    verdict = "close" if close else "exact" if compared else "unchecked"
    return Verdict(verdict, compared, None, tuple(sorted(left_out)))


def _near(a: values.Fields, b: values.Fields) -> bool:
    if a[0] != "float" or b[0] != "float" or a[1] is None or b[1] is None:
        return False
    return math.isclose(a[1], b[1], rel_tol=TOLERANCE, abs_tol=0.0)


def _difference(key: Key, old: values.Fields | None, new: values.Fields | None) -> Difference:
    return Difference(key[0], key[1], _show(old), _show(new))


def _show(fields: values.Fields | None) -> str:
    if fields is None:
        return "nothing"
    kind, number, text = fields
    if number is not None:
        return repr(bool(number)) if kind == "bool" else repr(number)
    shown = text if text is not None else "None"
    return shown if len(shown) <= 60 else shown[:57] + "..."
