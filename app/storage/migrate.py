"""Brings a database to the schema of this version."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from app.storage.tables import Base


class DatabaseTooNew(Exception):
    """The database was migrated by a later version of foldhouse."""


def alembic_config(url: str | None = None) -> Config:
    """Alembic's configuration for the database at `url`, by default that of the settings.

    The revisions are found by name: `migrations` imports `app`, so `app` must not import it.
    """
    config = Config(str(files("migrations") / "alembic.ini"))
    config.attributes["url"] = url
    return config


def lacking(connection: Connection) -> list[str]:
    """The tables and columns of this version that the database does not have.

    Does not compare revisions: a later version may have migrated the database while workers of this
    version still run, and its additions do not affect them.
    """
    there = {
        table: {column["name"] for column in columns}
        for (_, table), columns in inspect(connection).get_multi_columns().items()
    }
    return [
        f"{table.name}.{column.name}" if table.name in there else table.name
        for table in Base.metadata.sorted_tables
        for column in (table.columns if table.name in there else [next(iter(table.columns))])
        if column.name not in there.get(table.name, ())
    ]


def upgrade(url: str) -> None:
    """Create the tables, or upgrade them to the newest revision. A current database is unchanged.

    It is one transaction. Several processes may call it at once: one does the work, the others wait
    for it.

    Raises
    ------
    DatabaseTooNew: the database has a revision that this version does not know.
    """
    try:
        command.upgrade(alembic_config(url), "head")
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError):
            raise DatabaseTooNew(
                f"The database has revision {error.__cause__.argument}, which this version of "
                "foldhouse does not know, because a later version migrated it. Install "
                "that version, or restore a backup made before the upgrade."
            ) from error
        raise
