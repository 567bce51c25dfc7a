"""`audit`: whether the rows in the service's database are those that were written."""

from __future__ import annotations

from contextlib import closing

import typer

from app.cli.service import require_tables
from app.cli.terminal import load_settings, tell

audit = typer.Typer(no_args_is_help=True, help="The audit: who did what when.")


@audit.callback()
def _common() -> None:
    """For the service's own machine. Over HTTP it is `GET /v1/audit`."""


@audit.command()
def verify() -> None:
    """Compute the hash of every row again, and say whether the chain holds."""
    from app.accounts import chain
    from app.storage.database import Database

    settings = load_settings()
    require_tables(settings)
    with closing(Database(settings.resolved_database_url)) as database:
        try:
            checked = chain.check(database)
        except chain.ChainBroken as broken:
            tell(f"{broken} The audit was changed.", err=True)
            raise typer.Exit(1) from None
    if checked.first is None or checked.last is None:
        tell("The audit has no rows.")
        return
    tell(f"{checked.rows:,} rows from {checked.first.at} to {checked.last.at}: the chain holds.")
    typer.echo(f"{checked.last.id} {checked.last.sha256}")
