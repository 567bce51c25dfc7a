"""Messages to webhooks, sent to a receiver on this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from jobs_in_database import claim, request_cancel, submit
from prometheus_client import CollectorRegistry, Counter, generate_latest
from scraping import samples
from sqlalchemy import select, update

from app.ids import new_id
from app.jobs import lifecycle
from app.storage.database import Database, database_now
from app.storage.tables import LOCAL_TENANT, Webhook, WebhookDelivery
from app.webhooks import outbox, sending
from workers.deliveries import Deliveries

RESULT = {"metrics": {"rmse": 1.0}, "folds": []}
SECRET = sending.new_secret()
Message = tuple[dict[str, str], bytes]


@dataclass
class Receiver:
    """Answers with the statuses in turn, then with 204."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    got: list[Message] = field(default_factory=list)
    silent: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    known, over = Receiver(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            known.got.append((headers, self.rfile.read(int(headers["content-length"]))))
            if known.silent:
                over.wait()
            self.send_response(known.statuses.pop(0) if known.statuses else 204)
            self.send_header("Location", known.url + "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield known
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def add_webhook(database: Database, url: str, *events: str, tenant: str = LOCAL_TENANT) -> str:
    webhook = Webhook(
        id=new_id("whk"),
        tenant=tenant,
        url=url,
        events=list(events or ("job.succeeded", "job.failed", "job.cancelled")),
        secret=SECRET,
    )
    with database.writing() as session:
        session.add(webhook)
    return webhook.id


def webhook_of(database: Database, webhook_id: str) -> Webhook:
    with database.reading() as session:
        return session.get_one(Webhook, webhook_id)


def fail_a_job(database: Database) -> str:
    shard = submit(database)
    fence = claim(database, shard).fence
    with database.writing() as session:
        assert lifecycle.fail(session, fence, "The loss is not finite.")
    return shard.job_id


def waiting(database: Database) -> list[WebhookDelivery]:
    with database.reading() as session:
        return list(session.scalars(select(WebhookDelivery)))


def let_time_pass(database: Database) -> None:
    with database.writing() as session:
        session.execute(update(WebhookDelivery).values(due_at=database_now()))


def send(database: Database, *, allow_private: bool = True) -> dict[tuple[str, ...], float]:
    """Send what is due; returns how often, by outcome."""
    registry = CollectorRegistry()
    sent = Counter("sent", "Attempts.", ["outcome"], registry=registry)
    Deliveries(database, sent, allow_private=allow_private).send_due()
    return samples(generate_latest(registry).decode(), "sent_total")


def test_a_message_is_signed_and_sent_again_until_it_arrives(
    database: Database, receiver: Receiver
) -> None:
    webhook_id = add_webhook(database, receiver.url)
    add_webhook(database, receiver.url, "job.failed", "job.cancelled")
    add_webhook(database, receiver.url, tenant="other")
    shard = submit(database)
    fence = claim(database, shard).fence
    with database.writing() as session:
        model_id = lifecycle.succeed(session, fence, RESULT, {})

    receiver.statuses = [500, 307]
    for error in ("the answer was 500", "the answer was 307"):
        assert send(database) == {("failed",): 1}
        assert send(database) == {}  # is not due yet
        webhook = webhook_of(database, webhook_id)
        assert (webhook.error, webhook.delivered_at) == (error, None)
        let_time_pass(database)
    assert send(database) == {("delivered",): 1}
    webhook = webhook_of(database, webhook_id)
    assert webhook.error is None
    assert webhook.delivered_at is not None
    assert waiting(database) == []

    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    headers, body = receiver.got[-1]
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    own = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{own}"
    message = json.loads(body)
    assert message["type"] == "job.succeeded"
    assert message["data"] == {
        "id": shard.job_id, "name": None, "status": "succeeded", "target": "SalePrice",
        "dataset_id": message["data"]["dataset_id"], "model_id": model_id,
        "metrics": {"rmse": 1.0}, "error": None,
    }  # fmt: skip


def test_a_signature_of_the_standard() -> None:
    """https://github.com/standard-webhooks/standard-webhooks, the tests of its libraries."""
    secret, message_id = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    signature = sending.signature(secret, message_id, 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_failed_and_cancelled_jobs_are_told_to_who_asked(
    database: Database, receiver: Receiver
) -> None:
    add_webhook(database, receiver.url, "job.failed")
    request_cancel(database, submit(database))
    job_id = fail_a_job(database)
    send(database)
    [(_, body)] = receiver.got
    data = json.loads(body)["data"]
    assert (data["id"], data["status"], data["model_id"]) == (job_id, "failed", None)
    assert data["error"]["detail"] == "The loss is not finite."


def test_a_worker_that_is_killed_loses_no_message(database: Database, receiver: Receiver) -> None:
    add_webhook(database, receiver.url)
    fail_a_job(database)
    with database.writing() as session:
        [lost] = outbox.claim(session, 8)  # and then its worker dies
    send(database)
    assert receiver.got == []
    let_time_pass(database)
    send(database)
    [(headers, _)] = receiver.got
    assert headers["webhook-id"] == lost.delivery_id
    with database.writing() as session:
        outbox.record(session, lost, "too late")  # it was only frozen
    assert waiting(database) == []


def test_a_receiver_that_fails_does_not_keep_others_waiting(
    database: Database, receiver: Receiver
) -> None:
    add_webhook(database, "https://no-such-host.invalid/")
    for _ in range(5):
        fail_a_job(database)
    add_webhook(database, receiver.url)
    job_id = fail_a_job(database)
    with database.writing() as session:
        claimed = outbox.claim(session, 8)
    assert len({attempt.url for attempt in claimed}) == len(claimed) == 2
    let_time_pass(database)
    send(database)  # one of six fails, and the others of its webhook wait
    attempts = [delivery.attempt for delivery in waiting(database)]
    assert (len(attempts), sum(attempts)) == (6, 1 + 1)
    [(_, body)] = receiver.got
    assert json.loads(body)["data"]["id"] == job_id


def test_a_message_is_dropped_after_the_last_attempt(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    webhook_id = add_webhook(database, "https://no-such-host.invalid/")
    fail_a_job(database)
    with caplog.at_level(logging.WARNING):
        for _ in range(len(outbox.BACKOFF) + 1):
            assert len(waiting(database)) == 1
            send(database)
            let_time_pass(database)
    assert waiting(database) == []
    assert "cannot be resolved" in str(webhook_of(database, webhook_id).error)
    assert "was dropped after 8 attempts" in caplog.text


def test_a_message_to_a_webhook_that_was_deleted_is_dropped(database: Database) -> None:
    webhook_id = add_webhook(database, "https://hooks.example/")
    fail_a_job(database)
    with database.writing() as session:
        session.delete(session.get_one(Webhook, webhook_id))
    send(database)
    assert waiting(database) == []


def test_a_receiver_that_does_not_answer_is_given_up(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "DEADLINE", 0.3)
    receiver.silent = True
    webhook_id = add_webhook(database, receiver.url)
    fail_a_job(database)
    send(database)
    assert webhook_of(database, webhook_id).error == "no answer within 0.3 seconds"


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"]])
def test_a_name_of_a_private_address_is_refused(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolver(answers))
    webhook_id = add_webhook(database, f"http://hooks.example:{receiver.port}/")
    fail_a_job(database)
    send(database, allow_private=False)
    assert receiver.got == []
    refused = f"hooks.example resolves to {answers[-1]}, which is not a public address"
    assert webhook_of(database, webhook_id).error == refused


def test_the_connection_goes_to_the_address_that_was_checked(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to another address a moment later is resolved once an attempt."""
    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", resolver(["127.0.0.1"], asked))
    add_webhook(database, f"http://rebinding.example:{receiver.port}/hook?a=1")
    fail_a_job(database)
    receiver.statuses = [503]
    send(database)
    assert asked.count("rebinding.example") == 1
    let_time_pass(database)
    send(database)
    assert asked.count("rebinding.example") == 2
    assert set(asked) <= {"rebinding.example", "127.0.0.1"}
    assert [headers["host"] for headers, _ in receiver.got] == [
        f"rebinding.example:{receiver.port}"
    ] * 2


def resolver(addresses: list[str], asked: list[str] | None = None) -> Any:
    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if asked is not None:
            asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in addresses
        ]

    return getaddrinfo
