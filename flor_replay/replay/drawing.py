"""Libraries that draw from ``random`` while they are imported, in a process that has them imported already.

(rich does, for the numbers of its styles, and scikit-learn imports it.) The recorded run made these draws where it imported the
library; a child of a warm parent would not. They are counted when the parent imports, and made when the script does.
"""

from __future__ import annotations

import builtins
import random
import sys
from typing import Any

MOST = 20_000


class Draws:
    """How many numbers each library's import has drawn. `problem`: an import did what cannot be made again."""

    def __init__(self) -> None:
        self.by_library: dict[str, int] = {}
        self.problem: str | None = None
        self._state = _state()

    def imported(self, name: str) -> None:
        """Module `name` has just been imported."""
        state = _state()
        if state[0] != self._state[0]:
            count = _between(self._state[0], state[0])
            library = name.partition(".")[0]
            if count is None:
                self.problem = f"the import of {name} seeds the random generator of python"
            else:
                self.by_library[library] = self.by_library.get(library, 0) + count
        if state[1] != self._state[1] and self._state[1] is not None:
            self.problem = f"the import of {name} draws from the random generator of numpy"
        self._state = state


def _state() -> tuple[Any, Any]:
    numpy = sys.modules.get("numpy.random")
    drawn = numpy.get_state(legacy=False)["state"] if numpy is not None else None
    return random.getstate(), None if drawn is None else (drawn["key"].tobytes(), drawn["pos"])


def _between(before: Any, after: Any) -> int | None:
    """How many 32-bit numbers lie between two states; None where it cannot be told."""
    generator = random.Random()
    generator.setstate(before)
    for count in range(1, MOST + 1):
        generator.getrandbits(32)
        if generator.getstate()[1] == after[1]:
            return count if before[2] == after[2] else None
    return None


def make_again(by_library: dict[str, int]) -> None:
    """From now on the first import of each of these libraries makes its draws."""
    if not by_library:
        return
    waiting = dict(by_library)
    usual = builtins.__import__

    def importing(name: str, *words: Any, **more: Any) -> Any:
        count = waiting.pop(name.partition(".")[0], 0)
        for _ in range(count):
            random.getrandbits(32)
        if not waiting and builtins.__import__ is importing:
            builtins.__import__ = usual
        return usual(name, *words, **more)

    builtins.__import__ = importing


__all__ = ["Draws", "make_again"]
