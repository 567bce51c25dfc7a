"""One Celery configuration for the API, which sends, and for the worker, which receives."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

from app.settings import Settings

RUN_SHARD = "workers.tasks.run_shard"
QUEUE = "shards"

FILES = "foldhouse-files"
TRANSPORT_ALIASES[FILES] = "app.queue.filesystem:Transport"
TRANSPORT_ALIASES |= dict.fromkeys(("redis", "rediss"), "app.queue.redis_server:Transport")

# Redis, in seconds.
WORKER_SOCKET_TIMEOUT = 20.0
SENDER_TIMEOUT = 2.0
HEALTH_CHECK_INTERVAL = 25

# A message is only a hint that a row is queued. So it is acknowledged early, and not awaited or
# retried: the dispatcher sends it again.
COMMON = {
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    "task_ignore_result": True,
    "task_publish_retry": False,
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_prefetch_multiplier": 1,
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "broker_connection_retry_on_startup": True,
    # A Redis that refuses commands, as a replica does or one that is full, ends no worker.
    "broker_channel_error_retry": True,
    "task_default_queue": QUEUE,
    # Through the anonymous exchange a message finds its queue by name: there is no table of
    # bindings in the broker that could be wiped, or read half-written.
    "task_default_exchange": "",
}


def worker_celery(settings: Settings) -> Celery:
    """For the process that receives messages; it waits for an unreachable broker."""
    return _celery(
        settings,
        {
            "socket_timeout": WORKER_SOCKET_TIMEOUT,
            "health_check_interval": HEALTH_CHECK_INTERVAL,
        },
    )


def sender_celery(settings: Settings) -> Celery:
    """For sending hints; an unreachable broker costs two seconds and an error."""
    return _celery(
        settings,
        {
            "socket_timeout": SENDER_TIMEOUT,
            "socket_connect_timeout": SENDER_TIMEOUT,
            "max_retries": 0,
        },
    )


def _celery(settings: Settings, redis_options: dict[str, Any]) -> Celery:
    celery = Celery("foldhouse", set_as_current=False)
    celery.conf.update(COMMON)
    if settings.broker_url:
        celery.conf.broker_url = settings.broker_url
        celery.conf.broker_transport_options = redis_options
    else:
        folder = str(settings.root / "broker")
        celery.conf.broker_url = f"{FILES}://localhost"
        celery.conf.broker_transport_options = {"data_folder_in": folder, "data_folder_out": folder}
    return celery
