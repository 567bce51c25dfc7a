"""The same odd rows have the same prices, bounds and warnings by every interface to a model."""

from __future__ import annotations

import csv
import io
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from house_api import registered, serving
from houses import build, house_frame, lay
from protocol_rows import by_column

from app.settings import Settings
from app.storage.migrate import upgrade
from models.tables.faults import WarningCode

Rows = list[dict[str, Any]]
Answer = dict[str, list[Any]]

ROWS = 600
SOME_ROWS = 20  # few enough that a column often holds cells of one type alone
CSV = {"Content-Type": "text/csv"}
DATATYPES = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
CODES = {*get_args(WarningCode)}

# What stands here and there in place of a house's own cell.
ODD: dict[str, list[Any]] = {
    "area": [None, " 80.5 ", "1e2", "1_000", "big", "1e400", 10**400, "?", -5, 1e9, True],
    "year": [None, 1950.0, "1950", "+1.95e3 ", "N/A", "long ago", 1492, 3000, False],
    "quarter": [None, "atlantis", " mill  ", "Mill", "NA", "None", "?", 7],
    "heating": [None, "GAS", "none", "<NA>", "oil ", "no, none", 'a "stove"'],
    "stars": [None, 1, 1.0, "1", "1.50", " 2.5e0", "-", "many", 9.5, 1e22, True],
    "garden": [None, "TRUE", "true", "False ", "yes", 1, 0],
    "sold": [None, "2020/3/1", "2020-03", "2020-03-01T12:30+02 ", "2031-01-01", "today", 20200301],
}
ODD_SHARE = 0.1  # of a column's cells


def houses(seed: int) -> pd.DataFrame:
    """Numbers, whole numbers, words, numbers that are taken as words, booleans and dates."""
    made = house_frame(rows=80, seed=seed)
    return made.assign(garden=made["year"] > 1980, cellar=made["area"] / 4)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The application and a champion with eighty scored rows, too few for 99 %."""
    folder = tmp_path_factory.mktemp("interfaces")
    training = {
        "architecture": {"type": "mlp", "hidden_sizes": [8]},
        "features": {"kinds": {"stars": "categorical"}},
        "members_per_fold": 2,
        "max_epochs": 5,
    }
    built = build(lay(folder, houses(seed=0), **training))
    settings = Settings(data_dir=folder)
    upgrade(settings.resolved_database_url)
    with serving(settings) as client:
        registered(client, built, folder / "artifacts")
        yield client


@pytest.fixture(scope="module")
def rows() -> Rows:
    """As JSON has them: without the cellar, and with two columns that the model does not take."""
    chance = random.Random(0)
    frame = houses(seed=1).drop(columns=["cellar", "price"]).astype(object)
    whole = frame.where(frame.notna(), None).to_dict("records")
    rows = []
    for number in range(ROWS):
        odd = {name: chance.choice(cells) for name, cells in ODD.items()}
        own = {name: cell for name, cell in odd.items() if chance.random() < ODD_SHARE}
        rows.append({"Id": number, "remark": "a pond,\r\na mill", **chance.choice(whole), **own})
    return rows


def table(rows: Rows, columns: Sequence[str]) -> str:
    """As a CSV client writes them: a missing cell is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def of_lines(lines: Iterable[dict[str, str]]) -> Answer:
    """A CSV of prices; warnings are not in all."""
    return {
        "value": [float(line["prediction"]) for line in lines],
        "low": [float(line["low"] or "nan") for line in lines],
        "high": [float(line["high"] or "nan") for line in lines],
        "warnings": [line["warnings"] for line in lines if "warnings" in line],
    }


def by_json(client: TestClient, rows: Rows, coverage: float) -> Answer:
    return by_column(client.post("/v1/predict", json={"rows": rows, "coverage": coverage}))


def by_csv(client: TestClient, rows: Rows, coverage: float) -> Answer:
    content, headers = table(rows, [*rows[0]]), {**CSV, "Accept": "application/json"}
    address = f"/v1/predict?coverage={coverage}"
    return by_column(client.post(address, content=content, headers=headers))


