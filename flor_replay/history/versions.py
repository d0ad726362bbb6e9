"""Recorded versions and their files, read from git; patched versions written to it; trees laid out in scratch."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flor_replay.errors import GitError
from flor_replay.history import inputs
from flor_replay.history.committing import Change, commit_changes
from flor_replay.history.gitcmd import GitCommands
from flor_replay.history.submodules import Entry, Submodule, listing, submodules, tracked

PATCHED = "refs/flor/patched/"
_MANY_ENTRIES = 500_000  # of trees, kept in memory
# Files of a laid-out tree are dated before any run, so that a file dated after a run's start is known not to be its version's.
LAID_OUT = 946_684_800  # 2000-01-01


@dataclass
class _Followed:
    """How far a file has been followed: its name in the last version that has it, and what was found in each."""

    name: str
    last: str
    commits: list[str] = field(default_factory=list)
    found: list[tuple[str, bytes] | None] = field(default_factory=list)


def _is_young(path: str) -> bool:
    """Whether a loose ref was written in the last hour; a packed one has no file and was not."""
    try:
        return time.time() - os.stat(path).st_mtime < 3600.0
    except OSError:
        return False


class History:
    """The project's versions. Use with ``with``."""

    def __init__(self, root: str) -> None:
        self._git = GitCommands(root)
        self.top = self._git.text("rev-parse", "--show-toplevel")
        self._files: dict[tuple[str, str], bytes | None] = {}
        self._blobs: dict[str, bytes] = {}
        self._listings: dict[str, list[Entry]] = {}
        self._listed = 0
        self._renamed: dict[tuple[str, str], dict[str, str]] = {}
        self._followed: dict[str, _Followed] = {}

    def __enter__(self) -> History:
        return self

    def __exit__(self, *exc: object) -> None:
        self._git.__exit__()

    def has(self, commit: str) -> bool:
        """Whether the version's commit is (still) in the repository."""
        return self._git.try_text("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}") is not None

    def present(self, commits: Iterable[str]) -> frozenset[str]:
        """Those of the commits that are (still) in the repository, asked all at once."""
        return frozenset(self.trees(commits))

    def trees(self, commits: Iterable[str]) -> dict[str, str]:
        """The tree of each of the commits that is in the repository: what it contains, whoever made it and when."""
        names = [commit for commit in dict.fromkeys(commits) if commit.isalnum()]
        asked = "".join(f"{commit}^{{tree}}\n" for commit in names).encode()
        answers = self._git.run("cat-file", "--batch-check=%(objectname)", data=asked).splitlines() if names else []
        trees = [answer.decode() for answer in answers]
        return {name: tree for name, tree in zip(names, trees, strict=True) if tree.isalnum()}

    def touching(self, paths: Iterable[str]) -> dict[str, float]:
        """Commits of HEAD's history that changed a file among `paths`, followed through renames: commit -> unix seconds."""
        found: dict[str, float] = {}
        if not self.has("HEAD"):
            return found
        for path in paths:
            name = path if self.read("HEAD", path) is not None else self._renamed_today(path) or path
            lines = self._git.text("log", "--format=%H %ct", "--follow", "HEAD", "--", f":(top,literal){name}")
            found.update(
                {commit: float(seconds) for commit, _, seconds in (s.partition(" ") for s in lines.split("\n") if s)}
            )
        return found

    def _read_ahead(self, commits: Sequence[str], path: str) -> None:
        """Read a file in all these versions at once."""
        names = [commit for commit in commits if (commit, path) not in self._files]
        if len(names) < 2 or "\n" in path or not all(commit.isalnum() for commit in names):
            return
        found = self._contents([f"{commit}:{path}" for commit in names])
        self._files.update({(commit, path): data for commit, data in zip(names, found, strict=True)})

    def _contents(self, blobs: Sequence[str]) -> list[bytes | None]:
        """The bytes of all these at once; None for what is no file."""
        asked = "".join(f"{blob}\n" for blob in blobs)
        rest = self._git.run("cat-file", "--batch=%(objecttype) %(objectsize)", data=os.fsencode(asked))
        found: list[bytes | None] = []
        at = 0
        for _ in blobs:
            head = rest[at : rest.index(b"\n", at)]
            at += len(head) + 1
            kind, _, size = head.partition(b" ")
            there = kind in {b"blob", b"tree", b"commit", b"tag"} and size.isdigit()
            found.append(rest[at : at + int(size)] if kind == b"blob" and there else None)
            at += int(size) + 1 if there else 0
        return found

    def read(self, commit: str, path: str) -> bytes | None:
        """A file's bytes in a version; None where it has no such file."""
        key = (commit, path)
        if key not in self._files:
            try:
                self._files[key] = self._git.run("cat-file", "blob", f"{commit}:{path}")
            except GitError:
                self._files[key] = None
        return self._files[key]

    def _listing(self, commit: str) -> list[Entry]:
        """What a version's tree contains. It is kept, until what is kept is much."""
        if commit not in self._listings:
            found = listing(self._git, (), commit)
            self._keep_listing(commit, found)
        return self._listings[commit]

    def _keep_listing(self, commit: str, found: list[Entry]) -> None:
        if self._listed > _MANY_ENTRIES:
            self._listings.clear()
            self._listed = 0
        self._listings[commit] = found
        self._listed += len(found)

    def files(self, commit: str) -> dict[str, str]:
        """All files of a version: path -> mode."""
        return {entry.path: entry.mode for entry in self._listing(commit)}

    def python_sources(self, commit: str) -> dict[str, bytes]:
        """The Python files of a version, those that are not giants. What several versions share is read once."""
        python = [one for one in self._listing(commit) if one.path.endswith(".py") and one.mode.startswith("100")]
        unread = list(dict.fromkeys(entry.blob for entry in python if entry.blob not in self._blobs))
        if unread:
            for blob, data in zip(unread, self._contents(unread), strict=True):
                if data is None:
                    raise GitError(f"git has no {blob}, a file of version {commit[:8]}")
                self._blobs[blob] = data
        sources = {entry.path: self._blobs[entry.blob] for entry in python}
        return {path: data for path, data in sources.items() if len(data) < 1_000_000}

    def followed(self, path: str, commits: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """Today's `path` in each of `commits` (newest first): its name there, followed through renames, and its bytes.

        A version that lacks the file has None and is stepped over. What is known from the last call is not asked again.
        """
        known = self._followed.get(path)
        if known is None or known.commits != list(commits[: len(known.commits)]):
            newest = "HEAD" if self.has("HEAD") else commits[0]
            name = path
            if newest == "HEAD" and self.read("HEAD", path) is None:
                name = self._renamed_today(path) or path
            known = self._followed[path] = _Followed(name, newest)
        self._read_ahead(commits[len(known.commits) :], known.name)
        for number, commit in enumerate(commits[len(known.commits) :], len(known.commits)):
            data = self.read(commit, known.name)
            if data is None:
                older = self._renames(known.last, commit).get(known.name)
                if older is not None:
                    known.name = older
                    self._read_ahead(commits[number:], older)
                    data = self.read(commit, older)
            if data is not None:
                known.last = commit
            known.commits.append(commit)
            known.found.append(None if data is None else (known.name, data))
        return known.found[: len(commits)]

    def _renamed_today(self, path: str) -> str | None:
        """What HEAD calls a file of the working tree that it does not have under this name: moved, not committed yet."""
        gone = self._git.paths("-C", self.top, "diff", "--name-only", "-z", "--no-renames", "--diff-filter=D", "HEAD")
        full = os.path.join(self.top, path)
        if not gone or not os.path.isfile(full):
            return None
        with tempfile.TemporaryDirectory(prefix="flor-index-") as scratch:
            env = {"GIT_INDEX_FILE": os.path.join(scratch, "index")}
            self._git.run("read-tree", "HEAD", env=env)
            with open(full, "rb") as file:
                blob = self._git.run("hash-object", "-w", "--stdin", data=file.read()).decode().strip()
            entries = [f"0 {'0' * len(blob)}\t{name}\0" for name in gone] + [f"100644 {blob}\t{path}\0"]
            self._git.run("update-index", "--add", "-z", "--index-info", env=env, data=os.fsencode("".join(entries)))
            tree = self._git.text("write-tree", env=env)
        return self._renames(tree, "HEAD").get(path)

    def _renames(self, newer: str, older: str) -> dict[str, str]:
        """Files that git takes for renamed: name in the newer version -> name in the older one."""
        key = (newer, older)
        if key not in self._renamed:
            output = self._git.paths(
                "diff", "--name-status", "-z", "--find-renames=40%", "--diff-filter=R", older, newer
            )
            self._renamed[key] = dict(zip(output[2::3], output[1::3], strict=True))
        return self._renamed[key]

    def patched(self, patches: Sequence[tuple[str, Mapping[str, bytes], str]]) -> list[str]:
        """For each (commit, files, message) a commit, child of that one, in which the files have these bytes.

        The same patch is the same commit.
        """
        changes = []
        for commit, files, message in patches:
            modes = {one.path: one.mode for one in self._listing(commit) if one.path in files}
            changes.append(Change(commit, files, modes, message))
        made = commit_changes(self._git, changes)
        self.keep_patched(made)
        for change, commit in zip(changes, made, strict=True):
            # What is known need not be read back.
            names = {path: f"{commit}:{path}" for path in change.files}
            self._blobs.update({name: change.files[path] for path, name in names.items()})
            there = [one._replace(blob=names.get(one.path, one.blob)) for one in self._listing(change.commit)]
            new = [Entry("100644", name, path) for path, name in names.items() if path not in change.modes]
            self._keep_listing(commit, there + new)
        return made

    def keep_patched(self, commits: Sequence[str]) -> None:
        """See that git keeps patched versions."""
        if commits:
            commands = "".join(f"update {PATCHED}{commit} {commit}\n" for commit in dict.fromkeys(commits))
            self._git.run("update-ref", "--stdin", data=commands.encode())

    def patched_refs(self) -> list[str]:
        """The patched versions that are kept and whose refs are older than an hour."""
        folder = os.path.join(self._git.text("rev-parse", "--path-format=absolute", "--git-common-dir"), PATCHED)
        commits = self._git.text("for-each-ref", "--format=%(objectname)", PATCHED).split()
        return [commit for commit in commits if not _is_young(os.path.join(folder, commit))]

    def drop_patched(self, commits: Sequence[str]) -> None:
        """Remove the refs of patched versions; their objects stay until git itself collects them."""
        commands = "".join(f"delete {PATCHED}{commit}\n" for commit in commits)
        self._git.run("update-ref", "--stdin", data=commands.encode())

    def prefix(self, root: str) -> str:
        """What paths of the project at `root` begin with in the repository: empty, or folders with a slash at the end."""
        place = os.path.relpath(os.path.realpath(root), os.path.realpath(self.top)).replace(os.sep, "/")
        return "" if place == "." else place + "/"

    def worktrees(self) -> int:
        """How many working trees the repository has."""
        return sum(
            line.startswith("worktree ") for line in self._git.text("worktree", "list", "--porcelain").splitlines()
        )

    def submodules(self, commit: str, without: Collection[str] = ()) -> list[Submodule]:
        """The submodules of a version whose own commits are at hand; those in `without` were not as their commits say."""
        return submodules(self._git, self.top, self._listing(commit), commit, without)

    def tracked_in(self, submodule: str) -> list[str]:
        """The tracked files of a submodule as the working tree has it, from the repository's top."""
        return tracked(self._git, self.top, submodule)

    def lay_out(self, commit: str, folder: str, inner: Sequence[Submodule] = ()) -> None:
        """Write the version's tree into `folder`, made anew; filters (line ends, LFS) apply as in a checkout.

        `inner`: its submodules that are laid out with it.
        """
        shutil.rmtree(folder, ignore_errors=True)
        self._check_out((), commit, folder, folder)
        for one in inner:
            place = os.path.join(folder, one.path)
            self._check_out(("--git-dir", one.folder, "--work-tree", place), one.commit, place, folder)
        for base, _, names in os.walk(folder):
            for name in names:
                os.utime(os.path.join(base, name), (LAID_OUT, LAID_OUT), follow_symlinks=False)

    def _check_out(self, of: Sequence[str], commit: str, place: str, folder: str) -> None:
        os.makedirs(place, exist_ok=True)
        index = folder.rstrip(os.sep) + ".index"
        env = {"GIT_INDEX_FILE": index}
        try:
            self._git.run(*of, "read-tree", commit, env=env)
            self._git.run(*of, "checkout-index", "--all", "--quiet", f"--prefix={place}{os.sep}", env=env)
        finally:
            if os.path.exists(index):
                os.unlink(index)

    def visible_files(self) -> list[str]:
        """Files of the working tree that git tracks or would track: a version without them must not see them."""
        return self._git.paths("-C", self.top, "ls-files", "-z", "--cached", "--others", "--exclude-standard")

    def inputs_today(self) -> inputs.Today:
        """The ignored files of the working tree, to compare with those that runs found."""
        return inputs.Today(self._git, self.top)

    def ignored(self) -> list[str]:
        """Ignored files and folders of the working tree (a folder that is ignored as a whole ends in "/")."""
        return self._git.paths(
            "-C", self.top, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"
        )
