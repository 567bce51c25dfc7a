"""Lines of the log: for people, and for what collects them."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import become, resources_of, serving, submit, upload
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from app.cli import server
from app.logs import JsonLines, TextLines, facts, saying
from app.settings import Settings
from app.storage.database import Database
from app.storage.tables import Alias, Job

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with serving(settings) as client:
        yield client


def record(message: str, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("app", logging.ERROR, "", 1, message, None, more.pop("raised", None))
    made.__dict__ |= more
    return made


def raised() -> Any:
    try:
        raise ValueError("redis://:secret@host\x1b[2J")
    except ValueError:
        return sys.exc_info()


def test_a_line_of_text_is_one_line_without_secrets() -> None:
    message = "GET /v1\nERROR forged \x1b]0;x\x07 s3://KEY:secret@b"
    line = record(message, raised=raised(), **facts(status=200, tenant=None))

    first, *trace = TextLines("%(levelname)s %(message)s").format(line).splitlines()

    assert first == "ERROR GET /v1\\nERROR forged �]0;x� s3://KEY:***@b status=200"
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "ValueError: redis://:***@host�[2J"


def test_a_line_of_json_is_one_object_without_secrets() -> None:
    line = record('"password": "abc", s3://KEY:secret@b\n', raised=raised(), **facts(seconds=0.5))
    with saying(job="job_1", request_id=None):
        text = JsonLines().format(line)
    assert "\n" not in text
    found = json.loads(text)
    assert (found["level"], found["logger"], found["job"]) == ("error", "app", "job_1")
    assert found["seconds"] == 0.5
    assert "request_id" not in found
    assert found["message"] == '"password": "***", s3://KEY:***@b\n'
    assert found["traceback"].startswith("Traceback")
    assert "secret" not in text
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", found["time"])


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    wanted = (line for line in caplog.records if line.name == "foldhouse.requests")
    return [line.__dict__["facts"] for line in wanted]


def test_each_request_has_a_line(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client.get("/healthz")
        key_id = become(client, "mine", "viewer")
        client.get("/v1/datasets/latest")
        client.post("/v1/datasets")
    found = lines_of(caplog)
    assert [(line["route"], line["status"]) for line in found] == [
        ("/healthz", 200),
        ("/v1/datasets/{dataset_id}", 404),
        ("unknown", 403),  # refused before a route was looked for
    ]
    assert (found[0]["tenant"], found[0]["key"]) == (None, None)
    assert (found[1]["tenant"], found[1]["key"]) == ("mine", key_id)
    assert all(0 < line["seconds"] < 60 for line in found)


def test_a_client_may_name_its_request(client: TestClient) -> None:
    own = client.get("/healthz", headers={"X-Request-ID": "abc-1"})
    assert own.headers["X-Request-Id"] == "abc-1"
    for bad in ("", "a b", "a" * 129, "é".encode()):
        made = client.get("/healthz", headers={"X-Request-ID": bad}).headers["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{32}", made)


def test_the_request_goes_with_the_job(client: TestClient) -> None:
    upload(client)
    client.headers["X-Request-ID"] = "abc-2"
    job_id = submit(client)["id"]
    with resources_of(client).database.reading() as session:
        assert session.scalar(select(Job.request_id).where(Job.id == job_id)) == "abc-2"


def test_lines_within_a_request_say_which(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    shown = []
    handler = logging.Handler()
    handler.emit = lambda line: shown.append(json.loads(JsonLines().format(line)))  # type: ignore[method-assign]
    logging.getLogger("foldhouse.requests").addHandler(handler)
    headers = {"X-Request-ID": "abc-3", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    with caplog.at_level(logging.INFO):
        client.get("/healthz", headers=headers)
    logging.getLogger("foldhouse.requests").removeHandler(handler)
    [line] = shown
    assert (line["request_id"], line["trace_id"]) == ("abc-3", TRACE)
    assert line["message"] == "GET /healthz 200"


@pytest.mark.parametrize("form", ["text", "json"])
def test_where_the_service_runs_is_a_line_of_the_log_too(
    form: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        server.announce(Settings(log_format=form), "http://127.0.0.1:8000")
    said = {"text": capsys.readouterr().out, "json": caplog.text}
    assert [name for name, text in said.items() if "http://127.0.0.1:8000" in text] == [form]


def test_an_error_of_the_database_shows_no_row(database: Database) -> None:
    def refused() -> None:
        with database.writing() as session:
            session.execute(insert(Alias).values(tenant="t", name="planted", model_id="none"))

    with pytest.raises(IntegrityError) as caught:
        refused()
    assert "planted" not in str(caught.value)
