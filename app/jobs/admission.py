"""The resources that the training machines have for one job."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.operations.readiness import WORKER_SEEN
from app.storage.database import database_now
from app.storage.tables import Worker
from models.machine import usable_cores, usable_memory


@dataclass(frozen=True)
class Room:
    """One slot's share of a machine: cores, and bytes of memory."""

    cores: int
    memory_bytes: int


def largest_room(session: Session, slots: int) -> Room:
    """The room of the workers that are alive, or else of the one seen last.

    Before any worker has registered: the room of a worker on this machine with `slots` slots.
    """
    alive = Worker.seen_at > database_now(-WORKER_SEEN)
    registered = session.execute(
        select(Worker.cores, Worker.memory_bytes, Worker.slots, alive.label("alive"))
        .where(Worker.cores.is_not(None))
        .order_by(Worker.seen_at.desc())
    ).all()
    rooms = [
        _share(worker.cores, worker.memory_bytes, worker.slots)
        for worker in registered
        if worker.alive or worker is registered[0]
    ]
    if not rooms:
        return _share(usable_cores(), usable_memory(), slots)
    return max(rooms, key=lambda room: (room.memory_bytes, room.cores))


def _share(cores: int, memory_bytes: int, slots: int) -> Room:
    return Room(max(1, cores // slots), memory_bytes // slots)
