"""A small table of houses, and a model of its prices that is known by heart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi.testclient import TestClient
from onnx import TensorProto, helper
from sqlalchemy import select

from app.accounts.keys import Keys
from app.accounts.service import create
from app.grants import Role
from app.ids import new_id
from app.jobs import lifecycle
from app.main import create_app
from app.resources import Resources
from app.settings import Settings
from app.storage.tables import Shard
from models.objectives.regression.intervals import Calibration, Difficulty
from models.serving.manifest import CategoricalFeature, Manifest, NumericFeature
from models.serving.reference import Background

if TYPE_CHECKING:
    from houses import Built  # which needs torch

ROWS = 60
ZONES = ["north", "south"]

# Names of the stand-in model's two numbers and its word, in the tests' own table and in ames.csv.
Columns = tuple[str, str, str]
OWN_COLUMNS: Columns = ("Area", "Quality", "Zone")
AMES_COLUMNS: Columns = ("LotArea", "OverallQual", "Neighborhood")


def houses_csv(rows: int = ROWS) -> str:
    """Columns Id, Area, Quality, Zone, Price; the price is not skewed and never missing."""
    lines = ["Id,Area,Quality,Zone,Price"]
    for i in range(rows):
        area, quality, zone = 50 + i * 7 % 90, i % 10, ZONES[i % 2]
        lines.append(f"{i + 1},{area},{quality},{zone},{price(area, quality, zone):g}")
    return "\n".join(lines) + "\n"


def price(area: float, quality: float, zone: str) -> float:
    """What the stand-in model answers."""
    return 1000 * area + 500 * quality + 250 * ZONES.index(zone)


def serving(settings: Settings) -> TestClient:
    """The application, asked under a name that it answers to."""
    return TestClient(create_app(settings), base_url="http://localhost")


def become(client: TestClient, tenant: str, role: Role = "admin") -> str:
    """Send a key of this tenant with each request from now on; returns the key's id."""
    resources = resources_of(client)
    with resources.database.writing() as session:
        new = create(session, tenant=tenant, name=f"{tenant}'s", role=role, expires_at=None)
        key_id = new.row.id
    resources[Keys].look_whether_needed()
    client.headers["Authorization"] = f"Bearer {new.secret}"
    return key_id


def upload(client: TestClient, csv: str | None = None, key: str | None = None) -> dict[str, Any]:
    response = client.post(
        "/v1/datasets",
        params={"name": "houses.csv"},
        content=csv or houses_csv(),
        headers={"Content-Type": "text/csv"} | ({"Idempotency-Key": key} if key else {}),
    )
    assert response.status_code in (200, 201), response.text
    dataset: dict[str, Any] = response.json()
    return dataset


def submit(client: TestClient, **spec: Any) -> dict[str, Any]:
    body = {"dataset_id": "latest", "target": "Price", **spec}
    response = client.post("/v1/jobs", json=body)
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    return job


def resources_of(client: TestClient) -> Resources:
    resources: Resources = client.app.state.resources  # type: ignore[attr-defined]
    return resources


def train(client: TestClient, folder: Path) -> str:
    """Upload, submit and, in a worker's place, succeed; returns the model's id."""
    upload(client)
    job = submit(client)
    return finish(resources_of(client), job["id"], folder)


def finish(resources: Resources, job_id: str, folder: Path, columns: Columns = OWN_COLUMNS) -> str:
    """Succeed a queued job with the stand-in model; returns the model's id."""
    return register(resources, job_id, write_artifacts(folder, columns))


def register(
    resources: Resources, job_id: str, files: list[Path], reported: dict[str, Any] | None = None
) -> str:
    """Succeed a queued job with a model of these files; returns the model's id."""
    with resources.database.writing() as session:
        shard = session.scalars(select(Shard).where(Shard.job_id == job_id)).one()
        artifacts = {path.name: resources.blobs.put_artifact(shard.id, path) for path in files}
        claim = lifecycle.claim(session, shard.id, owner=new_id("wrk"), boot_id="boot")
        assert claim is not None
        model_id = lifecycle.succeed(session, claim.fence, reported or result(), artifacts)
    assert model_id is not None
    return model_id


def registered(
    client: TestClient, built: Built, folder: Path, reported: dict[str, Any] | None = None
) -> str:
    """Puts a trained model into the registry; gives its id."""
    upload(client, built.case.cells.to_pandas().to_csv(index=False))
    job = submit(client, target=built.case.spec.target)
    files = {
        "core.onnx": built.core,
        "model.onnx": built.full,
        "manifest.json": built.manifest.model_dump_json().encode(),
        "weights.safetensors": b"weights",
    }
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    built.scores.write_out_of_fold(folder / "oof.parquet")
    names = [*files, "oof.parquet"]
    paths = [folder / name for name in names]
    return register(resources_of(client), job["id"], paths, reported)


