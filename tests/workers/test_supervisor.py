"""Attempts from claim to end, with a stand-in for the child that trains."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from jobs_in_database import claim, events_of, history, make_due, request_cancel, stored, submit
from polling import wait_until
from prometheus_client import generate_latest
from scraping import counted, samples
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from stand_in import behave
from sweeps_in_database import submit_sweep, sweep_of
from worker_process import alive

from app.jobs import lifecycle
from app.jobs.attempts import Fence
from app.storage.database import Database
from app.storage.tables import Alias, EpochMetric, Model, Shard, State
from app.sweeps import dealing
from workers.process import UNKNOWN, Child, describe_exit
from workers.slots import Slots
from workers.supervisor import Supervisor
from workers.watch import Timing
from workers.workplace import Workplace

QUICK = Timing(update=0.05, terminate=0.3, kill=0.6, release=0.6)


def child(behaviour: str) -> Callable[[], Child]:
    """Starts one that behaves as told."""
    return partial(Child, partial(behave, behaviour))


@pytest.fixture
def supervise(workplace: Workplace) -> Callable[[str], Supervisor]:
    """Makes a supervisor whose child behaves as told."""

    def make(behaviour: str) -> Supervisor:
        return Supervisor(workplace, Slots(workplace.settings), child(behaviour), QUICK)

    return make


@contextmanager
def running(supervisor: Supervisor, database: Database, shard: Shard) -> Iterator[None]:
    """Runs the attempt in a thread; its child has reported when the block begins."""
    thread = threading.Thread(target=supervisor.run, args=(shard.id,))
    thread.start()
    try:
        wait_until(lambda: stored(database, shard)[0].progress)
        yield
    finally:
        thread.join(timeout=20)
    assert not thread.is_alive()


def ended(workplace: Workplace) -> dict[tuple[str, ...], float]:
    """How many attempts the worker has counted, by cause and outcome."""
    text = generate_latest(workplace.metrics.registry).decode()
    assert samples(text, "foldhouse_attempts_running") == {(): 0}
    return counted(text, "foldhouse_attempts_total")


def test_success(supervise: Callable[[str], Supervisor], workplace: Workplace) -> None:
    database = workplace.database
    shard = submit(database)
    supervise("succeed").run(shard.id)

    row, job = stored(database, shard)
    assert (row.state, job.status, job.error) == (State.SUCCEEDED, State.SUCCEEDED, None)
    assert row.progress == {"epoch": 2}
    with database.reading() as session:
        model = session.scalars(select(Model)).one()
        assert session.scalars(select(Alias)).one().model_id == model.id
        rows = session.scalars(select(EpochMetric).order_by(EpochMetric.epoch)).all()
        assert [(row.epoch, row.train_loss) for row in rows] == [(1, 1.0), (2, 0.5)]
        assert [row.gradient_norm for row in rows] == [2.0, 1.0]
        assert {(row.dead_units, row.saturated_units) for row in rows} == {(0.25, None)}
    assert job.result is not None
    assert job.result["model_id"] == model.id
    sha256 = model.artifacts["core.onnx"]
    assert workplace.blobs.read_artifact(shard.id, "core.onnx", sha256) == b"a model"
    assert not workplace.workdir(shard.id, workplace.owner).exists()
    assert workplace.locks.is_free(shard.id, workplace.owner)
    assert ended(workplace) == {("succeeded",): 1}
    text = generate_latest(workplace.metrics.registry).decode()
    assert samples(text, "foldhouse_epochs_total") == {(): 2}
    assert samples(text, "foldhouse_trained_rows_total") == {(): 2 * 8}


def test_a_run_that_cannot_give_a_model(
    supervise: Callable[[str], Supervisor], workplace: Workplace, database: Database
) -> None:
    shard = submit(database)
    supervise("fail").run(shard.id)
    row, job = stored(database, shard)
    assert (row.state, row.attempt) == (State.FAILED, 1)
    assert job.error is not None
    assert job.error["detail"] == "The loss was not finite: lower learning_rate."
    assert ended(workplace) == {("failed",): 1}


def test_trials_that_cannot_be_drawn_cost_one_attempt(
    supervise: Callable[[str], Supervisor], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise dealing.NotDrawn("The trials could not be drawn: a bug.")

    monkeypatch.setattr(dealing, "of_batch", fails)
    [shard] = submit_sweep(database, [[0]])
    supervise("succeed").run(shard.id)
    job, shards, trials = sweep_of(database, shard)
    assert (shards[0].state, shards[0].attempt, len(shards)) == (State.FAILED, 1, 1)
    assert (job.status, trials[0].error) == (
        State.FAILED,
        "The trials could not be drawn: a bug.",
    )


def test_a_crash_costs_an_attempt(
    supervise: Callable[[str], Supervisor], workplace: Workplace, database: Database
) -> None:
    shard = submit(database)
    supervise("crash").run(shard.id)
    assert history(database, shard) == [("queued", 0), ("running", 1), ("queued", 1)]
    assert "exit code 3" in events_of(database, shard.job_id)[-1].data["detail"]
    assert ended(workplace) == {("process", "lost"): 1}


def test_running_out_of_memory_every_time(
    supervise: Callable[[str], Supervisor], database: Database
) -> None:
    shard = submit(database)
    supervisor = supervise("out-of-memory")
    for _ in range(3):
        make_due(database, shard)
        supervisor.run(shard.id)
    row, job = stored(database, shard)
    assert (row.state, row.attempt) == (State.FAILED, 3)
    assert job.error is not None
    assert "attempts-exhausted" in job.error["type"]
    assert "out of memory" in job.error["detail"]
    assert "batch_size" in job.error["detail"]


def test_cancel(
    supervise: Callable[[str], Supervisor], workplace: Workplace, database: Database
) -> None:
    shard = submit(database)
    with running(supervise("obey"), database, shard):
        request_cancel(database, shard)
    assert stored(database, shard)[1].status is State.CANCELLED
    assert ended(workplace) == {("cancelled",): 1}


@pytest.mark.parametrize(
    ("behaviour", "at_least"), [("ignore-requests", QUICK.terminate), ("deaf", QUICK.kill)]
)
def test_cancel_of_a_child_that_hangs(
    behaviour: str,
    at_least: float,
    supervise: Callable[[str], Supervisor],
    database: Database,
) -> None:
    """SIGTERM, and for one that is deaf to it SIGKILL."""
    shard = submit(database)
    with running(supervise(behaviour), database, shard):
        request_cancel(database, shard)
        asked_at = time.monotonic()
    assert time.monotonic() - asked_at >= at_least
    assert stored(database, shard)[1].status is State.CANCELLED


@pytest.mark.parametrize("behaviour", ["obey", "deaf"])
def test_a_worker_that_stops_gives_its_shard_back(
    behaviour: str, supervise: Callable[[str], Supervisor], workplace: Workplace
) -> None:
    database = workplace.database
    shard = submit(database)
    supervisor = supervise(behaviour)
    with running(supervisor, database, shard):
        workplace.stopping.set()
    row, job = stored(database, shard)
    assert (row.state, row.attempt, job.status) == (State.QUEUED, 0, State.QUEUED)

    supervisor.run(shard.id)  # takes nothing any more
    assert stored(database, shard)[0].state is State.QUEUED
    assert ended(workplace) == {("released",): 1}


def test_a_shard_that_was_given_to_another(
    supervise: Callable[[str], Supervisor], workplace: Workplace, database: Database
) -> None:
    shard = submit(database)
    with running(supervise("deaf"), database, shard):
        row, _ = stored(database, shard)
        assert row.owner is not None
        with database.writing() as session:
            lifecycle.lose(session, Fence(row.id, row.attempt, row.owner), "it seemed dead")
        make_due(database, shard)
        claim(database, shard, "wrk_other")
        before = history(database, shard)
    row, _ = stored(database, shard)
    assert (row.state, row.attempt, row.owner) == (State.RUNNING, 2, "wrk_other")
    assert history(database, shard) == before
    assert ended(workplace) == {("void",): 1}


def test_files_that_cannot_be_kept(
    supervise: Callable[[str], Supervisor], workplace: Workplace, database: Database
) -> None:
    shard = submit(database)
    supervise("succeed-without-file").run(shard.id)
    row, job = stored(database, shard)
    assert (row.state, job.result) == (State.QUEUED, None)
    with database.reading() as session:
        assert session.scalars(select(Model)).all() == []
    assert ended(workplace) == {("machine", "lost"): 1}


def test_a_shard_of_another_worker_is_left_alone(
    supervise: Callable[[str], Supervisor], workplace: Workplace, database: Database
) -> None:
    shard = submit(database)
    claim(database, shard, "wrk_other")
    supervise("succeed").run(shard.id)
    row, _ = stored(database, shard)
    assert (row.state, row.owner) == (State.RUNNING, "wrk_other")
    assert ended(workplace) == {}


class Flickering(Database):
    """Goes away after its first transaction, in which the shard is claimed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.away = self.returned = False

    @contextmanager
    def writing(self) -> Iterator[Session]:
        if self.away:
            raise OperationalError("BEGIN", None, Exception("server closed the connection"))
        with super().writing() as session:
            yield session
        if not self.returned:
            self.away = True


