"""Streams of events: from the history, live, resumed and by several processes."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from house_api import resources_of, submit, upload
from jobs_in_database import events_of
from listening import listening
from polling import wait_until
from sqlalchemy import event
from streams import PROGRESS, Received, begin, end, learn, received

from app.http.observe import RequestMetrics
from app.jobs import broadcast
from app.jobs.broadcast import KEPT, Broadcast, Channel
from app.jobs.event_schemas import EpochEvent, FoldEvent, ResultEvent, StateEvent
from app.jobs.history import EPOCHS_PER_EVENT
from app.jobs.messages import Message
from app.settings import Settings
from app.storage.database import Database

KINDS = {"state": StateEvent, "epoch": EpochEvent, "fold": FoldEvent, "result": ResultEvent}
HEADERS = {"Host": "localhost"}
WATCHERS = 200


def replayed(client: TestClient, job_id: str, after: int = 0) -> list[Received]:
    answer = client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": str(after)})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    return list(received(answer.text.splitlines()))


@contextmanager
def watching(url: str, job_id: str, after: int = 0) -> Iterator[Iterator[Received]]:
    headers = {**HEADERS, "Last-Event-ID": str(after)}
    address = f"{url}/v1/jobs/{job_id}/events"
    with httpx.stream("GET", address, headers=headers, timeout=30) as answer:
        assert answer.status_code == 200
        yield received(answer.iter_lines())


def test_a_finished_job_is_replayed_from_any_number(both_clients: TestClient) -> None:
    database = resources_of(both_clients).database
    shard, fence = begin(database)
    learn(database, fence, 1, 2)
    learn(database, fence, *range(3, 4 + EPOCHS_PER_EVENT))
    end(database, fence)
    other, _ = begin(database)  # whose events are its own

    found = replayed(both_clients, shard.job_id)
    assert [(one.id, one.event) for one in found] == [
        (1, "state"), (2, "state"), (3, "epoch"), (4, "epoch"), (5, "epoch"), (6, "fold"),
        (7, "result"), (8, "state"),
    ]  # fmt: skip
    for one in found:
        KINDS[one.event].model_validate(one.data)
    row = {"fold": 0, "validation_loss": None, "learning_rate": 0.1, "gradient_norm": None,
           "dead_units": None, "saturated_units": None}  # fmt: skip
    assert found[2].data["epochs"] == [
        row | {"epoch": 1, "train_loss": 0.125}, row | {"epoch": 2, "train_loss": 0.25},
    ]  # fmt: skip
    assert found[2].data["progress"] == PROGRESS
    assert [len(found[place].data["epochs"]) for place in (3, 4)] == [EPOCHS_PER_EVENT, 1]
    assert found[-1].data["status"] == "succeeded"

    assert replayed(both_clients, shard.job_id, after=5) == found[5:]
    ended = both_clients.get(f"/v1/jobs/{shard.job_id}/events?after=8")
    assert (ended.status_code, ended.content) == (204, b"")
    assert other.job_id != shard.job_id


@pytest.mark.parametrize("bad", ["-1", "x", "1_0", "99", str(2**31)])
def test_a_number_that_no_event_has_is_refused(client: TestClient, bad: str) -> None:
    upload(client)
    address = f"/v1/jobs/{submit(client)['id']}/events"
    assert client.get(address, params={"after": bad}).status_code == 422
    assert client.get(address, headers={"Last-Event-ID": bad}).status_code == 422


def test_latest_is_followed_but_not_resumed(client: TestClient) -> None:
    database = resources_of(client).database
    _, fence = begin(database)
    end(database, fence)
    assert len(list(received(client.get("/v1/jobs/latest/events").text.splitlines()))) == 5
    resumed = client.get("/v1/jobs/latest/events", headers={"Last-Event-ID": "2"})
    assert resumed.status_code == 422
    assert client.get("/v1/jobs/job_none/events").status_code == 404


def test_streams_are_not_in_the_latencies_but_are_counted(client: TestClient) -> None:
    database = resources_of(client).database
    shard, fence = begin(database)
    end(database, fence)
    replayed(client, shard.job_id)
    metrics = resources_of(client)[RequestMetrics]
    route = "/v1/jobs/{job_id}/events"
    assert metrics.requests.labels("GET", route, 200)._value.get() == 1
    assert metrics.seconds.labels("GET", route)._sum.get() == 0


def test_a_full_process_refuses_more(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(client)
    monkeypatch.setattr(broadcast, "MOST_WATCHERS", 0)
    refused = client.get(f"/v1/jobs/{submit(client)['id']}/events")
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (503, "busy")


def test_a_stream_ends_after_its_lifetime(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "HEARTBEAT", 0.01)
    monkeypatch.setattr(broadcast, "LIFETIME", 0.1)
    upload(client)
    text = client.get(f"/v1/jobs/{submit(client)['id']}/events").text
    assert text.startswith("retry: 1000\n\nevent: state\n")
    assert text.endswith(": ping\n\n")


@pytest.mark.timeout(120)
def test_clients_that_lose_their_connections_miss_nothing(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """Live, through two applications on one database, whichever is reached."""
    shard, fence = begin(database)
    chance = random.Random(7)
    seen: dict[int, list[Received]] = {watcher: [] for watcher in range(4)}

    def follow(watcher: int, urls: list[str]) -> None:
        own, last = random.Random(watcher), 0
        while not seen[watcher] or seen[watcher][-1].data.get("status") != "succeeded":
            with watching(own.choice(urls), shard.job_id, last) as events:
                for number, one in enumerate(events):
                    seen[watcher].append(one)
                    last = one.id
                    if own.random() < 0.3 and number > own.randrange(3):
                        break

    with ExitStack() as stack:
        urls = []
        for name in ("one", "other"):
            settings = Settings(data_dir=tmp_path / name, database_url=database_url)
            urls.append(f"http://127.0.0.1:{stack.enter_context(listening(settings))}")
            # FastAPI builds a route at its first request, and silences a warning meanwhile: but the
            # filters of Python's warnings are one for all threads.
            assert httpx.get(f"{urls[-1]}/v1/jobs/none/events").status_code == 404
        threads = [threading.Thread(target=follow, args=(each, urls)) for each in seen]
        for thread in threads:
            thread.start()
        epoch = 0
        for _ in range(12):
            for _ in range(chance.randrange(4)):
                epoch += 1
                learn(database, fence, epoch)
            threading.Event().wait(0.05)
        end(database, fence)
        for thread in threads:
            thread.join(timeout=60)
    numbers = [event.sequence for event in events_of(database, shard.job_id)]
    whole = seen[0]
    assert [one.id for one in whole] == numbers
    assert all(events == whole for events in seen.values())


@pytest.mark.timeout(120)
def test_200_watchers_cost_one_query_a_poll_and_end_with_the_server(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[str] = []
    found: list[Broadcast] = []
    made = Broadcast.__init__

    def noting(self: Broadcast, database: Database) -> None:
        made(self, database)
        found.append(self)

        @event.listens_for(database.engine, "before_cursor_execute")
        def _note(_c: object, _cursor: object, statement: str, *_: object) -> None:
            if "watched" in statement:
                queries.append(statement)

    monkeypatch.setattr(Broadcast, "__init__", noting)
    database = Database(settings.resolved_database_url)
    jobs = [begin(database) for _ in range(3)]
    with ExitStack() as clients:
        with listening(settings) as port:
            limits = httpx.Limits(max_connections=None)
            url = f"http://127.0.0.1:{port}"
            client = clients.enter_context(
                httpx.Client(base_url=url, headers=HEADERS, limits=limits)
            )
            streams = []
            for place in range(WATCHERS):
                job_id = jobs[place % len(jobs)][0].job_id
                address = f"/v1/jobs/{job_id}/events"
                answer = clients.enter_context(client.stream("GET", address))
                streams.append(received(answer.iter_lines()))
                assert [next(streams[-1]).id, next(streams[-1]).id] == [1, 2]
            gone = clients.enter_context(client.stream("GET", address))
            wait_until(lambda: found[0].watchers == WATCHERS + 1)
            gone.close()
            wait_until(lambda: found[0].watchers == WATCHERS)

            queries.clear()
            wait_until(lambda: len(queries) >= 2)
            learn(database, jobs[0][1], 1)
            mine = streams[:: len(jobs)]
            assert [next(events).id for events in mine] == [3] * len(mine)
            assert len(queries) < len(mine)  # none of the watchers has asked itself
        assert [list(events) for events in streams] == [[]] * WATCHERS
    database.close()


def test_a_watcher_that_lags_is_sent_to_the_database() -> None:
    channel = Channel(3)
    messages = [Message("job_1", number, b"", is_end=False) for number in range(4, 9 + KEPT)]
    for message in messages:
        channel.add(message)
    channel.add(messages[0])  # again
    assert channel.last == messages[-1].sequence
    assert channel.after(channel.last) == []
    assert channel.after(channel.last - 1) == messages[-1:]
    assert channel.after(channel.last - KEPT) == messages[-KEPT:]
    assert channel.after(channel.last - KEPT - 1) is None
