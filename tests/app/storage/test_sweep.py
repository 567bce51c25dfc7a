"""What no row names leaves storage, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jobs_in_database import add_dataset, claim, stored, submit
from sqlalchemy import update
from ulid import ULID

from app import idempotency
from app.jobs import lifecycle
from app.storage.blobs import ARTIFACTS, DATASETS, Blobs, artifacts_key, dataset_key
from app.storage.database import Database, database_now
from app.storage.sweep import sweep
from app.storage.tables import LOCAL_TENANT, IdempotencyKey, State


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "storage"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    return path


def created(ago: timedelta) -> str:
    return f"ds_{str(ULID.from_datetime(datetime.now(UTC) - ago)).lower()}"


def test_files_of_tables(database: Database, blobs: Blobs, file: Path) -> None:
    """An upload has its files before its row: only what is old belongs to nothing."""
    known, arriving, orphan = add_dataset(database), created(timedelta(0)), created(timedelta(2))
    for name in (known, arriving, orphan, "notes"):
        blobs.put(f"{dataset_key(name)}/table.csv", file)
    sweep(database, blobs)
    assert sorted(blobs.names(DATASETS)) == sorted([known, arriving, "notes"])


def test_files_of_models(database: Database, blobs: Blobs, file: Path) -> None:
    """Those of running jobs are on their way."""
    finished, running, failed = (submit(database) for _ in range(3))
    for shard in (finished, running, failed):
        fence = claim(database, shard).fence
        blobs.put_artifact(shard.job_id, file)
        with database.writing() as session:
            if shard is finished:
                lifecycle.succeed(session, fence, {"metrics": {}, "folds": []}, {})
            elif shard is failed:
                lifecycle.fail(session, fence, "it could not")
    blobs.put(f"{artifacts_key('job_deleted')}/file", file)
    assert stored(database, failed)[1].status is State.FAILED
    sweep(database, blobs)
    assert sorted(blobs.names(ARTIFACTS)) == sorted([finished.job_id, running.job_id])


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
