"""The `foldhouse` command: run the service, or talk to one.

`serve` and `api` share these modules and must be ready within seconds, so what only some commands
need (httpx, rich, Alembic, the API itself) is imported inside them.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from app.cli.backup import backup, restore
from app.cli.doctor import doctor
from app.cli.remote import cancel, export, jobs, predict, show, submit
from app.cli.service import api, migrate, serve, worker

cli = typer.Typer(
    name="foldhouse",
    help="Turns a CSV of houses into an honestly cross-validated neural network and serves it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Run the service": (serve, api, worker, migrate, doctor, backup, restore),
    "Use a service": (submit, jobs, show, cancel, predict, export),
}
for panel, commands in PANELS.items():
    for command in commands:
        cli.command(rich_help_panel=panel)(command)


def main() -> None:
    cli()
