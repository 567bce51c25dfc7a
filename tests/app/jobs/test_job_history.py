"""A job's history has no gaps, whoever writes to it at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from jobs_in_database import claim, events_of, submit, submit_shards
from known_jobs import result

from app.jobs import attempts, lifecycle
from app.jobs.attempts import Fence
from app.storage.database import Database
from app.storage.tables import EpochMetric
from models.epochs import COLUMNS, FoldEpoch

WRITES = 8


def epochs(*of_folds: tuple[int, int]) -> list[FoldEpoch]:
    return [FoldEpoch(fold, epoch, 0.5, 0.5, 0.1) for fold, epoch in of_folds]


def test_what_a_run_leaves(database: Database) -> None:
    shard = submit(database)
    fence = claim(database, shard).fence
    with database.writing() as session:
        rows = epochs((0, 1), (1, 1), (0, 2), (0, 3))
        assert attempts.record_progress(session, fence, {"epoch": 1}, rows)
        assert attempts.record_progress(session, fence, {"epoch": 1})  # has nothing to tell
    with database.writing() as session:
        model_id = lifecycle.succeed(session, fence, result(), {})
    events = events_of(database, shard.job_id)
    assert [(event.sequence, event.kind) for event in events] == [
        (1, "state"), (2, "state"), (3, "epoch"), (4, "fold"), (5, "result"), (6, "state"),
    ]  # fmt: skip
    assert events[2].data == {
        "shard": 0,
        "folds": [{"fold": 0, "first": 1, "last": 3}, {"fold": 1, "first": 1, "last": 1}],
        "progress": {"epoch": 1},
    }
    assert events[3].data == {"shard": 0, **result()["folds"][0]}
    assert events[4].data == {"shard": 0, "model_id": model_id, "metrics": {"rmse": 1.0}}


def test_an_event_that_is_rolled_back_leaves_no_gap(database: Database) -> None:
    shard = submit(database)
    fence = claim(database, shard).fence
    with suppress(RuntimeError), database.writing() as session:
        attempts.record_progress(session, fence, {"epoch": 1}, epochs((0, 1)))
        raise RuntimeError("the disk")
    with database.writing() as session:
        lifecycle.fail(session, fence, "no")
    assert [event.sequence for event in events_of(database, shard.job_id)] == [1, 2, 3]


def test_shards_that_write_at_once(database: Database) -> None:
    """Whoever reads meanwhile sees the events up to some number, and none is added before it."""
    shards = submit_shards(database, 3)
    fences = [claim(database, shard).fence for shard in shards]
    start, over = threading.Barrier(len(fences) + 1), threading.Event()

    def write(fence: Fence) -> None:
        start.wait()
        for epoch in range(1, WRITES + 1):
            with database.writing() as session:
                attempts.record_progress(session, fence, {"epoch": epoch}, epochs((0, epoch)))

    def read() -> list[int]:
        start.wait()
        seen = []
        while not over.is_set():
            numbers = [event.sequence for event in events_of(database, shards[0].job_id)]
            assert numbers == list(range(1, len(numbers) + 1))
            seen.append(len(numbers))
        return seen

    with ThreadPoolExecutor(len(fences) + 1) as pool:
        reading = pool.submit(read)
        try:
            for writing in [pool.submit(write, fence) for fence in fences]:
                writing.result()
        finally:
            over.set()
        seen = reading.result()
    assert seen == sorted(seen)
    assert len(events_of(database, shards[0].job_id)) == 1 + len(fences) * (1 + WRITES)


def test_one_type_names_the_columns_of_an_epoch() -> None:
    stored = [column.name for column in EpochMetric.__table__.columns]
    assert sorted(stored) == sorted(["tenant", "job_id", "shard", *COLUMNS])
