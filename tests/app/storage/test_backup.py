"""A backup holds what the rows name, whole, however the service goes on meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobs_in_database import add_dataset, submit
from sqlalchemy import func, select

from app.storage import removals
from app.storage.backup import back_up
from app.storage.blobs import ArtifactCorrupt, Blobs, file_sha256
from app.storage.database import Database
from app.storage.tables import Dataset, Job


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "storage"))


def add_table(database: Database, blobs: Blobs, folder: Path) -> str:
    path = folder / "file"
    path.write_bytes(b"a table")
    for key in ("c", "p"):
        blobs.put(key, path)
    sha256 = file_sha256(path)
    return add_dataset(database, sha256=sha256, parquet_sha256=sha256)


def test_a_table_that_was_replaced(database: Database, blobs: Blobs, tmp_path: Path) -> None:
    add_table(database, blobs, tmp_path)
    assert back_up(database, blobs, tmp_path / "first").datasets == 1
    (tmp_path / "file").write_bytes(b"a tablE")
    blobs.put("p", tmp_path / "file")
    with pytest.raises(ArtifactCorrupt, match="p is missing from storage or was changed"):
        back_up(database, blobs, tmp_path / "second")


def test_a_job_and_its_dataset_deleted_meanwhile(
    database: Database, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = add_table(database, blobs, tmp_path)
    shard = submit(database, dataset_id)
    put = Blobs.put

    def put_and_delete(self: Blobs, key: str, source: Path) -> None:
        """After the CSV was copied."""
        put(self, key, source)
        with database.writing() as session:
            removals.delete_job(session, session.get_one(Job, shard.job_id))
            session.flush()
            session.delete(session.get_one(Dataset, dataset_id))
        blobs.delete("p")

    monkeypatch.setattr(Blobs, "put", put_and_delete)
    copied = back_up(database, blobs, tmp_path / "backup")
    assert (copied.datasets, copied.jobs) == (0, 0)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0
