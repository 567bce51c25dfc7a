"""`make partitions`: machines that lose each other, and what was lost by that.

    python tests/acceptance/partitions.py [--partitions 20] [--seed 0]

The API, two workers, PostgreSQL and Redis each have a network namespace of their own, and share a
folder as storage. The second worker's clock is ten minutes fast. Links between two of them are cut
without a sign, so that packets vanish, or one link is slow. After some seconds they heal. Jobs are
submitted all the time, also through a cut. A line for each partition says how long the API took to
answer meanwhile, and after how many seconds it was ready again and both workers trained. In the
end each job is looked at as `make chaos` does.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos import FINISH_SECONDS, harm_to, unfinished
from chaos import SPEC as CHAOS_SPEC
from hosts import Host, Network
from polling import wait_until
from services import SERVER_START_SECONDS
from sqlalchemy import select
from stack import Stack
from worker_process import START_SECONDS

from app.jobs.attempts import LEASE
from app.settings import Settings
from app.storage.database import DATABASE_AWAY, Database
from app.storage.migrate import upgrade
from app.storage.tables import Shard, State

CUTS = {
    "a worker and the database": [("worker", "database")],
    "a worker and the broker": [("worker", "broker")],
    "a worker and both": [("worker", "database"), ("worker", "broker")],
    "the API and the database": [("api", "database")],
    "the API and the broker": [("api", "broker")],
    "the two workers": [("worker", "second worker")],
}
SLOW = "a worker's link is slow"
HOLDS = (5.0, LEASE + 5.0)  # seconds: the shard's worker keeps it, and another takes it over

SPEC = CHAOS_SPEC | {"baselines": []}  # so that a job that runs shows progress nearly all the time
UNFINISHED = 3  # jobs: both workers always have one
# A statement on a dead connection fails after 10 s, a new connection after 5 s.
ANSWER_SECONDS = 20.0
RECOVERY_SECONDS = 45.0


@dataclass
class Machines:
    """`accepted`: the jobs answered with 202. `refused`: keys of submits that were not."""

    stack: Stack
    network: Network
    hosts: dict[str, Host]
    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _submits: int = 0

    def submit(self) -> None:
        """Jobs until enough of them wait or run. Refused ones are repeated under their keys."""
        keys, self.refused = self.refused, []
        missing = UNFINISHED - len(unfinished(self.stack, self.accepted)) - len(keys)
        for key in keys + [self._new_key() for _ in range(missing)]:
            self.accepted.append(self.stack.submit(SPEC, key=key))

    def submit_through(self, event: str) -> float:
        """One job and a list of all while links are cut. The seconds that the slower one took."""
        key, slowest = self._new_key(), 0.0
        body = {"dataset_id": "latest", "target": "price", **SPEC}
        for method, content in (("POST", body), ("GET", None)):
            began = time.monotonic()
            answer = self.stack.http.request(
                method, "/v1/jobs", json=content, headers={"Idempotency-Key": key}
            )
            slowest = max(slowest, time.monotonic() - began)
            if event == "the API and the database":
                assert answer.status_code == 503, answer.text
                assert answer.json()["type"].endswith("/unavailable"), answer.text
            elif method == "POST":
                assert answer.status_code == 202, answer.text
                self.accepted.append(answer.json()["id"])
            else:
                assert answer.json()["data"][0]["id"] == self.accepted[-1], answer.text
        if answer.status_code == 503:
            self.refused.append(key)
        assert slowest < ANSWER_SECONDS, f"an answer took {slowest:.0f} s"
        return slowest

    def partition(self, event: str, hold: float) -> tuple[float, float]:
        """Seconds of the slowest answer meanwhile, and from the end of it to the recovery."""
        self.submit()
        with self._trouble(event):
            until = time.monotonic() + hold
            answered = self.submit_through(event)
            time.sleep(max(0.0, until - time.monotonic()))
        healed = time.monotonic()
        self.wait_for_both(RECOVERY_SECONDS)
        return answered, time.monotonic() - healed

    def wait_for_both(self, seconds: float) -> None:
        """Until the API is ready and both workers got on with a shard."""
        before = self._training()
        moved: set[str] = set()
        wait_until(self._is_ready, seconds)
        self.submit()

        def got_on() -> bool:
            moved.update(owner for owner, *_ in self._training(excluding=before))
            return len(moved) == 2

        wait_until(got_on, seconds)

    @contextmanager
    def _trouble(self, event: str) -> Iterator[None]:
        pairs = [(self.hosts[one], self.hosts[other]) for one, other in CUTS.get(event, [])]
        with ExitStack() as healing:
            if event == SLOW:
                self.network.slow_down(self.hosts["worker"])
                healing.callback(self.network.speed_up, self.hosts["worker"])
            for pair in pairs:
                self.network.cut(*pair)
                healing.callback(self.network.heal, *pair)
            yield

    def _training(self, excluding: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Owner, shard, attempt and progress of each attempt whose child has reported."""
        columns = (Shard.owner, Shard.id, Shard.attempt, Shard.progress)
        running = select(*columns).where(Shard.state == State.RUNNING)
        with self.stack.database.reading() as session:
            rows = session.execute(running.where(Shard.progress.is_not(None))).all()
        return [found for row in rows if (found := tuple(row)) not in excluding]

    def _is_ready(self) -> bool:
        answer = self.stack.http.get("/readyz")
        return answer.status_code == 200 and answer.json()["workers"] == 2

    def _new_key(self) -> str:
        self._submits += 1
        return f"submit {self._submits}"

    def harm(self) -> dict[str, dict[str, str]]:
        """Once all have finished: by job and kind, what went wrong. None may fail, as no process
        dies."""
        wait_until(lambda: not unfinished(self.stack, self.accepted), FINISH_SECONDS)
        wait_until(lambda: not self.stack.checkpoints())
        found = {job_id: harm_to(self.stack, job_id) for job_id in self.accepted}
        for job_id, harm in found.items():
            if self.stack.job(job_id)["status"] != "succeeded":
                harm["lost"] = str(self.stack.job(job_id)["error"])
        return {job_id: harm for job_id, harm in found.items() if harm}

    def attempts(self) -> int:
        return sum(self.stack.job(job_id)["attempt"] for job_id in self.accepted)


