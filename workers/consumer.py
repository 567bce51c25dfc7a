"""Celery's consumer with a short retry delay, so that a broker's return is noticed in seconds."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown

logger = logging.getLogger(__name__)

RETRY_INTERVAL = 2.0  # s between two attempts to connect; Celery's grows to half a minute


class Consumer(CeleryConsumer):
    def ensure_connected(self, connection: Any) -> Any:
        """Retry for ever, with a log line for each attempt."""

        def log_retry(error: Exception, interval: float) -> None:
            logger.warning("no broker, next try in %g s: %s", interval, error)

        return connection.ensure_connection(
            log_retry,
            interval_start=RETRY_INTERVAL,
            interval_step=0,
            interval_max=RETRY_INTERVAL,
            callback=maybe_shutdown,
        )
