"""Jobs are admitted by the figures of the workers, not by those of the API's machine."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient
from house_api import resources_of, upload

from app.ids import new_id
from app.jobs.admission import Room, largest_room
from app.operations.readiness import WORKER_SEEN
from app.storage.database import Database, database_now
from app.storage.tables import Worker
from models.machine import usable_cores, usable_memory

GIB = 1024**3


def register(database: Database, seen_before: float = 0.0, **columns: Any) -> None:
    row = {"cores": 4, "memory_bytes": 8 * GIB, "slots": 1, **columns}
    with database.writing() as session:
        session.add(
            Worker(
                id=new_id("wrk"),
                hostname="there",
                boot_id="boot",
                pid=1,
                device="cpu",
                version="1",
                seen_at=database_now(-seen_before),
                **row,
            )
        )


def room(database: Database) -> Room:
    with database.reading() as session:
        return largest_room(session, slots=1)


def test_the_largest_worker_that_is_alive(database: Database) -> None:
    assert room(database) == Room(usable_cores(), usable_memory())
    register(database, cores=None, memory_bytes=None)  # of an earlier version
    assert room(database) == Room(usable_cores(), usable_memory())
    register(database, seen_before=2 * WORKER_SEEN, memory_bytes=64 * GIB)
    register(database, seen_before=3 * WORKER_SEEN, memory_bytes=512 * GIB)
    assert room(database) == Room(4, 64 * GIB)  # all have gone: the last one
    register(database, memory_bytes=2 * GIB)
    assert room(database) == Room(4, 2 * GIB)
    register(database, seen_before=WORKER_SEEN / 2, cores=9, memory_bytes=16 * GIB, slots=4)
    assert room(database) == Room(2, 4 * GIB)  # not the one that was seen last
    register(database, cores=1, memory_bytes=16 * GIB, slots=3)
    assert room(database) == Room(1, 16 * GIB // 3)


def test_a_spec_is_held_against_a_workers_memory(client: TestClient) -> None:
    upload(client)
    spec = {"dataset_id": "latest", "target": "Price", "architecture": {"type": "linear"}}
    before = client.post("/v1/jobs:validate", json=spec)
    register(resources_of(client).database, memory_bytes=GIB // 2)
    refused = client.post("/v1/jobs:validate", json=spec)

    assert (before.status_code, refused.status_code) == (200, 422)
    limit = f"above three quarters of a worker's memory, {GIB * 3 // 8:,}"
    assert limit in refused.json()["detail"]
