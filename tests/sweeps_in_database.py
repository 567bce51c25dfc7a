"""Sweeps as rows, for tests that need no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs_in_database import add_dataset, shards_of
from sqlalchemy import select

from app.jobs import lifecycle
from app.storage.database import Database
from app.storage.tables import LOCAL_TENANT, Job, Shard, State, Trial
from app.sweeps import dealing
from models.artifacts import trial_file

SETTINGS: dict[str, Any] = {"metric": "rmse", "timeout_s": None, "device_seconds": None}


def submit_sweep(
    database: Database, batches: Sequence[Sequence[int]], **settings: Any
) -> Sequence[Shard]:
    """Enqueue a sweep whose trials are in these batches; gives its shards."""
    dataset_id = add_dataset(database)
    with database.writing() as session:
        sweep_id = lifecycle.enqueue(
            session,
            tenant=LOCAL_TENANT,
            name=None,
            dataset_id=dataset_id,
            spec={"target": "SalePrice"},
            target="SalePrice",
            sweep=SETTINGS | settings,
            shards=[{"trials": list(numbers)} for numbers in batches],
        )
        for place, numbers in enumerate(batches):
            rows = [
                {"number": number, "point": {"seed": number}, "spec": {"seed": number}}
                | {"state": State.QUEUED, "error": None}
                for number in numbers
            ]
            dealing.store(session, LOCAL_TENANT, sweep_id, place, rows)
    with database.reading() as session:
        return shards_of(session, sweep_id)


def found(number: int, value: float | None = None, error: str | None = None) -> dict[str, Any]:
    """What a batch says of a trial."""
    if error is not None:
        return {"number": number, "state": "failed", "error": error}
    return {
        "number": number,
        "state": "succeeded",
        "error": None,
        "metrics": {"rmse": value},
        "metrics_error": {"rmse": 0.1},
        "folds": [],
        "bytes": 8,
        "row_seconds": 1e-3,
    }


def record(
    database: Database, fence: Any, rows: Sequence[dict[str, Any]], seconds: float = 1.0
) -> bool:
    files = {trial_file(row["number"]): "0" * 64 for row in rows if row["state"] == "succeeded"}
    with database.writing() as session:
        return lifecycle.record_batch(session, fence, rows, {"total": seconds}, files)


def sweep_of(database: Database, shard: Shard) -> tuple[Job, Sequence[Shard], Sequence[Trial]]:
    """The rows as they are now."""
    with database.reading() as session:
        trials = select(Trial).where(Trial.job_id == shard.job_id).order_by(Trial.number)
        return (
            session.get_one(Job, shard.job_id),
            shards_of(session, shard.job_id),
            session.scalars(trials).all(),
        )
