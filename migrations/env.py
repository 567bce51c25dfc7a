"""Runs revisions in one transaction, and in one process at a time.

Alembic executes this file. The database is the one given by `app.storage.migrate`, otherwise (the
`alembic` command of a developer) the one of the settings.
"""

from __future__ import annotations

import sqlite3

from alembic import context
from sqlalchemy import Connection, event, func, select

from app.settings import Settings
from app.storage.database import make_engine
from app.storage.tables import Base

ADVISORY_LOCK = 0x666F6C64  # any number that nothing else locks in this database


def migrate(connection: Connection) -> None:
    # On SQLite BEGIN IMMEDIATE has the same effect.
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
    )
    context.run_migrations()


def main() -> None:
    engine = make_engine(context.config.attributes.get("url") or Settings().resolved_database_url)
    if engine.dialect.name == "sqlite":
        # A batch operation rebuilds a table and drops the old one, to which rows elsewhere point.
        # The switch does nothing inside a transaction.
        @event.listens_for(engine, "connect")
        def _foreign_keys_off(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute("PRAGMA foreign_keys=OFF")

    try:
        with engine.begin() as connection:
            migrate(connection)
    finally:
        engine.dispose()


main()
