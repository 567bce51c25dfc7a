"""The OpenAPI document, and Swagger UI without a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import many_classes
import pytest
from fastapi.testclient import TestClient
from house_api import AMES_COLUMNS, become, finish, register, resources_of
from openapi_document import AMES, example_of, operations

# Operations on a job or a sweep that has not ended, or on the model of one, or that train.
OF_OTHER_STATES = {
    "POST /v1/reproductions",  # of a job of another installation
    "GET /v1/sweeps/{sweep_id}/report",
    "POST /v1/jobs/{job_id}/cancel",
    "POST /v1/jobs/{job_id}/retry",
    "POST /v1/jobs/{job_id}/reproduce",
    "POST /v1/sweeps/{sweep_id}/cancel",
}


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert len(operation["tags"]) == 1, where
        for parameter in operation.get("parameters", []):
            if parameter["required"]:
                assert parameter["examples"], (where, parameter["name"])
        for status, response in operation["responses"].items():
            if status >= "400":
                assert response["description"], where
                assert error_schema(response) in schemas_of_errors(operation), where
    assert "HTTPValidationError" not in document["components"]["schemas"]


def error_schema(response: dict[str, Any]) -> tuple[str, str]:
    [(media_type, content)] = response["content"].items()
    return media_type, content["schema"]["$ref"].rpartition("/")[2]


def schemas_of_errors(operation: dict[str, Any]) -> set[tuple[str, str]]:
    """Another protocol's errors are its own."""
    if operation["tags"] == ["other protocols"]:
        return {("application/json", name) for name in ("ScoringError", "InferenceError")}
    return {("application/problem+json", "ProblemDocument")}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            inner = {ref for value in node.values() for ref in references(value)}
            return inner | ({node["$ref"]} if isinstance(node.get("$ref"), str) else set())
        if isinstance(node, list):
            return {ref for value in node for ref in references(value)}
        return set()

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


def test_answers_always_have_all_their_fields(document: dict[str, Any]) -> None:
    """No defaults in what is sent out, except for members of numbers, classes or sweeps alone; what
    comes in has many."""
    of_some = {"intervals", "classes", "sets", "sweep"}
    taken = {"JobCreate", "CancelRequest", "PredictRequest", "Fault"}
    schemas = document["components"]["schemas"]
    for name in ("DatasetOut", "JobOut", "ModelDetail", "PredictionsOut", "Readiness", "AliasOut"):
        assert set(schemas[name]["required"]) == set(schemas[name]["properties"]) - of_some
    assert taken <= set(schemas)


@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_the_examples_work_in_order_on_the_example_table(
    client: TestClient, document: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    """Every operation as Swagger UI prefills it; a worker stands in once the job is submitted."""
    become(client, "local")
    statuses: dict[str, int] = {}
    for method, path, operation in operations(document):
        name = f"{method} {path}"
        if name in OF_OTHER_STATES:
            continue
        examples = {
            parameter["name"]: next(iter(parameter["examples"].values()))["value"]
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "path"
        }
        url = path.format(**examples)
        if name == "POST /v1/datasets":
            response = client.post(url, files={"file": ("ames.csv", AMES.read_bytes())})
        else:
            body = example_of(operation, document, kind)
            response = client.request(method, url, json=body)
        statuses[name] = response.status_code
        if name == "POST /v1/jobs":
            stand_in(client, response.json(), tmp_path / "model")
        if name == "POST /v1/sweeps":  # else its events do not end
            client.post("/v1/sweeps/latest/cancel")

    conflicts = {name for name, status in statuses.items() if status == 409}
    assert conflicts == {
        "POST /v1/aliases/{alias}/rollback",  # there is one model alone
        "DELETE /v1/datasets/{dataset_id}",
        "DELETE /v1/jobs/{job_id}",
        "DELETE /v1/models/{model_id}",
    }
    others = {name: status for name, status in statuses.items() if name not in conflicts}
    assert all(200 <= status < 300 for status in others.values()), others


def stand_in(client: TestClient, job: dict[str, Any], folder: Path) -> None:
    """Succeed the job with a model of prices, or of classes."""
    if job["target"] == "SalePrice":
        finish(resources_of(client), job["id"], folder, AMES_COLUMNS)
    else:
        assert job["spec"]["task"] == "classification"
        files = many_classes.files(folder, count=3, column="LotArea")
        register(resources_of(client), job["id"], files)


def test_every_answer_has_an_example_with_all_of_its_fields(
    document: dict[str, Any],
) -> None:
    """Recorded from a service; where an answer has gained a field, `make openapi-examples`."""
    schemas = document["components"]["schemas"]
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                schema = content.get("schema", {})
                if not status.startswith("2") or schema.get("format") == "binary":
                    continue
                where = f"{method} {path} {media_type}"
                assert "numbers" in content["examples"], where
                name = schema.get("$ref", "").rpartition("/")[2]
                for example in content["examples"].values():
                    if media_type == "application/json" and name:
                        required = schemas[name].get("required", [])
                        assert set(required) <= set(example["value"]), where


def test_predictions_are_asked_of_the_newest_model(document: dict[str, Any]) -> None:
    """The one that the examples before have trained: `champion` may predict something else."""
    asked = document["paths"]["/v1/predict"]["post"]["parameters"]
    (model,) = [parameter for parameter in asked if parameter["name"] == "model"]
    assert (model["example"], model["schema"]["default"]) == ("latest", "champion")


def test_swagger_ui_needs_no_other_server(client: TestClient) -> None:
    page = client.get("/docs")

    assert page.status_code == 200
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert any(address.endswith("swagger-ui-bundle.js") for address in addresses)
    assert any(address.endswith("swagger-ui.css") for address in addresses)
    for address in [*addresses, "/openapi.json"]:
        assert address.startswith("/"), address
        assert client.get(address).status_code == 200, address
    assert "//" not in re.sub(r"<!--.*?-->", "", page.text)
    assert client.get("/redoc").status_code == 404
