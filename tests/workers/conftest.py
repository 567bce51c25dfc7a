"""A workplace on either database."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings
from app.storage.blobs import Blobs
from app.storage.database import Database
from workers.locks import Locks
from workers.workplace import Workplace, this_boot


@pytest.fixture
def workplace(database: Database, database_url: str, tmp_path: Path) -> Workplace:
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url, device="cpu")
    return Workplace(
        settings=settings,
        database=database,
        blobs=Blobs(settings.resolved_storage_url),
        locks=Locks(settings.root / "locks"),
        boot_id=this_boot(),
    )
