"""Attributes of installed modules that the script sets: ``library.counter += 1``. No checkpoint holds them.

Only modules that a module of the project names are looked at. What libraries load lazily (modules, functions, classes,
objects of their own classes) and their private names come and go by themselves.
"""

from __future__ import annotations

from operator import is_
from types import BuiltinFunctionType, FunctionType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_CODE = (ModuleType, FunctionType, BuiltinFunctionType, type)
_OWN = ("flor", "flor_replay", "flor_checkpoint")


class ForeignModules:
    """The attributes of installed modules as they are when this is made."""

    def __init__(self, project: Sequence[ModuleType]) -> None:
        own = set(map(id, project))
        values = (value for module in project for value in list(vars(module).values()))
        bound = {id(value): value for value in values if isinstance(value, ModuleType)}
        self._modules = [
            module for key, module in bound.items() if key not in own and _package(module.__name__) not in _OWN
        ]
        # The values are kept, so that no other object gets their identity.
        self._values = [dict(vars(module)) for module in self._modules]

    def changed(self) -> list[str]:
        """``module.attribute`` of each that was set or removed since, sorted."""
        found = []
        for module, before in zip(self._modules, self._values, strict=True):
            now = vars(module)
            # Thousands of attributes, most often in the same order: none need be looked up by its name.
            if [*now] == [*before] and all(map(is_, now.values(), before.values())):
                continue
            found += [
                f"{module.__name__}.{name}"
                for name in {*now, *before}
                if not name.startswith("_")
                and now.get(name) is not before.get(name)
                and not _is_own(module, now.get(name, before.get(name)))
            ]
        return sorted(found)


def _is_own(module: ModuleType, value: object) -> bool:
    """Whether the library put it there itself: code, or an object of one of its classes."""
    return isinstance(value, _CODE) or _package(type(value).__module__) == _package(module.__name__)


def _package(name: str) -> str:
    return name.partition(".")[0]
