"""What ``add-log --dry-run`` says of each version: what went where and why there, or why not, and the diff."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Sequence

from flor_instrument import Placement
from rich.console import Console
from rich.text import Text

from flor_replay.replay.proposal import FileResult, Proposal, Refused, VersionProposal

_LABEL = 12  # columns of the labels, indent included
_OTHERS = 5  # equal versions that are named
_BY_HAND = {"accepted": "a person, who accepted an unsure place", "edited": "a person, in the version's file"}


def title(version: VersionProposal) -> str:
    return f"{version.commit[:8]}  {version.runs[-1].started:%Y-%m-%d %H:%M}"


def alike(versions: Sequence[VersionProposal]) -> list[list[VersionProposal]]:
    """Versions in which the same went into the same files, together; by their newest."""
    found: dict[object, list[VersionProposal]] = {}
    for version in versions:
        files = tuple((f.today, f.path, f.original, f.result.placed, f.result.refused) for f in version.files)
        found.setdefault((version.problem, files), []).append(version)
    return list(found.values())


def explain(proposal: Proposal, screen: Console) -> None:
    """Every version, equal ones together: its statements with their neighbours and new names, refusals, the diff."""
    width = screen.width if screen.is_terminal else None
    for group in alike(proposal.versions):
        version = group[0]
        head = Text(f"version {title(version)}", style="bold")
        if len(group) > 1:
            names = " ".join(one.commit[:8] for one in group[1 : _OTHERS + 1])
            more = f" and {len(group) - 1 - _OTHERS} more" if len(group) - 1 > _OTHERS else ""
            head.append(f"\n{'':{_LABEL}}the same in {names}{more}", style="not bold dim")
        screen.print(head, soft_wrap=True)
        for label, words, style in _lines(version):
            screen.print(_line(label, words, style, width), soft_wrap=True)
        for path in version.sources:
            for line in diff(version, path):
                shown = line.rstrip("\r\n") if screen.is_terminal else line.removesuffix("\n")
                screen.print(Text(shown, style=_diff_style(line)), soft_wrap=True)
        screen.print()


def _line(label: str, words: str, style: str, width: int | None) -> Text:
    """A label and words, wrapped at spaces behind the label where there is a width."""
    parts = [words]
    if width is not None:
        parts = textwrap.wrap(words, max(20, width - _LABEL - 1), break_long_words=False, break_on_hyphens=False) or [
            ""
        ]
    text = Text(f"  {label:<{_LABEL - 2}}", style="dim")
    text.append(f"\n{'':{_LABEL}}".join(parts), style=f"not dim {style}")
    return text


def _lines(version: VersionProposal) -> Iterator[tuple[str, str, str]]:
    """(label, words, style)"""
    if version.problem:
        yield "refused", version.problem, "yellow"
    if version.already:
        yield "", "has the statements already", "dim"
    alone = len({file.today for file in version.files}) == 1
    for file in version.files:
        order = sorted(file.result.placed, key=lambda one: (one.unit, one.kind == "support", one.line))
        for placement in order:
            yield from _placed(file, placement, alone)
    for one in version.refused:
        yield from _refused(one, alone)
    commit = version.commit[:8]
    if any(one.refusal.unsure for one in version.refused):
        yield "", f"take what is unsure with --accept {commit}, or write it in with --edit {commit}", "dim"
    elif any(one.file.original for one in version.refused):
        yield "", f"write it in with --edit {commit}", "dim"


def _placed(file: FileResult, placement: Placement, alone: bool) -> Iterator[tuple[str, str, str]]:
    what = "replaces" if placement.replaces else "adds" if placement.kind == "log" else "with"
    if placement.replaces:
        old = _first(placement.original.decode("utf-8", "replace"))
        yield what, f"{old}  ({file.path} line {placement.at_line})", "red"
        yield "by", f"{_first(placement.text)}{_origin(file, placement, alone)}", "green"
    else:
        yield what, f"{_first(placement.text)}{_origin(file, placement, alone)}", "green"
    yield from _place(placement)


def _origin(file: FileResult, placement: Placement, alone: bool) -> str:
    if placement.kind != "log":
        return ""
    return f"  ({_today(file, file.patch.units[placement.unit].line, alone)})"


def _today(file: FileResult, line: int | None, alone: bool) -> str:
    """Where a statement stands today; `alone`: it goes without saying in which file."""
    if file.path == file.today and alone:
        return f"today's line {line}"
    there = "" if file.path == file.today else f", into {file.path}"
    return f"line {line} of today's {file.today}{there}"


def _place(placement: Placement) -> Iterator[tuple[str, str, str]]:
    """The neighbours with their lines in the version, and the names that the version has for others."""
    yield "after", _neighbour(placement.after_line, placement.after, "the beginning of the block"), ""
    yield "before", _neighbour(placement.before_line, placement.before, "the end of the block"), ""
    if placement.renames:
        yield "renamed", ", ".join(f"{new} -> {old}" for new, old in placement.renames), "cyan"
    if placement.placed_by != "tool":
        yield "placed by", _BY_HAND[placement.placed_by], "magenta"


def _neighbour(line: int | None, text: str | None, nothing: str) -> str:
    if text is None:
        return nothing
    return text if line is None else f"line {line}: {text}"


def _refused(one: Refused, alone: bool) -> Iterator[tuple[str, str, str]]:
    text = _first(one.file.patch.units[one.refusal.unit].text)
    yield "refused", f"{text}  ({_today(one.file, one.line, alone)})", "yellow"
    yield "because", one.reason, "yellow"
    for placement in one.refusal.unsure:
        if placement.kind == "log":
            yield "unsure", _first(placement.text), ""
            yield from _place(placement)


def _first(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] + (" ..." if len(lines) > 1 else "")


def diff(version: VersionProposal, path: str) -> Iterator[str]:
    """The patch of one file of a version, as lines of a unified diff that ``git apply`` takes."""
    before = next((file.original for file in version.files if file.path == path), b"")
    after = version.sources[path]
    commit = version.commit[:8]
    old, new = ([_text(line) for line in data.splitlines(keepends=True)] for data in (before, after))
    for line in difflib.unified_diff(old, new, f"{commit}/{path}", f"{commit}+/{path}"):
        yield line if line.endswith(("\n", "\r")) else line + "\n\\ No newline at end of file\n"


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _diff_style(line: str) -> str:
    if line.startswith(("---", "+++")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")


__all__ = ["alike", "diff", "explain", "title"]
