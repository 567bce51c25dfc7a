"""Jobs as rows, for tests that need no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.ids import new_id
from app.jobs import lifecycle
from app.jobs.lifecycle import Claim
from app.storage.database import Database, database_now
from app.storage.tables import LOCAL_TENANT, Dataset, Event, Job, Shard

BOOT = "boot-1"


def add_dataset(database: Database, **columns: Any) -> str:
    dataset = Dataset(
        id=new_id("ds"),
        tenant=LOCAL_TENANT,
        name="houses.csv",
        sha256=new_id("ds"),
        bytes=1,
        rows=1,
        profile={"rows": 1},
        csv="c",
        parquet="p",
    )
    for name, value in columns.items():
        setattr(dataset, name, value)
    with database.writing() as session:
        session.add(dataset)
    return dataset.id


def submit(
    database: Database,
    dataset_id: str | None = None,
    tenant: str = LOCAL_TENANT,
    spec: dict[str, Any] | None = None,
    **own: Any,
) -> Shard:
    """Enqueue a job; gives its one shard. `own`: its priority and time limit."""
    [shard] = submit_shards(database, 1, dataset_id, tenant, spec, **own)
    return shard


def submit_shards(
    database: Database,
    count: int,
    dataset_id: str | None = None,
    tenant: str = LOCAL_TENANT,
    spec: dict[str, Any] | None = None,
    **own: Any,
) -> Sequence[Shard]:
    """Enqueue a job of so many shards, whose specs differ in their seeds; gives them in order."""
    dataset_id = dataset_id or add_dataset(database)
    spec = spec or {"target": "SalePrice"}
    with database.writing() as session:
        job_id = lifecycle.enqueue(
            session,
            tenant=tenant,
            name=None,
            dataset_id=dataset_id,
            spec=spec,
            target="SalePrice",
            shards=[spec | {"seed": seed} for seed in range(count)] if count > 1 else (),
            **own,
        )
    with database.reading() as session:
        return shards_of(session, job_id)


def shards_of(session: Session, job_id: str) -> Sequence[Shard]:
    """Whole, by their place."""
    return session.scalars(select(Shard).where(Shard.job_id == job_id).order_by(Shard.place)).all()


def claim(database: Database, shard: Shard, owner: str = "wrk_a", boot_id: str = BOOT) -> Claim:
    with database.writing() as session:
        claimed = lifecycle.claim(session, shard.id, owner=owner, boot_id=boot_id)
    assert claimed is not None
    return claimed


def request_cancel(database: Database, shard: Shard, *, keep_best: bool = False) -> None:
    with database.writing() as session:
        job = session.get_one(Job, shard.job_id)
        lifecycle.request_cancel(session, job, keep_best=keep_best)


def make_due(database: Database, shard: Shard) -> None:
    """End the backoff."""
    with database.writing() as session:
        session.execute(update(Shard).where(Shard.id == shard.id).values(due_at=database_now()))


def stored(database: Database, shard: Shard) -> tuple[Shard, Job]:
    """The rows as they are now."""
    with database.reading() as session:
        return session.get_one(Shard, shard.id), session.get_one(Job, shard.job_id)


def history(database: Database, shard: Shard) -> list[tuple[str, int]]:
    """Status and attempt of each transition of the job."""
    return [
        (event.data["status"], event.data["attempt"])
        for event in events_of(database, shard.job_id)
        if event.kind == "state"
    ]


def events_of(database: Database, job_id: str) -> Sequence[Event]:
    """In their order."""
    with database.reading() as session:
        return session.scalars(
            select(Event).where(Event.job_id == job_id).order_by(Event.sequence)
        ).all()
