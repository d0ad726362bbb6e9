"""Environments as recorded runs had them, built by uv from the registry and kept: ``add-log --env uv``.

Each is named by what is in it, so runs that had the same share one, and it is made once. flor-replay in it is the running one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from flor_replay.context.system import packages as installed_packages
from flor_replay.errors import FlorError, UsageError
from flor_replay.plan.planner import RunPlan
from flor_replay.replay.proposal import Proposal, VersionProposal
from flor_replay.store import contexts
from flor_replay.store.runs import UNRECORDED, Run

OURS = ("flor", "flordb", "flor_replay", "flor_instrument", "flor_checkpoint")
_UNKNOWN = re.compile(r"[Bb]ecause (\S+) was not found in the")
_MANY = 20  # packages that no registry has, before it is given up
# What pip is told of other places to find packages in, uv is told as well.
_PLACES = {
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
}


class UnbuildableError(FlorError):
    """An environment that cannot be built; the message says why in words."""


@dataclass(frozen=True)
class Recorded:
    """What a run had: the Python version, and package -> version without flor-replay."""

    python: str
    packages: Mapping[str, str]

    @property
    def name(self) -> str:
        """The same for the same content."""
        text = json.dumps([self.python, sorted(self.packages.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def described(self) -> str:
        """In words."""
        return f"Python {self.python} with {len(self.packages)} packages"


@dataclass(frozen=True)
class Built:
    """An environment that is there."""

    python: str  # the path of its interpreter
    left_out: tuple[str, ...]  # packages that no registry has


def recorded_of(run: Run, store: str) -> Recorded | None:
    """The environment of a run; None where its build context was not taken."""
    found = contexts.packages(store, contexts.read(store, run))
    python = run.info.get("machine", {}).get("python")
    if not found or not isinstance(python, str):
        return None
    return Recorded(python, _without_ours(found))


def running() -> Recorded:
    """That of this process."""
    return Recorded(platform.python_version(), _without_ours(installed_packages()))


def _without_ours(found: Mapping[str, str]) -> dict[str, str]:
    return {name: version for name, version in found.items() if name not in ("flor-replay", "flordb")}


def folder() -> Path:
    """Where built environments are kept: FLOR_ENVIRONMENTS, or in the user's cache."""
    told = os.environ.get("FLOR_ENVIRONMENTS")
    return (
        Path(told)
        if told
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flor-replay" / "environments"
    )


def tool() -> list[str]:
    """The command that starts uv. Raises UsageError where it is not installed."""
    path = shutil.which("uv") or os.path.join(os.path.dirname(sys.executable), "uv")
    if os.access(path, os.X_OK):
        return [path]
    if util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    raise UsageError("--env uv: uv is not installed (pip install uv)")


