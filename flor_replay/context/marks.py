"""The variables by which callers are recognised (`flor_replay.context.callers`). Light: it runs on ``import flor``."""

MARKS = (
    "AIRFLOW_CTX_DAG_ID", "MLFLOW_RUN_ID", "SLURM_JOB_ID", "KFP_POD_NAME", "ARGO_NODE_ID", "TRAINING_JOB_NAME",
    "SM_CURRENT_HOST", "PREFECT__FLOW_RUN_ID", "DVC_STAGE", "GITHUB_RUN_ID", "CI_PIPELINE_ID",
)  # fmt: skip
