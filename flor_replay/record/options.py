"""What a script's own command line parser found: the ``argparse.Namespace`` that its code holds.

Most scripts take their arguments with argparse, not with ``flor.arg``. Nothing is put in between: where the main loop
begins, the namespaces are looked at, and the one that is there is kept with the run.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PLAIN = (bool, int, float, str, type(None))
MOST = 500
LONG_TEXT = 2000


def parsed(spaces: Iterable[Mapping[str, object]]) -> dict[str, object]:
    """The plain values of the parsed arguments that these namespaces hold, by name; the first that has a name gives it."""
    parser = sys.modules.get("argparse")
    if parser is None:
        return {}
    held = [value for space in spaces for value in list(space.values()) if isinstance(value, parser.Namespace)]
    if not held:
        return {}
    from flor_replay.context.secrets import names_a_secret  # its patterns take milliseconds to compile

    found: dict[str, object] = {}
    for namespace in held:
        for name, value in vars(namespace).items():
            if name not in found and len(found) < MOST and not names_a_secret(name) and _is_plain(value):
                found[name] = os.fspath(value) if isinstance(value, os.PathLike) else value
    return found


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= 100 and all(isinstance(one, _PLAIN) for one in value)
    if isinstance(value, os.PathLike):
        return True
    return isinstance(value, _PLAIN) and not (isinstance(value, str) and len(value) > LONG_TEXT)


__all__ = ["parsed"]
