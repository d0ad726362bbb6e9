"""Why a replay of a whole script may have come out otherwise: what is known of it, the likeliest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flor_instrument import unseeded

from flor_replay.replay.fidelity import Verdict


def likely_cause(
    verdict: Verdict, sources: Mapping[str, bytes], script: str, effects: str | None, since: Sequence[str]
) -> str | None:
    """A sentence, or None where the verdict says it itself.

    `sources`: the version's, by path, and `script` the one that runs. `effects`: why the added code may change what training computes; `since`: what is different from when the run was
    recorded, in words.
    """
    if verdict.verdict != "diverged" or verdict.changed:
        return None
    drawn = unseeded(sources, script)
    if drawn is not None:
        return f"likely cause: {drawn} draws from the operating system, other numbers in each run"
    if effects is not None:
        return f"likely cause: the added code may change what training computes: {effects}"
    if since:
        return f"likely cause: {since[0].partition(':')[0]}"
    return "no cause is known: nothing that was recorded of it is different now (threads, devices and sets of strings can do this)"
