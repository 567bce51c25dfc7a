"""The client's calls about sweeps, and following one by its id."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from foldhouse_client import Foldhouse, FoldhouseError, Unfinished, following

SWEEP = {"id": "swp_1", "status": "succeeded", "error": None}


def answering(handler: Callable[[httpx.Request], httpx.Response]) -> Foldhouse:
    return Foldhouse("http://service", transport=httpx.MockTransport(handler))


def test_what_a_sweep_has_is_asked_for_by_name(tmp_path: Path) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path} {request.read().decode()}".rstrip())
        if request.headers["Accept"] == "text/csv":
            return httpx.Response(200, content=b"trial\n0\n")
        return httpx.Response(200, json={"data": [SWEEP], "has_more": False})

    client = answering(handler)
    client.submit_sweep({"target": "y", "n_trials": 2}, "ds_1")
    client.sweep()
    assert list(client.sweeps()) == [SWEEP]
    assert client.trials("swp_1") == [SWEEP]
    client.trials_csv(tmp_path / "trials.csv", "swp_1")
    assert (tmp_path / "trials.csv").read_text() == "trial\n0\n"
    client.trial(3, "swp_1")
    assert client.importance("swp_1") == [SWEEP]
    client.cancel_sweep("swp_1", keep_best=True)
    client.delete_sweep("swp_1")
    assert asked == [
        'POST /v1/sweeps {"dataset_id":"ds_1","target":"y","n_trials":2}',
        "GET /v1/sweeps/latest",
        "GET /v1/sweeps",
        "GET /v1/sweeps/swp_1/trials",
        "GET /v1/sweeps/swp_1/trials",
        "GET /v1/sweeps/swp_1/trials/3",
        "GET /v1/sweeps/swp_1/importance",
        'POST /v1/sweeps/swp_1/cancel {"keep_best":true}',
        "DELETE /v1/sweeps/swp_1",
    ]


@pytest.mark.parametrize(
    ("named", "given", "taken"),
    [("ds_1", None, "ds_1"), ("ds_1", "ds_2", "ds_2"), (None, None, "latest")],
)
def test_a_trial_s_spec_is_submitted_on_its_own_table(
    named: str | None, given: str | None, taken: str
) -> None:
    sent: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content)["dataset_id"])
        return httpx.Response(202, json={"id": "job_1"})

    spec = {"target": "y"} | ({"dataset_id": named} if named else {})
    client = answering(handler)
    client.submit(spec, given)
    client.submit_sweep(spec, given)
    client.validate(spec, given)
    assert sent == [taken] * 3


def test_a_sweep_is_followed_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_FIRST", 0.0)
    states = iter([{**SWEEP, "status": "running"}])
    state = {"state": "succeeded", "status": "succeeded"}

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/sweeps/swp_1/events":
            return httpx.Response(200, text=f"id: 1\nevent: state\ndata: {json.dumps(state)}\n\n")
        assert request.url.path == "/v1/sweeps/swp_1"
        return httpx.Response(200, json=next(states, SWEEP))

    client = answering(handler)
    assert client.wait("swp_1") == SWEEP
    assert [event["data"] for event in client.events("swp_1")] == [state]


def test_a_cancelled_sweep_is_an_error() -> None:
    cancelled = {**SWEEP, "status": "cancelled"}
    client = answering(lambda _: httpx.Response(200, json=cancelled))
    with pytest.raises(FoldhouseError, match="The sweep was cancelled: swp_1 has no model"):
        client.wait("swp_1")


def test_wait_gives_up_when_its_time_is_up() -> None:
    running = {**SWEEP, "status": "running"}
    client = answering(lambda _: httpx.Response(200, json=running))
    with pytest.raises(Unfinished, match=r"swp_1 took longer than 0\.01 s"):
        client.wait("swp_1", timeout=0.01)
