"""The broker's messages are hints: it may be wiped, be away, or be full of garbage."""

from __future__ import annotations

import os
import shutil
import time

import pytest
import redis
from hostile_messages import hostile_messages
from polling import wait_until
from proxy import Proxy
from services import RedisServer
from sqlalchemy import make_url
from stack import JOB_SECONDS, SHORT, Stack, running
from worker_process import START_SECONDS

from app.queue.config import QUEUE, RUN_SHARD, sender_celery
from app.settings import Settings

HOSTILE_MESSAGES = int(os.environ.get("HOSTILE_MESSAGES", "100"))

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400 + HOSTILE_MESSAGES)]

OUTAGE_SECONDS = 25.0
BACK_AT_WORK_SECONDS = 10.0
JOBS = 6

GARBAGE = [
    b"",
    b"\xff\xfe\x00",
    b"[1, 2]",
    b'{"body": "W1sic2hk',
    b'{"hello": "world"}',
    b'{"properties": {}}',
    b'{"body": 5, "properties": {"delivery_tag": "1", "body_encoding": "base64"}}',
    b'{"body": "gASVBQ==", "content-type": "application/x-python-serialize",'
    b' "content-encoding": "binary", "headers": {"task": "t", "id": "1"},'
    b' "properties": {"delivery_tag": "1", "body_encoding": "base64"}}',
]


def send_a_hundred_times(stack: Stack, *jobs: str) -> None:
    celery = sender_celery(stack.settings)
    for job_id in jobs:
        shard = stack.shard(job_id)
        for _ in range(100):
            celery.send_task(RUN_SHARD, args=[shard])
    celery.close()


@pytest.mark.costly("sqlite")
@pytest.mark.slow
def test_jobs_with_no_message_and_with_a_hundred(stack: Stack) -> None:
    """A wiped broker loses no job, and however many messages name one that waits, runs or has
    finished, it has one attempt. Both are seen on the same jobs: each takes three seconds of a
    core."""
    jobs = [stack.submit(SHORT) for _ in range(JOBS)]
    first, last = jobs[0], jobs[-1]
    if stack.on_redis:
        with redis.Redis.from_url(stack.settings.broker_url) as server:
            assert server.flushall()
    else:
        shutil.rmtree(stack.settings.root / "broker")
    with stack.worker(slots=2) as worker:
        stack.wait(first, "running", "succeeded", "failed")
        assert stack.job(last)["status"] == "queued"
        send_a_hundred_times(stack, first, last)
        stack.wait(first, "succeeded", "failed")
        send_a_hundred_times(stack, first)
        # Those that go on to the end show that the worker outlives all these messages.
        for job_id in jobs:
            done = stack.wait(job_id, "succeeded", "failed", seconds=2 * JOB_SECONDS)
            assert (done["status"], done["attempt"]) == ("succeeded", 1), done["error"]
        assert worker.log().count("attempt 1 begins") == JOBS
    assert len(stack.http.get("/v1/models").json()["data"]) == JOBS


@pytest.mark.costly("postgresql")
@pytest.mark.slow
def test_while_the_broker_is_away_jobs_are_accepted(
    stack: Stack, request: pytest.FixtureRequest
) -> None:
    """For longer than a client's patience; when it is back, work begins within seconds."""
    with stack.worker() as worker:
        worker.wait_until_ready()
        broker = stack.settings.root / "broker"
        if stack.on_redis:
            server: RedisServer = request.getfixturevalue("redis_server")
            server.stop()
        else:
            shutil.rmtree(broker)
            broker.write_text("not a folder")
        ends = time.monotonic() + OUTAGE_SECONDS
        job_id = stack.submit(SHORT)
        assert stack.http.get("/readyz").json()["broker"] == "down"
        while time.monotonic() < ends:
            assert stack.http.get("/healthz").status_code == 200
            assert stack.job(job_id)["status"] in ("queued", "succeeded")
            time.sleep(1)
        if stack.on_redis:
            server.start()
        else:
            broker.unlink()
        stack.wait(job_id, "running", "succeeded", seconds=BACK_AT_WORK_SECONDS)
        assert stack.wait(job_id, "succeeded", "failed")["status"] == "succeeded"
        wait_until(lambda: stack.http.get("/readyz").json()["status"] == "ready", START_SECONDS)


