"""Two versions on one database: what a later migration adds does not concern this one."""

from __future__ import annotations

import pytest
from sqlalchemy import inspect, text
from stack import SHORT, Stack, houses
from worker_process import WorkerProcess

from app.settings import Settings
from app.storage.database import Database
from app.storage.tables import Base

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(300)]


def expand(database: Database) -> None:
    """What the next version's migration may do: a new column in every table, and a new table."""
    with database.engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN of_tomorrow INTEGER"))
        connection.execute(text("CREATE TABLE tables_of_tomorrow (id INTEGER PRIMARY KEY)"))
        connection.execute(text("UPDATE alembic_version SET version_num = 'tomorrow'"))


@pytest.mark.costly("postgresql")
def test_todays_processes_on_tomorrows_database(stack: Stack) -> None:
    """Those that ran during the migration, and those that are started after it."""
    with stack.worker():
        done = [stack.wait(stack.submit(SHORT), "succeeded", "failed")]
        expand(stack.database)
        assert inspect(stack.database.engine).has_table("tables_of_tomorrow")
        done.append(stack.wait(stack.submit(SHORT), "succeeded", "failed"))
    stack.kill_api()
    stack.start_api()
    with stack.worker():
        waiting = [stack.submit(SHORT)]
        stack.upload(houses(seed=1))
        waiting.append(stack.submit(SHORT))
        done += [stack.wait(job_id, "succeeded", "failed") for job_id in waiting]
    assert [job["status"] for job in done] == ["succeeded"] * 4
    assert len(stack.http.get(f"/v1/jobs/{done[0]['id']}/metrics").json()["data"]) == 6


def test_what_a_later_version_took_away_is_noticed(settings: Settings) -> None:
    """A worker does not start on a database that lacks what it needs, and says what."""
    database = Database(settings.resolved_database_url)
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE epoch_metrics DROP COLUMN dead_units"))
    database.close()
    with WorkerProcess(settings) as worker:
        assert worker.process.wait(timeout=30) == 2
        assert "epoch_metrics.dead_units" in worker.log()
        assert "foldhouse migrate" in worker.log()
