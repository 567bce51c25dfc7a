"""Databases and brokers for tests: each test gets its own, made by the migrations."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from polling import free_port, wait_until
from sqlalchemy import make_url

from app.storage.database import Database
from app.storage.migrate import upgrade

# User and password are libpq's own defaults: PGUSER, PGPASSWORD, the login name.
POSTGRES_SERVER = "postgresql+psycopg://127.0.0.1:5432/postgres"
SERVER_START_SECONDS = 10.0


def unavailable(reason: str) -> NoReturn:
    """Skip the test; on CI every service must be there, so fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set")
    pytest.skip(reason)


def _execute(statement: str) -> None:
    server = make_url(POSTGRES_SERVER).set(drivername="postgresql")
    with psycopg.connect(
        server.render_as_string(hide_password=False), autocommit=True, connect_timeout=5
    ) as connection:
        connection.execute(statement.encode())


def _create_database(template: str = "template1") -> str:
    name = f"foldhouse_test_{uuid.uuid4().hex}"
    _execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


def _drop_database(name: str) -> None:
    _execute(f"DROP DATABASE {name} WITH (FORCE)")


def _url(name: str) -> str:
    return make_url(POSTGRES_SERVER).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def _postgres() -> None:
    try:
        _execute("SELECT 1")
    except psycopg.OperationalError as error:
        unavailable(f"no PostgreSQL at {POSTGRES_SERVER}: {error}")


@pytest.fixture
def postgres_url(_postgres: None) -> Iterator[str]:
    """An empty PostgreSQL database."""
    name = _create_database()
    yield _url(name)
    _drop_database(name)


@pytest.fixture(scope="session")
def _postgres_template(_postgres: None) -> Iterator[str]:
    """A migrated database that others are copied from: much quicker than to migrate each."""
    name = _create_database()
    upgrade(_url(name))
    yield name
    _drop_database(name)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "foldhouse.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(_sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database."""
    path = tmp_path / "foldhouse.sqlite"
    shutil.copy(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def migrated_postgres_url(_postgres_template: str) -> Iterator[str]:
    """A migrated PostgreSQL database."""
    name = _create_database(_postgres_template)
    yield _url(name)
    _drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database: the test runs once on SQLite and once on PostgreSQL."""
    fixture = "sqlite_url" if request.param == "sqlite" else "migrated_postgres_url"
    return str(request.getfixturevalue(fixture))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The open form of `database_url`."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis server of the test's own, set up as `docs/operating.md` asks."""
    program = shutil.which("redis-server")
    if program is None:
        unavailable("redis-server is not installed")
    folder = tmp_path / "redis"
    folder.mkdir()
    port = free_port()
    options = "--appendonly yes --maxmemory-policy noeviction --bind 127.0.0.1 --save ''"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, "--port", str(port), "--dir", str(folder), *options.split()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _answers(port), SERVER_START_SECONDS)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(timeout=10)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
