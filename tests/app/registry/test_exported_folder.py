"""An export prices rows without the service, and as the service does."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from exported import run
from fastapi.testclient import TestClient
from foldhouse_client import Foldhouse
from house_api import registered
from houses import build, house_frame, lay

PRICE = {"Content-Type": "text/csv", "Accept": "text/csv"}
COLUMNS = ["prediction", "low", "high"]
BLEND = [
    {"optimizer": {"learning_rate": 0.02}, "batch_size": 16},
    {"architecture": {"type": "boosted_trees", "iterations": 20, "leaf_rows": 5}},
    {"architecture": {"type": "kernel"}},
]


def exported(client: TestClient, model_id: str, folder: Path) -> Path:
    """The folder of an export, fetched by the client."""

    def answer(request: httpx.Request) -> httpx.Response:
        response = client.get(request.url.path)
        return httpx.Response(response.status_code, content=response.content)

    with Foldhouse(transport=httpx.MockTransport(answer)) as service:
        service.export(model_id, folder)
    return folder


def odd_houses() -> pd.DataFrame:
    """Houses with missing cells, unknown levels, and numbers that came as categories."""
    frame = house_frame(rows=60, seed=1).drop(columns="price").astype(object)
    odd: dict[str, list[Any]] = {
        "area": ["", "NA", "?", "none", "big", "1e400", "1_000", " 80 ", "-5", "1e9"],
        "year": ["", "1950.0", "+1.95e3", "-", ".", "N/A", "long ago", "NaN", "inf", "0"],
        "quarter": ["", "NA", "atlantis", "None", "?", "-", "old town", " mill ", "null", "Mill"],
        "heating": ["", "<NA>", "wood", "NaT", "none", ".", "GAS", "oil", "n/a", "#N/A"],
        "stars": ["", "1", "1.0", "9.5", "many", "?", "None", "1.50", "inf", "2.5e0"],
        "sold": ["", "yesterday", "2020/3/1", "2020-03", "2020-03-01 12:30+02", "?", "20200301"],
    }
    for place, (column, cells) in enumerate(odd.items()):
        for row, cell in enumerate(cells):
            frame.loc[(7 * row + place) % len(frame), column] = cell
    return frame


def numbers(text: str) -> np.ndarray:
    """(N, 3) prices and their bounds; NaN for an empty cell."""
    rows = csv.DictReader(io.StringIO(text))
    return np.array([[float(row[name] or "nan") for name in COLUMNS] for row in rows])


@pytest.mark.parametrize(
    ("spec", "has_intervals"),
    [
        ({"members_per_fold": 2}, True),
        ({"preprocessing": {"target_transform": "none"}}, True),
        ({"members": BLEND, "weights": "mean", "k_folds": 3}, True),
        ({}, False),
    ],
    ids=["spread within folds", "target's own scale", "blend", "of a version without intervals"],
)
def test_the_script_gives_the_prices_and_bounds_of_the_service(
    client: TestClient, tmp_path: Path, spec: dict[str, Any], has_intervals: bool
) -> None:
    training = {
        "architecture": {"type": "mlp", "hidden_sizes": [8]},
        "features": {"kinds": {"stars": "categorical"}},
        "max_epochs": 5,
        **spec,
    }
    built = build(lay(tmp_path, house_frame(), **training))
    if not has_intervals:
        built.manifest.calibration = None
    model_id = registered(client, built, tmp_path / "artifacts")
    folder = exported(client, model_id, tmp_path / "export")
    houses = tmp_path / "unpriced.csv"
    frame = odd_houses()
    tables = [
        frame.to_csv(index=False),
        frame.drop(columns=["heating", "area"]).to_csv(index=False, sep=";", lineterminator="\r\n"),
    ]

    for table in tables:
        houses.write_bytes(b"\xef\xbb\xbf" + table.encode())
        script = run(folder / "predict.py", houses)
        assert script.returncode == 0, script.stderr
        answer = client.post("/v1/predict", content=houses.read_bytes(), headers=PRICE)

        assert script.stdout.startswith("prediction,low,high\n")
        for name in ("quarter", "heating", "stars"):
            unknown = answer.text.count(f"unknown_category {name}")
            assert (f"'{name}' has {unknown} cells with levels" in script.stderr) == (unknown > 0)
        for name in ("area", "year", "sold"):
            bad = answer.text.count(f"not_a_number {name}")
            assert (f"'{name}' has {bad} cells that are no" in script.stderr) == (bad > 0)
        expected = numbers(answer.text)
        assert np.isfinite(expected[:, 1:]).all() == has_intervals
        np.testing.assert_allclose(numbers(script.stdout), expected, rtol=1e-6)


def test_the_script_tells_what_it_needs_and_what_is_odd(client: TestClient, tmp_path: Path) -> None:
    built = build(lay(tmp_path, house_frame(), architecture={"type": "linear"}, max_epochs=1))
    model_id = registered(client, built, tmp_path / "artifacts")
    script = exported(client, model_id, tmp_path / "export") / "predict.py"
    houses = tmp_path / "unpriced.csv"

    refused = {
        "": "it needs a header line and at least one row",
        "area,year\n": "needs a header and at least one row",
        "Area,Year\n1,2\n": "none of the columns is the model's, such as area",
        "area,year\n1,2\n3\n": "row 2 has 1 cell",
    }
    for text, told in refused.items():
        houses.write_text(text)
        found = run(script, houses)
        assert found.returncode == 1
        assert told in found.stderr
        assert "Traceback" not in found.stderr
    assert "python predict.py rows.csv" in run(script).stderr
    assert "cannot be read" in run(script, tmp_path / "nothing.csv").stderr

    houses.write_text("area,Year,quarter,sold\n80,1990,mill,2020-01-05\nbig,1980,moon,soon\n")
    found = run(script, houses)
    assert found.returncode == 0
    assert found.stderr.splitlines() == [
        "the model does not use 'Year'",
        "the column 'year' is missing: imputed as in training",
        "the column 'stars' is missing: imputed as in training",
        "the column 'heating' is missing: imputed as in training",
        "'area' has 1 cells that are not finite numbers: imputed as if missing",
        "'sold' has 1 cells that are not dates: imputed as if missing",
        "'quarter' has 1 cells with levels that training did not have",
    ]
