"""Messages that lie: a hint with some of its fields replaced, left out or written another way."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from app.queue.config import QUEUE, RUN_SHARD

# What stands where Celery expects something else.
JUNK: list[Any] = [
    None,
    True,
    0,
    5,
    -1,
    1e308,
    10**400,
    float("nan"),
    "",
    "x",
    "\x00",
    "\ud800",
    "9999-12-31T23:59:59",
    "shd_" + "0" * 300,
    [],
    [1, [2, [3]]],
    ["a"] * 50,
    {},
    {"task": ["no"], "args": {}, "chord_size": 1},
    {"__type__": "datetime", "__value__": "never"},
]

HEADERS = (
    "id task timelimit eta expires retries root_id parent_id group shadow stamps "
    "stamped_headers ignore_result argsrepr lang replaced_task_nesting meth"
).split()
PROPERTIES = (
    "delivery_tag body_encoding delivery_info priority reply_to correlation_id delivery_mode"
).split()
EMBEDDED = ["callbacks", "errbacks", "chain", "chord"]
TOP = ["body", "content-type", "content-encoding", "headers", "properties"]

UNREADABLE = [
    b"",
    b"null",
    b"[1, 2]",
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b"[" * 60_000,
    b'{"body": "W1sic2hk',
    b'{"headers": ' * 5_000,
    b"9" * 60_000,
    b"x" * 100_000,
]


def hint(shard_id: str) -> dict[str, Any]:
    """A message as Celery sends it, its body not encoded yet."""
    return {
        "body": [[shard_id], {}, dict.fromkeys(EMBEDDED)],
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": RUN_SHARD, "id": "1", "retries": 0},
        "properties": {
            "delivery_tag": "1",
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "priority": 0,
        },
    }


def encoded(message: dict[str, Any]) -> bytes:
    body = message.get("body")
    if isinstance(body, list):
        message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    return json.dumps(message).encode()


def hostile_messages(count: int, shard_id: str, seed: int = 0) -> Iterator[bytes]:
    """Of each kind some; those that still name the shard are about it."""
    chance = random.Random(seed)
    for number in range(count):
        if number % 10 == 0:
            yield chance.choice(UNREADABLE)
            continue
        message = hint(shard_id)
        embedded = message["body"][2]
        for _ in range(chance.randint(1, 4)):
            place, name = chance.choice(
                [
                    (message["headers"], chance.choice(HEADERS)),
                    (message["properties"], chance.choice(PROPERTIES)),
                    (embedded, chance.choice(EMBEDDED)),
                    (message, chance.choice(TOP)),
                ]
            )
            if not isinstance(place, dict):
                continue
            if chance.random() < 0.2:
                place.pop(name, None)
            else:
                place[name] = copy.deepcopy(chance.choice(JUNK))
            # What was replaced may have been one of the places.
            message.setdefault("headers", {})
            message.setdefault("properties", {})
        yield encoded(message)
