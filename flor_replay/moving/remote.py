"""Runs on their way to and from a folder or a git remote. Nothing goes anywhere unless it is asked for.

A folder gets an archive a run, and one for each of its replays: those come later. A git remote gets, under refs/flor/runs/<run> and
refs/flor/replays/<replay>, a commit with the archive, and the versions they ran under refs/flor/versions/: no branch, no tag, nothing that a
clone or a fetch of others would bring along.
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
_REPLAYS = "refs/flor/replays/"
_RECEIVED = "refs/flor/received-runs/"
_VERSIONS = "refs/flor/versions/"
_FILE = "run.zip"
_SUFFIX = ".flor.zip"
_REPLAY_SUFFIX = ".replay.flor.zip"
_AT_ONCE = 500  # refs in one push: a command line has an end


def push(root: str, runs: Sequence[Run], remote: str, *, checkpoints: bool, dry_run: bool) -> list[Run]:
    """Send runs and replays; returns those that were not there. Raises UsageError, GitError, StoreError."""
    if _is_folder(root, remote):
        return _push_folder(root, runs, remote, checkpoints, dry_run)
    with GitCommands(root) as git:
        there = _listed(git, remote)
        new = [run for run in runs if _ref(run) not in there]
        if dry_run or not new:
            return new
        specs: dict[str, None] = {}
        commits: dict[str, None] = {}
        with tempfile.TemporaryDirectory(prefix="flor-push-") as scratch:
            for run in new:
                path = os.path.join(scratch, _FILE)
                archive.write(root, [run], path, checkpoints=checkpoints, bundle=False)
                specs[f"{_commit(git, path, run)}:{_ref(run)}"] = None
                commits.update((str(c), None) for c in (run.commit, run.info.get("patched")) if c)
        have = [c for c in commits if git.try_text("rev-parse", "--verify", "--quiet", f"{c}^{{commit}}")]
        every = [*(f"{commit}:{_VERSIONS}{commit}" for commit in have), *specs]  # versions first: runs lean on them
        for first in range(0, len(every), _AT_ONCE):
            git.run("push", "--quiet", "--no-verify", "--", remote, *every[first : first + _AT_ONCE])
        return new


def _ref(run: Run) -> str:
    return (_REPLAYS if run.replay_of else _RUNS) + run.run


def pull(root: str, store: str, remote: str, *, trust: bool, dry_run: bool) -> unpack.Unpacked:
    """Take over the runs that are there and not here. Raises UsageError, GitError, StoreError."""
    here = set(os.listdir(os.path.join(store, "runs"))) if os.path.isdir(os.path.join(store, "runs")) else set()
    if _is_folder(root, remote):
        found = {name: _RUNS + name.removesuffix(_SUFFIX) for name in os.listdir(remote) if name.endswith(_SUFFIX)}
        for name in [name for name in found if name.endswith(_REPLAY_SUFFIX)]:
            found[name] = _REPLAYS + name.removesuffix(_REPLAY_SUFFIX)
        paths = {ref: os.path.join(remote, name) for name, ref in found.items()}
        return _unpacked(root, store, paths, here, trust, dry_run)
    with GitCommands(root) as git, tempfile.TemporaryDirectory(prefix="flor-pull-") as scratch:
        there = _listed(git, remote)
        paths = {ref: os.path.join(scratch, f"{number}{_SUFFIX}") for number, ref in enumerate(sorted(there))}
        new = [ref for ref in paths if _id(ref) not in here]
        if not dry_run and new:
            refs = [f"+{ref}:{_RECEIVED}{_id(ref)}" for ref in new] + [f"{_VERSIONS}*:{_VERSIONS}*"]
            for first in range(0, len(refs), _AT_ONCE):
                some = refs[first : first + _AT_ONCE]
                git.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", remote, *some)
            for ref in new:
                with open(paths[ref], "wb") as file:
                    file.write(git.run("cat-file", "blob", f"{_RECEIVED}{_id(ref)}:{_FILE}"))
                git.run("update-ref", "-d", _RECEIVED + _id(ref))
        return _unpacked(root, store, paths, here, trust, dry_run)


def _id(ref: str) -> str:
    return ref.rpartition("/")[2]


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


def _push_folder(root: str, runs: Sequence[Run], folder: str, checkpoints: bool, dry_run: bool) -> list[Run]:
    sent = []
    for run in runs:
        path = os.path.join(folder, run.run + (_REPLAY_SUFFIX if run.replay_of else _SUFFIX))
        if not os.path.exists(path):
            if not dry_run:
                archive.write(root, [run], path, checkpoints=checkpoints)
            sent.append(run)
    return sent


def _unpacked(
    root: str, store: str, paths: dict[str, str], here: set[str], trust: bool, dry_run: bool
) -> unpack.Unpacked:
    """Take over what is in archives, by ref; those of `here` are not looked at."""
    found = unpack.Unpacked()
    for ref, path in sorted(paths.items(), key=lambda item: (item[0].startswith(_REPLAYS), item)):
        is_replay = ref.startswith(_REPLAYS)
        if _id(ref) in here:
            found.known += [] if is_replay else [_id(ref)]
            continue
        if dry_run:
            (found.replays if is_replay else found.runs).append(_id(ref))
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
    """The refs of runs and replays that a remote has."""
    output = git.text("ls-remote", "--refs", "--quiet", "--", remote, f"{_RUNS}*", f"{_REPLAYS}*")
    return {line.split("\t")[1] for line in output.splitlines() if "\t" in line}


def _commit(git: GitCommands, path: str, run: Run) -> str:
    """A commit with the archive as its only file; the same archive is the same commit."""
    blob = git.text("hash-object", "-w", "--", path)
    tree = git.text("mktree", data=f"100644 blob {blob}\t{_FILE}\n".encode())
    date = f"{int(run.seconds_since_epoch)} +0000"
    identity = {**IDENTITY, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    return git.text("commit-tree", tree, "-m", f"run {run.run}", env=identity)
