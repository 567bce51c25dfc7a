"""Shared by the commands that show or follow a job or a sweep, which they tell apart by its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from app.cli.connection import FAILED, INTERRUPTED
from app.cli.terminal import tell

if TYPE_CHECKING:
    from foldhouse_client import Foldhouse


def found(client: Foldhouse, run_id: str) -> dict[str, Any]:
    """The job or the sweep; `latest` is a job."""
    from foldhouse_client.ids import is_sweep

    return client.sweep(run_id) if is_sweep(run_id) else client.job(run_id)


def show_run(run: dict[str, Any]) -> None:
    from foldhouse_client.ids import is_sweep

    from app.cli import display, display_sweeps

    if is_sweep(run["id"]):
        display_sweeps.sweep(run)
    else:
        display.job(run)


def finished(client: Foldhouse, run_id: str) -> dict[str, Any]:
    """Wait until it has finished, successfully or not."""
    for _ in client.events(run_id):
        pass
    return found(client, run_id)


def follow(client: Foldhouse, run_id: str) -> None:
    """Draw the progress until it has finished, then the result."""
    from foldhouse_client.ids import is_sweep

    from app.cli import live, live_sweeps

    noun, drawn = ("sweep", live_sweeps.follow) if is_sweep(run_id) else ("job", live.follow)
    try:
        run = drawn(client, run_id)
    except KeyboardInterrupt:
        tell(
            f"The {noun} continues. `foldhouse watch {run_id}` follows it again, "
            f"`foldhouse cancel {run_id}` stops it.",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    show_run(run)
    if run["status"] != "succeeded":
        raise typer.Exit(FAILED)
