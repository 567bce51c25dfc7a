"""`backup` and `restore`: copy everything that the service keeps, while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.service import make_data_dir, migrate_database, require_tables
from app.cli.terminal import database_address, keep_private, load_settings, refuse, tell

if TYPE_CHECKING:
    from app.storage.backup import Copied


def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Copy the database and all files, while the service runs."""
    from app.storage.backup import back_up
    from app.storage.blobs import Blobs
    from app.storage.database import Database

    keep_private()
    settings = load_settings()
    require_tables(settings)
    with closing(Database(settings.resolved_database_url)) as database, refusing():
        copied = back_up(database, Blobs(settings.resolved_storage_url), folder)
    report(f"Backed up to {folder}", copied)
    tell(f"The backup is a data folder: `foldhouse serve --data-dir {folder}` serves it.")


def restore(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A backup.")],
) -> None:
    """Copy a backup into an empty installation, with any kind of database."""
    from app.storage.backup import restore
    from app.storage.blobs import Blobs
    from app.storage.database import Database

    keep_private()
    settings = load_settings()
    make_data_dir(settings.root)
    migrate_database(settings)
    with closing(Database(settings.resolved_database_url)) as database, refusing():
        copied = restore(folder, database, Blobs(settings.resolved_storage_url))
    places = f"{database_address(settings)} and {settings.resolved_storage_url}"
    report(f"Restored into {places}", copied)


def report(what: str, copied: Copied) -> None:
    tell(
        f"{what}: {copied.datasets} datasets, {copied.jobs} jobs, {copied.models} models, "
        f"{copied.bytes / 1024**2:.1f} MiB of files."
    )


@contextmanager
def refusing() -> Iterator[None]:
    """End the command with a message if the copy cannot be made."""
    from sqlalchemy.exc import SQLAlchemyError

    from app.storage.backup import NotEmpty
    from app.storage.blobs import ArtifactCorrupt
    from app.storage.migrate import DatabaseTooNew

    try:
        yield
    except (NotEmpty, ArtifactCorrupt, DatabaseTooNew, OSError, SQLAlchemyError) as error:
        refuse(str(getattr(error, "orig", None) or error).partition("\n")[0])
