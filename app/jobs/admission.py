"""Whether the training machines have room for a job."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Fault, InvalidSpec
from app.operations.readiness import WORKER_SEEN
from app.settings import Settings
from app.storage.database import database_now
from app.storage.tables import Worker
from models.machine import core_rate, usable_cores, usable_memory
from models.planning.estimate import Estimate, Machine, estimate, parameters, served_bytes
from models.spec import TrainingSpec
from models.tables.profile import Profile

MEMORY_SHARE = 0.75  # of a worker's slot, where no limit is set
# A protobuf message cannot be larger: https://protobuf.dev/programming-guides/proto-limits/
MOST_MODEL_BYTES = 2**31 - 1


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


def require_room(spec: TrainingSpec, profile: Profile, room: Room, settings: Settings) -> Estimate:
    """What a resolved spec takes; raises InvalidSpec if no worker has room for it."""
    expected = estimate(spec, profile, Machine(room.cores, core_rate()))
    limit, named = int(room.memory_bytes * MEMORY_SHARE), "three quarters of a worker's memory"
    if settings.max_job_memory_bytes:
        limit, named = settings.max_job_memory_bytes, "max_job_memory_bytes"
    weights = parameters(spec, profile)
    if expected.memory_bytes > limit:
        raise InvalidSpec(
            f"The run is estimated to take {expected.memory_bytes:,} bytes of memory, above "
            f"{named}, {limit:,}. Use fewer hidden units, folds or rows per batch.",
            [Fault(pointer="/architecture", detail=f"{weights:,} weights per fold")],
        )
    served = served_bytes(spec, profile)
    if served > MOST_MODEL_BYTES:
        raise InvalidSpec(
            f"The served model would have {served:,} bytes of weights, but an ONNX file holds at "
            f"most {MOST_MODEL_BYTES:,}. Use fewer hidden units, folds or members per fold.",
            [Fault(pointer="/architecture", detail=f"{weights:,} weights per network")],
        )
    return expected


def _share(cores: int, memory_bytes: int, slots: int) -> Room:
    return Room(max(1, cores // slots), memory_bytes // slots)
