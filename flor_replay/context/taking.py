"""The process beside a script that takes its version and its context: ``python -m flor_replay.context.taking``.

It gets ROOT STORE STARTED VERSION CONTEXT: the project, its store, when the script started in nanoseconds, the file for the
version (empty where there is no repository), the name of the context (empty where none is wanted). On standard input comes,
as JSON, what only the script itself could see: the processes above it. The version goes first, because people edit while
training runs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from flor_replay.context import callers, make, parents, secrets, system
from flor_replay.errors import FlorError
from flor_replay.history import snapshot
from flor_replay.store import contexts, layout

_SHOWN = 4_000  # characters of a recipe


def context(environ: dict[str, str], seen: dict[str, Any]) -> dict[str, Any]:
    """All but the repository. `seen`: {"chain": …} of `parents.chain`, {"pid"} of the script."""
    chain = seen.get("chain") or parents.from_ps(int(seen.get("pid", os.getppid())))
    found = callers.callers(environ, chain)
    for caller in found:
        place = caller.pop("place", None)
        if place is not None:
            caller["details"] = _short(make.ask(chain[place], chain[place - 1]["argv"], environ))
            caller["task"] = caller["details"].get("target")
    scrub = secrets.Scrubber(environ)
    return {
        "format": layout.FORMAT,
        "captured": time.time(),
        "system": system.describe(),
        "callers": scrub.all(found),
        "parents": [os.path.basename(process["argv"][0]) for process in chain[1:] if process["argv"]],
    }


def _short(details: dict[str, Any]) -> dict[str, Any]:
    recipe = details.get("recipe")
    if recipe is not None and len(recipe) > _SHOWN:
        details["recipe"] = recipe[:_SHOWN] + " …"
    return details


def repository(root: str) -> dict[str, Any]:
    """Top, remote (without credentials), branch and HEAD of the repository at `root`; empty where git says nothing."""
    from flor_replay.history.gitcmd import GitCommands

    try:
        with GitCommands(root) as git:
            remotes = git.text("remote").split()
            name = "origin" if "origin" in remotes else remotes[0] if remotes else None
            remote = git.try_text("config", "--get", f"remote.{name}.url") if name else None
            return {
                "top": git.text("rev-parse", "--show-toplevel"),
                "remote": secrets.address(remote) if remote else None,
                "branch": git.try_text("symbolic-ref", "--quiet", "--short", "HEAD"),
                "commit": git.try_text("rev-parse", "--verify", "--quiet", "HEAD"),
            }
    except (FlorError, OSError):
        return {}


def main(root: str, store: str, started_ns: int, version: str, name: str) -> int:
    environ = {key: value for key, value in os.environ.items() if key not in ("FLOR", "PYTHONPATH")}
    try:
        seen = json.loads(sys.stdin.buffer.read() or b"{}")
    except ValueError:
        seen = {}
    taken: dict[str, Any] = {}
    beside = threading.Thread(target=lambda: taken.update(context(environ, seen)))
    if name:
        beside.start()
    code = snapshot.main(root, store, started_ns, version) if version else 0
    if name:
        taken["repository"] = repository(root) if version else {}
        beside.join()
        contexts.keep(store, name, {**taken, "packages": system.packages()})
    _settle(root, store)
    return code


def _settle(root: str, store: str) -> None:
    """What the runs before this one read and made is worked out now, while it is as they left it. Nobody waits for it."""
    if hasattr(os, "fork") and os.fork():
        return
    from flor_replay.lineage import settling
    from flor_replay.store.runs import all_runs

    settling.settle(root, store, all_runs(store))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]))
