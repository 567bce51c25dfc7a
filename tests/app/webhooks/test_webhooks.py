"""Webhooks over HTTP, and which addresses they may have."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import resources_of, serving
from jobs_in_database import claim, submit
from sqlalchemy import func, select
from sweeps_in_database import found, record, submit_sweep

from app.jobs import lifecycle
from app.settings import Settings
from app.storage.tables import WebhookDelivery
from app.webhooks import service
from app.webhooks.addresses import is_public
from app.webhooks.schemas import WebhookMessage

URL = "https://hooks.example/foldhouse"


def create(client: TestClient, status: int = 201, key: str = "", **body: Any) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    answer = client.post("/v1/webhooks", json={"url": URL, **body}, headers=headers)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_secret_is_shown_once(client: TestClient) -> None:
    made = create(client, events=["job.failed", "job.failed"], key="mine")
    assert made["secret"].startswith("whsec_")
    assert len(made["secret"]) == len("whsec_") + 44
    assert made["events"] == ["job.failed"]
    assert (made["delivered_at"], made["error"]) == (None, None)
    assert create(client, events=["job.failed", "job.failed"], key="mine") == made
    other = create(client)
    ends = ("cancelled", "failed", "succeeded")
    assert other["events"] == [f"{noun}.{end}" for noun in ("job", "sweep") for end in ends]
    assert other["secret"] != made["secret"]

    del made["secret"], other["secret"]
    assert client.get("/v1/webhooks").json() == {"data": [made, other]}
    assert client.get(f"/v1/webhooks/{made['id']}").json() == made
    assert client.get("/v1/webhooks/latest").json() == other
    assert client.delete(f"/v1/webhooks/{made['id']}").status_code == 204
    assert client.get(f"/v1/webhooks/{made['id']}").status_code == 404


def test_a_deleted_webhook_takes_its_messages_along(client: TestClient) -> None:
    webhook = create(client)
    database = resources_of(client).database
    shard = submit(database)
    fence = claim(database, shard).fence
    with database.writing() as session:
        assert lifecycle.fail(session, fence, "no")
    count = select(func.count()).select_from(WebhookDelivery)
    with database.reading() as session:
        assert session.scalar(count) == 1
    assert client.delete(f"/v1/webhooks/{webhook['id']}").status_code == 204
    with database.reading() as session:
        assert session.scalar(count) == 0


def test_a_sweep_has_messages_of_its_own(client: TestClient) -> None:
    create(client, events=["job.failed"])
    wanting = create(client, events=["sweep.failed"])
    database = resources_of(client).database
    [shard] = submit_sweep(database, [[0]])
    assert record(database, claim(database, shard).fence, [found(0, error="it diverged")])
    with database.reading() as session:
        message = session.scalars(select(WebhookDelivery)).one()
    assert message.webhook_id == wanting["id"]
    told = WebhookMessage.model_validate(message.payload)
    assert (told.type, told.data.id) == ("sweep.failed", shard.job_id)
    assert told.data.error is not None
    assert "it diverged" in told.data.error.detail


def test_a_tenant_has_a_few(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST_WEBHOOKS", 1)
    create(client)
    assert "Delete one first" in create(client, status=409)["detail"]


REFUSED = {
    "ftp://hooks.example/": "must begin with https:// or http://",
    "hooks.example": "must begin with",
    "https://": "name a host",
    "https://me:secret@hooks.example/": "neither a user",
    "https://hooks.example/#part": "nor a fragment",
    "https://hooks.example:99999/": "must have a port up to 65535",
    "https://hooks.example:x/": "is not an address",
    "http://127.0.0.1:8000/": "127.0.0.1 is not a public address",
    "http://[::1]/": "::1 is not a public address",
    "http://[::ffff:10.0.0.1]/": "is not a public address",
    "http://localhost/": "localhost is this machine",
}


@pytest.mark.parametrize(("url", "reason"), REFUSED.items())
def test_addresses_that_are_refused_at_once(client: TestClient, url: str, reason: str) -> None:
    [fault] = create(client, status=422, url=url)["errors"]
    assert fault["pointer"] == "/url"
    assert reason in fault["detail"]


@pytest.mark.parametrize("body", [{"events": []}, {"events": ["job.begun"]}, {"secret": "mine"}])
def test_bodies_that_are_refused(client: TestClient, body: dict[str, Any]) -> None:
    create(client, status=422, **body)


def test_private_addresses_can_be_allowed(settings: Settings) -> None:
    with serving(settings.model_copy(update={"webhook_allow_private": True})) as client:
        create(client, url="http://127.0.0.1:8000/")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("10.1.2.3", False), ("127.0.0.1", False), ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("2001:4860:4860::8888", True), ("::1", False), ("fe80::1", False), ("fc00::1", False),
        ("ff0e::1", False), ("::ffff:8.8.8.8", True), ("::ffff:10.0.0.1", False),
        ("64:ff9b::808:808", True), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
    ],
)  # fmt: skip
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) == public
