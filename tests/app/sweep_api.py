"""A sweep that was submitted over HTTP and, in a worker's place, trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from house_api import result, upload, write_artifacts
from jobs_in_database import claim, shards_of
from sweeps_in_database import found, record

from app.jobs import lifecycle
from app.resources import Resources
from app.storage.database import Database
from app.storage.tables import ShardKind
from models.serving.manifest import Manifest
from models.sweeps.outcome import AsGood, Expected, SweepOutcome

SPACE: dict[str, Any] = {
    "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "architecture": {"choices": [{"type": "mlp", "hidden_sizes": [8]}, {"type": "linear"}]},
}
OUTCOME = SweepOutcome(
    trials=11,
    metric="rmse",
    best=1,
    expected=Expected(naive=1.01, estimate=1.06, low=0.9, high=1.3, optimism=0.05),
    as_good=AsGood(trial=4, times_smaller=3.0, difference=0.01, standard_error=0.02),
    members=[1],
)


SWEEP: dict[str, Any] = {
    "dataset_id": "latest",
    "target": "Price",
    "spec": {"k_folds": 2},
    "metric": "rmse",
    "search_space": SPACE,
    "sampler": "random",
    "n_trials": 12,
}


def submit_sweep(client: TestClient, **settings: Any) -> str:
    """Upload a table and queue a sweep; gives its id."""
    upload(client)
    response = client.post("/v1/sweeps", json=SWEEP | settings)
    assert response.status_code == 202, response.text
    sweep_id: str = response.json()["id"]
    return sweep_id


def try_trials(database: Database, sweep_id: str) -> None:
    """All trials end: trial 0 fails, and trial n has an RMSE of 1 + n / 100."""
    with database.reading() as session:
        shards = shards_of(session, sweep_id)
    for shard in shards:
        claimed = claim(database, shard)
        rows = []
        for number in claimed.trials:
            value = 1 + number / 100
            folds = [
                {"metrics": {"rmse": value + fold / 100}, "epochs": 3, "stopped_by": "max_epochs"}
                for fold in range(2)
            ]
            sizes = {"bytes": 1000 * (number + 1), "row_seconds": 1e-3 / (number + 1)}
            reason = "its numbers <b>diverged</b>" if number == 0 else None
            row = found(number, value, reason)
            rows.append(row if reason else row | sizes | {"folds": folds})
        assert record(database, claimed.fence, rows)


def make_model(resources: Resources, sweep_id: str, folder: Path) -> str:
    """The sweep ends with the stand-in model; gives its id."""
    files = write_artifacts(folder)
    described = folder / "manifest.json"
    manifest = Manifest.model_validate_json(described.read_text())
    described.write_text(manifest.model_copy(update={"sweep": OUTCOME}).model_dump_json())
    with resources.database.reading() as session:
        [last] = [shard for shard in shards_of(session, sweep_id) if shard.kind is ShardKind.MODEL]
    claimed = claim(resources.database, last)
    artifacts = {path.name: resources.blobs.put_artifact(last.id, path) for path in files}
    reported = result() | {"sweep": OUTCOME.model_dump()}
    with resources.database.writing() as session:
        model_id = lifecycle.succeed(session, claimed.fence, reported, artifacts)
    assert model_id is not None
    return model_id
