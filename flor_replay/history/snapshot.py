"""The version that a script runs, as a commit under ``refs/flor/``: HEAD, branch, index and status stay as they are.

Run as ``python -m flor_replay.history.snapshot ROOT STORE STARTED RESULT``: writes what it took to RESULT as JSON. STARTED
is when the script started, in nanoseconds.

The tree is made in a copy of the index: tracked changes, deletions, and untracked files that git does not ignore go in. An
untracked file over the limit, and one that is a secret by its name, is left out and told by path, size and digest. The same content on the same HEAD is the same
commit, and a clean tree is HEAD itself.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import sys
import tempfile
from typing import Any

from flor_replay.errors import FlorError
from flor_replay.history import inputs, submodules
from flor_replay.history.gitcmd import IDENTITY, GitCommands
from flor_replay.project import STORE
from flor_replay.store.layout import replace_json

LARGE_BYTES = 10 * 1024 * 1024  # FLOR_MAX_FILE_BYTES: an untracked file over this is not taken
TOTAL_BYTES = 200 * 1024 * 1024  # FLOR_MAX_TOTAL_BYTES: of untracked files over this together the largest are not taken
# Untracked files that are secrets by their name: a replay finds them where they are, a version does not need them.
SECRETS = (
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "id_rsa*",
    "id_ed25519*",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
)
REFS = "refs/flor/versions/"
EXCLUDE = f"/{STORE}/"


def take(root: str, store: str, started_ns: int) -> dict[str, Any]:
    """Take the version of the working tree at `root`, and list in `store` what else a run that started then can read.

    Returns {"commit", "head", "branch", "clean", "large": [{"path", "bytes", "digest"}], "inputs", "submodules_changed",
    "warning"}.
    Raises GitError where git refuses.
    """
    with GitCommands(root) as git:
        top = git.text("rev-parse", "--show-toplevel")
        taker = inputs.Taker(git, top, store, started_ns)
        head = git.try_text("rev-parse", "--verify", "--quiet", "HEAD")
        branch = git.try_text("symbolic-ref", "--quiet", "--short", "HEAD")
        _exclude_store(git, root)
        with tempfile.TemporaryDirectory(prefix="flor-index-") as scratch:
            index = os.path.join(scratch, "index")
            real = os.path.join(root, git.text("rev-parse", "--git-path", "index"))
            if os.path.exists(real):
                # The time stamp goes along: git looks again at files as new as their index ("racily clean").
                shutil.copy2(real, index)
            env = {"GIT_INDEX_FILE": index}
            large = _add_changes(git, env, top, taker)
            unkept = submodules.dirty(git, top)
            tree = git.text("write-tree", env=env)
        clean = head is not None and git.try_text("rev-parse", "--verify", "--quiet", f"{head}^{{tree}}") == tree
        commit = head if clean and head else _commit(git, tree, head)
        git.run("update-ref", REFS + commit, commit)
        listing = taker.keep()
    warning = None
    told = [item for item in large if not _is_secret(item["path"])]
    if told:
        listed = ", ".join(f"{item['path']} ({item['bytes'] / 2**20:.0f} MB)" for item in told[:3])
        more = f" and {len(told) - 3} more" if len(told) > 3 else ""
        warning = (
            f"left out of the version as too large or unreadable: {listed}{more}. Add them to .gitignore or to git"
        )
    if unkept:
        changed = (
            f"{', '.join(unkept[:3])}: a submodule with changes in no commit of its own; replays see it as it is then"
        )
        warning = f"{warning}; {changed}" if warning else changed
    return {
        "commit": commit,
        "head": head,
        "branch": branch,
        "clean": clean,
        "large": large,
        "inputs": listing,
        "submodules_changed": unkept,
        "warning": warning,
    }


def _commit(git: GitCommands, tree: str, head: str | None) -> str:
    """A commit that depends on nothing but its content: no clock, no user, no signature."""
    date = git.text("show", "-s", "--format=%cI", head) if head else "1970-01-01T00:00:00Z"
    env = {**IDENTITY, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    parents = ["-p", head] if head else []
    return git.text("commit-tree", tree, *parents, "-m", "flor: a version as it ran", env=env)


def _add_changes(git: GitCommands, env: dict[str, str], top: str, taker: inputs.Taker) -> list[dict[str, Any]]:
    """Bring the index copy up to the working tree; returns the untracked files left out."""
    limit = int(os.environ.get("FLOR_MAX_FILE_BYTES", LARGE_BYTES))
    left = int(os.environ.get("FLOR_MAX_TOTAL_BYTES", TOTAL_BYTES))
    from_top = {**env, "GIT_PREFIX": ""}
    changed = git.paths("-C", top, "ls-files", "-z", "--modified", "--deleted", env=from_top)
    wanted = list(dict.fromkeys(changed))
    untracked = []
    for path in git.paths("-C", top, "ls-files", "-z", "--others", "--exclude-standard", env=from_top):
        if path.endswith("/") or path.startswith(f"{STORE}/") or f"/{STORE}/" in path:
            continue  # a repository of its own inside this one, or a store
        full = os.path.join(top, path)
        with contextlib.suppress(OSError):
            untracked.append((os.lstat(full).st_size, path))
    large = []
    for size, path in sorted(untracked):  # the smallest first: of too much data the code is still taken
        full = os.path.join(top, path)
        readable = os.path.islink(full) or os.access(full, os.R_OK)
        if size > limit or size > left or not readable or _is_secret(path):
            digest = taker.left_out(path) if readable else None
            large.append({"path": path, "bytes": size, "digest": f"xxh3-128:{digest}" if digest else None})
        else:
            left -= size
            wanted.append(path)
    if wanted:
        data = b"".join(os.fsencode(path) + b"\0" for path in wanted)
        git.run("-C", top, "update-index", "--add", "--remove", "--replace", "-z", "--stdin", env=env, data=data)
    return large


def _is_secret(path: str) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in SECRETS)


def _exclude_store(git: GitCommands, root: str) -> None:
    """List the store in ``.git/info/exclude``; the user's .gitignore is left alone."""
    path = os.path.join(root, git.text("rev-parse", "--git-path", "info/exclude"))
    with contextlib.suppress(OSError):
        text = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        if not any(line.strip() in (EXCLUDE, EXCLUDE.strip("/"), EXCLUDE[1:]) for line in text.splitlines()):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(("" if not text or text.endswith("\n") else "\n") + EXCLUDE + "\n")


def main(root: str, store: str, started_ns: int, result: str) -> int:
    try:
        taken = take(root, store, started_ns)
    except FlorError as error:
        taken = {"error": f"{error}: this run is logged but cannot be replayed"}
    except Exception as error:  # whatever it is, the run must learn of it
        taken = {"error": f"the version could not be taken ({type(error).__name__}: {error})"}
    replace_json(result, taken)
    return 1 if "error" in taken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
