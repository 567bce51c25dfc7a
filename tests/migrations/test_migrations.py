"""The migrations give the tables of `app.storage.tables`, on both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.orm import Session

from app.storage.database import make_engine
from app.storage.migrate import DatabaseTooNew, alembic_config, upgrade
from app.storage.tables import AliasChange, Base, Dataset, Event, Job, State

UPGRADE_WHEN_TOLD = """
import sys
from app.storage.migrate import upgrade
from sqlalchemy.dialects.postgresql import psycopg
upgrade("sqlite://")  # imports what an upgrade imports, so that the real ones collide
print("ready", flush=True)
sys.stdin.readline()
upgrade(sys.argv[1])
"""

REBUILD_DATASETS = """
from alembic import op

revision, down_revision = "9999", "{newest}"

def upgrade():
    with op.batch_alter_table("datasets") as batch:
        batch.alter_column("name", nullable=True)
"""


# Text, since the classes are those of the newest revision.
JOB_OF_REVISION_1 = (
    """
    INSERT INTO datasets
    (id, tenant, name, sha256, bytes, rows, profile, csv, parquet, created_at, uploaded_at)
    VALUES ('ds_1', 'local', 'a', '0', 1, 1, '{}', 'c', 'p', '2026-01-01', '2026-01-01')
    """,
    """
    INSERT INTO jobs (id, tenant, dataset_id, target, spec, status, created_at)
    VALUES ('job_1', 'local', 'ds_1', 'y', '{}', 'running', '2026-01-01')
    """,
)
CHAMPION_OF_REVISION_3 = (
    """
    INSERT INTO models (id, tenant, job_id, dataset_id, target, metrics, artifacts, created_at)
    VALUES ('mdl_1', 'local', 'job_1', 'ds_1', 'y', '{}', '{}', '2026-01-02')
    """,
    """
    INSERT INTO aliases (tenant, name, model_id, updated_at)
    VALUES ('local', 'champion', 'mdl_1', '2026-01-02 00:00:00')
    """,
)
FINISHED_JOB_OF_REVISION_8 = (
    """
    INSERT INTO jobs (id, tenant, dataset_id, target, spec, status, created_at, result)
    VALUES ('job_2', 'local', 'ds_1', 'y', '{"seed": 2}', 'succeeded', '2026-01-01',
            '{"model_id": "mdl_2"}')
    """,
    """
    INSERT INTO shards (id, tenant, job_id, state, attempt, max_attempts, due_at)
    VALUES ('shd_1', 'local', 'job_1', 'running', 1, 3, '2026-01-01'),
           ('shd_2', 'local', 'job_2', 'succeeded', 1, 3, '2026-01-01')
    """,
    """
    INSERT INTO models (id, tenant, job_id, dataset_id, target, metrics, artifacts, created_at)
    VALUES ('mdl_2', 'local', 'job_2', 'ds_1', 'y', '{}', '{}', '2026-01-02')
    """,
)
EVENT_OF_REVISION_9 = """
    INSERT INTO events (tenant, job_id, kind, data, created_at)
    VALUES ('local', :job_id, 'state', :data, '2026-01-01')
"""
EPOCH_OF_REVISION_1 = """
    INSERT INTO epoch_metrics
    (tenant, job_id, fold, epoch, train_loss, validation_loss, learning_rate)
    VALUES ('local', 'job_1', 0, :epoch, 0.5, NULL, 0.001)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'foldhouse.sqlite'}"
    return request.getfixturevalue("postgres_url")  # type: ignore[no-any-return]


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    yield engine
    engine.dispose()


