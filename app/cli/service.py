"""`serve`, `api`, `worker` and `migrate`: the service itself."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import database_address, keep_private, load_settings, refuse, tell
from app.cli.worker_process import WORKER_COMMAND, WorkerProcess
from app.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

ARENA_RESERVE = "65536"  # KiB

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Workers = Annotated[
    int,
    typer.Option(min=1, max=64, help="Processes that answer requests, for example one per core."),
]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any free port.")]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 1,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that holds everything. Default: FOLDHOUSE_DATA_DIR, or ./foldhouse-data.",
        ),
    ] = None,
) -> None:
    """Run the API and a worker together on this machine; migrates the database first."""
    keep_private()
    if data_dir is not None:
        os.environ["FOLDHOUSE_DATA_DIR"] = str(data_dir.expanduser().resolve())
    settings = settings_for(host)
    require_worker_packages()
    with listen(host, port) as listener, sole_service(settings.root):
        migrate_database(settings)
        end_on_signals()
        settle_libraries()
        with WorkerProcess() as worker:
            # Imported only now: the worker starts while this process imports the API.
            from app.cli.server import run

            run(settings, listener, workers, on_stop=worker.stop_soon)


def api(host: Host = "127.0.0.1", port: Port = 8000, workers: Workers = 1) -> None:
    """Run only the API; workers run elsewhere."""
    keep_private()
    settings = settings_for(host)
    require_tables(settings)
    with listen(host, port) as listener, no_serve_beside(settings):
        end_on_signals()
        settle_libraries()
        from app.cli.server import run

        run(settings, listener, workers)


def worker() -> None:
    """Run only a worker, on this machine's device."""
    keep_private()
    settings = load_settings()
    require_worker_packages()
    require_tables(settings)
    os.execv(WORKER_COMMAND[0], WORKER_COMMAND)


def migrate() -> None:
    """Create the database's tables, or upgrade them to this version."""
    keep_private()
    settings = load_settings()
    make_data_dir(settings.root)
    migrate_database(settings)
    tell("The database is up to date.")


def settle_libraries() -> None:
    """Set what numpy and arrow read from the environment when they are imported.

    numpy: requests already run in parallel, and spinning threads beside them make a CSV of 100,000
    rows a fifth slower. arrow: mimalloc would reserve a gigabyte of address space at once, which
    leaves a process with a limit (RLIMIT_AS) too little.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("MIMALLOC_ARENA_RESERVE", ARENA_RESERVE)


def end_on_signals() -> None:
    """Let a signal unwind the `with` blocks, so that no worker is left behind.

    While the API runs, uvicorn has its own handlers; it raises the signal again when it has shut
    down.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


def settings_for(host: str) -> Settings:
    """The settings of a service that listens on `host`, with `host` among the allowed names."""
    settings = load_settings()
    require_trust(host, settings)
    # Through the environment, which other processes of the API read.
    os.environ["FOLDHOUSE_ALLOWED_HOSTS"] = ",".join({*settings.host_names, host})
    return load_settings()


def require_trust(host: str, settings: Settings) -> None:
    """Without keys or an identity provider, anyone who reaches the port can use the service."""
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError as error:
        refuse(f"--host {host} is not an address of this machine: {error.strerror}")
    loopback = all(ipaddress.ip_address(address).is_loopback for address in addresses)
    if not (loopback or settings.trusted_network or settings.oidc_issuer or has_keys(settings)):
        refuse(
            f"--host {host} can be reached from other machines, and requests need no key, so "
            "anyone there could read the data and start jobs. Make a key with `foldhouse keys "
            "create NAME --role admin`, listen on 127.0.0.1, or set FOLDHOUSE_TRUSTED_NETWORK=true "
            "behind a proxy or on a private container network."
        )


def has_keys(settings: Settings) -> bool:
    from sqlalchemy.exc import SQLAlchemyError

    from app.accounts import repository
    from app.storage.database import Database

    if settings.is_new:
        return False
    try:
        with closing(Database(settings.resolved_database_url)) as database:
            with database.reading() as session:
                return repository.exist(session)
    except SQLAlchemyError:
        return False


def require_worker_packages() -> None:
    if find_spec("torch") is None:
        refuse(
            "a worker needs torch, which is not installed. Run `make setup`, or "
            "pip install --constraint constraints.txt '.[worker]'"
        )


def require_tables(settings: Settings) -> None:
    """Refuse a database without this version's tables. One that is unreachable may come back:
    until then requests are answered with 503, and workers wait."""
    from sqlalchemy.exc import SQLAlchemyError

    from app.storage.database import DATABASE_AWAY, Database
    from app.storage.migrate import lacking

    make_data_dir(settings.root)
    address = database_address(settings)
    try:
        with closing(Database(settings.resolved_database_url)) as database:
            with database.reading() as session:
                absent = lacking(session.connection())
    except DATABASE_AWAY as error:
        tell(f"foldhouse: the database {address} is unreachable: {_reason(error)}", err=True)
    except SQLAlchemyError as error:
        refuse(f"the database {address} cannot be used: {_reason(error)}")
    else:
        if absent:
            refuse(
                f"the database {address} does not have this version's tables: {absent[0]} is "
                "missing. Run `foldhouse migrate`."
            )


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, opened before anything else is touched."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python repeats the address there
        refuse(f"cannot listen on {host}:{port}: {reason}. Choose another port with --port.")
    with listener:
        yield listener


def make_data_dir(root: Path) -> None:
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        refuse(f"the data folder {root} cannot be created: {error.strerror}")
    if not os.access(root, os.W_OK | os.X_OK):
        refuse(f"the data folder {root} is not writable by this user")


@contextmanager
def sole_service(root: Path, lock: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the data folder's lock; the kernel releases it when this process ends.

    `serve` migrates the folder's database when it starts, which another process using it would not
    survive, so it needs the folder for itself. Several `api` share it (LOCK_SH).
    """
    make_data_dir(root)
    with (root / "serve.lock").open("a+") as file:
        try:
            fcntl.flock(file, lock | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            refuse(
                f"another foldhouse (process {file.read().strip()}) already serves {root}. Stop "
                "it, or give this one another --data-dir."
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def no_serve_beside(settings: Settings) -> Iterator[None]:
    """For `api`: lock the data folder if the database is in it, and not on a server."""
    with ExitStack() as held:
        if settings.resolved_database_url.startswith("sqlite"):
            held.enter_context(sole_service(settings.root, fcntl.LOCK_SH))
        yield


def migrate_database(settings: Settings) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    from app.storage.migrate import DatabaseTooNew, upgrade

    try:
        upgrade(settings.resolved_database_url)
    except DatabaseTooNew as error:
        refuse(str(error))
    except SQLAlchemyError as error:
        refuse(f"the database {database_address(settings)} cannot be used: {_reason(error)}")


def _reason(error: SQLAlchemyError) -> str:
    """The database driver's message."""
    return str(getattr(error, "orig", None) or error).strip()
