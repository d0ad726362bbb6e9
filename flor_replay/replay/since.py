"""What is different today from when a run was recorded, and what that means for trusting its replay."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flor_replay.errors import UsageError
from flor_replay.history import inputs
from flor_replay.history.versions import History
from flor_replay.record.entry import PACKAGES
from flor_replay.store.runs import Run

_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
# Asked of the interpreter that will replay.
_QUESTION = """
import json, platform, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
try:
    import flor_replay.replay.worker
    problem = None
except ImportError as error:
    problem = str(error)
print(json.dumps({"python": platform.python_version(), "packages": found, "problem": problem}))
"""


@dataclass(frozen=True)
class Installed:
    """The interpreter that replays, and what is installed for it."""

    python: str
    packages: Mapping[str, str]


def installed(python: str | None) -> Installed:
    """Of the interpreter at `python`; None for the running one. Raises UsageError where it cannot run workers."""
    names = [_DISTRIBUTIONS.get(name, name) for name in PACKAGES]
    if python is None:
        import platform
        from importlib import metadata

        versions = {}
        for name in names:
            try:
                versions[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return Installed(platform.python_version(), versions)
    try:
        done = subprocess.run([python, "-c", _QUESTION, *names], capture_output=True, text=True, check=False, cwd="/")
        told = json.loads(done.stdout)
    except (OSError, ValueError) as error:
        raise UsageError(f"--python {python}: it does not run ({error})") from None
    if told["problem"]:
        raise UsageError(f"--python {python}: flor-replay is not installed for it ({told['problem']})")
    return Installed(told["python"], told["packages"])


def differences(runs: Sequence[Run], now: Installed, history: History, store: str) -> dict[str, list[Run]]:
    """Sentences, each with the runs that it is true of."""
    found: dict[str, list[Run]] = {}
    today = history.inputs_today()
    for run in runs:
        for sentence in (*_of_interpreter(run, now), *_of_inputs(run, today, store)):
            found.setdefault(sentence, []).append(run)
    return found


def _of_interpreter(run: Run, now: Installed) -> list[str]:
    told = []
    python = str(run.info.get("machine", {}).get("python", now.python))
    if python != now.python:
        told.append(
            f"Python {python} is {now.python} now: values may differ, and are compared (--python PATH takes another)"
        )
    for name, version in run.info.get("packages", {}).items():
        today = now.packages.get(_DISTRIBUTIONS.get(name, name))
        if today is None:
            told.append(f"{name} {version} is not installed: the script will fail where it needs it")
        elif today != version:
            told.append(f"{name} {version} is {today} now: values may differ in the last bits, and are compared")
    device = run.info.get("compute", {}).get("device")
    if device is not None:
        told.append(f"it ran on {device}: on another device values are close at best")
    if str(run.info.get("machine", {}).get("platform", sys.platform)) != sys.platform:
        told.append(
            f"it ran on {run.info['machine']['platform']}: values may differ in the last bits, and are compared"
        )
    return told


def _of_inputs(run: Run, today: inputs.Today, store: str) -> list[str]:
    listing = inputs.read(store, run.version.get("inputs"))
    if listing is None:
        return []
    changes = today.changes(listing)
    told = []
    for paths, what in (
        (sorted(changes.changed), "a replay that reads such a file does not count as exact"),
        (sorted(changes.grown), "whole replays see them as they were, others give up when they read one"),
    ):
        if paths:
            verb = "changed" if "exact" in what else "grown"
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            told.append(f"ignored files have {verb}: {', '.join(paths[:3])}{more}; {what}")
    return told
