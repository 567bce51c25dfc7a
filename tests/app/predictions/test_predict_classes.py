"""Predicting classes as JSON and CSV: labels, probabilities, sets, thresholds and explanations."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import many_classes
import numpy as np
import pytest
from classes import ANSWERS, STATES, class_frame, let_model, state_model
from fastapi.testclient import TestClient
from house_api import registered, serving, train

from app.predictions.answers import names_in
from app.predictions.rows import BLOCK_CELLS, BLOCK_ROWS, block_length
from app.settings import Settings
from app.storage.migrate import upgrade
from models.objectives.base import Question

CSV = {"Content-Type": "text/csv"}
JSON = {"Accept": "application/json"}
FRAME = class_frame(rows=40, seed=5).drop(columns=["state", "let"])
TEXT = FRAME.assign(Id=range(len(FRAME))).to_csv(index=False)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The application with models of a state, of no and yes, and of a price."""
    folder = tmp_path_factory.mktemp("classes")
    settings = Settings(data_dir=folder)
    upgrade(settings.resolved_database_url)
    with serving(settings) as client:
        for name, built in (("state", state_model()), ("let", let_model())):
            model_id = registered(client, built, folder / name)
            client.put(f"/v1/aliases/{name}", json={"model_id": model_id})
        model_id = train(client, folder / "price")
        client.put("/v1/aliases/price", json={"model_id": model_id})
        yield client


def predicted(client: TestClient, model: str, **params: Any) -> list[dict[str, Any]]:
    """Of `TEXT`, as JSON."""
    response = client.post(
        "/v1/predict", content=TEXT, params={"model": model, **params}, headers=CSV | JSON
    )
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["predictions"]
    return found


def table(client: TestClient, model: str, **params: Any) -> list[dict[str, str]]:
    """Of `TEXT`, as CSV."""
    response = client.post(
        "/v1/predict", content=TEXT, params={"model": model, **params}, headers=CSV
    )
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text)))


def refused(client: TestClient, model: str, accept: str = "*/*", **params: Any) -> str:
    response = client.post(
        "/v1/predict",
        content=TEXT,
        params={"model": model, **params},
        headers=CSV | {"Accept": accept},
    )
    assert response.status_code == 422, response.text
    detail: str = response.json()["detail"]
    return detail


def test_a_row_has_its_class_probabilities_and_set(client: TestClient) -> None:
    for found in predicted(client, "state"):
        assert [*found] == ["value", "probabilities", "set", "warnings"]
        assert [*found["probabilities"]] == [*STATES]
        assert sum(found["probabilities"].values()) == pytest.approx(1)
        assert found["value"] == max(found["probabilities"], key=found["probabilities"].get)
        assert found["set"]["coverage"] == 0.9
    values = {row["value"] for row in predicted(client, "state")}
    assert values == {*STATES}


def test_a_csv_has_the_same(client: TestClient) -> None:
    rows = predicted(client, "state")
    lines = table(client, "state")

    assert [*lines[0]] == ["prediction", "probability", "set", "warnings"]
    for row, line in zip(rows, lines, strict=True):
        assert line["prediction"] == row["value"]
        assert float(line["probability"]) == pytest.approx(row["probabilities"][row["value"]])
        escaped = [level.replace("|", "\\|") for level in row["set"]["levels"]]
        assert line["set"] == "|".join(escaped)
        codes = "; ".join(f"{odd['code']} {odd['column']}" for odd in row["warnings"])
        assert line["warnings"] == codes
    assert any(line["set"] == "poor\\|damp|fair, dry" for line in lines)


def test_rows_in_json_have_the_same(client: TestClient) -> None:
    rows = FRAME.astype(object).where(FRAME.notna(), None).to_dict("records")
    answer = client.post("/v1/predict?model=state", json={"rows": rows}).json()
    assert answer["target"] == "state"
    for row, same in zip(answer["predictions"], predicted(client, "state"), strict=True):
        assert (row["value"], row["set"]) == (same["value"], same["set"])
        assert row["probabilities"] == pytest.approx(same["probabilities"], abs=1e-9)


