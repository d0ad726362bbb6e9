"""``--accept VERSION`` and ``--edit VERSION``: a person places what propagation refused."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from flor_instrument import Placement

from flor_replay.cli.explain import title
from flor_replay.cli.shell import say
from flor_replay.errors import SourceProblem, UsageError
from flor_replay.replay import choices as deciding
from flor_replay.replay.choices import Choices, Undecidable
from flor_replay.replay.proposal import FileResult, VersionProposal

MARK = "# flor-replay:"  # lines of ours in a file that is edited


def editor() -> list[str]:
    """The command that edits a file. Raises UsageError where there is none, or nobody to use it."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    if not command.strip():
        raise UsageError("--edit opens an editor: set the variable VISUAL or EDITOR to one")
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words or shutil.which(words[0]) is None:
        raise UsageError(f"--edit: the editor {command!r} (from VISUAL or EDITOR) is not there")
    if not sys.stdin.isatty():
        raise UsageError("--edit opens an editor, and there is no terminal for it")
    return words


def accept(versions: Sequence[VersionProposal], word: str, choices: Choices, *, keep: bool) -> None:
    """Take the unsure places that are proposed for a version. `keep`: for later calls too. Raises UsageError."""
    version = find(versions, word, "--accept")
    found = False
    for file in version.files:
        choice = deciding.accepted(version.commit, file.path, file.original, file.patch, file.result)
        if choice is not None:
            choices.add(choice, keep=keep)
            found = True
    if found or (not version.refused and "accepted" in _kinds(version, choices)):
        return
    if version.refused:
        commit = version.commit[:8]
        reason = version.refused[0].reason
        raise UsageError(f"--accept {word}: no place is proposed ({reason}) Give one with --edit {commit}")
    raise UsageError(f"--accept {word}: {version.problem or 'nothing is refused'} in this version")


def edit(versions: Sequence[VersionProposal], word: str, choices: Choices, command: Sequence[str]) -> None:
    """Let a person edit a version's file: each that has refused statements, or that a person has placed some in.

    Raises UsageError, and SourceProblem where what was written cannot be taken.
    """
    version = find(versions, word, "--edit")
    files = [
        file
        for file in version.files
        if file.original and (file.result.refused or choices.kind(file.original, file.patch) is not None)
    ]
    if not files:
        raise UsageError(f"--edit {word}: {version.problem or 'nothing is refused'} in this version")
    for file in files:
        _edit(version, file, choices, command)


