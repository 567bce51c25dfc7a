"""Databases and brokers for tests: each test gets its own, made by the migrations."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from services import (
    POSTGRES_SERVER,
    RedisServer,
    execute,
    postgres_database,
    s3_server,
    unavailable,
)
from sqlalchemy import make_url

from app.storage.database import Database
from app.storage.migrate import upgrade


@pytest.fixture(scope="session")
def _postgres() -> None:
    try:
        execute("SELECT 1")
    except psycopg.OperationalError as error:
        unavailable(f"no PostgreSQL at {POSTGRES_SERVER}: {error}")


@pytest.fixture
def postgres_url(_postgres: None) -> Iterator[str]:
    """An empty PostgreSQL database."""
    with postgres_database() as url:
        yield url


@pytest.fixture(scope="session")
def _postgres_template(_postgres: None) -> Iterator[str]:
    """A migrated database that others are copied from: much quicker than to migrate each."""
    with postgres_database() as url:
        upgrade(url)
        yield str(make_url(url).database)


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
    with postgres_database(_postgres_template) as url:
        yield url


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
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    program = shutil.which("redis-server")
    if program is None:
        unavailable("redis-server is not installed")
    server = RedisServer(program, tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture(scope="session")
def _s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as environment:
        yield environment


@pytest.fixture
def s3_url(_s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty storage on S3; this process and those that it starts reach it."""
    for name, value in _s3.items():
        monkeypatch.setenv(name, value)
    return f"s3://houses/{uuid.uuid4().hex}"
