"""Aliases that only admins move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from house_api import become, finish, resources_of, serving, submit, upload

from app.settings import Settings


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """Two models of the tenant `mine`, the first of them its champion; asked by an editor."""
    with serving(settings) as client:
        become(client, "mine")
        upload(client)
        for place in range(2):
            finish(resources_of(client), submit(client)["id"], tmp_path / str(place))
        become(client, "mine", "editor")
        yield client


def test_an_editor_moves_what_is_not_protected(client: TestClient) -> None:
    moved = client.put("/v1/aliases/champion", json={"model_id": "latest"})
    assert (moved.status_code, moved.json()["protected"]) == (200, False)
    refused = client.put("/v1/aliases/champion", json={"model_id": "latest", "protected": False})
    assert refused.status_code == 403
    refused = client.put("/v1/aliases/own", json={"model_id": "latest", "protected": True})
    assert refused.status_code == 403
    assert client.get("/v1/aliases/own").status_code == 404


def test_a_protected_alias_is_moved_by_admins_only(client: TestClient) -> None:
    become(client, "mine")
    first = client.get("/v1/aliases/champion").json()
    asked = {"model_id": first["model_id"], "protected": True}
    protected = client.put("/v1/aliases/champion", json=asked).json()
    assert protected == first | {"protected": True}

    become(client, "mine", "editor")
    asks = [
        client.put("/v1/aliases/champion", json={"model_id": "latest"}),
        client.put("/v1/aliases/champion", json={"model_id": "latest", "force": True}),
        client.put(
            "/v1/aliases/champion", json={"model_id": "latest", "if_better_than": "champion"}
        ),
        client.post("/v1/aliases/champion/rollback"),
        client.delete("/v1/aliases/champion"),
    ]
    assert [answer.status_code for answer in asks] == [403] * 5
    assert "only admins" in asks[0].json()["detail"]
    assert client.get("/v1/aliases/champion").json() == protected

    become(client, "mine")
    moved = client.put("/v1/aliases/champion", json={"model_id": "latest"}).json()
    assert moved["protected"]  # until an admin ends that
    back = client.post("/v1/aliases/champion/rollback").json()
    assert (back["model_id"], back["protected"]) == (first["model_id"], True)
    ended = {"model_id": "latest", "protected": False}
    assert client.put("/v1/aliases/champion", json=ended).json()["protected"] is False
    become(client, "mine", "editor")
    assert client.delete("/v1/aliases/champion").status_code == 204
