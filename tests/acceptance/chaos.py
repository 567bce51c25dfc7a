"""`make chaos`: kills random processes at random moments, and counts what was lost.

    python tests/acceptance/chaos.py [--cycles 60] [--stack sqlite|postgresql] [--seed 0]

A cycle submits a job or a sweep, in turn, starts what is missing, and after a while sends SIGKILL
to the API, to the worker, to the child that trains, to all three, or takes the broker's messages
away. In the end everything is started once more and all must finish. Then each accepted job is
looked at:

    lost            it is not there, or it never finished
    finished twice  it has two models, or two ends in its history
    corrupt         its model's files do not price rows, or its out-of-fold rows or epochs have gaps

A job whose child was killed three times ends as `failed` with attempts_exhausted, as it should, and
counts as none of these. All sweeps draw the same trials: each must have all of them, each trained
to its end once, with the value that it has in the other sweeps. PostgreSQL must answer on
127.0.0.1:5432 and redis-server be installed for the second stack.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from math import isclose
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from polling import wait_until
from services import RedisServer, postgres_database
from sqlalchemy import select
from stack import Stack
from test_sweeping import SWEEP, TRIALS
from worker_process import WorkerProcess

from app.ids import is_sweep
from app.settings import Settings
from app.storage.migrate import upgrade
from app.storage.tables import FINISHED, Event, Model

CYCLE_SECONDS = 6.0  # at the most, from the start to the kill
FINISH_SECONDS = 600.0
EPOCHS, FOLDS = 600, 2
SPEC: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [32]},
    "k_folds": FOLDS,
    "batch_size": 16,
    "max_epochs": EPOCHS,
    "early_stopping": None,
}


class Installation:
    """A stack whose processes come and go."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._worker: WorkerProcess | None = None

    def start_what_is_missing(self) -> None:
        if self.stack.api.poll() is not None:
            self.stack.start_api()
        if self._worker is None or self._worker.process.poll() is not None:
            self._worker = self.stack.worker()

    def kill_api(self) -> None:
        self.stack.kill_api()

    def kill_worker(self) -> None:
        assert self._worker is not None
        self._worker.process.kill()
        self._worker.process.wait()

    def kill_child(self) -> None:
        """All that descend from the worker: the one that trains, and the one it was forked from."""
        assert self._worker is not None
        for child in self._worker.children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def kill_everything(self) -> None:
        self.kill_worker()
        self.kill_api()

    def wipe_broker(self) -> None:
        if self.stack.on_redis:
            with redis.Redis.from_url(self.stack.settings.broker_url) as server:
                server.flushall()
        else:
            shutil.rmtree(self.stack.settings.root / "broker", ignore_errors=True)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill processes at random, count what is lost.")
    parser.add_argument("--cycles", type=int, default=60)
    parser.add_argument("--stack", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    bad = 0
    for kind in given.stack or ["sqlite", "postgresql"]:
        print(f"{kind}: {given.cycles} cycles, seed {given.seed}", flush=True)
        with installed(kind) as stack:
            bad += run(stack, given.cycles, random.Random(given.seed))
    sys.exit(1 if bad else 0)


@contextmanager
def installed(kind: str) -> Iterator[Stack]:
    """A stack of its own, with its API started and a table uploaded."""
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="foldhouse-chaos-")))
        settings = Settings(data_dir=folder / "data", device="cpu")
        if kind == "postgresql":
            program = shutil.which("redis-server")
            if program is None:
                sys.exit("redis-server is not installed")
            server = RedisServer(program, folder / "redis")
            cleanup.callback(server.stop)
            settings = settings.model_copy(
                update={
                    "database_url": cleanup.enter_context(postgres_database()),
                    "broker_url": server.url,
                }
            )
        settings.root.mkdir(exist_ok=True)
        upgrade(settings.resolved_database_url)
        stack = Stack(settings)
        cleanup.callback(stack.close)
        stack.start_api()
        stack.upload()
        yield stack


def run(stack: Stack, cycles: int, chance: random.Random) -> int:
    """How many jobs came to harm."""
    installation = Installation(stack)
    killings: list[Callable[[], None]] = [
        installation.kill_api,
        installation.kill_worker,
        installation.kill_child,
        installation.kill_everything,
        installation.wipe_broker,
    ]
    accepted: list[str] = []
    done: Counter[str] = Counter()
    try:
        for cycle in range(cycles):
            installation.start_what_is_missing()
            if len(unfinished(stack, accepted)) < 4:
                as_sweep = len(accepted) % 2 == 1
                accepted.append(
                    stack.submit_sweep(SWEEP, key=f"cycle {cycle}")
                    if as_sweep
                    else stack.submit(SPEC, key=f"cycle {cycle}")
                )
            time.sleep(chance.uniform(0, CYCLE_SECONDS))
            killing = chance.choice(killings)
            killing()
            done[killing.__name__] += 1
        installation.start_what_is_missing()
        with suppress(pytest.fail.Exception):  # after the deadline, what is lost is counted
            wait_until(lambda: not unfinished(stack, accepted), FINISH_SECONDS)
        harm = {job_id: found for job_id in accepted if (found := harm_to(stack, job_id))}
        for sweep_id in differing(stack, [one for one in accepted if is_sweep(one)]):
            harm.setdefault(sweep_id, {})["corrupt"] = "its trials have other values"
        states = Counter(shown(stack, job_id)["status"] for job_id in accepted)
    finally:
        installation.close()
    print(f"  {', '.join(f'{name} {count}' for name, count in sorted(done.items()))}")
    print(f"  {len(accepted)} jobs: {', '.join(f'{n} {state}' for state, n in states.items())}")
    kinds = Counter(kind for found in harm.values() for kind in found)
    print("  " + ", ".join(f"{kind}: {kinds[kind]}" for kind in ("lost", "twice", "corrupt")))
    for job_id, found in harm.items():
        print(f"  {job_id}: {found}")
    return len(harm)