def by_shuffled_csv(client: TestClient, rows: Rows, coverage: float) -> Answer:
    chance = random.Random(1)
    content = table(chance.sample(rows, len(rows)), chance.sample([*rows[0]], len(rows[0])))
    address = f"/v1/predict?coverage={coverage}&passthrough=Id"
    priced = client.post(address, content=content, headers=CSV).text
    return of_lines(sorted(csv.DictReader(io.StringIO(priced)), key=lambda line: int(line["Id"])))


def by_mlflow(client: TestClient, rows: Rows, coverage: float) -> Answer:
    split = {"columns": [*rows[0]], "data": [[*row.values()] for row in rows]}
    document = {"dataframe_split": split, "params": {"coverage": coverage}}
    answer: Answer = client.post("/invocations", json=document).json()
    return {"value": answer.pop("predictions"), **answer}


def by_open_inference(client: TestClient, rows: Rows, coverage: float) -> Answer:
    """In many requests, so that a column goes as numbers by one and as texts by the next."""
    answer: Answer = {"value": [], "low": [], "high": [], "warnings": []}
    for start in range(0, len(rows), SOME_ROWS):
        some = rows[start : start + SOME_ROWS]
        inputs = [tensor(name, [row[name] for row in some]) for name in some[0]]
        document = {"inputs": inputs, "parameters": {"coverage": coverage}}
        for output in client.post("/v2/models/champion/infer", json=document).json()["outputs"]:
            answer[output["name"]] += output["data"]
    return answer


def tensor(name: str, cells: list[Any]) -> dict[str, Any]:
    """Of the cells' type where they have one, else of texts."""
    types = {type(cell) for cell in cells if cell is not None}
    datatype = DATATYPES[types.pop()] if len(types) == 1 else "BYTES"
    if datatype == "BYTES":
        cells = [None if cell is None else str(cell) for cell in cells]
    return {"name": name, "shape": [len(cells)], "datatype": datatype, "data": cells}


def by_export(client: TestClient, rows: Rows, coverage: float, folder: Path) -> Answer:
    archive = client.get("/v1/models/champion/export").content
    zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
    script, unpriced = folder / "predict.py", folder / "unpriced.csv"
    script.write_text(script.read_text().replace("COVERAGE = 0.9 ", f"COVERAGE = {coverage} "))
    unpriced.write_text(table(rows, [*rows[0]]), newline="")
    priced = subprocess.check_output([sys.executable, script, unpriced], text=True, timeout=60)
    return of_lines([*csv.DictReader(io.StringIO(priced))])


@pytest.mark.parametrize(("coverage", "codes"), [(0.9, CODES - {"no_interval"}), (0.99, CODES)])
def test_all_roads_lead_to_the_same_prices(
    client: TestClient, rows: Rows, tmp_path: Path, coverage: float, codes: set[str]
) -> None:
    expected = by_json(client, rows, coverage)
    interfaces = (by_csv, by_shuffled_csv, by_mlflow, by_open_inference)
    answers = {interface.__name__: interface(client, rows, coverage) for interface in interfaces}
    answers["by_export"] = by_export(client, rows, coverage, tmp_path)

    for interface, answer in answers.items():
        assert answer["warnings"] == ([] if interface == "by_export" else expected["warnings"]), (
            interface
        )
        for name in ("value", "low", "high"):
            found, same = (np.array(each[name], float) for each in (answer, expected))
            np.testing.assert_allclose(found, same, rtol=1e-6, err_msg=f"{name} {interface}")
    told = {odd.split()[0] for row in expected["warnings"] for odd in row.split("; ") if odd}
    assert told == codes - {"more_warnings", "no_interval", "no_set", "prediction_bounded"}
    assert np.isfinite(expected["value"]).all()
    assert [low is None for low in expected["low"]] == ["no_interval" in codes] * ROWS
