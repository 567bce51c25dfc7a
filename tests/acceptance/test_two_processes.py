"""Two API processes on one database: a stream goes on at the other, both refuse a revoked key."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from foldhouse_client import Foldhouse
from stack import Stack

from app.accounts import service

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

SPEC: dict[str, Any] = {
    "architecture": {"type": "mlp", "hidden_sizes": [16]},
    "k_folds": 2,
    "max_epochs": 30,
    "early_stopping": None,
    "baselines": [],
}


@pytest.fixture
def other(stack: Stack) -> Iterator[Stack]:
    """A second API process on the same database."""
    found = Stack(stack.settings)
    found.start_api()
    yield found
    found.close()


@pytest.mark.costly("postgresql")
def test_a_stream_goes_on_at_another_process(stack: Stack, other: Stack) -> None:
    job_id = stack.submit(SPEC)
    with stack.worker(), Foldhouse(str(other.http.base_url)) as client:
        begun: list[str] = []
        with stack.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("id:"):
                    begun.append(line.removeprefix("id:").strip())
                if len(begun) == 5:
                    break
        stack.kill_api()
        rest = [*client.events(job_id, after=int(begun[-1]))]
        whole = [*client.events(job_id)]
    numbers = [event["id"] for event in whole]
    assert numbers == [*range(1, len(whole) + 1)]
    assert [*map(int, begun)] == numbers[:5]
    assert rest == whole[5:]
    assert whole[-1]["data"]["status"] == "succeeded"


def test_a_revoked_key_is_refused_by_all_within_a_second(stack: Stack, other: Stack) -> None:
    with stack.database.writing() as session:
        keys = [
            service.create(session, tenant="mine", name=name, role="admin", expires_at=None)
            for name in ("one", "two")
        ]
        revoked = keys[0].row.id
    headers = [{"Authorization": f"Bearer {key.secret}"} for key in keys]

    def status(at: Stack, number: int) -> int:
        return at.http.get("/v1/datasets", headers=headers[number]).status_code

    deadline = time.monotonic() + 1.0
    while {at.http.get("/v1/datasets").status_code for at in (stack, other)} != {401}:
        assert time.monotonic() < deadline, "a process has not noticed the first key"
    assert [status(at, 0) for at in (stack, other)] == [200, 200]
    answer: httpx.Response = stack.http.delete(f"/v1/keys/{revoked}", headers=headers[1])
    assert answer.status_code == 204
    deadline = time.monotonic() + 1.0
    assert status(stack, 0) == 401  # the one that was told
    while status(other, 0) != 401:
        assert time.monotonic() < deadline, "the other process still takes it"
    assert [status(at, 1) for at in (stack, other)] == [200, 200]
