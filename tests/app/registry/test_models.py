"""Models, aliases, exports."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import onnxruntime
import pytest
from fastapi.testclient import TestClient
from house_api import finish, manifest, resources_of, submit, train

from app.storage.blobs import artifact_key


def test_the_first_model_is_champion_and_tells_its_columns(
    client: TestClient, tmp_path: Path
) -> None:
    model_id = train(client, tmp_path / "model")

    model = client.get("/v1/models/champion").json()

    assert model["id"] == model_id
    assert model["aliases"] == ["champion"]
    assert model["target"] == "Price"
    assert model["numeric"] == manifest().model_dump()["numeric"]
    assert model["categorical"][0]["levels"] == ["north", "south"]
    [listed] = client.get("/v1/models").json()["data"]
    assert listed.items() <= model.items()


def test_an_alias_moves(client: TestClient, tmp_path: Path) -> None:
    first = train(client, tmp_path / "model")
    second = finish(resources_of(client), submit(client)["id"], tmp_path / "other")

    put = client.put("/v1/aliases/champion", json={"model_id": second})
    named = client.put("/v1/aliases/best-so.far", json={"model_id": "champion"})

    assert (put.status_code, named.status_code) == (200, 200)
    assert put.json()["model_id"] == named.json()["model_id"] == second
    aliases = client.get("/v1/aliases").json()["data"]
    assert [(alias["alias"], alias["model_id"]) for alias in aliases] == [
        ("best-so.far", second),
        ("champion", second),
    ]
    models = client.get("/v1/models").json()["data"]
    assert [(model["id"], model["aliases"]) for model in models] == [
        (second, ["best-so.far", "champion"]),
        (first, []),
    ]


@pytest.mark.parametrize(
    ("alias", "model_id", "status"),
    [("a", "mdl_none", 404), ("a", "nobody", 404), ("mdl_a", "champion", 422), ("A", "x", 422)],
)
def test_aliases_that_cannot_be(
    client: TestClient, tmp_path: Path, alias: str, model_id: str, status: int
) -> None:
    train(client, tmp_path / "model")

    response = client.put(f"/v1/aliases/{alias}", json={"model_id": model_id})

    assert response.status_code == status


def test_a_model_that_an_alias_points_at_stays(client: TestClient, tmp_path: Path) -> None:
    model_id = train(client, tmp_path / "model")

    refused = client.delete(f"/v1/models/{model_id}")
    client.delete("/v1/aliases/champion")
    deleted = client.delete(f"/v1/models/{model_id}")

    assert refused.status_code == 409
    assert "champion" in refused.json()["detail"]
    assert deleted.status_code == 204
    assert client.get(f"/v1/models/{model_id}").status_code == 404
    assert client.delete("/v1/aliases/champion").status_code == 404


def test_files_that_another_model_has_too_are_kept(client: TestClient, tmp_path: Path) -> None:
    first = train(client, tmp_path / "model")
    second = finish(resources_of(client), submit(client)["id"], tmp_path / "model")
    client.put("/v1/aliases/champion", json={"model_id": second})
    files = client.get("/v1/models/champion").json()["artifacts"]

    def stored() -> set[str]:
        blobs = resources_of(client).blobs
        return {name for name, sha256 in files.items() if blobs.exists(artifact_key(sha256))}

    assert client.delete(f"/v1/models/{first}").status_code == 204
    assert stored() == set(files)

    client.delete("/v1/aliases/champion")
    assert client.delete(f"/v1/models/{second}").status_code == 204
    assert stored() == set()


def test_exports(client: TestClient, tmp_path: Path) -> None:
    model_id = train(client, tmp_path / "model")

    zipped = client.get(f"/v1/models/{model_id}/export")
    alone = client.get("/v1/models/champion/export?format=onnx")

    assert zipped.headers["Content-Type"] == "application/zip"
    assert f'filename="{model_id}.zip"' in zipped.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert archive.read("model.onnx") == alone.content
    assert set(names) == {
        "README.txt",
        "model.onnx",
        "manifest.json",
        "weights.safetensors",
        "oof.parquet",
    }
    assert f'filename="{model_id}.onnx"' in alone.headers["Content-Disposition"]
    onnxruntime.InferenceSession(alone.content)
