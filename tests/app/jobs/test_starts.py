from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient
from house_api import become, finish, resources_of, submit, upload

from app.http.deps import LOCAL
from app.jobs import starts


def test_a_model_of_an_earlier_version_or_of_another_tenant(
    client: TestClient, tmp_path: Path
) -> None:
    upload(client)
    model = finish(resources_of(client), submit(client)["id"], tmp_path)
    body = {"dataset_id": "latest", "target": "Price"}
    for reference in (model, "champion", "latest"):
        answer = client.post("/v1/jobs:validate", json={**body, "initialize_from": reference})
        assert answer.status_code == 422
        [fault] = answer.json()["errors"]
        assert fault["pointer"] == "/initialize_from"
        assert f"{model} is of an earlier version" in fault["detail"]

    become(client, "other")
    upload(client)
    for reference in (model, "champion", "latest"):
        answer = client.post("/v1/jobs", json={**body, "initialize_from": reference})
        assert answer.status_code == 404
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/initialize_from"]


def test_a_name_that_no_model_can_have(client: TestClient) -> None:
    body = {"dataset_id": "latest", "target": "Price", "initialize_from": "best\0"}
    answer = client.post("/v1/jobs:validate", json=body)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/initialize_from"]


def test_only_a_tenants_own_model_goes_to_a_worker(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    resources = resources_of(client)
    model = finish(resources, submit(client)["id"], tmp_path)
    with resources.database.reading() as session:
        found = starts.of_resolved(session, LOCAL.tenant, {"initialize_from": model})
        assert found is not None
        assert found.model_id == model
        assert starts.of_resolved(session, "other", {"initialize_from": model}) is None
        assert starts.of_resolved(session, LOCAL.tenant, {"initialize_from": "mdl_0"}) is None
        assert starts.of_resolved(session, LOCAL.tenant, {"target": "price"}) is None
