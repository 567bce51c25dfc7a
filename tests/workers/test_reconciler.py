"""Shards come back from the dead; those of the living stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from jobs_in_database import claim, request_cancel, stored, submit, submit_shards
from prometheus_client import generate_latest
from scraping import counted
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.jobs import lifecycle
from app.storage.blobs import artifacts_key
from app.storage.database import Database, database_now
from app.storage.tables import Shard, State
from workers.checkpoints import Checkpoints
from workers.reconciler import Reconciler
from workers.workplace import Workplace


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has just started waits before it believes in an expired lease."""
    monkeypatch.setattr("workers.reconciler.GRACE", 0.0)


def let_leases_run_out(database: Database) -> None:
    with database.writing() as session:
        session.execute(update(Shard).values(lease_until=database_now(-1)))


def lost(workplace: Workplace) -> dict[tuple[str, ...], float]:
    """How many attempts the worker has found dead, by how it noticed."""
    text = generate_latest(workplace.metrics.registry).decode()
    return counted(text, "foldhouse_attempts_total")


def test_a_lease_that_ran_out(workplace: Workplace) -> None:
    shard = submit(workplace.database)
    claim(workplace.database, shard, "wrk_elsewhere", boot_id="another host")
    reconciler = Reconciler(workplace)
    reconciler.reconcile()
    assert stored(workplace.database, shard)[0].state is State.RUNNING
    let_leases_run_out(workplace.database)
    reconciler.reconcile()
    row, job = stored(workplace.database, shard)
    assert (row.state, row.attempt, job.status) == (State.QUEUED, 1, State.QUEUED)
    assert lost(workplace) == {("lease", "lost"): 1}


def test_a_worker_that_has_just_started_lets_owners_renew(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been started at the end of an outage."""
    shard = submit(workplace.database)
    claim(workplace.database, shard, "wrk_elsewhere", boot_id="another host")
    let_leases_run_out(workplace.database)
    monkeypatch.setattr("workers.reconciler.GRACE", 10.0)
    Reconciler(workplace).reconcile()
    assert stored(workplace.database, shard)[0].state is State.RUNNING


def test_a_free_lock_on_this_host_means_that_the_owner_is_dead(workplace: Workplace) -> None:
    shard = submit(workplace.database)
    with workplace.locks.held(shard.id, "wrk_dead"):
        claim(workplace.database, shard, "wrk_dead", boot_id=workplace.boot_id)
        Reconciler(workplace).reconcile()
        assert stored(workplace.database, shard)[0].state is State.RUNNING
    Reconciler(workplace).reconcile()
    assert stored(workplace.database, shard)[0].state is State.QUEUED
    assert lost(workplace) == {("worker", "lost"): 1}


@pytest.mark.parametrize("locked_by", [None, "wrk_earlier"])
def test_without_its_lock_file_nothing_is_known_of_an_attempt(
    locked_by: str | None, workplace: Workplace
) -> None:
    """Two containers on one host have the same boot id, and each its own data folder."""
    shard = submit(workplace.database)
    if locked_by:
        with workplace.locks.held(shard.id, locked_by):
            pass
    claim(workplace.database, shard, "wrk_neighbour", boot_id=workplace.boot_id)
    Reconciler(workplace).reconcile()
    assert stored(workplace.database, shard)[0].state is State.RUNNING


class Away(Database):
    @contextmanager
    def reading(self) -> Iterator[Session]:
        raise OperationalError("BEGIN", None, Exception("server closed the connection"))
        yield


def test_after_an_outage_owners_may_first_renew(
    workplace: Workplace, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = submit(workplace.database)
    claim(workplace.database, shard, "wrk_elsewhere", boot_id="another host")
    let_leases_run_out(workplace.database)
    reconciler = Reconciler(workplace)
    monkeypatch.setattr("workers.reconciler.GRACE", 10.0)
    away = Away(database_url)
    monkeypatch.setattr(reconciler, "_workplace", replace(workplace, database=away))
    with pytest.raises(OperationalError):
        reconciler.reconcile()
    monkeypatch.setattr(reconciler, "_workplace", workplace)
    reconciler.reconcile()
    assert stored(workplace.database, shard)[0].state is State.RUNNING
    monkeypatch.setattr("workers.reconciler.time.monotonic", lambda: float("inf"))
    reconciler.reconcile()
    assert stored(workplace.database, shard)[0].state is State.QUEUED
    away.close()


def test_what_a_finished_shard_leaves_is_removed(workplace: Workplace) -> None:
    database = workplace.database
    shard = submit(database)
    workdir = workplace.workdir(shard.id, workplace.owner)
    workdir.mkdir(parents=True)
    with workplace.locks.held(shard.id, workplace.owner):
        fence = claim(database, shard, workplace.owner, boot_id=workplace.boot_id).fence
        Checkpoints(workplace.blobs, shard.id, workdir).save(b"state")
    with database.writing() as session:
        lifecycle.release(session, fence)

    Reconciler(workplace).reconcile()  # queued: the next attempt will want the checkpoint
    kept = Checkpoints(workplace.blobs, shard.id, workdir).newest_first()
    assert list(kept) == [b"state"]

    request_cancel(database, shard)
    Reconciler(workplace).reconcile()
    assert list(Checkpoints(workplace.blobs, shard.id, workdir).newest_first()) == []
    assert not workdir.exists()
    assert workplace.locks.all() == []


def test_what_an_attempt_stored_and_did_not_register_is_removed(
    workplace: Workplace, tmp_path: Path
) -> None:
    """It was killed between the two; the next one registered files of its own."""
    database, blobs = workplace.database, workplace.blobs
    shard = submit(database)
    for name in ("killed", "registered"):
        (tmp_path / name).write_text(name)
    blobs.put_artifact(shard.id, tmp_path / "killed")
    with workplace.locks.held(shard.id, workplace.owner):
        fence = claim(database, shard, workplace.owner, boot_id=workplace.boot_id).fence
        kept = blobs.put_artifact(shard.id, tmp_path / "registered")
        with database.writing() as session:
            lifecycle.succeed(session, fence, {"metrics": {}, "folds": []}, {"core.onnx": kept})

    Reconciler(workplace).reconcile()
    assert blobs.names(artifacts_key(shard.id)) == [kept]


def test_what_a_shard_leaves_is_removed_without_its_siblings_files(
    workplace: Workplace, tmp_path: Path
) -> None:
    """One sibling runs elsewhere and has stored what it is about to register."""
    database, blobs = workplace.database, workplace.blobs
    ended, storing, done = submit_shards(database, 3)
    (tmp_path / "file").write_text("the same bytes")
    kept = [blobs.put_artifact(shard.id, tmp_path / "file") for shard in (storing, done)]
    claim(database, storing, "wrk_elsewhere", boot_id="another host")
    fence = claim(database, done, "wrk_elsewhere", boot_id="another host").fence
    with database.writing() as session:
        lifecycle.succeed(session, fence, {"metrics": {}, "folds": []}, {"core.onnx": kept[1]})
    blobs.put_artifact(ended.id, tmp_path / "file")
    with workplace.locks.held(ended.id, workplace.owner):
        fence = claim(database, ended, workplace.owner, boot_id=workplace.boot_id).fence
        with database.writing() as session:
            lifecycle.fail(session, fence, "it could not")

    Reconciler(workplace).reconcile()
    workplace.sweep()
    assert blobs.names(artifacts_key(ended.id)) == []
    assert [blobs.names(artifacts_key(shard.id)) for shard in (storing, done)] == [
        kept[:1],
        kept[1:],
    ]
