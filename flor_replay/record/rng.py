"""The generators' state at the start, so that an unseeded script can be replayed.

``random``, numpy and torch seed themselves from the system when they are imported. Their state is taken at ``import flor`` where
they are there already, and right after their own import where they come later.
"""

from __future__ import annotations

import contextlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

# module whose import makes a generator -> how its state is read and put back, as JSON
GENERATORS = ("random", "numpy.random", "torch")


def read(name: str) -> Any:
    module = sys.modules[name]
    if name == "random":
        version, state, gauss = module.getstate()
        return [version, list(state), gauss]
    if name == "torch":
        return bytes(module.get_rng_state().tolist()).hex()  # of the CPU: accelerators start from a fixed seed
    kind, keys, position, has_gauss, cached = module.get_state(legacy=True)
    return [kind, [int(key) for key in keys], int(position), int(has_gauss), float(cached)]


def write(name: str, state: Any) -> None:
    module = sys.modules[name]
    if name == "random":
        module.setstate((state[0], tuple(state[1]), state[2]))
    elif name == "torch":
        module.set_rng_state(module.tensor(list(bytes.fromhex(state)), dtype=module.uint8))
    else:
        import numpy as np

        module.set_state((state[0], np.array(state[1], dtype=np.uint32), state[2], state[3], state[4]))


class _AfterImport:
    """A finder that calls back once after a module has been imported, and finds nothing itself."""

    def __init__(self, name: str, then: Callable[[str], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        if name != self._name:
            return None
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module
        then = self._then

        def exec_module(module: ModuleType) -> None:
            execute(module)
            with contextlib.suppress(Exception):
                then(name)

        with contextlib.suppress(AttributeError):
            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def when_there(name: str, then: Callable[[str], None]) -> None:
    """Call ``then(name)`` now if module `name` is imported, else right after its import."""
    if name in sys.modules:
        with contextlib.suppress(Exception):
            then(name)
    else:
        sys.meta_path.insert(0, _AfterImport(name, then))


class StartRng:
    """The states as each generator came to be; kept in the run's folder once there is one."""

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}
        self._path: str | None = None
        for name in GENERATORS:
            when_there(name, self._take)

    def _take(self, name: str) -> None:
        self._states[name] = read(name)
        self._save()

    def keep(self, path: str) -> None:
        self._path = path
        self._save()

    def _save(self) -> None:
        if self._path is not None and self._states:
            from flor_replay.store.layout import replace_json

            with contextlib.suppress(OSError):
                replace_json(self._path, self._states, indent=None)


def restore(states: dict[str, Any]) -> None:
    """In a replay: put each generator's state back as soon as the generator is there."""
    for name, state in states.items():
        when_there(name, lambda found, state=state: write(found, state))  # type: ignore[misc]
