"""What takes the disk, by tenant."""

from __future__ import annotations

from pathlib import Path

from jobs_in_database import add_dataset, submit

from app.storage import sizes
from app.storage.blobs import Blobs, artifact_key, artifacts_key, checkpoints_key, dataset_key
from app.storage.database import Database


def test_files_by_tenant_and_kind(database: Database, tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path / "storage"))
    nothing = {"datasets": 0, "artifacts": 0, "checkpoints": 0}
    empty = sizes.count(database, blobs)
    assert (empty["tenants"], empty["of_no_row"]) == ({}, nothing)

    dataset, other = add_dataset(database), add_dataset(database, tenant="other")
    shard, its_own = submit(database, dataset), submit(database, other, tenant="other")
    for place, key in enumerate(
        (
            f"{dataset_key(dataset)}/table.csv",
            f"{dataset_key(dataset)}/table.parquet",
            artifact_key(shard.id, "a"),
            f"{artifacts_key(shard.job_id)}/of an earlier version",
            f"{checkpoints_key(shard.id)}/a",
            artifact_key(its_own.id, "a"),
            f"{dataset_key('ds_unknown')}/table.csv",
        )
    ):
        file = tmp_path / "file"
        file.write_bytes(b"x" * 10**place)
        blobs.put(key, file)
    found = sizes.count(database, blobs)
    assert found["tenants"] == {
        "local": {"datasets": 11, "artifacts": 1_100, "checkpoints": 10_000},
        "other": {"datasets": 0, "artifacts": 100_000, "checkpoints": 0},
    }
    assert found["of_no_row"] == {**nothing, "datasets": 1_000_000}
    assert found["database"] > 100_000
