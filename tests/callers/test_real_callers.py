"""The pipeline of examples/pipeline under real callers: the same frame each time, with its caller's columns filled.

``make test-callers`` gives the folders of installed tools; a test without its tool is skipped with a line that says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from flor_replay.context import confined
from tests.journeys.journey import wait_until
from tests.support import Project

EXAMPLE = Path(__file__).parents[2] / "examples" / "pipeline"


def tool(variable: str, name: str) -> str:
    """The command `name` in the folder that the variable names."""
    folder = os.environ.get(variable, "")
    path = os.path.join(folder, name)
    if not folder or not os.path.exists(path):
        pytest.skip(f"{variable} names no folder with {name}: make setup-callers makes them")
    return path


@pytest.fixture
def pipeline(project: Project) -> Project:
    shutil.copytree(EXAMPLE, project.root, dirs_exist_ok=True)
    project.commit()
    return project


def run(project: Project, *words: str, env: dict[str, str] | None = None) -> None:
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        list(words),
        cwd=project.root,
        env={**os.environ, "PATH": path, **(env or {})},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def frame_of(project: Project) -> pd.DataFrame:
    frame = project.dataframe("batch_size", context=True)
    assert frame["filename"].tolist() == ["prep.py", "train.py"]
    assert frame["batch_size"].tolist() == [64, 32]
    return frame


def test_make(pipeline: Project) -> None:
    if shutil.which("make") is None or not confined.available():
        pytest.skip("there is no make, or no Landlock to ask it in")
    run(pipeline, "make", "train")
    frame = frame_of(pipeline)
    assert frame["caller"].tolist() == ["make", "make"]
    assert frame["task"].tolist() == ["prep", "train"]


def test_airflow(pipeline: Project, tmp_path: Path) -> None:
    airflow = tool("CALLERS_AIRFLOW", "airflow")
    env = {
        "AIRFLOW_HOME": str(tmp_path / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(pipeline.root / "dags"),
    }  # fmt: skip
    run(pipeline, airflow, "db", "migrate", env=env)
    run(pipeline, airflow, "dags", "test", "paper", env=env)
    frame = frame_of(pipeline)
    assert frame["caller"].tolist() == ["airflow", "airflow"]
    assert frame["workflow"].tolist() == ["paper", "paper"]
    assert frame["task"].tolist() == ["prep", "train"]
    assert frame["execution"].nunique() == 1 and frame["execution"][0].startswith("manual__")


def test_mlflow(pipeline: Project, tmp_path: Path) -> None:
    mlflow = tool("CALLERS_MLFLOW", "mlflow")
    env = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "GIT_PYTHON_REFRESH": "quiet"}
    run(pipeline, mlflow, "run", ".", "-e", "train", "--env-manager", "local", "--experiment-name", "paper", env=env)
    frame = frame_of(pipeline)
    assert frame["caller"].tolist() == ["mlflow", "mlflow"]
    assert frame["task"].tolist() == ["train", "train"]
    code = "import mlflow, sys; print(mlflow.get_run(sys.argv[1]).info.status)"
    python = os.path.join(os.path.dirname(mlflow), "python")
    done = subprocess.run(
        [python, "-c", code, frame["execution"][0]],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "FINISHED"  # the id is one of the tracking store


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Controller and node on this machine; the variables that its commands need."""
    programs = {name: shutil.which(name) or f"/usr/sbin/{name}" for name in ("munged", "slurmctld", "slurmd")}
    if not all(map(os.path.exists, programs.values())) or os.geteuid() != 0:
        pytest.skip("Slurm is not installed (apt-get install slurm-wlm munge), or this is not root")
    for folder in ("state", "spool", "log"):
        (tmp_path / folder).mkdir()
    for folder in (tmp_path, *tmp_path.parents[:3]):
        with suppress(OSError):
            folder.chmod(0o755)  # munged wants no folder above its socket that others could change
    host = socket.gethostname().split(".")[0]
    (tmp_path / "slurm.conf").write_text(f"""\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={tmp_path}/munge.socket
StateSaveLocation={tmp_path}/state
SlurmdSpoolDir={tmp_path}/spool
SlurmctldPidFile={tmp_path}/slurmctld.pid
SlurmdPidFile={tmp_path}/slurmd.pid
SlurmctldLogFile={tmp_path}/log/slurmctld.log
SlurmdLogFile={tmp_path}/log/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
""")
    key = tmp_path / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    env = {**os.environ, "SLURM_CONF": str(tmp_path / "slurm.conf")}
    places = [f"--{name}={tmp_path}/{file}" for name, file in (
        ("key-file", "munge.key"), ("socket", "munge.socket"), ("pid-file", "munge.pid"), ("seed-file", "seed"),
        ("log-file", "log/munge.log"),
    )]  # fmt: skip
    try:
        for command in ([programs["munged"], "--force", *places], [programs["slurmctld"]], [programs["slurmd"]]):
            subprocess.run(command, env=env, check=True, capture_output=True)
        wait_until(lambda: b"idle" in subprocess.run(["sinfo"], env=env, capture_output=True, check=False).stdout)
        yield {"SLURM_CONF": env["SLURM_CONF"]}
    finally:
        for name in ("slurmctld", "slurmd", "munge"):
            with suppress(OSError, ValueError):
                os.kill(int((tmp_path / f"{name}.pid").read_text()), signal.SIGTERM)


@pytest.mark.slow
def test_slurm(project: Project, slurm: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, project.root, dirs_exist_ok=True)
    project.commit()
    run(project, "sbatch", "--wait", "--array=3", f"--output={tmp_path}/job.txt", "job.sh", env=slurm)
    frame = frame_of(project)
    assert frame["caller"].tolist() == ["slurm", "slurm"]
    assert frame["workflow"].tolist() == ["paper", "paper"]
    assert frame["task"].tolist() == ["3", "3"]
