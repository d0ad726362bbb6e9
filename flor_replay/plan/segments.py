"""What one worker executes of one run. Light: workers know it and not the planner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Step:
    """Consecutive iterations of the main loop that are executed one after another.

    The first one goes on from where the process is (after the prefix, or after the step before), or from the state at its
    start, which is put back; or it is entered *blind*: what stands before its nested loop runs in a state that is not its
    own, and what counts begins at the loop's exit, whose state is put back.
    """

    first: int  # first iteration executed
    stop: int  # one past the last
    keep: tuple[int, int]  # first iteration whose values are kept, and one past the last
    restore: str | None = None  # checkpoint at the start of `first`
    blind: bool = False
    exits: tuple[tuple[int, str, str], ...] = ()  # (iteration, nested loop, checkpoint at its exit): loops not executed

    def describe(self) -> str:
        """In plain words, for the plan."""
        if self.keep[0] == self.keep[1]:
            mine = f"on through iteration {self.stop - 1}"
        elif self.keep[0] == self.keep[1] - 1:
            mine = f"iteration {self.keep[0]}"
        else:
            mine = f"iterations {self.keep[0]} to {self.keep[1] - 1}"
        skipped = len({index for index, _, _ in self.exits if self.keep[0] <= index < self.keep[1]})
        if skipped and skipped == self.keep[1] - self.keep[0]:
            return f"{mine} without the nested loop"
        without = f", {skipped} of them without the nested loop" if skipped else ""
        if self.blind:
            return f"{mine} from the nested loop's exit in {self.first}{without}"
        source = f"from the checkpoint at {self.first}" if self.restore else f"from {self.first or 'the start'}"
        return f"{mine} {source}{without}"


@dataclass(frozen=True)
class Segment:
    """What one worker executes of one run.

    - ``whole``: the script from start to end; of a run that was cut off, up to iteration `stop`, the last complete one
    - ``part``: the script until the main loop begins, then `steps`, then, for `suffix`, what follows the loop
    """

    kind: Literal["whole", "part"]
    loop: int = -1  # the main loop's ordinal among the outermost loops
    steps: tuple[Step, ...] = ()
    end: str | None = None  # checkpoint at the loop's end, put back after the steps
    stop: int = 0
    prefix: bool = False  # values logged before the main loop are kept
    suffix: bool = False  # the script runs on after the loop, and what it logs is kept
    seconds: float = 0.0  # estimate, without the interpreter's start
    recorded_seconds: float = 0.0  # the same by the recording alone (see `flor_replay.plan.pace`)
    dead: tuple[tuple[str, str], ...] = ()  # (checkpoint, access path): it lacks this, and nothing executed can read it

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_data(data: dict[str, Any]) -> Segment:
        steps = tuple(_step(step) for step in data.get("steps", ()))
        dead = tuple((str(c), str(p)) for c, p in data.get("dead", ()))
        return Segment(**{**data, "steps": steps, "dead": dead})

    @property
    def checkpoints(self) -> frozenset[str]:
        """Those that are put back."""
        found = (
            {step.restore for step in self.steps} | {c for step in self.steps for _, _, c in step.exits} | {self.end}
        )
        return frozenset(checkpoint for checkpoint in found if checkpoint is not None)

    def kept(self) -> set[int]:
        """The iterations whose values it keeps."""
        return {index for step in self.steps for index in range(*step.keep)}

    def describe(self) -> str:
        """In plain words, for the plan."""
        if self.kind == "whole":
            return "the whole script"
        parts = ["up to the main loop"] if self.prefix and not self.steps and not self.suffix else []
        parts += [step.describe() for step in self.steps[:2]]
        if len(self.steps) > 2:
            parts = [_together(self.steps)]
        if self.suffix:
            parts.append("what follows the loop" + (", from its last checkpoint" if self.end else ""))
        return " and ".join(parts)


def _together(steps: Sequence[Step]) -> str:
    count = sum(step.keep[1] - step.keep[0] for step in steps)
    skipped = sum(len({index for index, _, _ in step.exits if step.keep[0] <= index < step.keep[1]}) for step in steps)
    without = "without the nested loop" if skipped == count else f"{skipped} of them without the nested loop"
    return f"{count} iterations from {steps[0].keep[0]} to {steps[-1].keep[1] - 1}" + (
        f", {without}" if skipped else ""
    )


def _step(data: dict[str, Any]) -> Step:
    exits = tuple((int(i), str(n), str(c)) for i, n, c in data.get("exits", ()))
    keep = (int(data["keep"][0]), int(data["keep"][1]))
    return Step(**{**data, "exits": exits, "keep": keep})
