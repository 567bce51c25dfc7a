"""Hints are sent again, and do not pile up."""

from __future__ import annotations

import pytest
from jobs_in_database import claim, submit

from app.queue.dispatch import Hints
from app.storage.database import Database
from workers.dispatcher import RESEND_INTERVAL, Dispatcher
from workers.slots import Slots
from workers.workplace import Workplace


class RecordedHints(Hints):
    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, shard_id: str) -> None:
        self.sent.append(shard_id)


@pytest.fixture
def slots(workplace: Workplace) -> Slots:
    return Slots(workplace.settings.model_copy(update={"slots": 2}))


def test_no_more_hints_than_free_slots(database: Database, slots: Slots) -> None:
    shards = [submit(database).id for _ in range(5)]
    hints = RecordedHints()
    dispatcher = Dispatcher(database, hints, slots)
    with slots.taken():
        with slots.taken():
            dispatcher.send_due()
            assert hints.sent == []
        dispatcher.send_due()
        assert hints.sent == shards[:1]
    dispatcher.send_due()
    assert hints.sent == shards[:2]


def test_a_hint_is_sent_again_after_a_while(
    database: Database, slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = submit(database)
    hints = RecordedHints()
    dispatcher = Dispatcher(database, hints, slots)
    now = 1000.0
    monkeypatch.setattr("workers.dispatcher.time.monotonic", lambda: now)
    dispatcher.send_due()
    dispatcher.send_due()
    assert hints.sent == [shard.id]
    now += RESEND_INTERVAL
    dispatcher.send_due()
    assert hints.sent == [shard.id] * 2


def test_no_hint_for_a_shard_that_runs_or_waits(database: Database, slots: Slots) -> None:
    shard = submit(database)
    claim(database, shard)
    hints = RecordedHints()
    Dispatcher(database, hints, slots).send_due()
    assert hints.sent == []