def test_a_database_that_goes_away_for_a_while(
    workplace: Workplace,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The child ends meanwhile; what became of it is written when the database is back."""
    monkeypatch.setattr("workers.outages.RETRY_INTERVAL", 0.05)
    database = workplace.database
    flickering = Flickering(database_url)
    supervisor = Supervisor(
        replace(workplace, database=flickering),
        Slots(workplace.settings),
        child("succeed"),
        QUICK,
    )
    shard = submit(database)
    thread = threading.Thread(target=supervisor.run, args=(shard.id,))
    thread.start()
    wait_until(lambda: caplog.text.count("waiting to write") > 3)
    assert stored(database, shard)[0].state is State.RUNNING
    flickering.returned, flickering.away = True, False
    thread.join(timeout=20)
    assert stored(database, shard)[0].state is State.SUCCEEDED
    flickering.close()


def test_a_child_dies_though_the_process_it_was_forked_from_is_dead() -> None:
    """multiprocessing, which has lost sight of it, would send no signal."""
    hung, other = child("deaf")(), None
    try:
        os.kill(hung.pid, signal.SIGSTOP)
        forked_from = parent(hung.pid)
        os.kill(forked_from, signal.SIGKILL)
        wait_until(lambda: parent(hung.pid) != forked_from)
        other = child("obey")()  # starts another such process, and looks at all children
        assert describe_exit(hung.kill()) == describe_exit(UNKNOWN)
        assert not alive(hung.pid)
    finally:
        hung.kill()
        if other is not None:
            assert other.kill() == -signal.SIGKILL


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