def unfinished(stack: Stack, jobs: list[str]) -> list[str]:
    return [job_id for job_id in jobs if shown(stack, job_id)["status"] not in FINISHED]


def shown(stack: Stack, job_id: str) -> dict[str, Any]:
    return stack.sweep(job_id) if is_sweep(job_id) else stack.job(job_id)


def harm_to(stack: Stack, job_id: str) -> dict[str, str]:
    """By kind, what is wrong with an accepted job."""
    try:
        return harm_found(stack, shown(stack, job_id))
    except httpx.HTTPStatusError as error:
        return {"lost" if error.response.status_code == 404 else "corrupt": str(error)}


def harm_found(stack: Stack, job: dict[str, Any]) -> dict[str, str]:
    job_id = job["id"]
    if job["status"] not in FINISHED:
        return {"lost": f"it is {job['status']}"}
    with stack.database.reading() as session:
        models = session.scalars(select(Model.id).where(Model.job_id == job_id)).all()
        of_job = select(Event).where(Event.job_id == job_id, Event.kind == "state")
        events = session.scalars(of_job).all()
    ends = [event for event in events if event.data["status"] in FINISHED]
    if len(ends) != 1 or len(models) != (job["status"] == "succeeded"):
        return {"twice": f"{len(ends)} ends and {len(models)} models"}
    if is_sweep(job_id) and (fault := lost_trials(stack, job_id)):
        return {"lost": fault}
    if job["status"] == "failed" and "attempts_exhausted" not in job["error"]["title"]:
        return {"lost": job["error"]["detail"]}
    find = corruption_of_sweep if is_sweep(job_id) else corruption
    if job["status"] == "succeeded" and (fault := find(stack, job)):
        return {"corrupt": fault}
    return {}


def lost_trials(stack: Stack, sweep_id: str) -> str | None:
    """Which of a sweep's trials are missing, or ended twice, or have failed without a kill."""
    board = {trial["trial"]: trial for trial in stack.trials(sweep_id)}
    if sorted(board) != [*range(TRIALS)]:
        return f"trials {sorted(board)} of {TRIALS}"
    with stack.database.reading() as session:
        of_sweep = select(Event).where(Event.job_id == sweep_id, Event.kind == "trial")
        ended = Counter(event.data["trial"] for event in session.scalars(of_sweep))
    if twice := [number for number, times in ended.items() if times > 1]:
        return f"trials {twice} ended twice"
    odd = [
        trial["error"]
        for trial in board.values()
        if trial["state"] != "succeeded" and "died" not in str(trial["error"])
    ]
    return "; ".join(odd) or None


def differing(stack: Stack, sweeps: list[str]) -> list[str]:
    """Those of which a trial has another value than in the first that has it."""
    first: dict[int, float] = {}
    found = []
    for sweep_id in sweeps:
        for trial in stack.trials(sweep_id):
            if trial["state"] != "succeeded":
                continue
            known = first.setdefault(trial["trial"], trial["value"])
            if not isclose(trial["value"], known, rel_tol=1e-6):
                found.append(sweep_id)
    return found


def corruption_of_sweep(stack: Stack, sweep: dict[str, Any]) -> str | None:
    stack.price(sweep["model_id"])
    scored = {trial["trial"] for trial in stack.trials(sweep["id"]) if trial["value"] is not None}
    return None if sweep["best"]["trial"] in scored else "its best trial has no value"


def corruption(stack: Stack, job: dict[str, Any]) -> str | None:
    """What is wrong with the files and rows of a finished job."""
    export = stack.http.get(f"/v1/models/{job['result']['model_id']}/export")
    if export.status_code != 200:
        return export.text
    stack.price(job["result"]["model_id"])
    rows = stack.http.get(f"/v1/jobs/{job['id']}/oof").json()["data"]
    if len({row["row"] for row in rows}) != len(rows) or not rows:
        return "out-of-fold rows are missing or there twice"
    curve = stack.http.get(f"/v1/jobs/{job['id']}/metrics").json()["data"]
    expected = [(fold, epoch) for fold in range(FOLDS) for epoch in range(1, EPOCHS + 1)]
    if [(row["fold"], row["epoch"]) for row in curve] != expected:
        return f"{len(curve)} epochs of {len(expected)}"
    return None


if __name__ == "__main__":
    main()
