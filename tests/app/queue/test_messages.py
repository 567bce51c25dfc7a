"""Whatever a message says, a worker gets one that was made here."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hostile_messages import UNREADABLE, encoded, hint, hostile_messages
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu import Connection
from kombu.transport.virtual import Channel

from app.queue.config import QUEUE, RUN_SHARD
from app.queue.messages import HINT_BYTES, NoHint, fresh_hint, shard_of

SHARD = "shd_01jdxk3v5w8z9y7t6r5q4p3n2m"

CHANNEL: Channel = Connection("memory://").channel()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def assert_is_ours(message: dict[str, Any]) -> None:
    """Every field is one that this program wrote."""
    id_, tag = message["headers"].pop("id"), message["properties"].pop("delivery_tag")
    assert isinstance(id_, str)
    assert isinstance(tag, str)
    assert json.loads(base64.b64decode(message.pop("body"))) == [[SHARD], {}, {}]
    assert message == {
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": RUN_SHARD},
        "properties": {
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "priority": 0,
        },
    }


def look(content: bytes) -> bool:
    """Whether it names the shard; then what is handed on is ours in every field."""
    try:
        message = fresh_hint(content, CHANNEL, QUEUE)
    except NoHint:
        return False
    assert_is_ours(message)
    return True


def test_a_hint_is_made_anew() -> None:
    first, second = (fresh_hint(encoded(hint(SHARD)), CHANNEL, QUEUE) for _ in range(2))
    assert first["properties"]["delivery_tag"] != second["properties"]["delivery_tag"]
    assert first["headers"]["id"] != second["headers"]["id"]
    assert_is_ours(first)


def test_messages_that_lie() -> None:
    named = [look(content) for content in hostile_messages(3_000, SHARD)]
    # Most lie about what is not read; a good part is unreadable, or about another task.
    assert 1_000 < sum(named) < 2_500


@settings(max_examples=50)
@given(headers=JSON, properties=JSON, body=JSON, extra=st.dictionaries(st.text(), JSON))
def test_any_json_in_any_place(headers: Any, properties: Any, body: Any, extra: Any) -> None:
    content = json.dumps({**extra, "headers": headers, "properties": properties, "body": body})
    assert not look(content.encode())
    kept = {**hint(SHARD), **{key: extra[key] for key in extra if key not in hint(SHARD)}}
    kept["properties"] = properties
    kept["headers"] |= headers if isinstance(headers, dict) else {}
    assert look(encoded(kept)) == (kept["headers"]["task"] == RUN_SHARD)


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    assert not look(content)


@pytest.mark.parametrize("content", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_cannot_be_read(content: bytes) -> None:
    with pytest.raises(NoHint, match="it "):
        shard_of(content)


@pytest.mark.parametrize(
    "shard",
    ["", "shd_", "job_1", "shd_1\n", "shd_1/../x", "SHD_1", "shd_" + "0" * 37, None, 5, ["shd_1"]],
)
def test_ids_that_are_none(shard: Any) -> None:
    with pytest.raises(NoHint, match="no id of a shard"):
        shard_of(encoded(hint(shard)))


def test_what_is_longer_than_a_hint_is_not_parsed() -> None:
    with pytest.raises(NoHint, match="longer"):
        shard_of(encoded(hint(SHARD)).ljust(HINT_BYTES + 1))
