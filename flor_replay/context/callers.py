"""Who called: what build systems and schedulers say of themselves in the variables that they set.

Pure. One entry of `SYSTEMS` is one system: a variable that only it sets, and where the name of the workflow, of the task and
the id of this execution stand. The variables named here, and no others, enter the store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class System:
    """What one system's variables mean. A tuple of names: the first that is set counts."""

    kind: str
    mark: str  # set by this system and by nothing else
    workflow: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    execution: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


SYSTEMS = (
    System(
        "airflow",
        "AIRFLOW_CTX_DAG_ID",
        ("AIRFLOW_CTX_DAG_ID",),
        ("AIRFLOW_CTX_TASK_ID",),
        ("AIRFLOW_CTX_DAG_RUN_ID",),
        ("AIRFLOW_CTX_EXECUTION_DATE", "AIRFLOW_CTX_LOGICAL_DATE", "AIRFLOW_CTX_TRY_NUMBER", "AIRFLOW_CTX_DAG_OWNER"),
    ),
    System(
        "mlflow",
        "MLFLOW_RUN_ID",
        ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"),
        (),
        ("MLFLOW_RUN_ID",),
        ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_NAME"),
    ),
    System(
        "slurm",
        "SLURM_JOB_ID",
        ("SLURM_JOB_NAME",),
        ("SLURM_ARRAY_TASK_ID", "SLURM_STEP_ID"),
        ("SLURM_JOB_ID",),
        (
            "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_CLUSTER_NAME", "SLURM_JOB_NODELIST",
            "SLURM_JOB_NUM_NODES", "SLURM_JOB_PARTITION", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_PROCID",
            "SLURM_STEP_ID", "SLURM_SUBMIT_DIR", "SLURM_SUBMIT_HOST", "SLURMD_NODENAME",
        ),
    ),
    System(
        "kubeflow",
        "KFP_POD_NAME",
        ("KFP_PIPELINE_NAME", "KFP_RUN_NAME"),
        ("KFP_TASK_NAME", "ARGO_CONTAINER_NAME"),
        ("KFP_RUN_ID", "KFP_POD_NAME"),
        ("KFP_POD_NAME", "KFP_POD_UID", "KFP_NAMESPACE", "ARGO_NODE_ID"),
    ),
    System("kubeflow", "ARGO_NODE_ID", (), ("ARGO_CONTAINER_NAME",), ("ARGO_NODE_ID",), ()),
    System(
        "sagemaker",
        "TRAINING_JOB_NAME",
        (),
        ("TRAINING_JOB_NAME",),
        ("TRAINING_JOB_ARN", "TRAINING_JOB_NAME"),
        ("SM_CURRENT_HOST", "SM_CURRENT_INSTANCE_TYPE", "SM_HOSTS", "SM_NUM_CPUS", "SM_NUM_GPUS", "SM_USER_ENTRY_POINT"),
    ),
    System(
        "sagemaker",
        "SM_CURRENT_HOST",
        (),
        ("SM_USER_ENTRY_POINT",),
        (),
        ("SM_CURRENT_HOST", "SM_CURRENT_INSTANCE_TYPE", "SM_HOSTS", "SM_NUM_CPUS", "SM_NUM_GPUS"),
    ),
    System(
        "prefect",
        "PREFECT__FLOW_RUN_ID",
        ("PREFECT__FLOW_ENTRYPOINT",),
        (),
        ("PREFECT__FLOW_RUN_ID",),
        (),
    ),
    System("dvc", "DVC_STAGE", ("DVC_EXP_NAME",), ("DVC_STAGE",), (), ("DVC_ROOT", "DVC_EXP_BASELINE_REV")),
    System(
        "github-actions",
        "GITHUB_RUN_ID",
        ("GITHUB_WORKFLOW",),
        ("GITHUB_JOB",),
        ("GITHUB_RUN_ID",),
        (
            "GITHUB_ACTOR", "GITHUB_EVENT_NAME", "GITHUB_REF", "GITHUB_REPOSITORY", "GITHUB_RUN_ATTEMPT", "GITHUB_SHA",
            "RUNNER_NAME",
        ),
    ),
    System(
        "gitlab-ci",
        "CI_PIPELINE_ID",
        ("CI_PIPELINE_SOURCE",),
        ("CI_JOB_NAME",),
        ("CI_PIPELINE_ID",),
        ("CI_COMMIT_REF_NAME", "CI_COMMIT_SHA", "CI_JOB_ID", "CI_PROJECT_PATH"),
    ),
)  # fmt: skip
_MAKES = ("make", "gmake", "gnumake")
_SHELLS = ("sh", "bash", "dash", "zsh", "fish", "ksh", "tcsh", "csh", "busybox")


