"""Who called: what is recognised in variables and processes, and what is asked of make. Pure, but for make itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from flor_replay.context import confined, make
from flor_replay.context.callers import SYSTEMS, callers
from flor_replay.context.marks import MARKS
from flor_replay.context.secrets import Scrubber, address

MAKE = shutil.which("make") or "make"


def process(*argv: str, marks: tuple[str, ...] = (), **more: str) -> dict[str, Any]:
    return {"pid": 7, "argv": list(argv), "marks": list(marks), **more}


def test_every_system_has_its_mark() -> None:
    assert set(MARKS) == {system.mark for system in SYSTEMS}


# Variables as the systems set them, by their documentation or as printed by real jobs.
ENVIRONMENTS = {
    "airflow": (
        {
            "AIRFLOW_CTX_DAG_ID": "nightly", "AIRFLOW_CTX_TASK_ID": "train", "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-11-27",
            "AIRFLOW_CTX_TRY_NUMBER": "1",
        },
        ("nightly", "train", "scheduled__2026-11-27"),
    ),
    "mlflow": (
        {"MLFLOW_RUN_ID": "a1b2", "MLFLOW_EXPERIMENT_ID": "3", "MLFLOW_TRACKING_URI": "http://u:pw123456@mlflow.example.org"},
        ("3", None, "a1b2"),
    ),
    "slurm": (
        {
            "SLURM_JOB_ID": "812", "SLURM_JOB_NAME": "sweep", "SLURM_ARRAY_JOB_ID": "800", "SLURM_ARRAY_TASK_ID": "12",
            "SLURMD_NODENAME": "node7", "SLURM_NTASKS": "1",
        },
        ("sweep", "12", "812"),
    ),
    "kubeflow": (
        {"KFP_POD_NAME": "fraud-9x2-train-1", "KFP_POD_UID": "u-1", "KFP_RUN_ID": "run-5"},
        (None, None, "run-5"),
    ),
    "sagemaker": (
        {
            "TRAINING_JOB_NAME": "resnet-2026-11", "TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-1:1:training-job/resnet",
            "SM_CURRENT_HOST": "algo-1",
        },
        (None, "resnet-2026-11", "arn:aws:sagemaker:eu-1:1:training-job/resnet"),
    ),
    "prefect": (
        {"PREFECT__FLOW_RUN_ID": "6f", "PREFECT__FLOW_ENTRYPOINT": "flow.py:main", "PREFECT_API_KEY": "pnu_secret"},
        ("flow.py:main", None, "6f"),
    ),
    "dvc": ({"DVC_STAGE": "train", "DVC_ROOT": "/p", "DVC_EXP_NAME": "puffy-lens"}, ("puffy-lens", "train", None)),
    "github-actions": (
        {
            "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "99", "GITHUB_WORKFLOW": "ci", "GITHUB_JOB": "train",
            "GITHUB_TOKEN": "ghs_secret",
        },
        ("ci", "train", "99"),
    ),
    "gitlab-ci": ({"CI_PIPELINE_ID": "4", "CI_JOB_NAME": "train"}, (None, "train", "4")),
}  # fmt: skip


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_systems_are_recognised(kind: str) -> None:
    environ, expected = ENVIRONMENTS[kind]
    (found,) = callers({**environ, "HOME": "/h", "AWS_SECRET_ACCESS_KEY": "x"}, [process("python"), process("bash")])
    assert found["kind"] == kind
    assert (found["workflow"], found["task"], found["id"]) == expected
    kept = str(found)
    assert "secret" not in kept.lower()


def test_nobody_known() -> None:
    assert [c["kind"] for c in callers({}, [process("python"), process("-bash")])] == ["shell"]
    found = callers({}, [process("python"), process("/usr/sbin/cron", "-f")])
    assert [(c["kind"], c["task"]) for c in found] == [("process", "cron")]
    assert [c["kind"] for c in callers({}, [])] == ["unknown"]
    assert [c["kind"] for c in callers({"RANK": "0", "MAKEFLAGS": "w"}, [process("python")])] == ["unknown"]


def test_the_nearest_comes_first() -> None:
    air = ("AIRFLOW_CTX_DAG_ID",)
    inside = [process("python", marks=air), process("make", marks=air), process("bash", marks=air), process("airflow")]
    outside = [process("python", marks=air), process("airflow"), process("make"), process("bash")]
    environ = {"AIRFLOW_CTX_DAG_ID": "d"}
    assert [c["kind"] for c in callers(environ, inside)] == ["make", "airflow"]
    assert [c["kind"] for c in callers(environ, outside)] == ["airflow", "make"]


# -- make ------------------------------------------------------------------------------------------------------------

MAKEFILE = """\
STARTED := $(shell touch evil-shell; echo now)
-include made.mk
PY = python3
prep:
    $(PY) prep.py
train: prep data.csv | out
    -@cd . && \\
      $(PY) train.py --kwargs lr=$(LR) note='a  b'
    +touch evil-plus
    $(MAKE) -C sub all
