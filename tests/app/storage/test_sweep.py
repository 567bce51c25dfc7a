"""What no row names leaves storage, and nothing else does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from jobs_in_database import claim, stored, submit
from sqlalchemy import select, update

from app.ids import id_of
from app.jobs import lifecycle
from app.storage import idempotency
from app.storage.blobs import (
    ARTIFACTS,
    CHECKPOINTS,
    Blobs,
    artifacts_key,
    checkpoints_key,
    dataset_key,
)
from app.storage.database import Database, database_now
from app.storage.sweep import sweep
from app.storage.tables import (
    LOCAL_TENANT,
    IdempotencyKey,
    ModelUsage,
    State,
    WebhookDelivery,
    WebSession,
)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "storage"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    return path


def test_what_is_not_known_here_stays(database: Database, blobs: Blobs, file: Path) -> None:
    """It may be another installation's, or on its way in: a new database takes nothing away."""
    keys = [
        f"{dataset_key('ds_unknown')}/table.csv",
        f"{artifacts_key('job_unknown')}/file",
        f"{checkpoints_key('shd_unknown')}/a",
    ]
    for key in keys:
        blobs.put(key, file)
    sweep(database, blobs)
    assert all(map(blobs.exists, keys))


def test_files_of_models(database: Database, blobs: Blobs, file: Path) -> None:
    """Those of running jobs are on their way."""
    finished, running, failed = (submit(database) for _ in range(3))
    for shard in (finished, running, failed):
        fence = claim(database, shard).fence
        blobs.put_artifact(shard.id, file)
        blobs.put(f"{checkpoints_key(shard.id)}/a", file)
        with database.writing() as session:
            if shard is finished:
                lifecycle.succeed(session, fence, {"metrics": {}, "folds": []}, {})
            elif shard is failed:
                lifecycle.fail(session, fence, "it could not")
    assert stored(database, failed)[1].status is State.FAILED
    sweep(database, blobs)
    assert sorted(blobs.names(ARTIFACTS)) == sorted([finished.id, running.id])
    assert blobs.names(CHECKPOINTS) == [running.id]


def test_keys_are_forgotten_in_time(database: Database, blobs: Blobs) -> None:
    with database.writing() as session:
        for key in ("old", "new"):
            idempotency.once(session, LOCAL_TENANT, key, "request", lambda: "job_1")
        aged = update(IdempotencyKey).where(IdempotencyKey.key == "old")
        session.execute(aged.values(created_at=database_now(-8 * 24 * 3600)))
    sweep(database, blobs)
    with database.reading() as session:
        assert idempotency.recall(session, LOCAL_TENANT, "old", "another") is None
        assert idempotency.recall(session, LOCAL_TENANT, "new", "request") == "job_1"


def test_sessions_that_have_ended_and_messages_that_nobody_takes(
    database: Database, blobs: Blobs
) -> None:
    now = datetime.now(UTC)
    fresh, stale = (id_of("msg", now - timedelta(days=days)) for days in (6, 8))
    with database.writing() as session:
        for message in (fresh, stale):
            session.add(
                WebhookDelivery(id=message, tenant=LOCAL_TENANT, webhook_id="whk_1", payload={})
            )
        for cookie, seconds in (("open", 60), ("ended", -60)):
            ends = now + timedelta(seconds=seconds)
            session.add(WebSession(sha256=cookie, tenant=LOCAL_TENANT, expires_at=ends))
    sweep(database, blobs)
    with database.reading() as session:
        assert session.scalars(select(WebhookDelivery.id)).all() == [fresh]
        assert session.scalars(select(WebSession.sha256)).all() == ["open"]


def test_the_use_of_models_has_an_age(database: Database, blobs: Blobs) -> None:
    today = datetime.now(UTC).date()
    nothing = {"requests": 0, "rows": 0, "seconds": [], "columns": {}, "warnings": {}}
    with database.writing() as session:
        for model in ("mdl_1", "mdl_2"):
            for age in (0, 30, 31):
                key = {"model_id": model, "day": today - timedelta(days=age), "process": "api_1"}
                session.add(ModelUsage(tenant=LOCAL_TENANT, **key, **nothing))

    def days() -> list[date]:
        with database.reading() as session:
            return [*session.scalars(select(ModelUsage.day).order_by(ModelUsage.day))]

    sweep(database, blobs)
    assert len(days()) == 6
    sweep(database, blobs, usage_days=30)
    assert days() == [today - timedelta(days=30)] * 2 + [today] * 2