@pytest.mark.costly("postgresql")
def test_no_message_ends_a_worker(stack: Stack) -> None:
    """Half of those that lie are about a job that waits; `HOSTILE_MESSAGES=10000` for a day's
    worth. Garbage follows them."""
    job_id = stack.submit(SHORT)
    hostile = [
        *hostile_messages(HOSTILE_MESSAGES // 2, stack.shard(job_id)),
        *hostile_messages(HOSTILE_MESSAGES // 2, "shd_nobody"),
    ]
    broker = stack.settings.root / "broker"
    if stack.on_redis:
        server = redis.Redis.from_url(stack.settings.broker_url)
        server.delete(QUEUE)
        server.lpush(QUEUE, *hostile)

        def left() -> int:
            return int(server.llen(QUEUE))
    else:
        broker.mkdir(exist_ok=True)  # the job's own hint may be on its way
        for number, content in enumerate(hostile):
            (broker / f"0_{number:05}.{QUEUE}.msg").write_bytes(content)

        def left() -> int:
            return len(list(broker.glob("*.msg")))

    seconds = JOB_SECONDS + HOSTILE_MESSAGES / 20
    with stack.worker() as worker:
        for waiting in (job_id, stack.submit(SHORT)):
            done = stack.wait(waiting, "succeeded", "failed", seconds=seconds)
            assert (done["status"], done["attempt"]) == ("succeeded", 1), done["error"]
        wait_until(lambda: left() == 0, seconds)
        assert worker.process.poll() is None
        assert "Traceback" not in worker.log()
        garbage_is_put_in_quarantine(stack)
        assert worker.process.poll() is None


def garbage_is_put_in_quarantine(stack: Stack) -> None:
    """And messages of another version, which name another task or have other arguments."""
    broker = stack.settings.root / "broker"
    if stack.on_redis:
        server = redis.Redis.from_url(stack.settings.broker_url)
        server.delete(f"{QUEUE}.quarantine")  # liars are there

        def quarantined() -> int:
            return int(server.llen(f"{QUEUE}.quarantine"))
    else:
        shutil.rmtree(broker / "quarantine")

        def quarantined() -> int:
            return len(list(broker.glob("quarantine/*")))

    celery = sender_celery(stack.settings)
    foreign = [("no.such.task", [1]), (RUN_SHARD, ["a", "b"]), (RUN_SHARD, [{"no": "id"}])]
    for task, arguments in foreign:
        celery.send_task(task, args=arguments)
    celery.close()
    for number, content in enumerate(GARBAGE):
        if stack.on_redis:
            server.lpush(QUEUE, content)
        else:
            path = broker / f"0_{number}.{QUEUE}.msg"
            path.with_suffix(".part").write_bytes(content)
            path.with_suffix(".part").rename(path)
    wait_until(lambda: quarantined() == len(GARBAGE) + len(foreign), START_SECONDS)
    done = stack.wait(stack.submit(SHORT), "succeeded", "failed")
    assert done["status"] == "succeeded", done["error"]


def test_while_the_database_is_away(migrated_postgres_url: str, tmp_path) -> None:
    """503 with Retry-After, and all goes on without a restart when it is back."""
    address = make_url(migrated_postgres_url)
    with Proxy(address.host or "127.0.0.1", address.port or 5432) as proxy:
        url = address.set(host="127.0.0.1", port=proxy.port)
        settings = Settings(
            data_dir=tmp_path / "data",
            database_url=url.render_as_string(hide_password=False),
            device="cpu",
        )
        with running(settings) as stack, stack.worker() as worker:
            stack.upload()
            worker.wait_until_ready()
            proxy.stop()
            refused = stack.http.get("/v1/jobs")
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert refused.json()["type"].endswith("/unavailable")
            body = {"dataset_id": "latest", "target": "price", **SHORT}
            assert stack.http.post("/v1/jobs", json=body).status_code == 503
            assert stack.http.get("/healthz").status_code == 200
            proxy.start()
            wait_until(lambda: stack.http.get("/v1/jobs").status_code == 200)
            assert stack.http.get("/v1/jobs").json()["data"] == []
            done = stack.wait(stack.submit(SHORT), "succeeded", "failed")
            assert done["status"] == "succeeded", done["error"]
