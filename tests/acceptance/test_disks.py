"""Files that were damaged are refused by name; a disk that is full costs nothing but time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from polling import wait_until
from sqlalchemy import select
from stack import ENDLESS, JOB_SECONDS, SHORT, Json, Stack, embedded, houses, running
from worker_process import WorkerProcess

from app.settings import Settings
from app.storage.blobs import artifact_key
from app.storage.migrate import upgrade
from app.storage.tables import MAX_ATTEMPTS, Event, Model

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(400)]

DISK_BYTES = 16 * 1024 * 1024


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# A file is read alike whichever database and broker are beside it: these run on one stack.


@pytest.mark.parametrize("settings", ["sqlite and files"], indirect=True)
def test_a_damaged_checkpoint_is_passed_over(stack: Stack) -> None:
    """For the one before it; two jobs at once, one for each kind of damage."""
    jobs = [stack.submit(ENDLESS), stack.submit(ENDLESS)]
    with stack.worker(slots=2):
        wait_until(lambda: len(stack.checkpoints()) == 4, JOB_SECONDS)
        reached = {job_id: stack.epoch(job_id) for job_id in jobs}
    broken: dict[str, str] = {}
    for job_id, damage in zip(jobs, (flip_a_bit, truncate), strict=True):
        kept = map(Path, stack.checkpoints(stack.shard(job_id)))
        newest = max(kept, key=lambda path: path.stat().st_mtime_ns)
        damage(newest)
        broken[job_id] = f"{newest.parent.name}/{newest.name} is broken"
    with stack.worker(slots=2) as worker:
        seen: dict[str, int] = {}

        def both_went_on() -> bool:
            for job_id in set(jobs) - set(seen):
                if broken[job_id] in worker.log() and (epoch := stack.epoch(job_id)):
                    seen[job_id] = epoch
            return len(seen) == len(jobs)

        wait_until(both_went_on, JOB_SECONDS)
        for job_id in jobs:
            assert stack.job(job_id)["attempt"] == 2
            # The one before is half as old; from the start it is the first few.
            assert seen[job_id] > reached[job_id] / 4
            assert stack.cancel(job_id).status_code == 202


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Json]]:
    """A stack with a worker, and its first job, which has succeeded."""
    with running(embedded(tmp_path_factory.mktemp("trained"))) as stack, stack.worker():
        stack.upload()
        yield stack, stack.wait(stack.submit(SHORT), "succeeded", "failed")


def test_a_changed_artifact_is_refused_by_name(trained: tuple[Stack, Json]) -> None:
    stack, done = trained
    model_id = done["result"]["model_id"]
    with stack.database.reading() as session:
        model = session.scalars(select(Model)).one()
    folder, artifacts = model.folder, model.artifacts
    storage = Path(stack.settings.resolved_storage_url)
    requests = {
        "core.onnx": f"/v1/models/{model_id}/predict",
        "manifest.json": f"/v1/models/{model_id}",
        "model.onnx": f"/v1/models/{model_id}/export?format=onnx",
        "weights.safetensors": f"/v1/models/{model_id}/export",
        "oof.parquet": f"/v1/jobs/{done['id']}/oof",
        "report.html": f"/v1/jobs/{done['id']}/report",
        "charts.json": f"/v1/jobs/{done['id']}/charts",
        "roles.parquet": "/v1/jobs:validate",
    }
    bodies = {
        "core.onnx": {"rows": [{"area": 100, "rooms": 3, "street": "Pave"}]},
        "roles.parquet": {
            "dataset_id": "latest",
            "target": "price",
            "initialize_from": model_id,
        },
    }
    assert requests.keys() == artifacts.keys()
    for name, address in requests.items():
        path = storage / artifact_key(folder, artifacts[name])
        whole = path.read_bytes()
        flip_a_bit(path)
        if name in bodies:
            answer = stack.http.post(address, json=bodies[name])
        else:
            answer = stack.http.get(address)
        assert answer.status_code == 503, name
        assert answer.json()["type"].endswith("/damaged-file")
        assert name in answer.json()["detail"]
        path.write_bytes(whole)
    assert stack.price(model_id) > 0


def test_a_changed_table_is_refused_by_name(trained: tuple[Stack, Json]) -> None:
    stack, _ = trained
    dataset = stack.upload(houses(seed=1))["id"]
    folder = Path(stack.settings.resolved_storage_url) / "datasets" / dataset
    flip_a_bit(folder / "table.csv")
    answer = stack.http.get(f"/v1/datasets/{dataset}/content")
    assert answer.status_code == 503
    assert "table.csv" in answer.json()["detail"]
    truncate(folder / "table.parquet")
    body = {"dataset_id": dataset, "target": "price"}
    answer = stack.http.post("/v1/jobs:validate", json=body)
    assert answer.status_code == 503
    assert "table.parquet" in answer.json()["detail"]
    failed = stack.wait(stack.submit(SHORT), "succeeded", "failed")
    assert (failed["status"], failed["attempt"]) == ("failed", 1)
    assert "table.parquet is missing from storage or was changed" in failed["error"]["detail"]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        # Also in CI: a container has the services, but often not the right to mount.
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(disk: Path, *, but: int = 0) -> Iterator[None]:
    """Nothing is left of it but so many bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, file.tell() - but))
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as folder:
        yield folder


