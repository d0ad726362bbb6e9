"""The loops that a run had named in memory (``flor-replay run``), in the sources that are to be replayed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from flor_instrument import Placement

from flor_replay.record.wrapping import Wrap, from_data, wrapped_source
from flor_replay.replay.proposal import VersionProposal
from flor_replay.store.runs import Run


def wraps_of(run: Run, version: VersionProposal, prefix: str) -> tuple[Wrap, ...]:
    """Where the loops that were wrapped in `run` stand in the patched version. `prefix` leads to the project's root.

    Empty where the run had none, or where the patch has put one of their headers in doubt: it is then replayed whole.
    """
    recorded = from_data(run.info.get("hands_free", {}).get("loops", ()))
    found = []
    for wrap in recorded:
        path = prefix + wrap.path
        line: int | None = wrap.line
        if path in version.sources:
            file = next(file for file in version.files if file.path == path)
            placements = [placement for other, placement in version.placed if other.path == path]
            line = _moved(file.original, version.sources[path], placements, wrap.line)
        if line is None:
            return ()
        found.append(wrap._replace(line=line))
    return tuple(found)


def _moved(original: bytes, patched: bytes, placements: Sequence[Placement], line: int) -> int | None:
    """The line that a line of the original has in the patched source; None where it is not the same any more."""
    lines = original.splitlines(keepends=True)
    starts = list(itertools.accumulate(map(len, lines), initial=0))
    if line > len(lines):
        return None
    begins, ends = starts[line - 1], starts[line]
    shift = 0
    for placement in placements:
        stop = placement.at + len(placement.original)
        if stop <= begins:
            shift += len(placement.inserted) - len(placement.original)
        elif placement.at < ends:
            return None
    at = begins + shift
    if patched[at : at + len(lines[line - 1])] != lines[line - 1]:
        return None
    return patched[:at].count(b"\n") + 1 if b"\r" not in patched else len((patched[:at] + b".").splitlines())


def with_loops(sources: Mapping[str, bytes], wraps: Sequence[Wrap], prefix: str) -> Mapping[str, bytes]:
    """The sources as analyses are to see them: with the names of their loops written out."""
    by_file: dict[str, list[Wrap]] = {}
    for wrap in wraps:
        by_file.setdefault(prefix + wrap.path, []).append(wrap)
    seen = dict(sources)
    for path, mine in by_file.items():
        try:
            seen[path] = wrapped_source(sources[path], mine)
        except (KeyError, SyntaxError, ValueError):
            return sources
    return seen
