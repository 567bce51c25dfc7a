"""Takes only the id of a shard from a broker's message.

Celery acts on many fields of a message: ids, time limits, callbacks, tags. One wrong field ends the
worker, the message is restored as undelivered, and it ends the next worker. So a worker gets a new
message that is made here, and a message that names no shard goes into quarantine.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from uuid import uuid4

from kombu.transport import virtual

from app.queue.config import RUN_SHARD

HINT_BYTES = 64 * 1024  # a hint takes about a thousand
QUARANTINED = 100  # messages, the newest; of each at most HINT_BYTES
SHARD = re.compile("shd_[0-9a-z]{1,36}")  # no longer than the column that it is looked for in


class NoHint(Exception):
    """A message that names no shard; says why, in a few words."""


def fresh_hint(content: bytes, channel: virtual.Channel, queue: str) -> dict[str, Any]:
    """A new message about the shard that `content` names.

    Raises
    ------
    NoHint
    """
    message: dict[str, Any] = channel.prepare_message(
        json.dumps([[shard_of(content)], {}, {}]),
        content_type="application/json",
        content_encoding="utf-8",
        headers={"task": RUN_SHARD, "id": uuid4().hex},
    )
    channel._inplace_augment_message(message, "", queue)
    return message


def shard_of(content: bytes) -> str:
    """The id of the shard that a message of Celery's, protocol 2, is about.

    Raises
    ------
    NoHint
    """
    if len(content) > HINT_BYTES:
        raise NoHint("it is longer than any hint")
    try:
        message = json.loads(content)
        task = message["headers"]["task"]
        (shard_id,), *_ = json.loads(base64.b64decode(message["body"]))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise NoHint(f"it cannot be read: {type(error).__name__}") from None
    if task != RUN_SHARD:
        raise NoHint("it is about another task")
    if not isinstance(shard_id, str) or not SHARD.fullmatch(shard_id):
        raise NoHint("its argument is no id of a shard")
    return shard_id
