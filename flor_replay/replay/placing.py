"""Puts what today's files add into the versions: each file's content is looked at once, however many versions have it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from flor_instrument import Given, Patch, Placement, Propagation, Refusal, function_of, propagate

from flor_replay.history.versions import History
from flor_replay.replay.choices import Choices
from flor_replay.replay.elsewhere import files_with
from flor_replay.replay.proposal import FileResult, VersionProposal
from flor_replay.replay.today import TodaysFile, only


class Placing:
    """The patches of some files, many versions."""

    def __init__(self, history: History, files: Sequence[TodaysFile], prefix: str, choices: Choices) -> None:
        self._history = history
        self._files = files
        self._prefix = prefix
        self._choices = choices
        self._known: dict[tuple[object, ...], Propagation] = {}
        self._between: list[dict[bytes, None]] = [{} for _ in files]  # contents of each file that newer versions have
        self._paths: list[list[tuple[bytes, ...]]] = [[] for _ in files]
        for index, file in enumerate(files):
            for found in file.found:
                self._paths[index].append(tuple(self._between[index]))
                if found is not None:
                    self._between[index].setdefault(found[1])

    def place(self, number: int, version: VersionProposal) -> None:
        """Propagate every file's patch into the version, which is the one with this number."""
        version.files = []
        version.sources = {}
        for index, file in enumerate(self._files):
            found = file.found[number]
            patch = file.patch.patch
            if found is None:
                reason = f"It has no file {file.patch.path.removeprefix(self._prefix)}."
                refused = tuple(Refusal(unit, reason, one.line) for unit, one in enumerate(patch.units))
                nothing = Propagation(b"", (), refused, (), "")
                version.files.append(FileResult(file.patch.path, file.patch.path, patch, b"", nothing))
            else:
                self._put(version, file.patch.path, *found, patch, self._paths[index][number])
            self._look_elsewhere(version)
        reasons = {one.reason for one in version.refused}
        lacks = all(not file.original for file in version.files) and len(reasons) == 1
        version.problem = None
        if lacks and (reason := reasons.pop()).startswith("It has no file"):
            version.problem = reason[0].lower() + reason[1:].rstrip(".")
            version.files = []

    def commit(self, versions: Sequence[VersionProposal]) -> None:
        """Keep each patched version as a commit of its own."""
        changed = [version for version in versions if version.names]
        messages = []
        for version in changed:
            message = "flor: hindsight statements " + ", ".join(version.names)
            by_hand = [f"Placed-by: {how} ({name})" for name, how in version.placed_by.items()]
            messages.append("\n\n".join([message, *by_hand]))
        made = self._history.patched(
            [(v.commit, v.sources, message) for v, message in zip(changed, messages, strict=True)]
        )
        for version, commit in zip(changed, made, strict=True):
            version.patched = commit

    # -- one file --------------------------------------------------------------------------------------------------------

    def _put(
        self,
        version: VersionProposal,
        today: str,
        path: str,
        original: bytes,
        patch: Patch,
        between: Sequence[bytes] = (),
    ) -> None:
        target = version.sources.get(path, original)
        given = self._choices.given(original, patch)
        earlier = [placement for file, placement in version.placed if file.path == path]
        if earlier:
            given = [replace(one, placements=tuple(_behind(p, earlier) for p in one.placements)) for one in given]
        result = self._propagated(patch, target, between, given)
        if earlier:
            # Statements of two of today's files go into one file of the version.
            result = self._after_others(version, path, result, earlier)
        if result.placed:
            version.sources[path] = result.source
        version.files.append(FileResult(today, path, patch, original, result))

    def _propagated(self, patch: Patch, target: bytes, between: Sequence[bytes], given: Sequence[Given]) -> Propagation:
        key = (tuple(id(part) for part in patch.parts), hashlib.sha256(target).digest(), tuple(given))
        if key not in self._known:
            self._known[key] = propagate(patch, target, [one for one in between if one != target], given, unsure=True)
        return self._known[key]

    @staticmethod
    def _after_others(
        version: VersionProposal, path: str, result: Propagation, earlier: Sequence[Placement]
    ) -> Propagation:
        """Bring what was put into the file before, and what is put in now, in accord with each other and the version."""
        version.files = [
            replace(file, result=replace(file.result, source=result.source, placed=_shifted_all(file, result)))
            if file.path == path
            else file
            for file in version.files
        ]
        return replace(
            result,
            placed=tuple(_in_version(one, earlier) for one in result.placed),
            refused=tuple(
                replace(one, unsure=tuple(_in_version(p, earlier) for p in one.unsure)) for one in result.refused
            ),
        )

    # -- functions that stand in another file -----------------------------------------------------------------------------

    def _look_elsewhere(self, version: VersionProposal) -> None:
        """Put what the last file has no place for into the one other file that has its function, if there is one."""
        file = version.files[-1]
        moved: dict[str, list[int]] = {}
        reasons: dict[int, str] = {}
        for refusal in file.result.refused:
            function = function_of(file.patch, refusal.unit)
            if function is None:
                continue
            sources = self._history.python_sources(version.commit)
            paths = files_with(sources, function)
            if file.path in paths and file.original:
                continue
            if len(paths) == 1:
                moved.setdefault(paths[0], []).append(refusal.unit)
            elif paths:
                reasons[refusal.unit] = f"`{function}` is in several files of this version: {', '.join(sorted(paths))}."
        if not moved and not reasons:
            return
        gone = {unit for units in moved.values() for unit in units}
        refused = tuple(
            replace(one, reason=reasons.get(one.unit, one.reason))
            for one in file.result.refused
            if one.unit not in gone
        )
        version.files[-1] = replace(file, result=replace(file.result, refused=refused))
        if not refused and not file.original:
            version.files.pop()
        for path, units in moved.items():
            original = self._history.read(version.commit, path)
            assert original is not None
            self._put(version, file.today, path, original, only(file.patch, units))


def _more_lines(placement: Placement) -> int:
    def breaks(data: bytes) -> int:
        return len((data + b".").splitlines()) - 1

    return breaks(placement.inserted) - breaks(placement.original)


def _more_bytes(placement: Placement) -> int:
    return len(placement.inserted) - len(placement.original)


def _shifted_all(file: FileResult, later: Propagation) -> tuple[Placement, ...]:
    """The file's placements after others were put into it, too."""
    out = []
    for one in file.result.placed:
        before = [other for other in later.placed if other.at <= one.start]
        lines = sum(map(_more_lines, before))
        start = one.start + sum(map(_more_bytes, before))
        out.append(replace(one, line=one.line + lines, end_line=one.end_line + lines, start=start))
    return tuple(out)


def _behind(placement: Placement, earlier: Sequence[Placement]) -> Placement:
    """A place of the version as it is where the earlier ones have been put in."""
    return replace(placement, at=placement.at + sum(_more_bytes(one) for one in earlier if one.at <= placement.at))


def _in_version(placement: Placement, earlier: Sequence[Placement]) -> Placement:
    """A place that was found where the earlier ones had been put in, as it is in the version."""

    def line(number: int | None) -> int | None:
        return None if number is None else number - sum(_more_lines(one) for one in earlier if one.line < number)

    return replace(
        placement,
        at=placement.at - sum(_more_bytes(one) for one in earlier if one.start < placement.at),
        at_line=line(placement.at_line) or placement.at_line,
        after_line=line(placement.after_line),
        before_line=line(placement.before_line),
    )
