"""One file of one repository: its cases, put to every contestant."""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.propagation.cases import Case, cases
from benchmarks.propagation.contestants import Contestant, Failed, FlorDB, merge_file, ours
from benchmarks.propagation.history import versions
from benchmarks.propagation.verdicts import verdict

LIST = Path(__file__).with_name("repositories.toml")


@dataclass(frozen=True)
class Job:
    repository: str
    path: Path
    file: str
    split: str


@dataclass(frozen=True)
class Answered:
    """`said` is the reason of a refusal, what was placed, or the error."""

    verdict: str
    milliseconds: float
    said: str


@dataclass(frozen=True)
class Outcome:
    """One case with everybody's verdict."""

    name: str
    positive: bool
    hard: tuple[str, ...]
    arguable: bool
    distance: int
    lines: int  # of the older version
    verdicts: dict[str, Answered]

    def as_data(self) -> dict[str, object]:
        data = asdict(self)
        data["verdicts"] = {
            who: {"verdict": one.verdict, "ms": round(one.milliseconds, 2)} for who, one in self.verdicts.items()
        }
        return data


@dataclass(frozen=True)
class Sample:
    """Which cases a slow contestant is asked about: every n-th, of files that are no longer than this."""

    share: float
    lines: int


def jobs_of_set(split: str, mirrors: Path) -> tuple[list[Job], list[str]]:
    """The files of one set, and the repositories that `mirrors` has not."""
    jobs: list[Job] = []
    missing: list[str] = []
    for entry in tomllib.loads(LIST.read_text())["repository"]:
        if entry["split"] != split:
            continue
        path = mirrors / entry["name"]
        if not path.exists():
            missing.append(entry["name"])
            continue
        jobs += [Job(entry["name"], path, file, split) for file in entry["files"]]
    return jobs, missing


Asked = tuple[Job, int, int, int, bool, Path | None, Sample, str | None]


def measured(asked: Asked) -> list[Outcome]:
    """`measure` for a pool of processes."""
    return measure(*asked)


def measure(
    job: Job,
    positives: int,
    negatives: int,
    seed: int,
    peers: bool,
    flordb: Path | None,
    sample: Sample,
    only: str | None = None,
) -> list[Outcome]:
    """The outcomes of the file's cases. FlorDB is asked about a sample of them."""
    try:
        history = versions(job.path, job.file)
    except subprocess.CalledProcessError as error:  # which does not travel between processes
        raise RuntimeError(
            f"git cannot read {job.file} in {job.path}: {error.stderr.decode(errors='replace')}"
        ) from None
    incumbent = FlorDB(flordb) if flordb is not None else None
    every = max(1, round(1 / sample.share)) if sample.share > 0 else 0
    out: list[Outcome] = []
    for number, case in enumerate(cases(history, f"{job.repository}:{job.file}", positives, negatives, seed)):
        if only and only not in case.name:
            continue
        asked: dict[str, Contestant] = {"ours": ours}
        if peers:
            asked["git merge-file"] = merge_file
        short = max(case.today.count(b"\n"), case.target.count(b"\n")) < sample.lines
        if incumbent is not None and every and number % every == 0 and short:
            asked["FlorDB 4.0.1"] = incumbent
        verdicts = {who: _answer(contestant, case) for who, contestant in asked.items()}
        lines = case.target.count(b"\n") + 1
        out.append(Outcome(case.name, case.positive, case.hard, case.arguable, case.distance, lines, verdicts))
    if incumbent is not None:
        incumbent.close()
    return out


def _answer(contestant: Contestant, case: Case) -> Answered:
    try:
        result, spent, said = contestant(case)
    except Failed as failed:
        return Answered("error", 0.0, str(failed))
    except Exception as error:  # an error is a result here
        return Answered("error", 0.0, repr(error))
    return Answered(verdict(result, case.target, case.truth, case.positive), spent, said)
