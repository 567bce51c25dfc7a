"""The lease is renewed as long as the context lasts and the shard is the attempt's."""

from __future__ import annotations

import pytest
from jobs_in_database import claim, submit
from polling import wait_until
from sqlalchemy import update

from app.jobs import attempts, lifecycle
from app.storage.database import Database, database_now
from app.storage.tables import Shard
from workers.lease import kept_lease


def test_it_is_renewed_until_it_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.lease.RENEW_INTERVAL", 0.05)
    fence = claim(database, submit(database)).fence

    def expired() -> bool:
        with database.reading() as session:
            return fence in attempts.expired(session)

    with kept_lease(database, fence) as lost:
        with database.writing() as session:
            session.execute(update(Shard).values(lease_until=database_now(-1)))
        wait_until(lambda: not expired())
        assert not lost.is_set()
        with database.writing() as session:
            lifecycle.lose(session, fence, "it seemed dead")
        wait_until(lost.is_set)
