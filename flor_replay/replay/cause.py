"""Why a replay of a whole script may have come out otherwise: what is known of it, the likeliest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flor_instrument import unseeded


def likely_cause(sources: Mapping[str, bytes], script: str, effects: str | None, since: Sequence[str]) -> str:
    """A sentence on a replay that diverged.

    `sources`: the version's, by path, and `script` the one that runs. `effects`: why the added code may change what training
    computes; `since`: what is different from when the run was recorded, in words.
    """
    drawn = unseeded(sources, script)
    if drawn is not None:
        return f"likely cause: {drawn} draws from the operating system, other numbers in each run"
    if effects is not None:
        return f"likely cause: the added code may change what training computes: {effects}"
    if since:
        return f"likely cause: {since[0].partition(':')[0]}"
    return (
        "no cause is known: nothing that was recorded of it is different now (threads, devices, sets of strings, and attributes "
        "that compute something when the added code reads them can do this)"
    )
