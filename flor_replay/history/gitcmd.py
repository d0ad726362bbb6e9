"""git, driven through GitPython's command object, so that nothing of the user's is touched or consulted by accident.

`Git(root).execute` rather than `git.Repo`: Repo opens object databases of its own and fails on SHA-256 repositories.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from flor_replay.errors import GitError

# Read by nobody but git itself, these would send our commands to another repository (they are set inside hooks).
_FOREIGN = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CEILING_DIRECTORIES", "GIT_CONFIG_PARAMETERS",
)  # fmt: skip
_QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.splitIndex=false", "-c", "gc.auto=0", "-c", "core.quotePath=false",
          "-c", "advice.addEmbeddedRepo=false", "-c", "core.safecrlf=false", "-c", "commit.gpgSign=false")  # fmt: skip
IDENTITY = {
    "GIT_AUTHOR_NAME": "flor-replay",
    "GIT_AUTHOR_EMAIL": "flor-replay@localhost",
    "GIT_COMMITTER_NAME": "flor-replay",
    "GIT_COMMITTER_EMAIL": "flor-replay@localhost",
}


class GitCommands:
    """git commands in the repository at `root`. Use with ``with``: it ends git's helper processes."""

    def __init__(self, root: str) -> None:
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # a missing git is our message, not an ImportError
        from git.cmd import Git

        self.root = root
        self._git = Git(root)

    def __enter__(self) -> GitCommands:
        return self

    def __exit__(self, *exc: object) -> None:
        self._git.clear_cache()

    def run(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        data: bytes | None = None,
        ok: Sequence[int] = (0,),
    ) -> bytes:
        """Output of ``git <words>``. Raises GitError in git's own words.

        Names that come from users or from repositories go in as `data`, or after ``--``.
        """
        from git.exc import GitCommandNotFound

        command = ["git", *_QUIET, *words]
        options: dict[str, Any] = {
            "env": {"LC_ALL": "C", **(env or {})},
            "as_process": False,
            "stdout_as_string": False,
            "strip_newline_in_stdout": False,
            "with_extended_output": True,
            "with_exceptions": False,
        }
        removed = {name: os.environ.pop(name) for name in _FOREIGN if name in os.environ}
        try:
            with tempfile.TemporaryFile() as stdin:
                if data is not None:
                    stdin.write(data)
                    stdin.seek(0)
                    options["istream"] = stdin
                status, output, errors = self._git.execute(command, **options)
        except GitCommandNotFound:
            raise GitError("git is not installed, or not on PATH: install git to record and replay versions") from None
        finally:
            os.environ.update(removed)
        if status not in ok:
            raise GitError(_explain(str(errors), words, self.root))
        return bytes(output)

    def text(self, *words: str, env: Mapping[str, str] | None = None, data: bytes | None = None) -> str:
        return self.run(*words, env=env, data=data).decode("utf-8", "surrogateescape").strip()

    def try_text(self, *words: str) -> str | None:
        """As `text`; None where git says no."""
        try:
            return self.text(*words)
        except GitError:
            return None

    def paths(self, *words: str, env: Mapping[str, str] | None = None) -> list[str]:
        """A NUL-separated list of paths."""
        output = self.run(*words, env=env)
        return [os.fsdecode(part) for part in output.split(b"\0") if part]


def _explain(errors: str, words: Sequence[str], root: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    first = next((line for line in lines if line.startswith("fatal:")), lines[0] if lines else "")
    if "dubious ownership" in errors:
        return (
            f"git does not trust {root} (it belongs to another user): git config --global --add safe.directory {root}"
        )
    if "not a git repository" in errors:
        return f"{root} is not a git repository"
    return f"git {words[0]} failed in {root}: {first or 'no reason given'}"
