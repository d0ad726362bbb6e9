"""The pipeline as an Airflow DAG."""

import os
from datetime import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

with DAG("paper", start_date=datetime(2026, 1, 1), schedule=None):
    prep = BashOperator(task_id="prep", bash_command="python prep.py", cwd=HERE, append_env=True)
    train = BashOperator(task_id="train", bash_command="python train.py --kwargs lr=0.1", cwd=HERE, append_env=True)
    prep >> train
