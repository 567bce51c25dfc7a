"""Models, aliases, exports."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from fastapi.testclient import TestClient
from house_api import finish, manifest, resources_of, submit, train

from app.registry import service
from app.registry.readme import INDENT, readme
from app.storage.blobs import Blobs
from models.objectives import OBJECTIVES


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


def test_deleting_takes_a_models_own_files(client: TestClient, tmp_path: Path) -> None:
    """Another job with the same bytes keeps its own, also one that is about to succeed."""
    first = train(client, tmp_path / "model")
    second = finish(resources_of(client), submit(client)["id"], tmp_path / "model")
    client.put("/v1/aliases/champion", json={"model_id": second})
    assert len({str(model["artifacts"]) for model in client.get("/v1/models").json()["data"]}) == 1
    folder = resources_of(client).settings.root / "storage" / "artifacts"

    assert client.delete(f"/v1/models/{first}").status_code == 204
    assert client.get("/v1/models/champion/export").status_code == 200
    assert len(list(folder.iterdir())) == 1

    client.delete("/v1/aliases/champion")
    assert client.delete(f"/v1/models/{second}").status_code == 204
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("no_renewals")
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/champion",
        "/v1/models/champion/export",
        "/v1/jobs/latest/oof",
        "/v1/datasets/latest/content",
    ],
)
def test_files_are_read_outside_of_transactions(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """On SQLite without WAL a reader keeps writers out until it is done."""
    train(client, tmp_path / "model")
    resources = resources_of(client)
    open_connections: list[int] = []

    def noting(read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*arguments: Any) -> Any:
            open_connections.append(resources.database.engine.pool.checkedout())  # type: ignore[attr-defined]
            return read(*arguments)

        return reading

    monkeypatch.setattr(Blobs, "read_artifact", noting(Blobs.read_artifact))
    monkeypatch.setattr(Blobs, "open", noting(Blobs.open))

    assert client.get(path).status_code == 200
    assert open_connections
    assert set(open_connections) == {0}


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
        "conformal.py",
        "predict.py",
        service.ANSWERS,
        *service.READER,
        "model.onnx",
        "manifest.json",
        "weights.safetensors",
        "oof.parquet",
    }
    assert f'filename="{model_id}.onnx"' in alone.headers["Content-Disposition"]
    onnxruntime.InferenceSession(alone.content)


@pytest.mark.parametrize("task", [*OBJECTIVES])
def test_the_readme_describes_every_module_of_an_export(task: str) -> None:
    objective = OBJECTIVES[task]
    described = {line[:INDENT].strip() for line in readme(objective.guide).splitlines()}
    files = {f"{module.rpartition('.')[2]}.py" for module in objective.standalone[1:]}
    assert files | {"predict.py", service.ANSWERS, "model.onnx", "oof.parquet"} <= described
    assert set(objective.guide.modules) == files
