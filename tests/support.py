"""Real projects for tests: a git repository, scripts run as a user runs them, the installed command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from flor_replay.store.frames import build
from flor_replay.store.runs import Run, all_runs

GIT = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_OPTIONAL_LOCKS": "0",  # looking at the status does not rewrite the index
}
COMMAND = str(Path(sys.executable).parent / "flor-replay")


class Project:
    """A project in a folder of its own."""

    def __init__(self, root: Path, *, repository: bool = True) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        if repository:
            self.git("init", "-q", "-b", "main")

    @property
    def store(self) -> Path:
        return self.root / ".flor"

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.root, env={**os.environ, **GIT}, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else textwrap.dedent(content).encode()
            path.write_bytes(data)

    def commit(self, message: str = "a step", files: Mapping[str, str | bytes] | None = None) -> str:
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def python(
        self,
        *words: str,
        check: bool = True,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run python in the project; `check`: fail with its output when it fails."""
        return self._run([sys.executable, *words], check, cwd, env, timeout)

    def run(self, script: str = "train.py", *words: str, every: bool = True, **options: Any) -> Run:
        """Record a script, with a checkpoint at every restore point (`every`), and return its run."""
        before = {run.run for run in self.runs()}
        env = {**({"FLOR_CHECKPOINTS": "all"} if every else {}), **options.pop("env", {})}
        self.python(script, *words, env=env, **options)
        new = [run for run in self.runs() if run.run not in before]
        assert len(new) == 1, f"{len(new)} runs were recorded"
        return new[0]

    def command(
        self,
        *words: str,
        check: int | None = 0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        timeout: float = 280,
        terminal: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``flor-replay``; `check` is the exit code that is expected, None for any. `terminal`: it has one to read."""
        done = self._run([COMMAND, *words], False, cwd, env, timeout, terminal)
        if check is not None:
            assert done.returncode == check, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def _run(
        self,
        command: list[str],
        check: bool,
        cwd: str,
        env: Mapping[str, str] | None,
        timeout: float,
        terminal: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        ends = os.openpty() if terminal else ()
        done = subprocess.run(
            command,
            cwd=self.root / cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=ends[1] if ends else subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        if check:
            assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def runs(self) -> list[Run]:
        return [run for run in all_runs(str(self.store)) if not run.replay_of]

    def replays(self) -> list[Run]:
        return [run for run in all_runs(str(self.store)) if run.replay_of]

    def dataframe(self, *names: str, **options: Any) -> pd.DataFrame:
        return build(names, str(self.root), **options)

    def values(self, name: str, run: Run | None = None, **options: Any) -> list[Any]:
        """The values of one name of one run (the last), in order."""
        run = run or self.runs()[-1]
        frame = self.dataframe(name, runs=[run.run], **options)
        return [value for value in frame[name].tolist() if not (value is None or value is pd.NA)]

    def state(self) -> dict[str, str]:
        """Digests of all that is the user's: files, HEAD, branch, index, refs outside refs/flor, configuration."""
        found = {}
        for base, folders, files in os.walk(self.root):
            here = os.path.relpath(base, self.root)
            folders[:] = [name for name in folders if not (here == "." and name in (".flor", ".git"))]
            for name in [*files, *folders]:
                path = os.path.join(base, name)
                status = os.lstat(path)
                key = os.path.relpath(path, self.root)
                if os.path.islink(path):
                    found[key] = f"link {os.readlink(path)}"
                elif os.path.isfile(path):
                    with open(path, "rb") as file:
                        digest = hashlib.sha256(file.read()).hexdigest()
                    found[key] = f"{status.st_mode:o} {status.st_mtime_ns} {digest}"
                else:
                    found[key] = f"folder {status.st_mode:o}"
        index = self.root / ".git" / "index"
        found["(index)"] = hashlib.sha256(index.read_bytes()).hexdigest() if index.exists() else "none"
        found["(head)"] = (self.root / ".git" / "HEAD").read_text()
        found["(config)"] = (self.root / ".git" / "config").read_text()
        refs = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        found["(refs)"] = "\n".join(ref for ref in refs if not ref.startswith("refs/flor/"))
        found["(worktrees)"] = self.git("worktree", "list")
        found["(stash)"] = self.git("stash", "list")
        found["(status)"] = self.git("status", "--porcelain")
        return found


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a command printed on stdout."""
    return json.loads(done.stdout)
