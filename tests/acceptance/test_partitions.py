"""When links between machines are cut, no job is lost or ends twice, and users get errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from partitions import HOLDS, Machines, machines
from services import unavailable

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]

SHORTER, _ = HOLDS

HOLD_A_LOCK = """
import sys
from app.storage.database import Database

with Database(sys.argv[1]).writing() as session:
    session.connection().exec_driver_sql("LOCK TABLE datasets")
    print("locked", flush=True)
    sys.stdin.read()
"""
LOCK_SECONDS = 45  # the server gives the client up after 10 to 20


@pytest.fixture(scope="module")
def installation() -> Iterator[Machines]:
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    with ExitStack() as cleanup:
        try:
            found = cleanup.enter_context(machines())
        except RuntimeError as error:
            unavailable(str(error))
        yield found


def test_links_that_are_cut_and_heal(installation: Machines) -> None:
    """One worker's clock is ten minutes fast all the while."""
    installation.partition("a worker and the database", SHORTER)
    installation.partition("the API and the database", SHORTER)
    installation.partition("the API and the broker", SHORTER)
    assert installation.harm() == {}
    jobs = len(installation.accepted)
    assert jobs <= installation.attempts() <= jobs + 1  # a busy machine may let one lease expire


def test_a_client_that_is_cut_off_holds_no_lock(installation: Machines) -> None:
    """PostgreSQL by itself would wait two hours for the end of its transaction."""
    api, database = (installation.hosts[name] for name in ("api", "database"))
    url = installation.stack.settings.resolved_database_url
    command = [*api.within, sys.executable, "-c", HOLD_A_LOCK, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"locked\n"
        installation.network.cut(api, database)
        try:
            with installation.stack.database.writing() as session:
                connection = session.connection()
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                connection.exec_driver_sql("LOCK TABLE datasets")
        finally:
            client.kill()
            installation.network.heal(api, database)
