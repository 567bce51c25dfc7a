"""What becomes of an uploaded table."""

from __future__ import annotations

from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import idempotency
from app.datasets import repository
from app.datasets.upload import Upload
from app.errors import Conflict, InvalidTable
from app.ids import new_id
from app.settings import Settings
from app.storage.blobs import ArtifactCorrupt, Blobs, dataset_key
from app.storage.database import Database, database_now
from app.storage.tables import Dataset
from app.validation import table_faults
from models.data.profile import profile
from models.data.table import Limits, TableError, read_table

JOBS_NAMED = 3


def store(
    database: Database,
    blobs: Blobs,
    settings: Settings,
    *,
    tenant: str,
    upload: Upload,
    key: str | None,
) -> tuple[Dataset, bool]:
    """Keep an upload as CSV and Parquet; False: the same bytes were there already.

    Raises
    ------
    InvalidTable, IdempotencyMismatch
    NotFound: the key's first request made a dataset that was deleted.
    """
    request = idempotency.fingerprint("POST /v1/datasets", f"{upload.name}\n{upload.sha256}")
    with database.reading() as session:
        known = idempotency.recall(session, tenant, key, request)
        if known is not None:
            return repository.get(session, tenant, known), False
        dataset = repository.by_sha256(session, tenant, upload.sha256)
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


def delete(session: Session, tenant: str, dataset_id: str) -> Dataset:
    """Delete the row; the files are the caller's to remove once that is committed.

    Raises
    ------
    Conflict: jobs refer to it, also finished ones: their numbers would lose their origin.
    """
    dataset = repository.get(session, tenant, dataset_id)
    jobs = repository.jobs_on(session, dataset.id, JOBS_NAMED + 1)
    if jobs:
        more = " and others" if len(jobs) > JOBS_NAMED else ""
        raise Conflict(
            f"Dataset {dataset.id} is what {', '.join(jobs[:JOBS_NAMED])}{more} trained on; a "
            "dataset is deleted only while no job refers to it."
        )
    session.delete(dataset)
    return dataset


def open_csv(blobs: Blobs, dataset: Dataset) -> BinaryIO:
    """The bytes that were uploaded; raises ArtifactCorrupt if they are gone."""
    try:
        return blobs.open(dataset.csv)
    except FileNotFoundError as error:
        raise ArtifactCorrupt(dataset.csv, dataset.sha256) from error


def _create(
    database: Database, blobs: Blobs, settings: Settings, tenant: str, upload: Upload
) -> tuple[Dataset, bool]:
    """Write the files, then the row that names them; without the row no file stays."""
    dataset_id = new_id("ds")
    dataset = Dataset(
        id=dataset_id,
        tenant=tenant,
        name=upload.name,
        sha256=upload.sha256,
        bytes=upload.bytes,
        csv=f"{dataset_key(dataset_id)}/table.csv",
        parquet=f"{dataset_key(dataset_id)}/table.parquet",
    )
    try:
        _write_files(blobs, settings, dataset, upload)
        with database.writing() as session:
            session.add(dataset)
    except IntegrityError:
        blobs.delete(dataset_key(dataset_id))
        # Another request brought the same bytes meanwhile and was first.
        with database.reading() as session:
            other = repository.by_sha256(session, tenant, upload.sha256)
        if other is None:
            raise
        return other, False
    except BaseException:
        blobs.delete(dataset_key(dataset_id))
        raise
    return dataset, True


def _write_files(blobs: Blobs, settings: Settings, dataset: Dataset, upload: Upload) -> None:
    """Fill in what the table says, and store it both ways."""
    parquet = upload.path.with_suffix(".parquet")
    try:
        typed = read_table(upload.path, Limits(settings.max_rows, settings.max_columns))
    except TableError as error:
        raise InvalidTable(error.detail, table_faults(error)) from None
    dataset.rows = typed.table.num_rows
    dataset.profile = profile(typed).model_dump(mode="json")
    pq.write_table(typed.table, parquet)
    del typed
    pa.default_memory_pool().release_unused()
    blobs.put(dataset.csv, upload.path)
    blobs.put(dataset.parquet, parquet)
