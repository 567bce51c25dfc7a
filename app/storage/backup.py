"""Copies everything while the service runs, and restores it.

A backup is itself a data folder: `foldhouse.sqlite`, whatever the database was, and `storage/`. The
database is copied first. The files that its rows name never change, so they can be copied after it.
Checkpoints and broker messages are left out; a job that was running starts again.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Table, delete, func, insert, select, text
from sqlalchemy.orm import Session

from app.storage.blobs import ArtifactCorrupt, Blobs, artifact_key
from app.storage.database import Database
from app.storage.migrate import upgrade
from app.storage.removals import delete_job
from app.storage.tables import Alias, Base, Dataset, Job, Model

DATABASE_FILE = "foldhouse.sqlite"
STORAGE_FOLDER = "storage"
BATCH_ROWS = 1_000


class NotEmpty(Exception):
    """The destination is not empty."""


@dataclass(frozen=True)
class Copied:
    """The contents of a backup or a restored installation."""

    datasets: int
    jobs: int
    models: int
    bytes: int  # of files


def back_up(database: Database, blobs: Blobs, folder: Path) -> Copied:
    """Copy the database and the files that it names into a new folder.

    Raises
    ------
    NotEmpty
    ArtifactCorrupt: a file is missing or changed; what was copied so far is not a backup.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise NotEmpty(f"{folder} is not empty")
    # An interrupted copy has no database under the final name, so nobody takes it for a backup.
    partial = folder / f".{DATABASE_FILE}"
    _copy_database(database, partial)
    copy = Database(f"sqlite:///{partial}")
    try:
        size = _copy_files(copy, database, blobs, Blobs(str(folder / STORAGE_FOLDER)))
        copied = _count(copy, size)
    finally:
        copy.close()
    partial.rename(folder / DATABASE_FILE)
    return copied


def restore(folder: Path, database: Database, blobs: Blobs) -> Copied:
    """Copy a backup, of this or an earlier version, into a migrated database without rows.

    Raises
    ------
    NotEmpty
    ArtifactCorrupt: a file of the backup is missing or changed.
    """
    with database.reading() as session:
        if session.scalar(select(func.count()).select_from(Dataset)):
            raise NotEmpty("the database already has datasets")
    with tempfile.TemporaryDirectory(prefix="foldhouse-") as scratch:
        path = Path(scratch) / DATABASE_FILE
        shutil.copy(folder / DATABASE_FILE, path)
        upgrade(f"sqlite:///{path}")
        backup = Database(f"sqlite:///{path}")
        try:
            # Files first, because a row must not name a file that does not exist.
            size = _copy_files(backup, backup, Blobs(str(folder / STORAGE_FOLDER)), blobs)
            with backup.engine.connect() as source, database.engine.begin() as target:
                _copy_rows(source, target)
            return _count(backup, size)
        finally:
            backup.close()


def _copy_database(database: Database, path: Path) -> None:
    """Copy the database as of one moment. On SQLite, writers wait for it: seconds per gigabyte."""
    if database.engine.dialect.name == "sqlite":
        with database.engine.connect() as source, closing(sqlite3.connect(path)) as target:
            connection = source.connection.driver_connection
            assert isinstance(connection, sqlite3.Connection)
            connection.backup(target)
        return
    upgrade(f"sqlite:///{path}")
    copy = Database(f"sqlite:///{path}")
    snapshot = database.engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as source, copy.engine.begin() as target:
        _copy_rows(source, target)
    copy.close()


def _copy_rows(source: Connection, target: Connection) -> None:
    for table in Base.metadata.sorted_tables:
        rows = source.execution_options(stream_results=True).execute(select(table))
        for batch in rows.mappings().partitions(BATCH_ROWS):
            target.execute(insert(table), [dict(row) for row in batch])
        if target.dialect.name == "postgresql":
            _advance_sequence(table, target)


def _advance_sequence(table: Table, target: Connection) -> None:
    """Advance PostgreSQL's sequences, so that new rows are numbered after those copied."""
    column = table.autoincrement_column
    if column is None:
        return
    target.execute(
        text(
            f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "
            f"max({column.name})) FROM {table.name}"
        )
    )


def _copy_files(rows: Database, live: Database, source: Blobs, target: Blobs) -> int:
    """Copy and check the files that the rows name; returns their total bytes.

    Rows deleted from the live database since the copy are deleted from the copy too.
    """
    size = 0
    with rows.reading() as session:
        models = session.scalars(select(Model)).all()
        datasets = session.scalars(select(Dataset)).all()
    for model in models:
        try:
            for sha256 in model.artifacts.values():
                size += _copy_file(source, target, artifact_key(model.folder, sha256), sha256)
        except ArtifactCorrupt:
            if not _deleted(live, Model, model.id):
                raise
            with rows.writing() as session:
                session.execute(delete(Alias).where(Alias.model_id == model.id))
                session.execute(delete(Model).where(Model.id == model.id))
    for dataset in datasets:
        try:
            size += _copy_file(source, target, dataset.csv, dataset.sha256)
            size += _copy_file(source, target, dataset.parquet, dataset.parquet_sha256)
        except ArtifactCorrupt:
            if not _deleted(live, Dataset, dataset.id):
                raise
            with rows.writing() as session:
                _forget(session, dataset.id)
    return size


def _forget(session: Session, dataset_id: str) -> None:
    """Delete a dataset, after the jobs that were deleted before it."""
    models = select(Model.id).where(Model.dataset_id == dataset_id)
    session.execute(delete(Alias).where(Alias.model_id.in_(models)))
    session.execute(delete(Model).where(Model.dataset_id == dataset_id))
    for job in session.scalars(select(Job).where(Job.dataset_id == dataset_id)).all():
        delete_job(session, job)
    session.flush()
    session.execute(delete(Dataset).where(Dataset.id == dataset_id))


def _copy_file(source: Blobs, target: Blobs, key: str, sha256: str | None) -> int:
    with source.local_copy(key, sha256) as path:
        target.put(key, path)
        return path.stat().st_size


def _deleted(live: Database, table: type[Model | Dataset], id_: str) -> bool:
    with live.reading() as session:
        return session.get(table, id_) is None


def _count(database: Database, size: int) -> Copied:
    with database.reading() as session:
        datasets, jobs, models = (
            session.scalar(select(func.count()).select_from(table)) or 0
            for table in (Dataset, Job, Model)
        )
    return Copied(datasets, jobs, models, size)