def _edit(version: VersionProposal, file: FileResult, choices: Choices, command: Sequence[str]) -> None:
    folder = tempfile.mkdtemp(prefix=f"flor-replay-edit-{version.commit[:8]}-")
    path = os.path.join(folder, os.path.basename(file.path))
    sheet = _sheet(version, file)
    with open(path, "wb") as out:
        out.write(sheet)
    try:
        done = subprocess.run([*command, path], stdout=None if sys.stdout.isatty() else sys.stderr, check=False)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(f"--edit: {command[0]} cannot be started: {error.strerror}") from None
    name = f"{file.path} of version {version.commit[:8]}"
    if done.returncode != 0:
        raise SourceProblem(f"{name}: the editor ended with {done.returncode}, so nothing is taken; the file is {path}")
    try:
        with open(path, "rb") as edited:
            data = edited.read()
        if data == sheet:
            shutil.rmtree(folder, ignore_errors=True)
            wait = "an editor that returns at once needs a flag to wait, such as code --wait"
            say(f"flor-replay: {name}: the file was not changed, so nothing is ({wait})")
            return
        lines = data.splitlines(keepends=True)
        kept = [number for number, line in enumerate(lines, 1) if not _is_mark(line)]
        data = b"".join(lines[number - 1] for number in kept)
        choice = deciding.edited(version.commit, file.path, file.original, file.patch, file.result, data)
    except OSError as error:
        raise SourceProblem(f"{name}: the edited file cannot be read: {error.strerror}") from None
    except Undecidable as error:
        at = f" line {kept[error.line - 1]}" if error.line and error.line <= len(kept) else ""
        raise SourceProblem(
            f"{file.path}{at} of version {version.commit[:8]}: {error} What you wrote is kept in {path}"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    if choice is not None:
        choices.add(choice, keep=True)
    elif choices.withdraw(file.original, file.patch):
        say(f"flor-replay: {name}: nothing was added, so what was decided before is withdrawn")
    else:
        say(f"flor-replay: {name}: nothing was added, so it stays refused")


def _kinds(version: VersionProposal, choices: Choices) -> set[str | None]:
    return {choices.kind(file.original, file.patch) for file in version.files}


def find(versions: Sequence[VersionProposal], word: str, option: str) -> VersionProposal:
    """The version that `word` is the beginning of. Raises UsageError where there is none, or several."""
    found = [version for version in versions if word and version.commit.startswith(word.lower())]
    if len(found) == 1:
        return found[0]
    names = ", ".join(version.commit[:8] for version in (found or versions)[:8])
    more = ", ..." if len(found or versions) > 8 else ""
    if found:
        raise UsageError(f"{option} {word}: several versions begin so: {names}{more}")
    raise UsageError(f"{option} {word}: no version that is looked at is called so (there is {names}{more})")


# -- the file that is edited ------------------------------------------------------------------------------------------


def _sheet(version: VersionProposal, file: FileResult) -> bytes:
    """The version's file with what is placed already, and what is refused in comments of ours."""
    data = _own(file)
    newline = b"\r\n" if b"\r\n" in data else b"\n"
    head = [
        f"{file.path} of version {title(version)}. Write the statements below where they belong, and save.",
        "Only statements may be added: what the version has must stay as it is. Lines like this one are taken out.",
        "Where nothing is added, nothing is taken.",
    ]
    inserts: list[tuple[int, list[bytes]]] = []
    for refusal in file.result.refused:
        unit = file.patch.units[refusal.unit]
        head += ["", f"refused: {refusal.reason}", *(f"    {line}" for line in unit.text.splitlines())]
        for placement in refusal.unsure:
            inserts.append((_offset(file, placement), _commented(placement)))
    bom = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    for offset, lines in sorted(inserts, key=lambda one: -one[0]):
        start = max(data.rfind(b"\n", 0, offset), data.rfind(b"\r", 0, offset), bom - 1) + 1
        data = data[:start] + b"".join(line + newline for line in lines) + data[start:]
    # Escaped where it is not ASCII: the file may have another encoding than the message.
    top = b"".join(f"{MARK} {line}".rstrip().encode("ascii", "backslashreplace") + newline for line in head)
    return data[:bom] + top + data[bom:]


def _own(file: FileResult) -> bytes:
    """The version's file with what this file's patch put into it and a person may change: not what other patches did."""
    data = file.original
    left = deciding.left_to_the_tool(file.patch, file.result)
    placed = [one for one in file.result.placed if one.unit not in left]
    for one in sorted(placed, key=lambda one: (one.at, one.start), reverse=True):
        data = data[: one.at] + one.inserted + data[one.at + len(one.original) :]
    return data


def _offset(file: FileResult, placement: Placement) -> int:
    """Where a place of the version is in the patched file."""
    left = deciding.left_to_the_tool(file.patch, file.result)
    before = [one for one in file.result.placed if one.at <= placement.at and one.unit not in left]
    return placement.at + sum(len(one.inserted) - len(one.original) for one in before)


def _commented(placement: Placement) -> list[bytes]:
    """An unsure statement as it would stand there, with our mark before each line's own text."""
    lines = [line for line in placement.inserted.splitlines() if line.strip()]
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip(b" \t"))]
    mark = indent + MARK.encode() + b" "
    lines = [line.removeprefix(indent) for line in lines]
    return [
        mark + b"an unsure place: to take it, delete the mark from what follows",
        *(mark + line.removeprefix(b"; ").removesuffix(b"; ") for line in lines),
    ]


def _is_mark(line: bytes) -> bool:
    return line.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(MARK.encode())
