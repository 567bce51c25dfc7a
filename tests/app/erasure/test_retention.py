"""Jobs that ended long ago go, except those that something still needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jobs_in_database import claim, submit
from sqlalchemy import func, select, update

from app.erasure import retention
from app.jobs import lifecycle
from app.registry import history
from app.storage.blobs import Blobs, artifacts_key
from app.storage.database import Database, database_now
from app.storage.sweep import sweep
from app.storage.tables import LOCAL_TENANT, AliasChange, Job, Model, Shard

DAY = 24 * 3600.0


def succeed(database: Database) -> Shard:
    shard = submit(database)
    fence = claim(database, shard).fence
    with database.writing() as session:
        lifecycle.succeed(session, fence, {"metrics": {}, "folds": []}, {})
    return shard


def model_of(database: Database, shard: Shard) -> Model:
    with database.reading() as session:
        return session.scalars(select(Model).where(Model.shard_id == shard.id)).one()


def age(database: Database, *shards: Shard, days: float) -> None:
    with database.writing() as session:
        of_them = Job.id.in_([shard.job_id for shard in shards])
        ended = database_now(-days * DAY)
        session.execute(
            update(Job).where(of_them, Job.finished_at.is_not(None)).values(finished_at=ended)
        )


def jobs(database: Database) -> set[str]:
    with database.reading() as session:
        return {*session.scalars(select(Job.id))}


def test_old_jobs_go_with_their_files(database: Database, tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path / "storage"))
    file = tmp_path / "file"
    file.write_bytes(b"data")
    champion, old, younger, start = (succeed(database) for _ in range(4))
    waiting = submit(database, spec={"initialize_from": model_of(database, start).id})
    failed = submit(database)
    with database.writing() as session:
        lifecycle.request_cancel(session, session.get_one(Job, failed.job_id))
    for shard in (old, younger):
        blobs.put_artifact(shard.id, file)
    age(database, champion, old, start, failed, waiting, days=8)
    age(database, younger, days=6)
    everything = jobs(database)

    retention.delete_old_jobs(database, 0)
    assert jobs(database) == everything
    retention.delete_old_jobs(database, 7)
    assert jobs(database) == {one.job_id for one in (champion, younger, start, waiting)}
    sweep(database, blobs)
    assert not blobs.exists(artifacts_key(old.id))
    assert blobs.exists(artifacts_key(younger.id))


def test_a_model_that_gets_an_alias_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, named, other = (succeed(database) for _ in range(3))
    age(database, named, other, days=8)
    delete = retention._delete

    def name_first(database: Database, job_id: str, *rest: Any) -> bool:
        if job_id == named.job_id:
            model = model_of(database, named)
            with database.writing() as session:
                history.point(session, LOCAL_TENANT, "best", model, force=False)
        return delete(database, job_id, *rest)

    monkeypatch.setattr(retention, "_delete", name_first)
    retention.delete_old_jobs(database, 7)
    assert named.job_id in jobs(database)
    assert other.job_id not in jobs(database)


def test_a_model_stays_while_an_alias_may_return_to_it(database: Database) -> None:
    first, second, third = (succeed(database) for _ in range(3))
    for shard in (second, third):
        with database.writing() as session:
            history.point(session, LOCAL_TENANT, "champion", model_of(database, shard), force=False)
    age(database, first, second, third, days=200)
    retention.delete_old_jobs(database, 90)
    assert jobs(database) == {one.job_id for one in (first, second, third)}

    last = select(func.max(AliasChange.id)).scalar_subquery()
    with database.writing() as session:
        long_ago = database_now(-100 * DAY)
        session.execute(
            update(AliasChange).where(AliasChange.id != last).values(changed_at=long_ago)
        )
    retention.delete_old_jobs(database, 90)  # the last change has left the second
    assert jobs(database) == {second.job_id, third.job_id}
