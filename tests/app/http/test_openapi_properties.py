"""Every operation of the OpenAPI document answers as it says, whatever it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from house_api import serving, submit, train
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error, positive_data_acceptance
from schemathesis.python.asgi import shutdown_lifespans

from app.jobs import broadcast
from app.main import create_app
from app.settings import Settings

BASE_URL = "http://localhost"  # a name that the application answers to

schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())


@pytest.fixture
def app(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """It has one dataset, one finished model and one queued job, new for each operation."""
    monkeypatch.setattr(broadcast, "LIFETIME", 0.0)  # no worker ends the queued job
    with serving(settings) as client:
        train(client, tmp_path / "model")
        submit(client)
    # Schemathesis starts an application in an event loop of its own.
    yield create_app(settings)
    shutdown_lifespans()


@schema.parametrize()
@settings(
    max_examples=10,
    deadline=None,
    # So that a run of CI fails only for what was changed.
    derandomize=True,
    # The application is meant to stay the same through an operation's requests.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_operations_answer_as_documented(case: schemathesis.Case, app: FastAPI) -> None:
    """No 5xx, and only documented statuses, media types, headers and schemas."""
    excluded = []
    # What is posted must also fit the table, the model or the form, which no schema can say, and an
    # If-Match or the number of an event what is there.
    of_what_is_there = "If-Match" in (case.headers or {}) or case.path.endswith("/events")
    if case.method == "POST" or of_what_is_there:
        excluded.append(positive_data_acceptance)
    # That no worker is there is a 503 to whoever asks for it.
    if case.path == "/readyz" and "strict" in (case.query or {}):
        excluded.append(not_a_server_error)
    case.call_and_validate(base_url=BASE_URL, app=app, excluded_checks=excluded)
