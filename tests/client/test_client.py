"""The client against a transport that answers as the service would."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from foldhouse_client import Fault, Foldhouse, FoldhouseError, Unreachable, following, predicting
from foldhouse_client import events as events_module

from app import errors
from app.errors import PROBLEM_MEDIA_TYPE, InvalidSpec, NotFound, Unavailable

Handler = Callable[[httpx.Request], httpx.Response]


def answering(handler: Handler) -> Foldhouse:
    return Foldhouse("http://service/", transport=httpx.MockTransport(handler))


def in_turn(*answers: dict[str, Any] | Exception) -> Handler:
    """A handler that gives one answer a request, or raises it."""
    remaining: Iterator[dict[str, Any] | Exception] = iter(answers)

    def handler(request: httpx.Request) -> httpx.Response:
        answer = next(remaining)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, json=answer, request=request)

    return handler


def state(status: str, fraction: float = 0.0, error: Any = None) -> dict[str, Any]:
    return {"id": "job_1", "status": status, "progress": {"fraction": fraction}, "error": error}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_FIRST", 0.0)
    monkeypatch.setattr(following, "POLL_LONGEST", 0.0)
    monkeypatch.setattr(events_module, "PAUSE", 0.0)


def test_upload_sends_the_bytes_of_the_file_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    path.write_bytes(b"a,b\n1,2\n")

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.method == "POST"
        assert request.url == "http://service/v1/datasets?name=houses.csv"
        assert request.headers["Content-Type"] == "text/csv"
        assert request.read() == path.read_bytes()
        return httpx.Response(201, json={"id": "ds_1"})

    assert answering(handler).upload(path) == {"id": "ds_1"}


def test_submit_adds_the_dataset_to_the_spec() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/jobs"
        assert json.loads(request.content) == {"target": "y", "k_folds": 3, "dataset_id": "ds_1"}
        return httpx.Response(202, json={"id": "job_1"})

    assert answering(handler).submit({"target": "y", "k_folds": 3}, "ds_1") == {"id": "job_1"}


def test_a_problem_document_becomes_an_error_that_names_every_fault() -> None:
    places = [
        {"detail": "must be below 1", "pointer": "/dropout"},
        {"detail": "'x' is no number", "row": 7, "column": "LotArea"},
        {"detail": "wrong", "pointer": "/wd"},
    ]
    faults = [errors.Fault(**place) for place in places]
    document = InvalidSpec("Two things are wrong.", faults).document()

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(
            422, json=document.model_dump(), headers={"Content-Type": PROBLEM_MEDIA_TYPE}
        )

    with pytest.raises(FoldhouseError) as raised:
        answering(handler).validate({"target": "y"})
    assert raised.value.status == 422
    assert raised.value.errors == [Fault(**place) for place in places]
    assert str(raised.value).splitlines() == [
        "The job spec does not fit the table: Two things are wrong.",
        "  field /dropout: must be below 1",
        "  row 7, column LotArea: 'x' is no number",
        # The third is in the detail already, and told once.
    ]


def test_an_error_page_of_something_in_between_is_shown_as_it_is() -> None:
    with pytest.raises(FoldhouseError, match="HTTP 502: Bad gateway"):
        answering(lambda _: httpx.Response(502, text="Bad gateway")).job("job_1")


def test_a_service_that_is_not_there_is_named_with_the_way_to_start_one() -> None:
    with pytest.raises(Unreachable, match=r"http://service .*`foldhouse serve` starts one"):
        answering(in_turn(httpx.ConnectError("refused"))).job("job_1")


def test_watch_gives_each_state_once_and_ends_with_the_job() -> None:
    states = [state("queued"), state("running", 0.5), state("succeeded", 1.0)]
    client = answering(in_turn(states[0], states[0], states[1], states[1], states[2]))
    assert list(client.watch("job_1")) == states


def test_watch_outlives_a_restart_of_the_service() -> None:
    away = httpx.ConnectError("refused")
    client = answering(in_turn(state("running"), away, away, state("succeeded")))
    assert [job["status"] for job in client.watch("job_1")] == ["running", "succeeded"]


def test_watch_outlives_the_services_database() -> None:
    away = httpx.Response(
        503,
        json=Unavailable("The database does not answer.").document().model_dump(),
        headers={"Content-Type": PROBLEM_MEDIA_TYPE},
    )
    states = iter([httpx.Response(200, json=state("running")), away, away])
    ended = httpx.Response(200, json=state("succeeded"))
    client = answering(lambda _: next(states, ended))

    assert [job["status"] for job in client.watch("job_1")] == ["running", "succeeded"]


def test_watch_does_not_wait_for_a_job_that_is_not_there() -> None:
    missing = NotFound("There is no job job_1.").document().model_dump()
    client = answering(
        lambda _: httpx.Response(404, json=missing, headers={"Content-Type": PROBLEM_MEDIA_TYPE})
    )
    with pytest.raises(FoldhouseError, match="no job job_1"):
        list(client.watch("job_1"))


def test_watch_gives_up_when_the_service_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE", 0.0)
    client = answering(in_turn(state("running"), httpx.ConnectError("refused")))
    with pytest.raises(Unreachable):
        list(client.watch("job_1"))


def streamed(*events: tuple[int, str, dict[str, Any]]) -> str:
    """As the service writes them."""
    texts = (
        f"event: {kind}\ndata: {json.dumps(data)}\nid: {number}\n\n"
        for number, kind, data in events
    )
    return ": ping\n\nretry: 1000\n\n" + "".join(texts)


STATES = [(number, "state", {"status": status}) for number, status in enumerate(
    ("queued", "running", "queued", "succeeded"), start=1)]  # fmt: skip


def test_events_outlive_lost_connections_and_come_once() -> None:
    away = httpx.ConnectError("refused")
    cut = streamed(STATES[1], STATES[2])[:-1]  # in the middle of the third event
    answers: Iterator[str | Exception] = iter(
        [streamed(STATES[0]), away, away, cut, away, streamed(*STATES[2:])]
    )
    resumed: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/jobs/job_1/events"
        resumed.append(request.headers["Last-Event-ID"])
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, text=answer)

    lost: list[None] = []
    events = answering(handler).events("job_1", on_lost=lambda: lost.append(None))
    assert [(one["id"], one["event"], one["data"]) for one in events] == STATES
    assert resumed == ["0", "1", "1", "1", "2", "2"]
    assert len(lost) == 2


def test_no_events_are_left_of_a_job_that_was_seen_to_its_end() -> None:
    assert list(answering(lambda _: httpx.Response(204)).events("job_1", 4)) == []


def test_events_do_not_wait_for_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = NotFound("There is no job job_1.").document().model_dump()
    answer = httpx.Response(404, json=missing, headers={"Content-Type": PROBLEM_MEDIA_TYPE})
    with pytest.raises(FoldhouseError, match="no job job_1"):
        list(answering(lambda _: answer).events("job_1"))
    monkeypatch.setattr(events_module, "PATIENCE", 0.0)
    away = httpx.ConnectError("refused")
    with pytest.raises(Unreachable):
        list(answering(in_turn(away, away)).events("job_1"))


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (
            state(
                "failed",
                error={"title": "Training failed", "status": 500, "detail": "why", "errors": []},
            ),
            "Training failed: why",
        ),
        (state("cancelled"), "The job was cancelled"),
    ],
)
def test_wait_raises_when_the_job_gave_no_model(ending: dict[str, Any], message: str) -> None:
    with pytest.raises(FoldhouseError, match=message):
        answering(in_turn(ending)).wait("job_1")


def test_lists_fetch_the_next_page_when_they_need_it() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.params["status"] == "queued"
        if request.url.params.get("after") == "job_2":
            return httpx.Response(200, json={"data": [{"id": "job_1"}], "has_more": False})
        return httpx.Response(
            200,
            json={"data": [{"id": "job_3"}, {"id": "job_2"}], "has_more": True, "next": "job_2"},
        )

    listed = answering(handler).jobs("queued")
    assert [job["id"] for job in listed] == ["job_3", "job_2", "job_1"]


def test_a_value_is_sought_on_every_page_and_stands_in_no_address() -> None:
    pages = [
        {"data": [{"id": "ds_2"}], "examined": 2, "unread": [], "has_more": True, "next": "ds_2"},
        {"data": [], "examined": 1, "unread": ["ds_1"], "has_more": False, "next": None},
    ]
    addresses = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"column": "Email", "value": "ana@x.example"}
        addresses.append(str(request.url))
        return httpx.Response(200, json=pages[len(addresses) - 1])

    found = answering(handler).find("Email", "ana@x.example")
    assert found == {**pages[1], "data": [{"id": "ds_2"}], "examined": 3}
    address = "http://service/v1/datasets:find"
    assert addresses == [address, f"{address}?after=ds_2"]


def test_predict_csv_asks_for_csv_and_writes_what_comes(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b"Id,LotArea\n1,8450\n")

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept"] == "text/csv"
        assert request.url.params.multi_items() == [
            ("model", "mdl_1"),
            ("passthrough", "Id"),
            ("passthrough", "LotArea"),
            ("name", "SalePrice"),
        ]
        assert request.read() == source.read_bytes()
        facts = {"X-Model-Id": "mdl_1", "X-Target": "Sale%20Price", "X-Ignored-Columns": "Id,+2"}
        return httpx.Response(200, content=b"Id,SalePrice\n1,208500\n", headers=facts)

    client = answering(handler)
    options: dict[str, Any] = {"passthrough": ["Id", "LotArea"], "name": "SalePrice"}
    assert client.predict_csv(source, target, "mdl_1", **options) == {
        "model_id": "mdl_1",
        "target": "Sale Price",
        "unit": None,
        "alias": None,
        "missing_columns": [],
        "ignored_columns": ["Id", "2 more"],
        "warnings": [],
    }
    assert target.read_bytes() == b"Id,SalePrice\n1,208500\n"

    stream = BytesIO()
    client.predict_csv(source, stream, "mdl_1", **options)
    assert stream.getvalue() == target.read_bytes()


def test_a_download_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b"LotArea\n8450\n")
    target.write_bytes(b"old")

    def half() -> Iterator[bytes]:
        yield b"ne"
        raise httpx.ReadError("cut")

    with pytest.raises(Unreachable):
        answering(lambda _: httpx.Response(200, content=half())).predict_csv(source, target)
    assert target.read_bytes() == b"old"
    assert set(tmp_path.iterdir()) == {source, target}


def zipped(*names: str) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return content.getvalue()


def test_export_unpacks_into_a_new_or_empty_folder(tmp_path: Path) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/models/mdl_1/export"
        return httpx.Response(200, content=zipped("model.onnx", "predict.py"))

    (tmp_path / "empty").mkdir()
    for name in ("empty", "new/folder"):
        answering(handler).export("mdl_1", tmp_path / name)
        assert (tmp_path / name / "predict.py").read_text() == "predict.py"
        assert len(list((tmp_path / name).iterdir())) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "new"}


def test_export_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    def handler(_: httpx.Request) -> httpx.Response:
        pytest.fail("there is nothing to ask for")

    with pytest.raises(OSError, match="not empty"):
        answering(handler).export("mdl_1", tmp_path)
    with pytest.raises(NotADirectoryError):
        answering(handler).export("mdl_1", tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "content", [zipped("model.onnx", "../away"), zipped("/etc/away"), zipped(".."), b"no zip"]
)
def test_an_export_that_leads_out_of_its_folder_is_not_unpacked(
    tmp_path: Path, content: bytes
) -> None:
    client = answering(lambda _: httpx.Response(200, content=content))

    with pytest.raises(FoldhouseError, match="Not an export"):
        client.export("mdl_1", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_a_scheme_is_taken() -> None:
    assert Foldhouse("service:8001/").url == "http://service:8001"
    assert Foldhouse("https://service").url == "https://service"


# Data frames


def echo(request: httpx.Request) -> httpx.Response:
    """Answers each row with itself."""
    rows = json.loads(request.content)["rows"]
    predictions = [{"value": 1.0, "row": row} for row in rows]
    facts = {"model_id": "mdl_1", "missing_columns": ["b"]}
    return httpx.Response(200, json={**facts, "predictions": predictions})


def test_a_data_frame_is_sent_as_json_has_it() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, math.nan],
            "count": pd.array([3, None], dtype="Int64"),
            "word": ["a", None],
            "flag": [True, False],
            "sold": pd.to_datetime(["2010-07-31 18:30", None]),
            "mixed": [np.float32(0.5), np.datetime64("2010-07-31")],
            "price": [Decimal("2.5"), pd.NA],
            "level": pd.Categorical(["x", "y"]),
            7: [date(2010, 7, 31), pd.NaT],
        },
        index=[10, 20],
    )
    answer = answering(echo).predict(frame, "mdl_1")
    assert [prediction["row"] for prediction in answer] == [
        {
            "number": 1.5,
            "count": 3,
            "word": "a",
            "flag": True,
            "sold": "2010-07-31T18:30:00",
            "mixed": 0.5,
            "price": 2.5,
            "level": "x",
            "7": "2010-07-31",
        },
        {
            "number": None,
            "count": None,
            "word": None,
            "flag": False,
            "sold": None,
            "mixed": "2010-07-31",
            "price": None,
            "level": "y",
            "7": None,
        },
    ]
    assert answer.facts == {"model_id": "mdl_1", "missing_columns": ["b"]}


def test_cells_that_cannot_be_sent_are_named_by_row_and_column() -> None:
    rows = [{"a": 1, "b": [1]}, {"a": np.inf, "b": "x"}, {"a": np.array([1, 2]), "b": b"y"}]
    with pytest.raises(FoldhouseError) as raised:
        answering(echo).predict(rows)
    places = [(fault.row, fault.column) for fault in raised.value.errors]
    assert places == [(1, "b"), (2, "a"), (3, "a"), (3, "b")]
    assert "row 2, column a: inf is not a finite number" in str(raised.value)


def test_many_rows_are_sent_in_parts_and_faults_count_over_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predicting, "ROWS_PER_REQUEST", 2)
    rows = [{"a": number} for number in range(5)]
    answer = answering(echo).predict(rows)
    assert [prediction["row"]["a"] for prediction in answer] == [0, 1, 2, 3, 4]

    def refusing(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content)["rows"][0]["a"] < 2:
            return echo(request)
        document = InvalidSpec("No.", [errors.Fault(detail="odd", row=2, column="a")]).document()
        media = {"Content-Type": PROBLEM_MEDIA_TYPE}
        return httpx.Response(422, json=document.model_dump(), headers=media)

    with pytest.raises(FoldhouseError, match="row 4, column a: odd"):
        answering(refusing).predict(rows)


def test_wide_rows_are_sent_in_smaller_parts_that_all_have_the_columns_of_any_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predicting, "CELLS_PER_REQUEST", 6)
    sent: list[list[dict[str, Any]]] = []

    def noting(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content)["rows"])
        return echo(request)

    rows = [{"a": 1, "b": 2}, {"a": 3}, {"a": 4, "c": 5}, {}, {"c": 6}]
    assert len(answering(noting).predict(rows)) == 5
    assert [len(part) for part in sent] == [2, 2, 1]
    assert all(part[0].keys() == {"a", "b", "c"} for part in sent)
    assert [row.get("a") for part in sent for row in part] == [1, 3, 4, None, None]


def test_a_data_frame_is_uploaded_without_its_index() -> None:
    frame = pd.DataFrame({"y": [1.5, math.nan], "when": pd.to_datetime(["2010-07-31", None])})
    sent: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return httpx.Response(201, json={"id": "ds_1"})

    assert answering(handler).upload(frame, "frame.csv") == {"id": "ds_1"}
    assert sent == [b"y,when\n1.5,2010-07-31\nNA,NA\n"]
    with pytest.raises(FoldhouseError, match="row 1, column y: a list cannot be a cell"):
        answering(handler).upload(pd.DataFrame({"y": [[1, 2]]}))


def test_the_marks_of_an_ambiguous_csv_go_into_the_address(tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    path.write_bytes(b"a;b\n1,5;2\n")

    def handler(request: httpx.Request) -> httpx.Response:
        assert dict(request.url.params) == {"name": "houses.csv", "separator": ";", "decimal": ","}
        return httpx.Response(201, json={"id": "ds_1"})

    assert answering(handler).upload(path, separator=";", decimal=",") == {"id": "ds_1"}


def test_what_a_job_and_a_model_have_is_asked_for_by_name(tmp_path: Path) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        body = request.read().decode()
        asked.append(f"{request.method} {request.url.raw_path.decode()} {body}".rstrip())
        if request.headers["Accept"] == "text/csv":
            return httpx.Response(200, content=b"fold\n0\n")
        alias = {"alias": "champion", "model_id": "mdl_1"}
        return httpx.Response(200, json={"data": [alias], "has_more": False})

    client = answering(handler)
    assert client.metrics("job_1") == [{"alias": "champion", "model_id": "mdl_1"}]
    client.out_of_fold_csv(tmp_path / "oof.csv", "job_1")
    assert (tmp_path / "oof.csv").read_text() == "fold\n0\n"
    client.report(tmp_path / "report.html", "job_1")
    client.notebook(tmp_path / "job.ipynb", "job_1")
    assert client.charts("job_1") == [{"alias": "champion", "model_id": "mdl_1"}]
    assert client.aliases() == {"champion": "mdl_1"}
    assert len(list(client.datasets())) == 1
    client.promote("mdl_2", "best", if_better_than="champion", force=True)
    client.roll_back()
    client.delete_job("job_1")
    client.delete_dataset("ds_1")
    client.delete_model("mdl_1")
    client.retry("job_1")
    assert asked == [
        "GET /v1/jobs/job_1/metrics",
        "GET /v1/jobs/job_1/oof",
        "GET /v1/jobs/job_1/report",
        "GET /v1/jobs/job_1/notebook",
        "GET /v1/jobs/job_1/charts",
        "GET /v1/aliases",
        "GET /v1/datasets",
        'PUT /v1/aliases/best {"model_id":"mdl_2","if_better_than":"champion","force":true}',
        "POST /v1/aliases/champion/rollback",
        "DELETE /v1/jobs/job_1",
        "DELETE /v1/datasets/ds_1",
        "DELETE /v1/models/mdl_1",
        "POST /v1/jobs/job_1/retry",
    ]


def test_what_is_asked_beside_the_rows_goes_into_the_address() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.params.multi_items() == [
            ("model", "mdl_1"),
            ("coverage", "0.8"),
            ("on_unknown", "error"),
            ("explain", "true"),
        ]
        return echo(request)

    rows = [{"a": 1}]
    answering(handler).predict(rows, "mdl_1", coverage=0.8, on_unknown="error", explain=True)


def test_rows_with_comparables_go_in_smaller_parts() -> None:
    """Their answers have the table's columns for each comparable."""
    sizes: list[tuple[str, int]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        rows = json.loads(request.content)["rows"]
        sizes.append((request.url.params["comparables"], len(rows)))
        return echo(request)

    found = answering(handler).predict([{"a": 1}] * 450, comparables=5)
    assert sizes == [("5", 200), ("5", 200), ("5", 50)]
    assert len(found) == 450


def test_options_of_classes_go_into_the_address(tmp_path: Path) -> None:
    asked: list[list[tuple[str, str]]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.multi_items())
        is_csv = request.headers["Content-Type"] == "text/csv"
        return httpx.Response(200) if is_csv else echo(request)

    client = answering(handler)
    classes = {"threshold": 0.3, "classes": ["yes, sure", "no"], "by_class": True}
    client.predict([{"a": 1}], "mdl_1", explain=True, explained_class="no", **classes)
    source = tmp_path / "in.csv"
    source.write_bytes(b"a\n1\n")
    client.predict_csv(source, BytesIO(), "mdl_1", columns=["prediction"], **classes)

    own = [("threshold", "0.3"), ("classes", "yes, sure"), ("classes", "no"), ("by_class", "true")]
    assert asked == [
        [("model", "mdl_1"), ("explain", "true"), ("explained_class", "no"), *own],
        [("model", "mdl_1"), ("columns", "prediction"), *own],
    ]