@pytest.fixture
def stack_on_disk(settings: Settings, disk: Path) -> Iterator[Stack]:
    """All files lie on the small disk, and SQLite's database too."""
    own = settings.model_copy(update={"data_dir": disk / "data"})
    if not own.broker_url:
        (disk / "data").mkdir()
        own = own.model_copy(update={"database_url": f"sqlite:///{disk}/data/foldhouse.sqlite"})
        upgrade(own.database_url)
    with running(own) as stack:
        yield stack


def files_of_tables(stack: Stack) -> list[Path]:
    roots = (stack.settings.root / "tmp", Path(stack.settings.resolved_storage_url) / "datasets")
    return [path for root in roots for path in root.rglob("*") if path.is_file()]


def test_a_full_disk_at_an_upload(stack_on_disk: Stack, disk: Path) -> None:
    csv = houses(rows=20_000)
    with filled(disk, but=len(csv) // 2):
        answer = stack_on_disk.http.post(
            "/v1/datasets", content=csv, headers={"Content-Type": "text/csv"}
        )
        assert answer.status_code == 507
        assert answer.json()["type"].endswith("/out-of-space")
        assert files_of_tables(stack_on_disk) == []
        assert stack_on_disk.http.get("/v1/datasets").json()["data"] == []
    assert stack_on_disk.upload(csv)["rows"] == 20_000


@pytest.mark.parametrize("settings", ["sqlite and files"], indirect=True)
def test_a_full_disk_at_a_submit(stack_on_disk: Stack, disk: Path) -> None:
    """Where the database lies on it; PostgreSQL's disk is another one."""
    stack_on_disk.upload()
    body = {"dataset_id": "latest", "target": "price", **SHORT}
    with filled(disk):
        answers = [stack_on_disk.http.post("/v1/jobs", json=body) for _ in range(20)]
    assert {answer.status_code for answer in answers} <= {202, 507}
    refused = [answer for answer in answers if answer.status_code == 507]
    assert refused
    assert refused[0].json()["type"].endswith("/out-of-space")
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    listed = stack_on_disk.http.get("/v1/jobs").json()["data"]
    assert sorted(job["id"] for job in listed) == sorted(accepted)
    assert stack_on_disk.submit(SHORT)


@pytest.mark.parametrize("settings", ["postgresql and redis"], indirect=True)
def test_a_full_disk_at_the_model_and_while_training(stack_on_disk: Stack, disk: Path) -> None:
    """At the model the attempt is lost by name, nothing half is registered, and the next one
    succeeds; at a checkpoint there is none for a while, and training goes on. With SQLite on the
    same disk there would be no attempt."""
    stack_on_disk.upload()
    with stack_on_disk.worker() as worker:
        worker.wait_until_ready()
        with filled(disk):
            job_id = stack_on_disk.submit(SHORT)
            wait_until(lambda: told(stack_on_disk, job_id), JOB_SECONDS)
            assert stack_on_disk.http.get("/v1/models").json()["data"] == []
        done = stack_on_disk.wait(job_id, "succeeded", "failed")
        assert done["status"] == "succeeded", done["error"]
        assert done["max_attempts"] == MAX_ATTEMPTS + done["attempt"] - 1  # none was used up
        assert stack_on_disk.price(done["result"]["model_id"]) > 0

        wait_until(lambda: not stack_on_disk.checkpoints())
        job_id = stack_on_disk.submit(ENDLESS)
        wait_until(stack_on_disk.checkpoints, JOB_SECONDS)
        missed = misses(worker)
        with filled(disk):
            wait_until(lambda: misses(worker) > missed, JOB_SECONDS)
        assert stack_on_disk.cancel(job_id, keep_best=True).status_code == 202
        done = stack_on_disk.wait(job_id, "succeeded", "failed", seconds=2 * JOB_SECONDS)
    assert (done["status"], done["attempt"]) == ("succeeded", 1), done["error"]


def misses(worker: WorkerProcess) -> int:
    return worker.log().count("no checkpoint this time")


def told(stack: Stack, job_id: str) -> bool:
    """Whether the job's history names the disk."""
    with stack.database.reading() as session:
        events = session.scalars(select(Event).where(Event.job_id == job_id)).all()
    return any("its disk or its storage is full" in (e.data.get("detail") or "") for e in events)