def test_columns_are_chosen_by_name_even_if_a_class_has_a_comma(client: TestClient) -> None:
    rows = predicted(client, "state")
    for asked in ("prediction,p(fair, dry)", ["prediction", "p(fair, dry)"]):
        lines = table(client, "state", columns=asked)
        assert [*lines[0]] == ["prediction", "p(fair, dry)"]
        own = [float(line["p(fair, dry)"]) for line in lines]
        assert own == pytest.approx([row["probabilities"]["fair, dry"] for row in rows])
    named = table(client, "state", columns="p(poor|damp), coverage ,prediction", name="state")
    assert [*named[0]] == ["p(poor|damp)", "coverage", "state"]
    submission = table(client, "let", passthrough="Id", columns="prediction", name="let")
    assert [*submission[0]] == ["Id", "let"]
    for unknown in ("p(fair)", "probabilities", "low"):
        assert "some of prediction, probability, p(fair, dry), p(good)" in refused(
            client, "state", columns=unknown
        )


def test_names_with_commas_are_found_among_known_ones() -> None:
    known = ["prediction", "p(a, b)", "p(a", "p(c,d,e)"]
    assert names_in(["p(a, b)"], known) == ["p(a, b)"]
    assert names_in(["p(a,prediction"], known) == ["p(a", "prediction"]
    assert names_in(["p(c,d,e),p(a, b) ,x"], known) == ["p(c,d,e)", "p(a, b)", "x"]
    assert names_in([" a", "b , c"], [" a"]) == [" a", "b", "c"]


def test_the_threshold_moves_the_decision_of_two_classes(client: TestClient) -> None:
    own = client.get("/v1/models/let").json()["classes"]
    assert (own["positive"], own["levels"]) == ("yes", [*ANSWERS])
    usual = predicted(client, "let")
    yes = [row["probabilities"]["yes"] for row in usual]
    assert [row["value"] for row in usual] == [ANSWERS[p >= own["threshold"]] for p in yes]
    for threshold in np.quantile(yes, (0.2, 0.8)).round(3).tolist():
        moved = predicted(client, "let", threshold=threshold)
        assert [row["value"] for row in moved] == [ANSWERS[p >= threshold] for p in yes]
        assert {row["value"] for row in moved} == {*ANSWERS}
        lines = table(client, "let", threshold=threshold)
        assert [line["prediction"] for line in lines] == [row["value"] for row in moved]
        for line, row in zip(lines, moved, strict=True):
            assert float(line["probability"]) == row["probabilities"][row["value"]]


@pytest.mark.parametrize("threshold", ["0", "1", "nan", "1e400", "half"])
def test_a_threshold_that_cannot_be_meant_is_refused(client: TestClient, threshold: str) -> None:
    assert "query parameter 'threshold'" in refused(client, "let", threshold=threshold)


def test_only_the_named_classes_are_listed(client: TestClient) -> None:
    [first, *_] = predicted(client, "state", classes=["good", "fair, dry"])
    assert [*first["probabilities"]] == ["good", "fair, dry"]
    [first, *_] = predicted(client, "state", classes=["good", "*"])
    assert [*first["probabilities"]] == [*STATES]
    [first, *_] = predicted(client, "state", classes=["good", "poor|damp", "good"])
    assert [*first["probabilities"]] == ["good", "poor|damp"]
    assert "query parameter 'classes' 'great' is not a class" in refused(
        client, "state", classes=["good", "great"]
    )
    [line, *_] = table(client, "state", classes=["poor|damp", "good"])
    added = ["p(good)", "p(poor|damp)"]
    assert [*line] == ["prediction", "probability", *added, "set", "warnings"]
    [line, *_] = table(client, "state", classes=["good", "good"])
    assert [*line] == ["prediction", "probability", "p(good)", "set", "warnings"]
    [line, *_] = table(client, "state", classes="*")
    assert [*line][2:5] == [f"p({level})" for level in STATES]
    assert "not both" in refused(client, "state", classes="good", columns="prediction")


