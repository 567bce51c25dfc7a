"""What every command does alike: complain in one line, and read the settings."""

from __future__ import annotations

from typing import NoReturn

import typer
from pydantic import ValidationError

from app.settings import Settings

REFUSED = 2  # exit code: nothing was done, and the message says what to change


def refuse(message: str) -> NoReturn:
    """End the command without having done anything."""
    typer.echo(f"foldhouse: {message}", err=True)
    raise typer.Exit(REFUSED)


def load_settings() -> Settings:
    """The settings, or one line that names the environment variable at fault."""
    try:
        return Settings()
    except ValidationError as error:
        fault = error.errors()[0]
        variable = "FOLDHOUSE_" + "_".join(map(str, fault["loc"])).upper()
        refuse(f"{variable} is {fault['input']!r}: {fault['msg']}")


def database_address(settings: Settings) -> str:
    """The database's address without its password, as far as it can be read."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(settings.resolved_database_url).render_as_string()
    except ArgumentError:
        return "of FOLDHOUSE_DATABASE_URL"
