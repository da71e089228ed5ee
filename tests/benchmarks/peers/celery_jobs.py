"""The job as Celery has it; its worker and its client load this file."""

from __future__ import annotations

import os

from celery import Celery

URL = os.environ["BENCH_REDIS_URL"]

app = Celery("jobs", broker=URL, backend=URL)
app.conf.worker_hijack_root_logger = False
app.conf.broker_connection_retry_on_startup = True


@app.task
def give_back(text: str) -> str:
    """The job."""
    return text
