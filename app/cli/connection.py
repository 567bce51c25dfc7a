"""Shared by the commands that talk to a service: its address, its errors, its JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.terminal import refuse, tell

if TYPE_CHECKING:
    from foldhouse_client import Foldhouse

Url = Annotated[
    str | None,
    typer.Option(
        envvar="FOLDHOUSE_URL",
        help="Address of the service. Default: http://127.0.0.1:8000.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the service's answer as JSON.")]

FAILED = 1  # exit code: the service refused, or the job produced no model
INTERRUPTED = 130  # a shell's exit code for a program that Ctrl-C ended


@contextmanager
def connect(url: str | None) -> Iterator[Foldhouse]:
    """A client whose errors end the command with the problem as text."""
    from foldhouse_client import Foldhouse, FoldhouseError

    try:
        with Foldhouse(url) as client:
            yield client
    except FoldhouseError as error:
        tell(f"foldhouse: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except OSError as error:  # one of the user's files cannot be read or written
        refuse(f"{error.filename}: {error.strerror}")


def print_json(answer: Any) -> None:
    """Escaped to ASCII because a name could hold control characters."""
    typer.echo(json.dumps(answer, indent=2))