def build(wanted: Recorded, say: Callable[[str], None] = lambda _: None) -> Built:
    """The environment, built where it is not there yet. Raises UnbuildableError, and UsageError without uv."""
    place = folder() / wanted.name
    told = place / "flor-replay.json"
    python = str(place / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    if told.exists():
        _link_ours(python)  # flor-replay may stand elsewhere by now
        return Built(python, tuple(json.loads(told.read_text())["left_out"]))
    uv = tool()
    say(f"building {wanted.described} in {place}")
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{wanted.name}-", dir=place.parent))
    try:
        made = str(scratch / os.path.relpath(python, place))
        _interpreter(uv, wanted.python, scratch)
        left_out = _install(uv, made, wanted)
        _link_ours(made)
        (scratch / told.name).write_text(json.dumps({"python": wanted.python, "left_out": left_out}))
        try:
            os.rename(scratch, place)  # whole, or not at all
        except OSError:
            if not told.exists():  # somebody else was first
                raise
    except OSError as error:
        raise UnbuildableError(f"{place} cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Built(python, tuple(left_out))


def give(proposal: Proposal, store: str, *, only_look: bool, say: Callable[[str], None]) -> dict[str, list[Run]]:
    """Let each run that is to be replayed have its own environment, built where it is not there yet.

    A run without one is left out, with the reason. Returns the runs by the interpreter they have now ("" for the running
    one). `only_look`: nothing is built; what would be is told in the proposal.
    """
    groups: dict[str, tuple[Recorded, list[tuple[VersionProposal, Run]]]] = {}
    having: dict[str, list[Run]] = {}
    now = running()
    for version in proposal.to_replay:
        for run in version.runs:
            if run.run not in version.needs:
                continue
            found = recorded_of(run, store)
            if run.status == UNRECORDED or found == now:
                having.setdefault("", []).append(run)
            elif found is None:
                _leave_out(proposal, version, run, "what was installed for it is not known (--env uv)")
            else:
                groups.setdefault(found.name, (found, []))[1].append((version, run))
    for wanted, members in groups.values():
        runs = [run for _, run in members]
        if only_look and not (folder() / wanted.name).exists():
            proposal.since[f"to be built by uv: {wanted.described}"] = runs
            continue
        try:
            built = build(wanted, say)
        except UnbuildableError as problem:
            for version, run in members:
                _leave_out(proposal, version, run, f"its environment cannot be built: {problem}")
            continue
        if built.left_out:
            proposal.since[f"in no registry, so not installed: {', '.join(built.left_out)}"] = runs
        for version, run in members:
            version.pythons[run.run] = built.python
        having.setdefault(built.python, []).extend(runs)
    return having


def _leave_out(proposal: Proposal, version: VersionProposal, run: Run, reason: str) -> None:
    proposal.left_out.append((run, reason))
    version.plans[run.run] = RunPlan(run.run, (), reason)


def _interpreter(uv: Sequence[str], version: str, place: Path) -> None:
    """A virtual environment of this Python; of the same minor version where that very one cannot be had."""
    problem = ""
    here = os.path.realpath(sys.executable)
    for asked in dict.fromkeys(
        [here if version == platform.python_version() else version, version, version.rpartition(".")[0]]
    ):
        done = _run([*uv, "venv", "--quiet", "--clear", "--relocatable", "--python", asked, str(place)])
        if done.returncode == 0:
            return
        problem = problem or _reason(done.stderr)
    raise UnbuildableError(f"there is no Python {version} ({problem})")


def _install(uv: Sequence[str], python: str, wanted: Recorded) -> list[str]:
    """Install what was recorded; returns what no registry has."""
    pins = dict(wanted.packages)
    left_out: list[str] = []
    # What the running flor-replay needs and the run did not have.
    ours = [re.split(r"[\s;<>=!~\[(]", text)[0].lower() for text in metadata.requires("flor-replay") or ()]
    more = [name for name in ours if name not in pins]
    backend: list[str] = []
    while True:
        lines = [f"{name}=={version}" for name, version in pins.items()] + more
        words = [*uv, "pip", "install", "--quiet", "--no-deps", "--python", python, *backend, "-r", "-"]
        done = _run(words, "\n".join(lines))
        if done.returncode == 0:
            return left_out
        missing = [name.partition("==")[0].lower() for name in _UNKNOWN.findall(done.stderr)]
        gone = [name for name in missing if name in pins]
        _, _, tag = pins.get("torch", "").partition("+")
        if gone and len(left_out) + len(gone) <= _MANY:
            left_out += gone
            pins = {name: version for name, version in pins.items() if name not in gone}
        elif tag and not backend:
            backend = ["--torch-backend", tag]  # such builds are in PyTorch's own registry
        else:
            raise UnbuildableError(_reason(done.stderr))


def _link_ours(python: str) -> None:
    """Let an environment import the flor-replay that is running, wherever its packages stand."""
    done = _run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    packages = Path(done.stdout.strip())
    ours = packages / "flor_replay_running"
    shutil.rmtree(ours, ignore_errors=True)
    ours.mkdir(parents=True)
    for name in OURS:
        found = util.find_spec(name)
        if found is not None and found.submodule_search_locations:
            os.symlink(os.path.realpath(found.submodule_search_locations[0]), ours / name)
    (packages / "flor_replay_running.pth").write_text("./flor_replay_running\n")


def _run(words: Sequence[str], given: str | None = None) -> subprocess.CompletedProcess[str]:
    told = {theirs: os.environ[ours] for ours, theirs in _PLACES.items() if ours in os.environ}
    environment = {**told, **os.environ}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        environment.pop(name, None)
    return subprocess.run(words, input=given, capture_output=True, text=True, check=False, env=environment, cwd="/")


def _reason(text: str) -> str:
    """The part of what uv says that says why."""
    lines = [re.sub(r"^\W+(hint: )?", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("No solution found")]
    return " ".join(lines[:2])[:300] or "no reason given"
