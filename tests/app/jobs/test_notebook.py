"""GET …/notebook: cells that train the job's model again, and come to its error."""

from __future__ import annotations

import contextlib
import io
import urllib.request
from pathlib import Path
from typing import Any, get_args

import nbformat
import numpy as np
import pandas as pd
import pytest
from classes import class_frame
from fastapi.testclient import TestClient
from house_api import finish, register, resources_of, result, submit, upload
from houses import build, house_frame, lay

from app.jobs.notebook import ACTIVATIONS, NORMALIZATIONS, RATE_FACTORS, code_of
from app.jobs.notebook_choice import CELLS
from models.spec import Preprocessing, Schedule
from models.spec.architectures import (
    Activation,
    InitializationRule,
    MlpArchitecture,
)

MLP: dict[str, Any] = {"type": "mlp", "hidden_sizes": [16]}
# Quotes, line breaks, braces, and what would end a string or a cell.
NASTY = {"area": "ar\"ea'\\", "year": "{url} %%", "quarter": "a'''b", "heating": "# %% ünï\u2028x"}


def trained(client: TestClient, folder: Path, frame: pd.DataFrame, **spec: Any) -> str:
    """The id of a job whose model was really trained."""
    case = lay(folder, frame, **spec)
    built = build(case)
    upload(client, (folder / "houses.csv").read_text())
    job = submit(client, **{"target": "price", **spec})
    built.scores.write_out_of_fold(folder / "oof.parquet")
    (folder / "manifest.json").write_text(built.manifest.model_dump_json())
    reported = result() | built.scores.result()
    files = [folder / "oof.parquet", folder / "manifest.json"]
    register(resources_of(client), job["id"], files, reported)
    return str(job["id"])


def notebook_of(client: TestClient, job_id: str) -> Any:
    answer = client.get(f"/v1/jobs/{job_id}/notebook")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-ipynb+json"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{job_id}.ipynb"'
    found = nbformat.reads(answer.text, as_version=nbformat.NO_CONVERT)
    nbformat.validate(found)
    return found


def run(client: TestClient, document: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the code cells have made."""

    def urlopen(request: urllib.request.Request) -> io.BytesIO:
        answer = client.get(request.full_url, headers=dict(request.header_items()))
        assert answer.status_code == 200, answer.text
        return io.BytesIO(answer.content)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in document.cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, cell.id, "exec"), names)
    return names


@pytest.mark.parametrize(
    ("classes", "spec"),
    [
        (False, {"architecture": MLP}),
        (
            False,
            {
                "architecture": {"type": "linear"},
                "folds": {"type": "time", "column": "sold"},
                "preprocessing": {"numeric_missing": "drop_rows"},
            },
        ),
        (
            True,
            {
                "architecture": MLP
                | {
                    "normalization": "batch",
                    "numeric_embedding": {"type": "piecewise_linear"},
                    "linear_path": "least_squares",
                },
                "preprocessing": {"numeric_scaling": "quantile"},
                "class_weights": "balanced",
            },
        ),
    ],
)
def test_it_comes_to_the_error_of_the_job(
    client: TestClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    classes: bool,
    spec: dict[str, Any],
) -> None:
    if classes:
        frame = class_frame(150).drop(columns="let").rename(columns={"state": "price"})
    else:
        frame = house_frame(150)
    frame = frame.rename(columns=NASTY)
    training = {"max_epochs": 10, "optimizer": {"learning_rate": 0.01}, "k_folds": 2}
    job_id = trained(client, tmp_path, frame, **training, **spec)
    document = notebook_of(client, job_id)

    found = run(client, document, monkeypatch)
    assert found["columns"] == [*frame.columns]
    assert found["url"] == "http://localhost"
    metrics = client.get(f"/v1/jobs/{job_id}").json()["result"]["metrics"]
    if not classes:
        assert found["job_error"] == metrics[found["metric"]]
    apart = abs(found["error"] - found["job_error"])
    assert apart < max(3 * found["job_standard_error"], 0.15 * found["job_error"])
    scored = pd.read_csv(
        io.StringIO(client.get(f"/v1/jobs/{job_id}/oof", headers={"Accept": "text/csv"}).text)
    )
    assert np.isfinite(found["predictions"][scored["row"]]).all()


def test_of_a_blend_it_shows_a_member_and_says_so(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    trees, mlp = {"type": "boosted_trees"}, {"type": "mlp", "hidden_sizes": [4]}
    job = submit(client, members=[{"architecture": trees}, {"architecture": mlp}])
    member = {"weight": 0.5, "bytes": 1, "difference": 0, "standard_error": 0, "left_out": None}
    members = [member | {"architecture": one["type"]} for one in (trees, mlp)]
    members[0]["error"], members[1]["error"] = 0.1, 0.2
    blended = result() | {"blend": {"members": members, "cheaper": None}}
    files = [tmp_path / "manifest.json"]
    files[0].write_text("{}")
    register(resources_of(client), job["id"], files, blended)
    document = notebook_of(client, job["id"])
    first, settings = document.cells[0].source, document.cells[1].source
    assert "a blend of 2 members, and this notebook shows one of them**: number 2" in first
    assert "job_error = 0.2" in settings
    assert f'href="/v1/jobs/{job["id"]}/notebook"' in client.get(f"/jobs/{job['id']}").text


def test_it_says_why_there_is_none(client: TestClient, tmp_path: Path) -> None:
    upload(client)
    job = submit(client, architecture={"type": "tabm"})
    early = client.get("/v1/jobs/latest/notebook")
    assert early.status_code == 404
    assert "is queued" in early.json()["detail"]
    finish(resources_of(client), job["id"], tmp_path / "model")
    answer = client.get("/v1/jobs/latest/notebook")
    assert answer.status_code == 409
    assert "tabm: it is another architecture" in answer.json()["detail"]
    assert "/notebook" not in client.get(f"/jobs/{job['id']}").text


def test_every_choice_of_a_spec_has_its_code() -> None:
    assert {*ACTIVATIONS} == {*get_args(Activation)}
    assert {*RATE_FACTORS} == {*get_args(Schedule)}
    normalizations = MlpArchitecture.model_fields["normalization"].annotation
    assert {*NORMALIZATIONS} == {*get_args(normalizations)}
    for scaling in get_args(Preprocessing.model_fields["numeric_scaling"].annotation):
        assert (CELLS / f"scaling_{scaling}.py").exists()
    for rule in get_args(InitializationRule):
        assert code_of(rule, "silu").startswith("nn.init.")
