"""Submodules of a version: repositories of their own inside the tree, of which it names the commits."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flor_replay.history.gitcmd import GitCommands

GITLINK = "160000"


class Entry(NamedTuple):
    """What a tree has at a path: a file, a symbolic link, or another repository's commit."""

    mode: str
    blob: str
    path: str  # from the top


def listing(git: GitCommands, of: Sequence[str], commit: str) -> list[Entry]:
    """All that a commit's tree contains; `of`: the words that lead git to its repository."""
    found = []
    for entry in git.paths(*of, "ls-tree", "-r", "-z", "--full-tree", commit):
        meta, _, path = entry.partition("\t")
        mode, _, blob = meta.split(" ", 2)
        found.append(Entry(mode, blob, path))
    return found


@dataclass(frozen=True)
class Submodule:
    """A submodule whose commit is at hand."""

    path: str  # from the repository's top, "/" between
    commit: str
    folder: str  # its git directory
    files: frozenset[str] = field(repr=False)  # of the commit, from the repository's top


def submodules(
    git: GitCommands, top: str, entries: Sequence[Entry], commit: str, without: Collection[str] = ()
) -> list[Submodule]:
    """Those of a version whose commits are at hand, without the paths in `without`; inner ones after the outer.

    `entries`: the version's own.
    """
    return list(_below(git, (), top, "", entries, commit, without))


def _below(
    git: GitCommands,
    of: tuple[str, ...],
    top: str,
    prefix: str,
    entries: Sequence[Entry],
    commit: str,
    without: Collection[str],
) -> Iterator[Submodule]:
    """`of`: the words that lead git to the repository whose tree, with these entries, begins at `prefix`."""
    for mode, pointed, path in entries:
        if mode != GITLINK or prefix + path in without:
            continue
        folder = _folder(git, of, top, prefix, path, commit)
        if folder is None or git.try_text("--git-dir", folder, "cat-file", "-e", f"{pointed}^{{commit}}") is None:
            continue
        inner = ("--git-dir", folder)
        below = listing(git, inner, pointed)
        yield Submodule(prefix + path, pointed, folder, frozenset(f"{prefix}{path}/{one.path}" for one in below))
        yield from _below(git, inner, top, f"{prefix}{path}/", below, pointed, without)


def _folder(git: GitCommands, of: tuple[str, ...], top: str, prefix: str, path: str, commit: str) -> str | None:
    """The git directory of the submodule at `path`: where it is checked out, or where git keeps it."""
    full = os.path.join(top, prefix, path)
    if os.path.exists(os.path.join(full, ".git")):
        found = git.try_text("-C", full, "rev-parse", "--absolute-git-dir")
        if found is not None:
            return found
    listed = git.try_text(*of, "config", "--blob", f"{commit}:.gitmodules", "--get-regexp", r"^submodule\..*\.path$")
    for line in (listed or "").splitlines():
        key, _, told = line.partition(" ")
        if told == path:
            name = key.removeprefix("submodule.").removesuffix(".path")
            common = git.text(*of, "rev-parse", "--path-format=absolute", "--git-common-dir")
            kept = os.path.join(common, "modules", name)
            return kept if os.path.isdir(kept) else None
    return None


def dirty(git: GitCommands, top: str) -> list[str]:
    """Submodules of the working tree in which tracked files have changes that are in no commit, or an inner one's have."""
    if not os.path.exists(os.path.join(top, ".gitmodules")):
        return []
    found = []
    for entry in git.paths("-C", top, "status", "--porcelain=v2", "-z", "--ignore-submodules=none", "--no-renames"):
        fields = entry.split(" ", 8)
        if fields[0] == "1" and fields[2].startswith("S") and "M" in fields[2]:
            found.append(fields[8])
    return found


def tracked(git: GitCommands, top: str, path: str) -> list[str]:
    """The tracked files of a submodule in the working tree, from `top`; none where it is not checked out."""
    full = os.path.join(top, path)
    if not os.path.exists(os.path.join(full, ".git")):
        return []
    return [f"{path}/{name}" for name in git.paths("-C", full, "ls-files", "-z", "--cached")]
