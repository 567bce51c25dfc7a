"""Engines and sessions for SQLite and PostgreSQL, and the database's own clock."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, Engine, TypeDecorator, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.sql.functions import GenericFunction

if TYPE_CHECKING:
    import psycopg

HIDE = True  # errors are logged, and the rows that they would show have secrets and users' data
BUSY_TIMEOUT = 5000  # ms
POOL_TIMEOUT = 10  # s
CONNECT_TIMEOUT = 5  # s

# A network partition that drops packets must hold neither a thread here nor, by the transaction of
# a client that is cut off, a row's lock in PostgreSQL. Both sides give up within seconds; the
# server's own default is two hours.
KEEPALIVES_IDLE = KEEPALIVES_INTERVAL = 5  # s
KEEPALIVES_COUNT = 3
TCP_USER_TIMEOUT = 10_000  # ms
SERVER_KEEPALIVES = (
    f"SET tcp_keepalives_idle = {KEEPALIVES_IDLE}; "
    f"SET tcp_keepalives_interval = {KEEPALIVES_INTERVAL}; "
    f"SET tcp_keepalives_count = {KEEPALIVES_COUNT}; "
    f"SET tcp_user_timeout = {TCP_USER_TIMEOUT}"
)

# Errors of the database's server, its network or its disk: a later attempt may succeed.
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeoutError)

# Of PostgreSQL, undefined_table and undefined_column:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
LACKS_TABLES_STATES = ("42P01", "42703")
LACKS_TABLES_WORDS = ("no such table", "no such column")  # of SQLite, which has no such codes

# Releases of SQLite in which a WAL reset cannot lose a committed transaction:
# https://sqlite.org/wal.html, "The WAL-Reset Bug".
WAL_SAFE_FROM = (3, 51, 3)
WAL_SAFE_BACKPORTS = {(3, 50): 7, (3, 44): 6}


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite release has the fix of the WAL-reset bug."""
    backport = WAL_SAFE_BACKPORTS.get(version[:2])
    return version >= WAL_SAFE_FROM or (backport is not None and version[2] >= backport)


def lacks_tables(error: Exception) -> bool:
    """Whether a statement failed because the database has not been migrated."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    state = getattr(cause, "sqlstate", None)
    return state in LACKS_TABLES_STATES or str(cause).startswith(LACKS_TABLES_WORDS)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC on both databases; SQLite stores it without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class database_now(GenericFunction[datetime]):
    """The database's clock plus some seconds, because leases must not depend on workers' clocks."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(float(seconds))


@compiles(database_now, "postgresql")
def _postgresql_now(element: Any, compiler: Any, **kwargs: Any) -> str:
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(clock_timestamp() + make_interval(secs => {seconds}))"


@compiles(database_now, "sqlite")
def _sqlite_now(element: Any, compiler: Any, **kwargs: Any) -> str:
    # SQLAlchemy writes six digits of a second; SQLite's clock has three.
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"


def upsert(session: Session, table: type[DeclarativeBase]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT with ON CONFLICT, which SQLAlchemy has per dialect."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def make_engine(url: str) -> Engine:
    """An engine whose transactions are safe under concurrent writers.

    On SQLite a writing transaction begins with BEGIN IMMEDIATE: with the deferred default, two
    writers that both read first lose updates (232 of 300 in a trial). PostgreSQL reads committed
    rows.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return _postgresql_engine(url)
    connect_args = {"timeout": BUSY_TIMEOUT / 1000}
    engine = create_engine(url, hide_parameters=HIDE, connect_args=connect_args)
    journal = "WAL" if wal_is_safe(sqlite3.sqlite_version_info) else "DELETE"

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own BEGIN would be deferred; _begin issues it instead.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT}",
            "foreign_keys=ON",
            "synchronous=FULL",
            "secure_delete=ON",  # what is deleted is overwritten
            f"journal_mode={journal}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=HIDE,
        pool_pre_ping=True,
        pool_timeout=POOL_TIMEOUT,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "keepalives_idle": KEEPALIVES_IDLE,
            "keepalives_interval": KEEPALIVES_INTERVAL,
            "keepalives_count": KEEPALIVES_COUNT,
            "tcp_user_timeout": TCP_USER_TIMEOUT,
        },
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: psycopg.Connection[Any], _record: object) -> None:
        # A rollback would take them back.
        connection.autocommit = True
        connection.execute(SERVER_KEEPALIVES)
        connection.autocommit = False

    return engine


class Database:
    """An engine and the transactions on it."""

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        # SQLite has one writer at a time, and a blocked one sleeps up to 0.1 s between attempts. So
        # threads of one process wait for each other on this lock, which wakes them at once.
        sqlite = self.engine.dialect.name == "sqlite"
        self._writer: threading.Lock | None = threading.Lock() if sqlite else None
        self._writers = sessionmaker(self.engine, expire_on_commit=False)
        # On SQLite a reader must not queue for the write lock.
        self._readers = sessionmaker(
            self.engine.execution_options(reading=True), expire_on_commit=False
        )

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that commits at the end, or rolls back on an error."""
        with self._turn(), self._writers.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads; on SQLite it takes no lock against other readers."""
        with self._readers.begin() as session:
            yield session

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Raises the error of a database that is busy for too long."""
        if self._writer is None:
            yield
            return
        if not self._writer.acquire(timeout=BUSY_TIMEOUT / 1000):
            raise PoolTimeoutError("other writers take too long")
        try:
            yield
        finally:
            self._writer.release()

    def close(self) -> None:
        self.engine.dispose()
