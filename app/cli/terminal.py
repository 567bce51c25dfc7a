"""Shared by all commands: one-line errors, and reading the settings."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import typer
from pydantic import ValidationError

from app.printed import printable, redacted
from app.settings import Settings

REFUSED = 2  # exit code: nothing was done; the message says what to change


def tell(text: str, *, err: bool = False) -> None:
    """Print text that may hold foreign names, errors or addresses: everything except JSON."""
    typer.echo(redacted(printable(text)), err=err)


class TerminalCsv:
    """Standard output for a CSV with foreign text, if it is a terminal."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> int:
        typer.echo(printable(self._decoder.decode(data)), nl=False)
        return len(data)


def csv_file(output: Path | None) -> Path | BinaryIO:
    """Where a command writes its CSV. A pipe gets exactly the bytes that the service sent."""
    if output is not None:
        return output
    return cast(BinaryIO, TerminalCsv()) if sys.stdout.isatty() else sys.stdout.buffer


def keep_private() -> None:
    """From now on, create files and folders that no other user of this machine can read."""
    os.umask(0o077)


def refuse(message: str) -> NoReturn:
    """End the command with an error, before it has done anything."""
    tell(f"foldhouse: {message}", err=True)
    raise typer.Exit(REFUSED)


def load_settings() -> Settings:
    """The settings, or a one-line error that names the wrong environment variable."""
    try:
        return Settings()
    except ValidationError as error:
        fault = error.errors()[0]
        variable = "FOLDHOUSE_" + "_".join(map(str, fault["loc"])).upper()
        reason = fault["msg"].removeprefix("Value error, ")
        refuse(f"{variable} is {fault['input']!r}: {reason}")


def database_address(settings: Settings) -> str:
    """The database's address without its password, if it can be parsed."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(settings.resolved_database_url)
    except ArgumentError:
        return "of FOLDHOUSE_DATABASE_URL"
    return redacted(settings.resolved_database_url)