def callers(environ: Mapping[str, str], chain: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Who called this process, nearest first: {"kind", "workflow", "task", "id", "details"}; make also "place" in the chain.

    `chain`: see `flor_replay.context.parents`. A system is as near as the first process above that lacks its variable, for
    that is the one that set it. Where nobody is known it is a shell, or the process above by its name.
    """
    found: list[tuple[float, dict[str, Any]]] = []
    seen = set()
    for system in SYSTEMS:
        if system.kind not in seen and environ.get(system.mark):
            seen.add(system.kind)
            entry = _entry(system, environ)
            if system.kind == "mlflow":
                entry["task"] = _entry_point(chain)
            found.append((_depth(system.mark, chain), entry))
    for place, process in enumerate(chain):
        if place and process["argv"] and _name(process) in _MAKES:
            made: dict[str, Any] = {
                "kind": "make",
                "workflow": process.get("cwd"),
                "task": None,
                "id": str(process["pid"]),
                "details": {},
            }
            found.append((float(place), {**made, "place": place}))
    if not found:
        found.append((1.0, _plain(chain)))
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]


def _depth(mark: str, chain: Sequence[Mapping[str, Any]]) -> float:
    depth = 0
    while depth < len(chain) and (mark in chain[depth]["marks"] or depth == 0):
        depth += 1
    return depth - 0.5


def _entry(system: System, environ: Mapping[str, str]) -> dict[str, Any]:
    def first(names: tuple[str, ...]) -> str | None:
        return next((environ[name] for name in names if environ.get(name)), None)

    details = {name: environ[name] for name in (system.mark, *system.details) if environ.get(name)}
    entry = {
        "kind": system.kind,
        "workflow": first(system.workflow),
        "task": first(system.task),
        "id": first(system.execution),
        "details": details,
    }
    if system.kind == "sagemaker" and entry["task"] is None:
        entry["task"] = _job_of(environ)
    return entry


def _job_of(environ: Mapping[str, str]) -> str | None:
    try:
        name = json.loads(environ.get("SM_TRAINING_ENV", "")).get("job_name")
    except (ValueError, AttributeError):
        return None
    return str(name) if name else None


def _entry_point(chain: Sequence[Mapping[str, Any]]) -> str | None:
    """Of an MLflow Project: what the ``mlflow run`` above was asked for."""
    for process in chain[1:]:
        words = [str(word) for word in process["argv"]]
        if any(word.rpartition("/")[2] == "mlflow" for word in words[:2]) and "run" in words:
            for place, word in enumerate(words[:-1]):
                if word in ("-e", "--entry-point"):
                    return words[place + 1]
            named = [word.partition("=")[2] for word in words if word.startswith("--entry-point=")]
            return named[0] if named else "main"
    return None


def _plain(chain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    name = _name(chain[1]) if len(chain) > 1 and chain[1]["argv"] else None
    kind = "shell" if name in _SHELLS else "process" if name else "unknown"
    return {"kind": kind, "workflow": None, "task": name, "id": None, "details": {}}


def _name(process: Mapping[str, Any]) -> str:
    return str(process["argv"][0]).rpartition("/")[2].lstrip("-")