def schema(engine: Engine) -> dict[str, Any]:
    """Everything the database says of its tables, as text: reflected types do not compare."""
    inspector = inspect(engine)
    return {
        table: {
            # In no order: a column that is added later stands last.
            "columns": sorted(map(str, inspector.get_columns(table))),
            "primary key": inspector.get_pk_constraint(table),
            "indexes": sorted(map(str, inspector.get_indexes(table))),
            "unique": sorted(map(str, inspector.get_unique_constraints(table))),
            "foreign keys": sorted(map(str, inspector.get_foreign_keys(table))),
            "checks": sorted(map(str, inspector.get_check_constraints(table))),
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def test_autogenerate_finds_nothing_to_change(url: str, engine: Engine) -> None:
    upgrade(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrade_gives_what_the_tables_declare(url: str, engine: Engine) -> None:
    """Autogenerate compares neither CHECK constraints nor the order of columns in a key."""
    upgrade(url)
    migrated = schema(engine)
    command.downgrade(alembic_config(url), "base")
    assert schema(engine) == {}

    Base.metadata.create_all(engine)
    declared = schema(engine)
    assert declared["shards"]["checks"]
    assert migrated == declared


def test_downgrade_then_upgrade_again(url: str, engine: Engine) -> None:
    upgrade(url)
    first = schema(engine)
    command.downgrade(alembic_config(url), "base")
    upgrade(url)
    assert schema(engine) == first


def test_workers_of_revision_1_keep_writing_epochs(url: str, engine: Engine) -> None:
    config = alembic_config(url)
    command.upgrade(config, "0001")
    first = schema(engine)
    with engine.begin() as connection:
        for statement in JOB_OF_REVISION_1:
            connection.execute(text(statement))
        connection.execute(text(EPOCH_OF_REVISION_1), {"epoch": 1})

    command.upgrade(config, "0002")
    added = "SELECT epoch, train_loss, gradient_norm, dead_units, saturated_units"
    with engine.begin() as connection:
        connection.execute(text(EPOCH_OF_REVISION_1), {"epoch": 2})
        rows = connection.execute(text(f"{added} FROM epoch_metrics ORDER BY epoch")).all()
        assert rows == [(1, 0.5, None, None, None), (2, 0.5, None, None, None)]

    command.downgrade(config, "0001")
    assert schema(engine) == first
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT sum(epoch) FROM epoch_metrics")) == 3


def test_the_history_of_an_alias_begins_with_where_it_points(url: str, engine: Engine) -> None:
    config = alembic_config(url)
    command.upgrade(config, "0003")
    with engine.begin() as connection:
        for statement in (*JOB_OF_REVISION_1, *CHAMPION_OF_REVISION_3):
            connection.execute(text(statement))

    command.upgrade(config, "0004")
    with Session(engine) as session:
        [change] = session.scalars(select(AliasChange))
    assert (change.tenant, change.alias, change.model_id) == ("local", "champion", "mdl_1")
    assert (change.previous_id, change.changed_at) == (None, datetime(2026, 1, 2, tzinfo=UTC))


def test_a_job_of_revision_8_has_one_shard(url: str, engine: Engine) -> None:
    config = alembic_config(url)
    command.upgrade(config, "0008")
    before = schema(engine)
    with engine.begin() as connection:
        for statement in (*JOB_OF_REVISION_1, *FINISHED_JOB_OF_REVISION_8):
            connection.execute(text(statement))
        connection.execute(text(EPOCH_OF_REVISION_1), {"epoch": 1})

    command.upgrade(config, "0009")
    with engine.connect() as connection:
        shards = connection.execute(
            text("SELECT job_id, place, spec, result, error FROM shards ORDER BY job_id")
        ).all()
        keys = connection.execute(text("SELECT job_id, shard, fold, epoch FROM epoch_metrics"))
        assert keys.all() == [("job_1", 0, 0, 1)]
        assert connection.execute(text("SELECT id, shard_id FROM models")).all() == [
            ("mdl_2", None)
        ]
    of_database = {"sqlite": json.loads, "postgresql": dict}[engine.dialect.name]
    documents = [
        [document and of_database(document) for document in documents]
        for _, _, *documents in shards
    ]
    assert [(job_id, place) for job_id, place, *_ in shards] == [("job_1", 0), ("job_2", 0)]
    assert documents == [[{}, None, None], [{"seed": 2}, {"model_id": "mdl_2"}, None]]

    command.downgrade(config, "0008")
    assert schema(engine) == before
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM epoch_metrics")) == 1


def test_files_in_the_folders_of_shards_stop_a_downgrade(url: str, engine: Engine) -> None:
    """The earlier version would not find them, and the next sweep would remove them."""
    config = alembic_config(url)
    command.upgrade(config, "0008")
    with engine.begin() as connection:
        for statement in (*JOB_OF_REVISION_1, *FINISHED_JOB_OF_REVISION_8):
            connection.execute(text(statement))
    command.upgrade(config, "0009")
    with engine.begin() as connection:
        own = "UPDATE models SET shard_id = (SELECT id FROM shards WHERE job_id = models.job_id)"
        connection.execute(text(own))
    with pytest.raises(RuntimeError, match="restore a backup"):
        command.downgrade(config, "0008")


def test_events_of_revision_9_are_numbered_by_job(url: str, engine: Engine) -> None:
    config = alembic_config(url)
    command.upgrade(config, "0008")
    with engine.begin() as connection:
        for statement in (*JOB_OF_REVISION_1, *FINISHED_JOB_OF_REVISION_8):
            connection.execute(text(statement))
        for job_id, status in (
            ("job_1", "queued"),
            ("job_2", "queued"),
            ("job_2", "running"),
            ("job_1", "running"),
        ):
            connection.execute(
                text(EVENT_OF_REVISION_9),
                {"job_id": job_id, "data": json.dumps({"status": status, "detail": "é"})},
            )

    command.upgrade(config, "head")
    with Session(engine) as session:
        events = session.scalars(select(Event).order_by(Event.job_id, Event.sequence)).all()
        told = [(event.job_id, event.sequence, event.data["status"]) for event in events]
        data = events[-1].data
    assert told == [
        ("job_1", 1, "queued"),
        ("job_1", 2, "running"),
        ("job_2", 1, "queued"),
        ("job_2", 2, "running"),
    ]
    assert data == {"shard": 0, "state": "running", "status": "running", "detail": "é"}


def test_processes_that_upgrade_at_once_wait_for_one_another(url: str, engine: Engine) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE_WHEN_TOLD, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=30)[1] for process in processes]
    assert errors == [""] * len(processes)
    assert set(Base.metadata.tables) <= set(inspect(engine).get_table_names())


def test_a_database_of_a_later_version_is_refused(url: str, engine: Engine) -> None:
    upgrade(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="revision 9999"):
        upgrade(url)


def test_a_table_that_others_point_at_can_be_rebuilt(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    """SQLite changes a column by copying the table and dropping the old one."""
    upgrade(url)
    with Session(engine) as session, session.begin():
        dataset = Dataset(
            id="ds_1",
            tenant="local",
            name="a",
            sha256="0",
            bytes=1,
            rows=1,
            profile={},
            csv="c",
            parquet="p",
        )
        session.add(dataset)
        session.flush()
        job = Job(
            id="job_1",
            tenant="local",
            dataset_id="ds_1",
            target="y",
            spec={},
            status=State.QUEUED,
        )
        session.add(job)

    config = alembic_config(url)
    newest = ScriptDirectory.from_config(config).get_current_head()
    (tmp_path / "9999_rebuild.py").write_text(REBUILD_DATASETS.format(newest=newest))
    shipped = Path(str(config.get_main_option("script_location"))) / "versions"
    config.set_main_option("version_locations", f"{shipped}{os.pathsep}{tmp_path}")
    command.upgrade(config, "head")

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM jobs JOIN datasets ON true")) == 1
