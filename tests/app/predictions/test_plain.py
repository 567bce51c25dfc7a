"""Rows that take the shortest way have the same answer, to the last byte, as by the long one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import many_classes
import pytest
from fastapi.testclient import TestClient
from house_api import houses_csv, register, resources_of, serving, submit, train, upload
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from app.accounts.predicted_rows import PredictedRows
from app.errors import OverQuota
from app.monitoring.usage import Usage
from app.predictions import plain
from app.registry.names import ModelNames
from app.settings import Settings
from models.serving.predictor import Predictor

ROW = {"Area": 100, "Quality": 3, "Zone": "south"}
SAME = ("content-type", "content-length", "vary", "x-ignored-columns")
CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["south", "north", "nowhere", "", "NA", " 7 ", "1e3", "true", "ü€"]),
    st.text(max_size=6),
)
NAMES = st.one_of(
    st.sampled_from(["Area", "Quality", "Zone", "x", "Extra", "größe, m²"]), st.text(max_size=4)
)
ROWS = st.lists(st.dictionaries(NAMES, CELLS, max_size=6), min_size=1, max_size=4)


@dataclass(frozen=True)
class Served:
    """A service with a model of numbers and one of classes."""

    client: TestClient
    models: list[str]
    plainly: list[bool]  # whether each request took the shortest way

    def answer(self, model: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
        response = self.client.post(
            f"/v1/models/{model}/predict",
            content=body,
            headers={"Content-Type": "application/json", **headers},
        )
        told = {name: response.headers[name] for name in SAME if name in response.headers}
        return response.status_code, told, response.content

    def both(self, model: str, body: bytes, **headers: str) -> list[tuple[int, Any, bytes]]:
        """The answer by the shortest way, if it may be taken, and the one by the long way."""
        first = self.answer(model, body, **headers)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plain, "_is_plain", lambda _: False)
            return [first, self.answer(model, body, **headers)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, _sqlite_template: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("plain")
    shutil.copy(_sqlite_template, folder / "foldhouse.sqlite")
    found: list[bool] = []
    with (
        serving(Settings(data_dir=folder)) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        numbers = train(client, folder / "numbers")
        upload(client, houses_csv())
        job = submit(client)
        files = many_classes.files(folder / "classes", count=3)
        classes = register(resources_of(client), job["id"], files)
        is_plain, predicted = plain._is_plain, plain._predicted

        def noting(scope: Any) -> bool:
            found.append(False)
            return is_plain(scope)

        async def noting_answers(*arguments: Any) -> Any:
            answer = await predicted(*arguments)
            found[-1] = True
            return answer

        patch.setattr(plain, "_is_plain", noting)
        patch.setattr(plain, "_predicted", noting_answers)
        # Names and quotas are looked up again after a second, and a busy machine is slow.
        for part in (ModelNames, PredictedRows):
            patch.setattr(resources_of(client)[part]._known, "fresh", 3600)
        service = Served(client, [numbers, classes], found)
        for model in service.models:
            service.answer(model, json.dumps({"rows": [ROW]}).encode())  # loads it
        yield service


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rows=ROWS, place=st.integers(0, 1))
def test_both_ways_give_the_same_bytes(
    served: Served, rows: list[dict[str, Any]], place: int
) -> None:
    first, second = served.both(served.models[place], json.dumps({"rows": rows}).encode())
    assert first == second


def test_ordinary_rows_take_the_shortest_way(served: Served) -> None:
    for rows in ([ROW], [ROW] * 4, [{**ROW, "Extra": True}], [{"Zone": "nowhere", "Area": 1e9}]):
        status, _, _ = served.answer(served.models[0], json.dumps({"rows": rows}).encode())
        assert (status, served.plainly[-1]) == (200, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"rows": []}',
        b'{"rows": [1]}',
        b'{"rows": [{"Area": [1]}]}',
        b'{"rows": [{"Area": NaN}]}',
        b'{"rows": [{"Extra": 1e999}]}',
        b'{"rows": [{"Area": 1, "Area": 2}]}',
        b'{"rows": [{"Area": 1}], "rows": [{"Area": 2}]}',
        b'{"rows": [{"Area": 1}], "coverage": 0.5}',
        b'{"rows": [{"Area": 1}], "more": 1}',
        b'{"rows": [{"Other": 1}]}',
        b'{"rows": [{}]}',
        b'\xef\xbb\xbf{"rows": [{"Area": 1}]}',
        json.dumps({"rows": [ROW] * 5}).encode(),
        json.dumps({"rows": [{**ROW, "Extra": "x" * 20_000}]}).encode(),
        json.dumps({"rows": [{**ROW, "Quality": 10**400}]}).encode(),
    ],
)
def test_what_is_unusual_is_answered_alike(served: Served, body: bytes) -> None:
    first, second = served.both(served.models[0], body)
    assert first == second


@pytest.mark.parametrize("accept", ["text/csv", "application/json;q=0.5, text/csv", "text/html"])
def test_other_formats_take_the_long_way(served: Served, accept: str) -> None:
    body = json.dumps({"rows": [ROW]}).encode()
    first, second = served.both(served.models[0], body, Accept=accept)
    assert first == second
    assert served.plainly[-1] is False


@pytest.mark.parametrize(
    "types",
    [
        ["text/csv", "application/json"],
        ["application/json", "text/csv"],
        ["text/plain", "application/json"],
        ["application/json"] * 2,
    ],
)
def test_of_two_content_types_both_ways_take_the_same(served: Served, types: list[str]) -> None:
    headers = [("Content-Type", media_type) for media_type in types]
    body = json.dumps({"rows": [ROW]}).encode()
    path = f"/v1/models/{served.models[0]}/predict"
    first = served.client.post(path, content=body, headers=headers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_is_plain", lambda _: False)
        second = served.client.post(path, content=body, headers=headers)
    assert (first.status_code, first.content) == (second.status_code, second.content)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OverQuota("no more"), 429),
        (OperationalError("select", {}, Exception("is away")), 503),
    ],
)
def test_rows_that_may_not_be_predicted_are_not(
    served: Served, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(PredictedRows, "take", refuse)
    monkeypatch.setattr(Predictor, "run", lambda *_: pytest.fail("predicted"))
    assert served.answer(served.models[0], json.dumps({"rows": [ROW]}).encode())[0] == status
    assert served.plainly[-1] is False


@pytest.mark.parametrize("limits", [{"max_predict_rows": 2}, {"max_upload_bytes": 200}])
def test_a_lower_limit_holds(limits: dict[str, Any], tmp_path: Path, sqlite_url: str) -> None:
    with serving(Settings(data_dir=tmp_path, database_url=sqlite_url)) as client:
        model = train(client, tmp_path / "model")
    body = {"rows": [ROW] * 3}
    with serving(Settings(data_dir=tmp_path, database_url=sqlite_url, **limits)) as client:
        for _ in range(2):  # not yet loaded, and loaded
            assert client.post(f"/v1/models/{model}/predict", json=body).status_code == 413


def test_both_ways_are_counted(served: Served) -> None:
    body = json.dumps({"rows": [ROW, {**ROW, "Zone": "nowhere"}, {}]}).encode()
    usage = resources_of(served.client)[Usage]

    def counted() -> tuple[int, int, dict[str, int]]:
        days = [day for (model, _), day in usage._days.items() if model == served.models[0]]
        return days[0].requests, days[0].rows, dict(days[0].warnings)

    before = counted()
    served.answer(served.models[0], body)
    between = counted()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_is_plain", lambda _: False)
        served.answer(served.models[0], body)
    after = counted()
    assert (between[0] - before[0], between[1] - before[1]) == (1, 3)
    assert (after[0] - between[0], after[1] - between[1]) == (1, 3)
    for code in after[2]:
        added = between[2][code] - before[2].get(code, 0)
        assert after[2][code] - between[2][code] == added
