"""The Celery task."""

from __future__ import annotations

from celery import Celery

from app.queue.config import RUN_SHARD
from workers.supervisor import Supervisor


def register(celery: Celery, supervisor: Supervisor) -> None:
    """Make the process's Celery application run what hints tell of."""

    @celery.task(name=RUN_SHARD)
    def run_shard(shard_id: str) -> None:
        supervisor.run(shard_id)
