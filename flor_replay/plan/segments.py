"""What one worker executes of one run. Light: workers know it and not the planner."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Segment:
    """What one worker executes of one run.

    - ``whole``: the script from start to end; of a run that was cut off, up to iteration `stop`, the last complete one
    - ``prefix``: the script until the main loop begins
    - ``iterations``: from the state at the start of iteration `first` (0: the script's own), iterations up to `stop`
    - ``exits``: of each iteration in `exits` the part after its nested loops, from the state at their exit
    - ``suffix``: what follows the main loop, from the state at its end
    """

    kind: Literal["whole", "prefix", "iterations", "exits", "suffix"]
    loop: int = -1  # the main loop's ordinal among the outermost loops
    first: int = 0  # first iteration executed
    start: int = 0  # first iteration whose values are kept
    stop: int = 0  # one past the last
    restore: str | None = None  # checkpoint
    exits: tuple[tuple[int, str, str], ...] = ()  # (iteration, nested loop, checkpoint)
    prefix: bool = False  # values logged before the main loop are kept
    suffix: bool = False  # the script runs on after the loop, and what it logs is kept
    seconds: float = 0.0  # estimate
    dead: tuple[tuple[str, str], ...] = ()  # (checkpoint, access path): it lacks this, and nothing executed can read it

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_data(data: dict[str, Any]) -> Segment:
        exits = tuple((int(i), str(n), str(c)) for i, n, c in data.get("exits", ()))
        dead = tuple((str(c), str(p)) for c, p in data.get("dead", ()))
        return Segment(**{**data, "exits": exits, "dead": dead})

    def describe(self) -> str:
        """In plain words, for the plan."""
        if self.kind == "whole":
            return "the whole script"
        if self.kind == "prefix":
            return "up to the main loop"
        if self.kind == "suffix":
            return "what follows the main loop, from its last checkpoint"
        if self.kind == "exits":
            count = len({index for index, _, _ in self.exits})
            mine = "1 iteration" if count == 1 else f"{count} iterations"
            return f"{mine} from the exit of the nested loop, which is skipped"
        after = " and what follows the loop" if self.suffix else ""
        source = "from the start" if self.restore is None else f"from the checkpoint at {self.first}"
        last = self.stop - 1
        mine = f"iteration {last}" if self.start == last else f"iterations {self.start} to {last}"
        return f"{mine} {source}{after}"
