"""What a message must be to be a hint; anything else is put into quarantine, not to a worker."""

from __future__ import annotations

import json
import re
from typing import Any

from kombu.transport import virtual

from app.queue.config import RUN_SHARD

SHARD = re.compile("shd_[0-9a-z]+")


def read_hint(content: bytes, channel: virtual.Channel) -> dict[str, Any]:
    """The message as kombu wants it.

    Raises
    ------
    Exception: it is none of ours. A foreign message can raise anything.
    """
    payload: dict[str, Any] = json.loads(content)
    message = channel.Message(payload, channel)
    arguments, *_ = message.decode()
    if message.headers["task"] != RUN_SHARD or not message.headers["id"]:
        raise ValueError(f"the task is {message.headers['task']!r}")
    (shard_id,) = arguments
    if not SHARD.fullmatch(shard_id):
        raise ValueError(f"the shard is {shard_id!r}")
    return payload
