"""`storage`: what takes the disk."""

from __future__ import annotations

from contextlib import closing

from app.cli.connection import AsJson, print_json
from app.cli.service import require_tables
from app.cli.terminal import load_settings


def storage(as_json: AsJson = False) -> None:
    """Count the bytes of tables, models and checkpoints by tenant: looks at every file."""
    from app.cli import display
    from app.storage import sizes
    from app.storage.blobs import Blobs
    from app.storage.database import Database

    settings = load_settings()
    require_tables(settings)
    with closing(Database(settings.resolved_database_url)) as database:
        found = sizes.count(database, Blobs(settings.resolved_storage_url))
    if as_json:
        print_json(found)
    else:
        display.storage(found)
