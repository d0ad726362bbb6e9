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

    def commit(self, version: VersionProposal) -> None:
        """Keep the patched version as a commit of its own."""
        if not version.names:
            return
        message = "flor: hindsight statements " + ", ".join(version.names)
        by_hand = [f"Placed-by: {how} ({name})" for name, how in version.placed_by.items()]
        version.patched = self._history.patched(version.commit, version.sources, "\n\n".join([message, *by_hand]))

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
        given = self._choices.given(original, patch) if target == original else []
        result = self._propagated(patch, target, between, given)
        if target != original:
            # Statements of two of today's files go into one file of the version.
            result = self._behind(version, path, result)
        if result.placed:
            version.sources[path] = result.source
        version.files.append(FileResult(today, path, patch, original, result))

    def _propagated(self, patch: Patch, target: bytes, between: Sequence[bytes], given: Sequence[Given]) -> Propagation:
        key = (tuple(id(part) for part in patch.parts), hashlib.sha256(target).digest(), tuple(given))
        if key not in self._known:
            self._known[key] = propagate(patch, target, [one for one in between if one != target], given, unsure=True)
        return self._known[key]

    @staticmethod
    def _behind(version: VersionProposal, path: str, result: Propagation) -> Propagation:
        """Bring the lines of what was put in before, and of what is put in now, in accord with each other."""
        earlier = [placement for file, placement in version.placed if file.path == path]

        def in_version(line: int | None) -> int | None:
            if line is None:
                return None
            return line - sum(_more_lines(one) for one in earlier if one.line < line)

        version.files = [
            file
            if file.path != path
            else replace(
                file,
                result=replace(
                    file.result,
                    source=result.source,
                    placed=tuple(_shifted(placement, result.placed) for placement in file.result.placed),
                ),
            )
            for file in version.files
        ]
        placed = tuple(
            replace(
                one,
                at_line=in_version(one.at_line) or one.at_line,
                after_line=in_version(one.after_line),
                before_line=in_version(one.before_line),
            )
            for one in result.placed
        )
        return replace(result, placed=placed)

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
    return len(placement.inserted.splitlines()) - len(placement.original.splitlines())


def _shifted(placement: Placement, later: Sequence[Placement]) -> Placement:
    """A placement after others were put into its file."""
    before = [one for one in later if one.at <= placement.start]
    lines = sum(_more_lines(one) for one in before)
    more = sum(len(one.inserted) - len(one.original) for one in before)
    return replace(
        placement, line=placement.line + lines, end_line=placement.end_line + lines, start=placement.start + more
    )