@contextmanager
def machines() -> Iterator[Machines]:
    """With the API and both workers ready, and a table uploaded.

    Raises
    ------
    RuntimeError: something is missing for it.
    """
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="foldhouse-hosts-")))
        folder.chmod(0o755)  # for the user that PostgreSQL runs as
        network = Network()
        cleanup.callback(network.close)
        names = ("database", "broker", "api", "worker", "second worker")
        hosts = {name: network.add_host() for name in names}
        broker_url = redis(hosts["broker"], folder / "redis", cleanup)
        settings = Settings(
            data_dir=folder / "data",
            database_url=postgres(hosts["database"], folder / "postgres", cleanup),
            broker_url=broker_url,
            device="cpu",
            trusted_network=True,
            allowed_hosts=hosts["api"].address,
        )
        upgrade(settings.resolved_database_url)
        stack = Stack(settings, hosts["api"])
        cleanup.callback(stack.close)
        stack.start_api()
        stack.upload()
        storage = settings.resolved_storage_url
        clock: list[str] = []
        for name in ("worker", "second worker"):
            own = {"data_dir": folder / name, "storage_url": storage}
            worker = stack.worker(within=[*hosts[name].within, *clock], **own)
            cleanup.enter_context(worker)
            clock = fast_clock(folder)
        installation = Machines(stack, network, hosts)
        installation.wait_for_both(4 * START_SECONDS)
        yield installation


def fast_clock(folder: Path) -> list[str]:
    """What begins a command whose clock is ten minutes fast."""
    library, source = folder / "fast_clock.so", Path(__file__).with_name("fast_clock.c")
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    except FileNotFoundError as error:
        raise RuntimeError("there is no C compiler") from error
    return ["env", f"LD_PRELOAD={library}"]


def redis(host: Host, folder: Path, cleanup: ExitStack) -> str:
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed")
    folder.mkdir()
    options = ["--dir", str(folder), "--bind", host.address, "--protected-mode", "no"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*host.within, program, *options], stdout=log, stderr=log)
    cleanup.callback(end, process, signal.SIGKILL)
    return f"redis://{host.address}:6379/0"


def postgres(host: Host, folder: Path, cleanup: ExitStack) -> str:
    """It refuses to run as root, so it runs as the user whom Debian makes for it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        raise RuntimeError("PostgreSQL's server is not installed")
    folder.mkdir()
    shutil.chown(folder, "postgres", "postgres")
    user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    initdb = [programs[-1], "-D", folder, "-U", "foldhouse", "-A", "trust", "--no-sync"]
    subprocess.run([*user, *initdb], stdout=subprocess.DEVNULL, cwd=folder, check=True)
    with (folder / "pg_hba.conf").open("a") as access:
        access.write("host all all samenet trust\n")
    settings = [f"listen_addresses={host.address}", "unix_socket_directories=", "fsync=off"]
    server = [programs[-1].with_name("postgres"), "-D", folder]
    for setting in settings:
        server += ["-c", setting]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*host.within, *user, *server], stdout=log, stderr=log, cwd=folder
        )
    cleanup.callback(end, process, signal.SIGQUIT)  # it leaves no shared memory
    url = f"postgresql+psycopg://foldhouse@{host.address}/postgres"
    wait_until(lambda: accepts(url), SERVER_START_SECONDS)
    return url


def accepts(url: str) -> bool:
    database = Database(url)
    try:
        with database.engine.connect():
            return True
    except DATABASE_AWAY:
        return False
    finally:
        database.close()


def end(process: subprocess.Popen[bytes], by: signal.Signals) -> None:
    process.send_signal(by)
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut links at random, count what is lost.")
    parser.add_argument("--partitions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    chance = random.Random(given.seed)
    print(f"{given.partitions} partitions, seed {given.seed}", flush=True)
    with machines() as installation:
        recovered = []
        for _ in range(given.partitions):
            event, hold = chance.choice([*CUTS, SLOW]), chance.choice(HOLDS)
            answered, seconds = installation.partition(event, hold)
            recovered.append(seconds)
            print(
                f"  {event}, {hold:.0f} s: answers in {answered:.1f} s, "
                f"recovered after {seconds:.1f} s",
                flush=True,
            )
        harm = installation.harm()
        kinds = Counter(kind for found in harm.values() for kind in found)
        jobs, attempts = len(installation.accepted), installation.attempts()
    print(f"  recovery: {max(recovered):.1f} s at most; {jobs} jobs in {attempts} attempts")
    print("  " + ", ".join(f"{kind}: {kinds[kind]}" for kind in ("lost", "twice", "corrupt")))
    for job_id, found in harm.items():
        print(f"  {job_id}: {found}")
    sys.exit(1 if harm else 0)


if __name__ == "__main__":
    main()
