"""Counts the bytes in storage and in the database."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.storage.blobs import ARTIFACTS, CHECKPOINTS, DATASETS, Blobs
from app.storage.database import Database
from app.storage.tables import Dataset, Job, Shard

# The rows after which the folders of a kind are named; an earlier version kept artifacts by job.
OWNERS = {DATASETS: (Dataset,), ARTIFACTS: (Shard, Job), CHECKPOINTS: (Shard,)}
SIZE_OF_DATABASE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


def count(database: Database, blobs: Blobs) -> dict[str, Any]:
    """Bytes of each tenant's files by kind, of files that no row names, and of the database."""
    files = {kind: blobs.sizes(kind) for kind in OWNERS}
    with database.reading() as session:
        owners = {kind: _owners(session, kind) for kind in OWNERS}
        dialect = session.get_bind().dialect.name
        database_bytes = session.scalar(text(SIZE_OF_DATABASE[dialect]))
    tenants: dict[str, Counter[str]] = {}
    of_no_row: Counter[str] = Counter()
    for kind, sizes in files.items():
        for folder, size in sizes.items():
            tenant = owners[kind].get(folder)
            counted = of_no_row if tenant is None else tenants.setdefault(tenant, Counter())
            counted[kind] += size
    return {
        "tenants": {tenant: _by_kind(tenants[tenant]) for tenant in sorted(tenants)},
        "of_no_row": _by_kind(of_no_row),
        "database": database_bytes,
    }


def _owners(session: Session, kind: str) -> dict[str, str]:
    """Tenants by the names of folders."""
    found: dict[str, str] = {}
    for table in OWNERS[kind]:
        found |= {row.id: row.tenant for row in session.execute(select(table.id, table.tenant))}
    return found


def _by_kind(counted: Counter[str]) -> dict[str, int]:
    return {kind: counted[kind] for kind in OWNERS}
