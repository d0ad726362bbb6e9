"""The build contexts in a store: one file a process that recorded, which its runs name, and the packages apart.

.flor/contexts/<name>.json             system, callers, parents, repository
.flor/contexts/packages-<digest>.json  package -> version, named by content: environments are shared by many runs
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flor_replay.store import layout

if TYPE_CHECKING:
    from flor_replay.store.runs import Run

_PATIENCE_SECONDS = 2.0  # a context that is being taken is waited for, this long after its run began

# Columns of ``flor.dataframe(…, context=True)`` and of the view ``contexts``, in this order.
COLUMNS = {
    "began": "TIMESTAMP",  # of the run's first record
    "ended": "TIMESTAMP",
    "status": "VARCHAR",
    "caller": "VARCHAR",  # the nearest: make, airflow, mlflow, slurm, …, shell, process
    "workflow": "VARCHAR",  # the makefile's folder, the DAG, the experiment, the job's name
    "task": "VARCHAR",  # the target, the task
    "execution": "VARCHAR",  # the id that the caller gave this execution
    "argv": "VARCHAR",
    "branch": "VARCHAR",
    "commit": "VARCHAR",  # of the version that ran
    "remote": "VARCHAR",
    "host": "VARCHAR",
    "user": "VARCHAR",
    "os": "VARCHAR",
    "python": "VARCHAR",
    "cpu": "VARCHAR",
    "cpus": "BIGINT",
    "memory_bytes": "BIGINT",
    "accelerators": "VARCHAR",
}


def _path(store: str, name: str) -> str:
    return os.path.join(store, "contexts", f"{name}.json")


def keep(store: str, name: str, data: Mapping[str, Any]) -> None:
    """Write one context; its "packages" (name -> version) go into a file of their own."""
    import xxhash

    packages = json.dumps(data["packages"], sort_keys=True, indent=0).encode()
    digest = xxhash.xxh3_128_hexdigest(packages)
    os.makedirs(os.path.join(store, "contexts"), exist_ok=True)
    shared = _path(store, f"packages-{digest}")
    if not os.path.exists(shared):
        layout.replace_bytes(shared, packages)
    layout.replace_json(_path(store, name), {**data, "packages": digest})


def read(store: str, run: Run) -> dict[str, Any]:
    """A run's context; empty where none was taken. One that is being taken is waited for, a moment."""
    name = run.info.get("context")
    if not isinstance(name, str) or not name:
        return {}
    path = _path(store, name)
    while not os.path.exists(path) and time.time() < run.began_seconds + _PATIENCE_SECONDS:
        time.sleep(0.01)
    found = layout.read_json(path)
    return found if isinstance(found, dict) else {}


def packages(store: str, context: Mapping[str, Any]) -> dict[str, str]:
    """Package -> version of a context."""
    found = layout.read_json(_path(store, f"packages-{context.get('packages')}"))
    return found if isinstance(found, dict) else {}


def row(run: Run, context: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `COLUMNS` for one run with this context; None where nothing is known."""
    from datetime import datetime

    system = context.get("system") or {}
    caller = (context.get("callers") or [{}])[0]
    machine = run.info.get("machine") or {}
    ended = run.info.get("ended")
    return {
        "began": datetime.fromtimestamp(run.began_seconds),
        "ended": datetime.fromtimestamp(ended) if ended else None,
        "status": run.status,
        "caller": caller.get("kind"),
        "workflow": caller.get("workflow"),
        "task": caller.get("task"),
        "execution": caller.get("id"),
        "argv": " ".join(map(str, (run.info.get("entry") or {}).get("argv", ()))),
        "branch": run.version.get("branch") or (context.get("repository") or {}).get("branch"),
        "commit": run.commit,
        "remote": (context.get("repository") or {}).get("remote"),
        "host": machine.get("host"),
        "user": system.get("user"),
        "os": system.get("os"),
        "python": machine.get("python"),
        "cpu": system.get("cpu"),
        "cpus": system.get("cpus"),
        "memory_bytes": system.get("memory_bytes"),
        "accelerators": ", ".join(system.get("accelerators") or ()) or None,
    }
