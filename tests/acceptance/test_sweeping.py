"""Sweeps on real processes: whatever is killed, each trial is there once and is the same."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from jobs_in_database import events_of
from polling import wait_until
from sqlalchemy import select
from stack import JOB_SECONDS, Stack
from worker_process import WorkerProcess

from app.storage.blobs import Blobs, artifacts_key
from app.storage.tables import FINISHED, Model, Shard, ShardKind

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(900)]

TRIALS, KILLS = 12, 6
PAUSE = 4.0  # s between two kills, at the most
TINY: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [16]},
    "k_folds": 2,
    "batch_size": 16,
    "max_epochs": 120,
    "early_stopping": None,
    "baselines": [],
}
SPACE = {
    "weight_decay": {"low": 1e-3, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
}
SWEEP: dict[str, Any] = {
    "spec": TINY,
    "search_space": SPACE,
    "sampler": "random",
    "n_trials": TRIALS,
    "metric": "rmse",
}
# Outlasts what is done to it.
ENDLESS = SWEEP | {"spec": TINY | {"max_epochs": 10_000}}


def values(stack: Stack, sweep_id: str) -> dict[int, float]:
    board = stack.trials(sweep_id)
    assert [trial["state"] for trial in board] == ["succeeded"] * len(board), board
    return {trial["trial"]: trial["value"] for trial in board}


def shards(stack: Stack, sweep_id: str) -> list[Shard]:
    with stack.database.reading() as session:
        of_sweep = select(Shard).where(Shard.job_id == sweep_id).order_by(Shard.place)
        return [*session.scalars(of_sweep)]


def running_batches(stack: Stack, sweep_id: str) -> int:
    return sum(shard.state == "running" for shard in shards(stack, sweep_id))


def kill_something(stack: Stack, workers: list[WorkerProcess], chance: random.Random) -> str:
    """A worker, the children of one, or the API; what is gone is started again."""
    what = chance.choice(["worker", "child", "api"])
    victim = chance.choice(workers)
    if what == "api":
        stack.kill_api()
        stack.start_api()
    elif what == "child":
        for child in victim.children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    else:
        victim.kill()
        victim.close_input()
        workers[workers.index(victim)] = stack.worker()
    return what


@pytest.mark.costly("postgresql")
def test_killed_at_random_it_is_what_nobody_disturbed(stack: Stack) -> None:
    chance = random.Random(0)
    with stack.worker():
        undisturbed = stack.submit_sweep(SWEEP)
        done = stack.wait_for_sweep(undisturbed)
        assert done["status"] == "succeeded", done["error"]
    expected = values(stack, undisturbed)
    assert sorted(expected) == [*range(TRIALS)]

    sweep_id = stack.submit_sweep(SWEEP)
    workers = [stack.worker(), stack.worker()]
    try:
        wait_until(lambda: running_batches(stack, sweep_id), JOB_SECONDS)
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, PAUSE))
            kill_something(stack, workers, chance)
        done = stack.wait_for_sweep(sweep_id, 4 * JOB_SECONDS)
        wait_until(lambda: not stack.checkpoints())
    finally:
        for worker in workers:
            worker.kill()
            worker.close_input()
    assert done["status"] == "succeeded", done["error"]
    assert values(stack, sweep_id) == pytest.approx(expected, rel=1e-6)

    own = shards(stack, sweep_id)
    assert max(shard.attempt for shard in own) > 1
    assert [shard.kind for shard in own].count(ShardKind.MODEL) == 1
    events = events_of(stack.database, sweep_id)
    assert [event.sequence for event in events] == [*range(1, len(events) + 1)]
    trained = Counter(event.data["trial"] for event in events if event.kind == "trial")
    assert trained == dict.fromkeys(range(TRIALS), 1)
    ends = [e.data["status"] for e in events if e.kind == "state" and e.data["status"] in FINISHED]
    assert ends == ["succeeded"]
    with stack.database.reading() as session:
        [model] = session.scalars(select(Model).where(Model.job_id == sweep_id)).all()
    assert done["model_id"] == model.id
    blobs = Blobs(stack.settings.resolved_storage_url)
    assert set(blobs.names(artifacts_key(model.folder))) == set(model.artifacts.values())
    price = stack.price(str(stack.sweep(undisturbed)["model_id"]))
    assert stack.price(model.id) == pytest.approx(price, rel=1e-5)


@pytest.mark.costly("postgresql")
def test_on_two_workers(stack: Stack) -> None:
    """One stack for three sweeps: to start one and its workers takes 20 seconds of a core."""
    with stack.worker(), stack.worker():
        cancelled_half_way_it_keeps_the_best(stack)
        its_time_ends_it_with_what_it_has(stack)
        tpe_learns(stack)


def cancelled_half_way_it_keeps_the_best(stack: Stack) -> None:
    sweep_id = stack.submit_sweep(SWEEP)
    wait_until(lambda: stack.sweep(sweep_id)["best"] is not None, 2 * JOB_SECONDS)
    answer = stack.http.post(f"/v1/sweeps/{sweep_id}/cancel", json={"keep_best": True})
    assert answer.status_code == 202
    done = stack.wait_for_sweep(sweep_id)
    assert done["status"] == "succeeded", done["error"]
    assert done["progress"]["succeeded"] >= 4  # a batch
    assert done["best"]["trial"] in done["members"]
    assert stack.price(done["model_id"]) > 0


def its_time_ends_it_with_what_it_has(stack: Stack) -> None:
    """The batches that train when the time is up are asked for the best weights so far."""
    done = stack.wait_for_sweep(sweep_id := stack.submit_sweep(ENDLESS | {"timeout_s": 6.0}))
    assert done["status"] == "succeeded", done["error"]
    assert done["progress"]["cancelled"] > 0
    assert done["progress"]["succeeded"] > 0
    unserved = [trial for trial in stack.trials(sweep_id) if trial["state"] == "cancelled"]
    assert "time was up" in unserved[0]["error"]


@pytest.mark.parametrize("settings", ["postgresql and redis"], indirect=True)
def test_workers_that_join_take_batches(stack: Stack) -> None:
    sweep_id = stack.submit_sweep(ENDLESS)
    with ExitStack() as crowd:
        crowd.enter_context(stack.worker())
        wait_until(lambda: running_batches(stack, sweep_id) == 1, JOB_SECONDS)
        crowd.enter_context(stack.worker())
        crowd.enter_context(stack.worker())
        wait_until(lambda: running_batches(stack, sweep_id) == 3, JOB_SECONDS)
        owners = {shard.owner for shard in shards(stack, sweep_id) if shard.owner}
        assert len(owners) == 3
        assert stack.http.post(f"/v1/sweeps/{sweep_id}/cancel").status_code == 202
        assert stack.wait_for_sweep(sweep_id)["status"] == "cancelled"


def tpe_learns(stack: Stack) -> None:
    sweep_id = stack.submit_sweep(
        SWEEP | {"sampler": "tpe", "n_trials": 20, "spec": TINY | {"max_epochs": 20}}
    )
    done = stack.wait_for_sweep(sweep_id)
    assert done["status"] == "succeeded", done["error"]
    board = stack.trials(sweep_id)
    assert sorted(trial["trial"] for trial in board) == [*range(20)]
    assert len({tuple(trial["params"].values()) for trial in board}) == 20
    weights = stack.http.get(f"/v1/sweeps/{sweep_id}/importance").json()["data"]
    assert {own["name"] for own in weights} == set(SPACE)
    assert done["expected"]["naive"] == pytest.approx(done["best"]["value"], rel=1e-9)