def test_sets_can_hold_class_by_class(client: TestClient) -> None:
    usual, by_class = (
        [row["set"]["levels"] for row in predicted(client, "let", by_class=each, coverage=0.8)]
        for each in (False, True)
    )
    assert usual != by_class
    assert "'by_class' some classes have too few rows" in refused(client, "state", by_class=True)


def test_a_larger_coverage_has_larger_sets(client: TestClient) -> None:
    body = {"rows": FRAME.head(3).dropna(axis=1).to_dict("records"), "coverage": 0.99}
    answer = client.post("/v1/predict?model=state&coverage=0.5", json=body).json()
    assert {row["set"]["coverage"] for row in answer["predictions"]} == {0.99}
    sizes = [
        sum(len(row["set"]["levels"]) for row in predicted(client, "state", coverage=coverage))
        for coverage in (0.5, 0.8, 0.95)
    ]
    assert sizes == sorted(set(sizes))


def test_the_predicted_class_is_explained_or_a_named_one(client: TestClient) -> None:
    def explained(**params: Any) -> dict[str, Any]:
        rows = FRAME.tail(1).to_dict("records")
        response = client.post(
            "/v1/predict", json={"rows": rows}, params={"model": "state", "explain": True, **params}
        )
        assert response.status_code == 200, response.text
        [found] = response.json()["predictions"]
        explanation = found["explanation"]
        p = found["probabilities"][explanation["level"]]
        total = explanation["base"] + sum(explanation["contributions"].values())
        assert total == pytest.approx(np.log(p / (1 - p)))
        assert {*explanation["contributions"]} == {*FRAME}
        return {"value": found["value"], **explanation}

    own = explained()
    assert own["level"] == own["value"]
    other = next(level for level in STATES if level != own["value"])
    assert explained(explained_class=other)["level"] == other
    assert "'explained_class' 'none' is not a class" in refused(
        client, "state", "application/json", explain=True, explained_class="none"
    )
    assert "only with explain=true" in refused(client, "state", explained_class="good")


@pytest.mark.parametrize(
    "params",
    [
        {"threshold": 0.3},
        {"classes": "yes"},
        {"by_class": True},
        {"explained_class": "yes", "explain": True},
    ],
)
def test_a_model_of_numbers_refuses_options_of_classes_by_name(
    client: TestClient, params: dict[str, Any]
) -> None:
    detail = refused(client, "price", "application/json", **params)
    assert f"query parameter '{next(iter(params))}' applies only to models" in detail


def test_three_classes_have_no_threshold(client: TestClient) -> None:
    assert "'threshold' applies to two classes, and the model has 3" in refused(
        client, "state", threshold=0.3
    )


def test_of_many_classes_only_the_probable_ones_are_listed() -> None:
    predictor = many_classes.predictor(30)
    rows = [{"x": 7.2}, {"x": 29}]
    expected = [many_classes.probabilities(row["x"], 30) for row in rows]
    usual = predictor.predict_rows(rows).cells
    for found, levels, p in zip(usual["probabilities"], usual["set"], expected, strict=True):
        places = [int(level.removeprefix("class ")) for level in found]
        assert {*found} == {*levels, f"class {p.argmax()}"}
        assert len(found) < 6
        assert [*found.values()] == pytest.approx(p[places])
    every = predictor.predict_rows(rows, Question(classes=("*",))).cells["probabilities"]
    assert [*every[0]] == many_classes.names(30)
    assert [*every[0].values()] == pytest.approx(expected[0])
    tensors = {column.tensor for column in predictor.columns if column.is_default_tensor}
    assert "probabilities" not in tensors


def test_memory_is_bounded_by_rows_times_classes() -> None:
    few, many = many_classes.predictor(3), many_classes.predictor(1000)
    assert block_length(few, BLOCK_CELLS) == BLOCK_ROWS
    assert block_length(many, BLOCK_CELLS) == BLOCK_CELLS // 1000
    found = many.predict_rows([{"x": 3.0}] * 300)
    assert found.values.shape == (300, 1000)
    assert found.members.shape == (0, 300, 1000)