out-%: ; $(PY) gen.py $* $@
stamped:
    $(PY) stamped.py --at $(STARTED)
twin1 twin2:
    $(PY) twin.py
made.mk:
    touch evil-made made.mk
data.csv out:
    touch $@
.PHONY: prep train
""".replace("\n    ", "\n\t")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if not confined.available():
        pytest.skip("no Landlock: make is not asked")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "Makefile").write_text("all:\n\ttouch evil-sub\n")
    return tmp_path


def ask(folder: Path, argv: list[str], child: list[str], **environ: str) -> dict[str, Any]:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    found = make.ask(process(*argv, exe=os.path.realpath(MAKE), cwd=str(folder)), child, {**os.environ, **environ})
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before  # nothing was run, nothing written
    return found


def test_the_target_is_found_by_its_command(folder: Path) -> None:
    shell = "cd . && \\\n  python3 train.py --kwargs lr=0.1 note='a  b'"
    found = ask(folder, ["make", "-j4", "train", "LR=0.1"], ["/bin/sh", "-c", shell])
    assert found["target"] == "train"
    assert found["prerequisites"] == ["prep", "data.csv"]
    assert found["order_only"] == ["out"]
    assert "train.py --kwargs lr=0.1" in found["recipe"]
    assert (found["makefile"], found["line"], found["goals"]) == ("Makefile", 7, ["train"])
    # a shell that became the program itself
    words = ["python3", "train.py", "--kwargs", "lr=0.1", "note=a  b"]
    assert ask(folder, ["make", "train", "LR=0.1"], words)["target"] == "train"
    assert ask(folder, ["make", "train", "LR=0.1"], ["python3", "prep.py"])["target"] == "prep"
    assert ask(folder, ["make", "out-3"], ["python3", "gen.py", "3", "out-3"])["target"] == "out-3"


def test_variables_that_come_from_above(folder: Path) -> None:
    words = ["python3", "train.py", "--kwargs", "lr=7", "note=a  b"]
    found = ask(folder, ["make", "train"], words, MAKEFLAGS="w --jobserver-auth=3,4 -- LR=7", MAKELEVEL="1")
    assert found["target"] == "train"


def test_what_a_shell_would_say_is_not_asked(folder: Path) -> None:
    found = ask(folder, ["make", "stamped"], ["python3", "stamped.py", "--at", "now"])
    assert found["target"] == "stamped"


def test_no_target_in_doubt(folder: Path) -> None:
    found = ask(folder, ["make", "twin1", "twin2"], ["python3", "twin.py"])
    assert "target" not in found
    assert found["candidates"] == ["twin1", "twin2"]
    assert "target" not in ask(folder, ["make", "train"], ["python3", "other.py"])
    assert "target" not in ask(folder, ["make", "-f", "-", "train"], ["python3", "train.py"])
    assert "target" not in ask(folder, ["make", "nowhere"], ["python3", "train.py"])


def test_command_lines_of_make() -> None:
    read = make.read_arguments(
        [
            "make",
            "-kj",
            "4",
            "-f",
            "a.mk",
            "-fb.mk",
            "--file=c.mk",
            "--makefile",
            "d.mk",
            "-C",
            "x",
            "-I",
            "inc",
            "A=1",
            "-r",
            "--",
            "t",
            "B=2",
        ]
    )
    assert read.goals == ("t", "B=2")
    assert read.files == ("a.mk", "b.mk", "c.mk", "d.mk")
    assert read.words == ("-Iinc", "A=1", "-r")
    assert make.read_arguments(["make", "-j8", "all"]).goals == ("all",)
    assert make.read_arguments(["make", "-j", "all", "-l2.5"]).goals == ("all",)


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_secrets_are_taken_out_of_texts() -> None:
    scrub = Scrubber(
        {"WANDB_API_KEY": "0123456789abcdef", "HOME": "/home/ada", "DB_PASSWORD": "hunter22", "PATH": "/usr/bin"}
    )
    for text in (
        "python train.py --key 0123456789abcdef", "curl -u ada:hunter22 x", "train --password=xyz", "train --api-key 'xyz zyx'",
        "HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz train", "git clone https://ada:tok@example.org/x", "x ghp_" + "a" * 36,
        'curl -H "Authorization: Bearer abcdef123456"', "https://h.org/f?sig=abc%2F&x=1",
    ):  # fmt: skip
        shown = scrub.text(text)
        for secret in ("0123456789abcdef", "hunter22", "xyz", "hf_abc", "tok@", "ghp_", "abcdef123456", "abc%2F"):
            assert secret not in shown, (text, shown)
    for text in (
        "python train.py --kwargs lr=0.1 tokenizer=bpe",
        "make train LR=0.1",
        "git@example.org:ada/x.git",
        "cp a b",
    ):
        assert scrub.text(text) == text
    assert address("https://ada:tok@example.org/x.git") == "https://example.org/x.git"
    assert address("ssh://git@example.org:22/x") == "ssh://example.org:22/x"
