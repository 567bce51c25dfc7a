"""Pages say what is there and what to do, whatever state it is in."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path

import httpx
import many_classes
import pytest
from fastapi.testclient import TestClient
from house_api import (
    houses_csv,
    register,
    resources_of,
    result,
    submit,
    train,
    upload,
    write_artifacts,
)

from app.storage.tables import Worker
from app.web.jobs import form
from app.web.jobs.listing import values_by_field
from app.web.models import typical_input
from app.web.rendering import ASSETS
from models.serving.manifest import CategoricalFeature
from models.spec import TrainingSpec

CLASSES = "x,species\n" + "".join(f"{row},class {row % 3}\n" for row in range(60))
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NASTY = '"><script>alert(1)</script>'


def get(client: TestClient, path: str, status: int = 200) -> httpx.Response:
    answer = client.get(path, headers=BROWSER)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
    return answer


def test_an_empty_service_says_where_to_begin(client: TestClient) -> None:
    start = get(client, "/").text
    assert "Drop a CSV" in start
    assert "No worker is running" in start
    assert client.get("/example/houses.csv").text.startswith("Id,")
    assert "Nothing has been uploaded yet" in get(client, "/datasets").text
    assert "No job has been submitted yet" in get(client, "/jobs").text
    assert "There is no model yet" in get(client, "/models").text
    assert "There is no table yet" in get(client, "/jobs/new").text


def test_a_program_gets_the_name_and_version(client: TestClient) -> None:
    answer = client.get("/", headers={"Accept": "application/json"})
    assert answer.json().keys() == {"name", "version", "docs"}


def test_every_page_of_a_trained_model(client: TestClient, tmp_path: Path) -> None:
    model = train(client, tmp_path / "model")
    job = client.get("/v1/jobs/latest").json()
    paths = {
        "/": "houses.csv",
        "/datasets": "60",
        f"/datasets/{job['dataset_id']}": "Quality",
        "/jobs": "succeeded",
        "/jobs/new": "The spec as JSON",
        f"/jobs/new?like={job['id']}": "Price",
        f"/jobs/{job['id']}": "Change and train again",
        "/models": model,
        f"/models/{model}": "No row was predicted",
        f"/models/{model}/predict": "Quality",
        "/models/champion/predict": "champion",
        "/lessons": "softmax",
        "/lessons/xor": "foldhouse lessons run xor",
        "/lessons/xor?language=zh": 'lang="zh"',
    }
    for path, words in paths.items():
        text = get(client, path).text
        assert words in text, path
        for address in re.findall(r'(?:src|href)="([^"#]+)', text):
            assert address.startswith(("/", "?")), address
            if not address.startswith("?"):
                assert client.get(address, headers=BROWSER).status_code == 200, address


def test_the_page_of_a_job_of_several_classes(client: TestClient, tmp_path: Path) -> None:
    """It has no decision between two."""
    upload(client, CLASSES)
    job = submit(client, target="species")
    scores = {"accuracy": 0.985, "log_loss": 0.03}
    reported = result() | {
        "metrics": scores,
        "fold_mean": scores,
        "fold_std": scores,
        "metrics_error": {"accuracy": 0.006},
        "classes": [
            {"level": f"class {place}", "rows": 20, "precision": 1.0, "recall": 0.9, "f1": 0.95}
            for place in range(3)
        ],
        "confusion": {
            "levels": ["class 0", "class 1", "class 2"],
            "rows": [[20, 0, 0], [1, 19, 0], [0, 0, 20]],
            "most_confused": [],
        },
        "sets": [
            {
                "coverage": 0.9,
                "rows": 60,
                "measured": 0.91,
                "mean_size": 1.1,
                "empty": 0.0,
                "by_class": {"class 0": 0.9},
            }
        ],
    }
    for fold in reported["folds"]:
        fold["metrics"] = scores
    files = many_classes.files(tmp_path / "model", count=3)
    model_id = register(resources_of(client), job["id"], files, reported)
    page = get(client, f"/jobs/{job['id']}").text
    assert "species is predicted right for 98.5" in page
    get(client, f"/models/{model_id}")
    get(client, "/jobs")


def test_a_missing_thing_is_a_page_and_for_programs_a_problem(client: TestClient) -> None:
    for path in ("/jobs/job_none", "/models/none", "/nowhere", "/lessons/none"):
        assert "There is" in get(client, path, 404).text
    for path in ("/jobs?sort=DROP", "/jobs?page=0", "/jobs/compare?id=one", "/jobs?status=odd"):
        get(client, path, 422)
    assert client.get("/v1/jobs/job_none", headers=BROWSER).json()["status"] == 404
    assert client.get("/nowhere").headers["Content-Type"] == "application/problem+json"


def test_what_users_wrote_is_text(client: TestClient) -> None:
    upload(client, houses_csv().replace("Zone", f'"{NASTY.replace(chr(34), chr(34) * 2)}"', 1))
    job = submit(client, name=NASTY)
    for path in ("/", "/jobs", "/datasets/latest", "/jobs/new", f"/jobs/{job['id']}"):
        assert NASTY not in get(client, path).text, path
        assert "<script>alert" not in get(client, path).text, path


def test_jobs_are_sorted_filtered_and_told_apart(both_clients: TestClient, tmp_path: Path) -> None:
    client = both_clients
    train(client, tmp_path / "model")
    submit(client, name="wide", dropout=0.5)
    submit(client, name="narrow", dropout=0.1)

    def names(query: str) -> list[str]:
        rows = re.findall(r"<tr><td><input.*?</tr>", get(client, f"/jobs{query}").text, re.DOTALL)
        return [re.findall(r'<a href="/jobs/[^"]*">([^<]*)</a>', row)[0] for row in rows]

    assert names("")[:2] == ["narrow", "wide"]
    assert names("?descending=false")[1:] == ["wide", "narrow"]
    assert names("?sort=rmse&descending=false")[1:] == ["wide", "narrow"]  # without a value: last
    assert names("?text=NARR") == ["narrow"]
    assert names("?text=%25") == []
    assert len(names("?status=succeeded")) == 1
    assert names("?target=Other") == []
    assert names("?page=2") == []
    assert ">dropout</th>" in get(client, "/jobs").text


def test_a_cancelled_job_says_so(client: TestClient) -> None:
    upload(client)
    job = submit(client)
    client.post(f"/v1/jobs/{job['id']}/cancel")
    text = get(client, f"/jobs/{job['id']}").text
    assert ">cancelled<" in text
    assert "Run again as it is" in text


def test_libraries_are_those_that_were_pinned() -> None:
    vendor = ASSETS / "vendor"
    known = json.loads((vendor / "vendor.json").read_text())
    assert {each["file"] for each in known} == {path.name for path in vendor.glob("*.js")}
    licences = (vendor / "LICENSES.txt").read_text()
    for each in known:
        digest = hashlib.sha384((vendor / each["file"]).read_bytes()).digest()
        assert each["integrity"] == f"sha384-{b64encode(digest).decode()}"
        assert f"{each['package']} {each['version']}" in licences


def test_assets_may_be_kept_for_ever_by_their_digest(client: TestClient) -> None:
    (address,) = set(re.findall(r'href="(/assets/app.css[^"]*)"', get(client, "/").text))
    assert "immutable" in client.get(address).headers["Cache-Control"]
    assert "Cache-Control" not in client.get("/assets/app.css").headers


def test_fields_of_the_form_are_fields_of_a_spec() -> None:
    fields = {field.path: field for group in form.groups().values() for field in group}
    assert fields["k_folds"].low == 2
    assert fields["k_folds"].high == 50
    assert "relu" in dict(fields["architecture.activation"].choices)
    assert fields["architecture.hidden_sizes"].kind == "numbers"
    assert "mlp" in form.architectures()
    assert TrainingSpec.model_fields.keys() >= {path.split(".")[0] for path in fields}


def test_a_model_without_metrics_is_listed(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    job = submit(client)
    reported = result() | {"metrics": {}}
    model = register(resources_of(client), job["id"], write_artifacts(tmp_path), reported)
    assert model in get(client, "/models").text


@pytest.mark.parametrize("path", ["/jobs", "/datasets", "/models"])
def test_pages_are_not_in_the_api_document(client: TestClient, path: str) -> None:
    assert path not in client.get("/openapi.json").json()["paths"]


def test_pages_and_assets_are_compressed(client: TestClient) -> None:
    vega = "/assets/vendor/vega.min.js"
    for path in (
        "/",
        "/datasets",
        "/jobs",
        "/jobs/new",
        "/models",
        "/lessons",
        "/lessons/xor",
        vega,
    ):
        answer = client.get(path, headers={**BROWSER, "Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip", path
        assert "Accept-Encoding" in answer.headers["Vary"], path


def test_a_queued_job_says_how_many_are_before_it(client: TestClient) -> None:
    upload(client)
    older, newer = (submit(client)["id"] for _ in range(2))
    worker = Worker(
        id="wrk_1", hostname="here", boot_id="b", pid=1, device="cpu", slots=1, version="0"
    )
    with resources_of(client).database.writing() as session:
        session.add(worker)
    assert "Waiting for a worker." in get(client, f"/jobs/{older}").text
    assert "Waiting for a worker, after 1 other job." in get(client, f"/jobs/{newer}").text


@pytest.mark.parametrize(
    ("levels", "value"), [([None, "Gd", "TA"], ""), (["TA", None], "TA"), ([], "")]
)
def test_a_prediction_begins_with_what_most_rows_have(levels: list[str | None], value: str) -> None:
    column = CategoricalFeature(kind="categorical", name="Pool", numbers=False, levels=levels)
    assert typical_input(column, None).value == value


def test_levels_keep_their_spaces(client: TestClient, tmp_path: Path) -> None:
    model = train(client, tmp_path / "model")
    assert re.search(
        '<option value="[^"]+" selected>', get(client, f"/models/{model}/predict").text
    )


def test_columns_of_other_tables_are_no_settings() -> None:
    specs = [{"features.kinds.A": "numeric", "seed": 1}, {"features.kinds.B": "numeric", "seed": 2}]
    assert values_by_field(specs) == {"seed": 2}
    specs = [{"features.kinds.A": "numeric"}, {"features.kinds.A": "categorical"}, {}]
    assert values_by_field(specs) == {"features.kinds.A": 2}
