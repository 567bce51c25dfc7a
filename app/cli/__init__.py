"""The `foldhouse` command: run the service, or talk to one.

`serve` and `api` share these modules and must start within seconds. What only some commands need
(httpx, rich, Alembic, the API itself) is imported inside those commands.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from app.cli.audit import audit
from app.cli.backup import backup, restore
from app.cli.doctor import doctor
from app.cli.jobs import cancel, jobs, metrics, notebook, oof, report, show, submit, watch
from app.cli.keys import keys
from app.cli.lessons import lessons
from app.cli.models import export, models, predict, promote
from app.cli.service import api, migrate, serve, worker
from app.cli.storage import storage
from app.cli.sweeps import sweep, sweeps, trials
from app.cli.tables import find, upload, validate


def print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("foldhouse"))
        raise typer.Exit


cli = typer.Typer(
    name="foldhouse",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Run the service": (serve, api, worker, migrate, doctor, storage, backup, restore),
    "Data and jobs": (
        *(upload, find, validate, submit, jobs, show, watch, cancel),
        *(metrics, oof, report, notebook),
        *(sweep, sweeps, trials),
    ),
    "Models": (models, promote, predict, export),
}
for panel, commands in PANELS.items():
    for command in commands:
        cli.command(rich_help_panel=panel)(command)
cli.add_typer(keys, name="keys", rich_help_panel="Run the service")
cli.add_typer(audit, name="audit", rich_help_panel="Run the service")
cli.add_typer(lessons, name="lessons", rich_help_panel="Lessons")


@cli.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version),
    ] = False,
) -> None:
    """Turns a CSV of houses into an honestly cross-validated neural network and serves it."""


def main() -> None:
    # onnxruntime otherwise reports its use to its maker, from when it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    cli()
