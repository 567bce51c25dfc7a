"""What an earlier version stored is shown, trained on, priced with and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from house_api import register, resources_of, submit, upload, write_artifacts

from app.storage.backup import back_up, restore
from app.storage.blobs import ARTIFACTS, Blobs, artifacts_key
from app.storage.database import Database
from app.storage.migrate import upgrade
from app.storage.sweep import sweep
from app.storage.tables import Dataset, Job, Model

# By where it stands, what documents have gained since.
GAINED = {
    "metrics_error",
    "bounds",
    "warnings",
    "reading",
    "standard_error",
    "measured",
    "shift",
    "cut",
    "retransform",
    "include",
    "likeness",
}


def aged(document: Any) -> Any:
    """A document without the fields that it has gained."""
    if isinstance(document, dict):
        return {name: aged(part) for name, part in document.items() if name not in GAINED}
    return [aged(part) for part in document] if isinstance(document, list) else document


def registered(client: TestClient, folder: Path) -> str:
    """A model as an earlier version wrote it; gives its id."""
    files = write_artifacts(folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(aged(json.loads(path.read_text()))))
    return register(resources_of(client), submit(client)["id"], files)


def test_tables_jobs_and_models_of_an_earlier_version_still_serve(
    client: TestClient, tmp_path: Path
) -> None:
    dataset = upload(client)
    champion, challenger = (registered(client, tmp_path / name) for name in ("first", "second"))
    with resources_of(client).database.writing() as session:
        table = session.get_one(Dataset, dataset["id"])
        warnings = table.profile["warnings"]
        table.profile = aged(table.profile) | {"warnings": warnings}
        table.parquet_sha256 = None
        for job in session.query(Job):
            job.spec, job.result = aged(job.spec), aged(job.result)

    profile = client.get(f"/v1/datasets/{dataset['id']}").json()
    assert [(column["cut"], column["reading"]) for column in profile["columns"]] == [(0, None)] * 5
    spec = {"dataset_id": dataset["id"], "target": "Price", "holdout": {"fraction": 0.1}}
    assert client.post("/v1/jobs:validate", json=spec).status_code == 200
    assert client.post("/v1/jobs", json=spec).status_code == 202
    [*_, job] = client.get("/v1/jobs").json()["data"]
    assert (job["result"]["metrics_error"], job["result"]["warnings"]) == ({}, [])
    assert client.post(f"/v1/jobs/{job['id']}/retry").status_code == 202

    shown = client.get(f"/v1/models/{champion}").json()
    assert (shown["metrics_error"], shown["warnings"]) == ({}, [])
    rows = [{"Area": 100, "Quality": 5, "Zone": "south"}]
    answer = client.post(f"/v1/models/{champion}/predict", json={"rows": rows}).json()
    assert answer["predictions"][0]["value"] == 102_750
    assert answer["predictions"][0]["interval"]["low"] < 102_750
    assert client.get(f"/v1/models/{champion}/monitoring").json()["rows"] == 1
    better = {"model_id": challenger, "if_better_than": champion}
    refused = client.put("/v1/aliases/champion", json=better)
    assert (refused.status_code, "standard errors of 0" in refused.json()["detail"]) == (409, True)
    assert client.put("/v1/aliases/champion", json={"model_id": challenger}).status_code == 200
    assert client.get(f"/v1/models/{champion}/export").status_code == 200


def test_files_that_an_earlier_version_kept_with_the_job(
    client: TestClient, tmp_path: Path
) -> None:
    dataset = upload(client)
    resources = resources_of(client)
    model_id = registered(client, tmp_path / "files")
    storage = resources.settings.root / "storage"
    with resources.database.writing() as session:
        model = session.get_one(Model, model_id)
        (storage / artifacts_key(model.folder)).rename(storage / artifacts_key(model.job_id))
        model.shard_id = None
    sweep(resources.database, resources.blobs)

    job = client.get("/v1/jobs/latest").json()
    for address in (f"models/{model_id}", f"models/{model_id}/export", f"jobs/{job['id']}/oof"):
        assert client.get(f"/v1/{address}").status_code == 200
    assert back_up(resources.database, resources.blobs, tmp_path / "backup").models == 1
    url = f"sqlite:///{tmp_path / 'restored.sqlite'}"
    upgrade(url)
    elsewhere, restored = Blobs(str(tmp_path / "restored")), Database(url)
    assert restore(tmp_path / "backup", restored, elsewhere).models == 1
    restored.close()
    assert elsewhere.names(ARTIFACTS) == [job["id"]]

    client.delete("/v1/aliases/champion")
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert resources.blobs.names(ARTIFACTS) == []
    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
