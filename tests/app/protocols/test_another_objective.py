"""An objective of a test's own, with two outputs, a loss and columns: trained, exported and served
by every protocol. Nothing outside of `models.objectives` knows what is predicted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from band import Band, BandLearning
from fastapi.testclient import TestClient
from house_api import registered, serving
from houses import Built, build, house_frame, lay

from app.settings import Settings
from app.storage.migrate import upgrade
from models.export.graph import verify
from models.objectives import OBJECTIVES, REGRESSION
from models.objectives.trained import LEARNING


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OBJECTIVES, REGRESSION, Band())
        patch.setitem(LEARNING, REGRESSION, BandLearning())
        folder = tmp_path_factory.mktemp("table")
        yield build(
            lay(
                folder,
                house_frame(rows=120),
                architecture={"type": "mlp", "hidden_sizes": [8]},
                max_epochs=40,
                members_per_fold=2,
                holdout={"fraction": 0.1},
                optimizer={"learning_rate": 0.01},
            )
        )


@pytest.fixture(scope="module")
def client(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("service")
    settings = Settings(data_dir=folder)
    upgrade(settings.resolved_database_url)
    with serving(settings) as client:
        reported = built.scores.result() | {"seconds": {"total": 1.0}, "receipt": {}}
        registered(client, built, folder / "artifacts", reported)
        yield client


def test_it_learns_and_is_scored_in_its_own_words(built: Built, tmp_path: Path) -> None:
    scores = built.scores
    result = scores.result()
    assert 0.6 < result["inside"] < 0.95  # of 80 % asked for
    assert set(result["metrics"]) == set(result["folds"][0]["metrics"]) == {"outside"}
    assert result["metrics_error"]["outside"] > 0
    assert set(result["holdout"]["metrics"]) == {"outside"}
    assert scores.out_of_fold.shape == (len(built.case.design), 2)
    scores.write_out_of_fold(tmp_path / "oof.parquet")
    names = ["row", "fold", "unit", "actual", "lower", "upper"]
    assert pq.read_table(tmp_path / "oof.parquet").column_names == names


def test_its_export_is_proven(built: Built) -> None:
    folds = [fold.validation for fold in built.case.folds]
    verify(built.core, built.full, built.case.design, built.served, folds, built.scores.out_of_fold)


def test_every_protocol_answers_in_its_columns(client: TestClient, built: Built) -> None:
    frame = built.case.cells.to_pandas().drop(columns="price").head(3)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    bands = built.predictor.predict_rows(rows).values
    assert bands.shape == (3, 2)
    assert (bands[:, 0] < bands[:, 1]).all()
    widths = bands[:, 1] - bands[:, 0]

    found = client.post("/v1/predict", json={"rows": rows}).json()["predictions"]
    assert [row["band"]["lower"] for row in found] == bands[:, 0].tolist()
    assert [row["band"]["upper"] for row in found] == bands[:, 1].tolist()
    assert [[*row] for row in found] == [["band", "width", "warnings"]] * 3

    text = frame.to_csv(index=False)
    asked = client.post("/v1/predict", content=text, headers={"Content-Type": "text/csv"})
    [header, *lines] = csv.reader(io.StringIO(asked.text))
    assert header == ["lower", "upper", "width", "warnings"]
    numbers = np.array([line[:3] for line in lines], float)
    np.testing.assert_allclose(numbers, np.column_stack([bands, widths]), rtol=1e-9)

    scored = client.post("/invocations", json={"dataframe_records": rows}).json()
    assert scored["predictions"] == bands.tolist()
    assert scored["width"] == widths.tolist()

    inputs = [
        {
            "name": name,
            "shape": [3],
            "datatype": "BYTES",
            "data": [None if row[name] is None else str(row[name]) for row in rows],
        }
        for name in frame
    ]
    tensors = client.post("/v2/models/champion/infer", json={"inputs": inputs}).json()["outputs"]
    assert [(one["name"], one["shape"]) for one in tensors] == [
        ("band", [3, 2]),
        ("width", [3]),
        ("warnings", [3]),
    ]
    np.testing.assert_allclose(tensors[0]["data"], bands, rtol=1e-9)
    described = client.get("/v2/models/champion").json()["outputs"]
    assert described[0] == {"name": "band", "datatype": "FP64", "shape": [-1, 2]}


def test_its_job_and_model_are_shown(client: TestClient, built: Built) -> None:
    [job] = client.get("/v1/jobs").raise_for_status().json()["data"]
    found = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()["result"]
    assert found["inside"] == built.scores.result()["inside"]
    assert set(found["metrics"]) == {"outside"}
    table = client.get(f"/v1/jobs/{job['id']}/oof", headers={"Accept": "text/csv"}).text
    assert table.splitlines()[0] == "row,fold,actual,lower,upper"
    client.get("/v1/models/champion").raise_for_status()


def test_its_answers_can_be_explained(client: TestClient, built: Built) -> None:
    frame = built.case.cells.to_pandas().drop(columns="price").head(1)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    [found] = client.post("/v1/predict?explain=true", json={"rows": rows}).json()["predictions"]
    explanation = found["explanation"]
    middle = (found["band"]["lower"] + found["band"]["upper"]) / 2
    total = explanation["base"] + sum(explanation["contributions"].values())
    assert total == pytest.approx(middle)
