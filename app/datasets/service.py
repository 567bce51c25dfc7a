"""Stores, deduplicates and deletes uploaded tables."""

from __future__ import annotations

from pathlib import Path

from anyio import BrokenWorkerProcess, from_thread, to_process
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts import quotas
from app.datasets import repository
from app.datasets.upload import Upload
from app.errors import Conflict, InvalidTable, TooLarge
from app.http.validation import table_faults
from app.settings import Settings
from app.storage import idempotency, removals
from app.storage.blobs import Blobs, dataset_key, file_sha256
from app.storage.database import DATABASE_AWAY, Database, database_now
from app.storage.tables import Dataset
from models.tables.profile import Profile
from models.tables.stored import ingest
from models.tables.table import Limits, TableError

JOBS_NAMED = 3
# Reading a table takes four times its bytes. Larger ones are read in a separate process, so that
# this one stays small and survives if memory runs out.
READ_HERE_BYTES = 4 * 1024 * 1024


def store(
    database: Database,
    blobs: Blobs,
    settings: Settings,
    *,
    tenant: str,
    upload: Upload,
    key: str | None,
) -> tuple[Dataset, bool]:
    """Store an upload as CSV and Parquet. The flag is False if the same bytes were stored before.

    Raises
    ------
    InvalidTable, IdempotencyMismatch, OverQuota, OverStorageQuota
    NotFound: the key's first request made a dataset that was deleted.
    """
    request = idempotency.fingerprint(
        "POST /v1/datasets", f"{upload.name}\n{upload.sha256}{upload.marks}"
    )
    with database.reading() as session:
        known = idempotency.recall(session, tenant, key, request)
        if known is not None:
            with idempotency.repeating(key):
                return repository.get(session, tenant, known), False
        dataset = repository.by_content(session, tenant, upload.sha256, str(upload.marks))
    created = False
    if dataset is None:
        dataset, created = _create(database, blobs, settings, tenant, upload)
    kept_id = dataset.id
    with database.writing() as session:
        if not created:
            touched = update(Dataset).where(Dataset.id == kept_id)
            session.execute(touched.values(uploaded_at=database_now()))
        idempotency.once(session, tenant, key, request, lambda: kept_id)
    return dataset, created


def delete(session: Session, tenant: str, dataset_id: str) -> None:
    """Delete the row, and record its files for removal.

    Raises
    ------
    NotFound
    Conflict: jobs refer to it. Finished ones count too, because their numbers come from it.
    """
    dataset = repository.get(session, tenant, dataset_id)
    jobs = repository.jobs_on(session, dataset.id, JOBS_NAMED + 1)
    if jobs:
        more = " and others" if len(jobs) > JOBS_NAMED else ""
        raise Conflict(
            f"Dataset {dataset.id} is used by {', '.join(jobs[:JOBS_NAMED])}{more}. Delete these "
            "jobs first."
        )
    removals.write_down(session, dataset_key(dataset.id))
    session.delete(dataset)


def _create(
    database: Database, blobs: Blobs, settings: Settings, tenant: str, upload: Upload
) -> tuple[Dataset, bool]:
    """Write the files, then the row that names them; if the row fails, remove the files."""
    dataset_id = upload.dataset_id
    dataset = Dataset(
        id=dataset_id,
        tenant=tenant,
        name=upload.name,
        sha256=upload.sha256,
        bytes=upload.bytes,
        marks=str(upload.marks),
        csv=f"{dataset_key(dataset_id)}/table.csv",
        parquet=f"{dataset_key(dataset_id)}/table.parquet",
    )
    default = quotas.defaults(settings)
    with database.reading() as session:  # before it is read, which takes long
        allowed = quotas.limits(session, tenant, default)
        quotas.require_dataset(session, tenant, allowed, more=1, more_bytes=upload.bytes)
    try:
        _write_files(blobs, settings, dataset, upload)
        with database.writing() as session:
            allowed = quotas.lock(session, tenant, default)
            session.add(dataset)
            session.flush()  # a dataset that is there already needs no room
            quotas.require_dataset(session, tenant, allowed)
    except IntegrityError:
        blobs.delete(dataset_key(dataset_id))
        # Another request stored the same bytes in the meantime.
        with database.reading() as session:
            other = repository.by_content(session, tenant, upload.sha256, str(upload.marks))
        if other is None:
            raise
        return other, False
    except DATABASE_AWAY:
        # The row may exist: the connection can break after the commit.
        raise
    except BaseException:
        blobs.delete(dataset_key(dataset_id))
        raise
    return dataset, True


def _write_files(blobs: Blobs, settings: Settings, dataset: Dataset, upload: Upload) -> None:
    """Profile the table, and store it in both formats."""
    parquet = upload.path.with_suffix(".parquet")
    limits = Limits(settings.max_rows, settings.max_columns)
    try:
        found = _ingest(upload, parquet, limits)
    except TableError as error:
        raise InvalidTable(error.detail, table_faults(error)) from None
    dataset.rows = found.rows
    dataset.profile = found.model_dump(mode="json")
    blobs.put(dataset.csv, upload.path)
    blobs.put(dataset.parquet, parquet)
    dataset.parquet_sha256 = file_sha256(parquet)


def _ingest(upload: Upload, parquet: Path, limits: Limits) -> Profile:
    if upload.bytes <= READ_HERE_BYTES:
        return ingest(upload.path, parquet, limits, upload.marks)
    try:
        return from_thread.run(
            to_process.run_sync, ingest, upload.path, parquet, limits, upload.marks
        )
    except BrokenWorkerProcess as error:
        raise TooLarge(
            "The table needs more memory than this server has: about four times its size in bytes."
        ) from error
