"""A worker's row says that it is there, and what it has for a job when it has gone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.jobs.admission import Room, largest_room
from app.operations.readiness import WORKER_SEEN
from app.storage.database import database_now
from app.storage.tables import Worker
from workers import registration
from workers.registration import Registration
from workers.slots import Slots
from workers.workplace import Workplace


def alive(workplace: Workplace) -> int:
    seen = select(func.count()).where(Worker.seen_at > database_now(-WORKER_SEEN))
    with workplace.database.reading() as session:
        return session.scalar(seen) or 0


def test_a_probe_sees_a_worker_that_goes_round(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sign = tmp_path / "sign"
    monkeypatch.setattr(registration, "SIGN_OF_LIFE", sign)
    own = Registration(workplace, Slots(workplace.settings))
    own.refresh()
    os.utime(sign, (0, 0))
    workplace.database.close()
    monkeypatch.setattr(workplace.database, "writing", lambda: pytest.fail("away"))
    with pytest.raises(pytest.fail.Exception, match="away"):
        own.refresh()
    assert sign.stat().st_mtime > 0
    # A sign that belongs to someone else does not keep the worker from reporting.
    monkeypatch.undo()
    monkeypatch.setattr(registration, "SIGN_OF_LIFE", tmp_path / "nowhere" / "sign")
    own.refresh()
    assert alive(workplace) == 1


def test_one_that_went_is_not_there_but_what_it_had_is_known(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "usable_cores", lambda: 48)
    monkeypatch.setattr(registration, "usable_memory", lambda: 2**40)
    slots = Slots(workplace.settings)
    own = Registration(workplace, slots)
    own.refresh()
    own.refresh()
    assert alive(workplace) == 1
    own.withdraw()
    assert alive(workplace) == 0
    with workplace.database.reading() as session:
        assert largest_room(session, slots=1) == Room(48, 2**40)

    Registration(replace(workplace, owner="wrk_next"), slots).refresh()
    with workplace.database.reading() as session:
        assert session.scalars(select(Worker.id)).all() == ["wrk_next"]
