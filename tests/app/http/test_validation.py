"""What is said of a spec that is not one: which value, and where a field belongs."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from app.http.bodies import DocumentRoute
from app.http.paging import PageQueryDep
from app.http.validation import request_faults
from app.jobs.schemas import JobCreate


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.router.route_class = DocumentRoute

    @app.post("/specs")
    def specs(body: JobCreate) -> dict[str, Any]:
        return body.model_dump(exclude_unset=True, exclude={"dataset_id", "target"})

    @app.get("/pages")
    def pages(query: PageQueryDep) -> int:
        return query.limit

    @app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [[fault.pointer, fault.detail] for fault in request_faults(request, error)]
        return JSONResponse(faults, 422)

    return TestClient(app)


def answer(client: TestClient, spec: dict[str, Any]) -> Any:
    return client.post("/specs", json={"dataset_id": "latest", "target": "price", **spec}).json()


@pytest.mark.parametrize(
    ("spec", "pointer", "says"),
    [
        ({"learning_rate": 0.1}, "/learning_rate", "'optimizer.learning_rate', or 'lr' here"),
        ({"patience": 3}, "/patience", "it belongs to 'early_stopping.patience'"),
        ({"hidden_sizes": [8]}, "/hidden_sizes", "it belongs to 'architecture.hidden_sizes'"),
        ({"target_transform": "log"}, "/target_transform", "'preprocessing.target_transform'"),
        ({"fraction": 0.2}, "/fraction", "'early_stopping.fraction' or 'holdout.fraction'"),
        ({"optimizer": {"dropout": 0.1}}, "/optimizer/dropout", "the top of the spec"),
        (
            {"architecture": {"type": "mlp", "bins": 8}},
            "/architecture/bins",
            "'architecture.numeric_embedding.bins'",
        ),
        (
            {"architecture": {"type": "linear", "hidden_sizes": [8]}},
            "/architecture/hidden_sizes",
            "another 'type' has it",
        ),
        ({"epochs": 3}, "/epochs", "did you mean 'max_epochs'?"),
        ({"learningrate": 3}, "/learningrate", "did you mean 'optimizer.learning_rate'?"),
        ({"folds": 5}, "/folds", "did you mean 'k_folds'?"),
        ({"optimizer": "adam"}, "/optimizer", 'must be a JSON object: {"name": "adam"}'),
        ({"architecture": "mlp"}, "/architecture", 'must be a JSON object: {"type": "mlp"}'),
        (
            {"architecture": {"hidden_sizes": [8]}},
            "/architecture",
            "'type' is missing: it must be one of 'boosted_trees', 'kernel', 'linear', 'mlp'",
        ),
    ],
)
def test_where_a_field_belongs(
    client: TestClient, spec: dict[str, Any], pointer: str, says: str
) -> None:
    [[place, detail]] = answer(client, spec)
    assert place == pointer
    assert says in detail


@pytest.mark.parametrize(
    ("spec", "detail"),
    [
        ({"k_folds": "7_0"}, 'must be a valid integer, got "7_0"'),
        ({"k_folds": True}, "must be a valid integer, got true"),
        ({"dropout": "0.1"}, 'must be a valid number, got "0.1"'),
        ({"dropout": False}, "must be a valid number, got false"),
        ({"seed": 1.5}, "must be a valid integer, got 1.5"),
        ({"k_folds": 20_205_800}, "must be at least 2 and at most 50, got 20205800"),
        (
            {"architecture": {"type": "mlp", "linear_path": "yes"}},
            "must be a valid boolean or 'least_squares', got \"yes\"",
        ),
    ],
)
def test_no_value_is_taken_for_another(
    client: TestClient, spec: dict[str, Any], detail: str
) -> None:
    [[_, found]] = answer(client, spec)
    assert found == detail


def test_a_whole_number_may_have_a_point(client: TestClient) -> None:
    assert answer(client, {"k_folds": 5.0, "dropout": 0, "architecture": {"type": "tabm"}}) == {
        "k_folds": 5,
        "dropout": 0.0,
        "architecture": {"type": "tabm"},
    }


def test_numbers_in_a_query_are_written_in_digits(client: TestClient) -> None:
    assert client.get("/pages?limit=70").json() == 70
    [[_, detail]] = client.get("/pages?limit=7_0").json()
    assert detail == "query parameter 'limit' must be a number, got '7_0'"