def result() -> dict[str, Any]:
    """What a worker reports of a run with two folds."""
    metrics = {"rmse": 1.5, "r2": None}
    fold = {"rows_train": 30, "rows_validation": 30, "epochs": 3, "best_epoch": 2}
    return {
        "metrics": metrics,
        "folds": [
            {"fold": place, **fold, "stopped_by": "max_epochs", "metrics": metrics}
            for place in range(2)
        ],
        "fold_mean": metrics,
        "fold_std": metrics,
        "holdout": None,
        "intervals": None,
        "diagnosis": [{"code": "good_fit", "evidence": "so it is", "advice": "none"}],
        "seconds": {"total": 1.0},
        "receipt": {"seed": 0},
    }


def write_artifacts(folder: Path, columns: Columns = OWN_COLUMNS) -> list[Path]:
    """The files of a model whose prices are `price`'s."""
    folder.mkdir(parents=True, exist_ok=True)
    core = core_onnx().SerializeToString()
    files = {
        "core.onnx": core,
        "model.onnx": core,
        "manifest.json": manifest(columns).model_dump_json().encode(),
        "weights.safetensors": b"weights",
        "report.html": b"<!doctype html><title>Report</title>",
        "charts.json": b"[]",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    rows = list(range(ROWS))
    table = pa.table(
        {
            "row": rows,
            "fold": [row % 2 for row in rows],
            "actual": [row + 0.1 for row in rows],
            "prediction": [row + 0.1 / 3 for row in rows],
            "low": [row - 1.0 for row in rows],
            "high": [row + 1.0 for row in rows],
        }
    )
    pq.write_table(table, folder / "oof.parquet")
    return [folder / name for name in (*files, "oof.parquet")]


def manifest(columns: Columns = OWN_COLUMNS) -> Manifest:
    area, quality, zone = columns
    return Manifest(
        target="Price",
        unit="€",
        target_transform="none",
        numeric=[
            NumericFeature(
                kind="numeric",
                name=area,
                low=50,
                high=139,
                edges=[79, 109],  # a third of the areas below each
                shares=[1 / 3, 1 / 3, 1 / 3, 0],
            ),
            NumericFeature(
                kind="numeric", name=quality, low=0, high=9, edges=[4], shares=[0.5, 0.5, 0]
            ),
        ],
        categorical=[
            CategoricalFeature(
                kind="categorical",
                name=zone,
                numbers=False,
                levels=[*ZONES],
                shares=[1 / len(ZONES)] * len(ZONES) + [0],
            )
        ],
        inputs={name: name for name in columns},
        members=2,
        rows=ROWS,
        metrics={"rmse": 1.5},
        spec={
            "members_per_fold": 1,
            "folds": {"type": "shuffled", "column": None},
            "holdout": None,
            "loss": "squared_error",
        },
        receipt={},
        calibration=Calibration.of(np.arange(1.0, ROWS + 1), Difficulty()),
        background=Background(numbers=[[50, 0], [100, None]], codes=[[0], [1]]),
    )


def core_onnx() -> onnx.ModelProto:
    """numbers (N, 2), codes (N, 1) to value (N,) and members (2, N); a missing number counts 0."""
    double, integer = TensorProto.DOUBLE, TensorProto.INT64
    graph = helper.make_graph(
        [
            helper.make_node("IsNaN", ["numbers"], ["missing"]),
            helper.make_node("Where", ["missing", "zero", "numbers"], ["filled"]),
            helper.make_node("Cast", ["codes"], ["levels"], to=double),
            helper.make_node("Concat", ["filled", "levels"], ["inputs"], axis=1),
            helper.make_node("MatMul", ["inputs", "weights"], ["value"]),
            helper.make_node("Unsqueeze", ["value", "axis"], ["member"]),
            helper.make_node("Concat", ["member", "member"], ["members"], axis=0),
        ],
        "houses",
        [
            helper.make_tensor_value_info("numbers", double, ["N", 2]),
            helper.make_tensor_value_info("codes", integer, ["N", 1]),
        ],
        [
            helper.make_tensor_value_info("value", double, ["N"]),
            helper.make_tensor_value_info("members", double, [2, "N"]),
        ],
        [
            helper.make_tensor("weights", double, [3], [1000.0, 500.0, 250.0]),
            helper.make_tensor("zero", double, [1], [0.0]),
            helper.make_tensor("axis", integer, [1], [0]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
