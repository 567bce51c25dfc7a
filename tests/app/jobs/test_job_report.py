"""GET …/report and …/charts."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient
from house_api import finish, register, resources_of, submit, upload, write_artifacts

from app.storage.tables import Model


def test_a_report_is_a_page_that_runs_nothing(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    job = submit(client)
    early = client.get("/v1/jobs/latest/report")
    assert early.status_code == 404
    assert f"There is no report: {job['id']} is queued" in early.json()["detail"]

    finish(resources_of(client), job["id"], tmp_path / "model")
    answer = client.get("/v1/jobs/latest/report")
    assert answer.status_code == 200
    assert answer.content == (tmp_path / "model" / "report.html").read_bytes()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'inline; filename="{job["id"]}.html"'
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy

    charts = client.get(f"/v1/jobs/{job['id']}/charts")
    assert charts.json() == {"data": []}
    assert charts.headers["Content-Type"] == "application/json"
    assert charts.headers["ETag"] != answer.headers["ETag"]
    assert client.get("/v1/jobs/latest/charts").headers["ETag"] == charts.headers["ETag"]


def test_what_a_client_kept_is_not_sent_again(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    job = submit(client)
    files = write_artifacts(tmp_path / "model")
    (tmp_path / "model" / "report.html").write_text("<!doctype html>" + "house " * 1_000)
    register(resources_of(client), job["id"], files)
    for name in ("report", "charts"):
        path = f"/v1/jobs/latest/{name}"
        whole = client.get(path)
        tag = whole.headers["ETag"]
        for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            kept = client.get(path, headers={"If-None-Match": known})
            assert (kept.status_code, kept.content, kept.headers["ETag"]) == (304, b"", tag)
        assert client.get(path, headers={"If-None-Match": '"other"'}).content == whole.content

    plain = client.head("/v1/jobs/latest/report", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    compressed = client.get("/v1/jobs/latest/report")
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert int(compressed.headers["Content-Length"]) < int(plain.headers["Content-Length"])


def test_a_model_of_an_earlier_version_has_no_report(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    job = submit(client)
    write_artifacts(tmp_path / "model")
    model_id = finish(resources_of(client), job["id"], tmp_path / "model")
    with resources_of(client).database.writing() as session:
        model = session.get_one(Model, model_id)
        kept = {"report.html", "charts.json"}
        model.artifacts = {
            name: sha256 for name, sha256 in model.artifacts.items() if name not in kept
        }
    for path in ("report", "charts"):
        answer = client.get(f"/v1/jobs/latest/{path}")
        assert answer.status_code == 404
        assert "earlier version" in answer.json()["detail"]
