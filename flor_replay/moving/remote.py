"""Runs on their way to and from a folder or a git remote. Nothing goes anywhere unless it is asked for.

A folder gets an archive a run. A git remote gets, under refs/flor/runs/<run>, a commit with the run's archive, and the versions it ran under
refs/flor/versions/: no branch, no tag, nothing that a clone or a fetch of others would bring along.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from flor_replay.errors import StoreError, UsageError
from flor_replay.history.gitcmd import IDENTITY, GitCommands
from flor_replay.moving import archive, unpack
from flor_replay.store.runs import Run

_RUNS = "refs/flor/runs/"
_VERSIONS = "refs/flor/versions/"
_FILE = "run.zip"
_SUFFIX = ".flor.zip"


def push(root: str, groups: Sequence[Sequence[Run]], remote: str, *, checkpoints: bool, dry_run: bool) -> list[str]:
    """Send runs, each with its replays; returns the ids of those that were not there. Raises UsageError, GitError, StoreError."""
    if _is_folder(root, remote):
        return _push_folder(root, groups, remote, checkpoints, dry_run)
    with GitCommands(root) as git:
        there = _listed(git, remote)
        new = [group for group in groups if group[0].run not in there]
        if dry_run or not new:
            return [group[0].run for group in new]
        specs: list[str] = []
        made: list[str] = []
        with tempfile.TemporaryDirectory(prefix="flor-push-") as scratch:
            for group in new:
                path = os.path.join(scratch, _FILE)
                archive.write(root, group, path, checkpoints=checkpoints, bundle=False)
                made.append(group[0].run)
                specs.append(f"{_commit(git, path, group[0])}:{_RUNS}{group[0].run}")
                commits = {str(c) for run in group for c in (run.commit, run.info.get("patched")) if c}
                have = (c for c in commits if git.try_text("rev-parse", "--verify", "--quiet", f"{c}^{{commit}}"))
                specs += [f"{commit}:{_VERSIONS}{commit}" for commit in have]
        git.run("push", "--quiet", "--no-verify", "--", remote, *dict.fromkeys(specs))
        return made


def pull(root: str, store: str, remote: str, *, trust: bool, dry_run: bool) -> unpack.Unpacked:
    """Take over the runs that are there and not here. Raises UsageError, GitError, StoreError."""
    here = set(os.listdir(os.path.join(store, "runs"))) if os.path.isdir(os.path.join(store, "runs")) else set()
    if _is_folder(root, remote):
        names = sorted(name.removesuffix(_SUFFIX) for name in os.listdir(remote) if name.endswith(_SUFFIX))
        paths = {name: os.path.join(remote, name + _SUFFIX) for name in names if name not in here}
        return _unpacked(root, store, paths, here & set(names), trust, dry_run)
    with GitCommands(root) as git, tempfile.TemporaryDirectory(prefix="flor-pull-") as scratch:
        there = _listed(git, remote)
        new = sorted(there - here)
        if dry_run or not new:
            return unpack.Unpacked(runs=new, known=sorted(there & here))
        refs = [f"+{_RUNS}{run}:refs/flor/received-runs/{run}" for run in new]
        git.run(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", remote, *refs, f"{_VERSIONS}*:{_VERSIONS}*"
        )
        paths = {}
        for run in new:
            paths[run] = os.path.join(scratch, run + _SUFFIX)
            with open(paths[run], "wb") as file:
                file.write(git.run("cat-file", "blob", f"refs/flor/received-runs/{run}:{_FILE}"))
            git.run("update-ref", "-d", f"refs/flor/received-runs/{run}")
        return _unpacked(root, store, paths, there & here, trust, dry_run)


def _is_folder(root: str, remote: str) -> bool:
    """Whether it is a folder for archives. Raises UsageError where it is neither that nor a remote."""
    if remote.startswith("-"):
        raise UsageError(f"{remote!r} is no remote")
    if os.path.isdir(remote):
        with GitCommands(remote) as git:
            bare = git.try_text("rev-parse", "--is-bare-repository") == "true"
        return not bare and not os.path.exists(os.path.join(remote, ".git"))
    with GitCommands(root) as git:
        if git.try_text("remote", "get-url", remote) is not None or ":" in remote:
            return False
    raise UsageError(f"{remote!r} is neither a folder nor a git remote (git remote lists them)")


def _push_folder(
    root: str, groups: Sequence[Sequence[Run]], folder: str, checkpoints: bool, dry_run: bool
) -> list[str]:
    sent = []
    for group in groups:
        path = os.path.join(folder, group[0].run + _SUFFIX)
        if not os.path.exists(path):
            if not dry_run:
                archive.write(root, group, path, checkpoints=checkpoints)
            sent.append(group[0].run)
    return sent


def _unpacked(
    root: str, store: str, paths: dict[str, str], known: set[str], trust: bool, dry_run: bool
) -> unpack.Unpacked:
    found = unpack.Unpacked(known=sorted(known))
    for run, path in paths.items():
        if dry_run:
            found.runs.append(run)
            continue
        try:
            one = unpack.read(root, store, path, trust=trust)
        except StoreError as error:
            found.notes.append(str(error))
            continue
        found.runs += one.runs
        found.replays += one.replays
        found.notes += one.notes
    return found


def _listed(git: GitCommands, remote: str) -> set[str]:
    output = git.text("ls-remote", "--refs", "--quiet", "--", remote, f"{_RUNS}*")
    return {line.split("\t")[1].removeprefix(_RUNS) for line in output.splitlines() if "\t" in line}


def _commit(git: GitCommands, path: str, run: Run) -> str:
    """A commit with the archive as its only file; the same archive is the same commit."""
    blob = git.text("hash-object", "-w", "--", path)
    tree = git.text("mktree", data=f"100644 blob {blob}\t{_FILE}\n".encode())
    date = f"{int(run.seconds_since_epoch)} +0000"
    identity = {**IDENTITY, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    return git.text("commit-tree", tree, "-m", f"run {run.run}", env=identity)
