"""The commands that talk to a service over HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.terminal import refuse
from app.json_text import repeated

if TYPE_CHECKING:
    from app.client import Foldhouse

Url = Annotated[
    str | None,
    typer.Option(
        envvar="FOLDHOUSE_URL",
        help="Address of the service. Default: http://127.0.0.1:8000.",
        show_default=False,
    ),
]
JobId = Annotated[str, typer.Argument(help="A job's id, or `latest`.")]
Model = Annotated[str, typer.Option(help="A model's id, or an alias.")]

FAILED = 1  # exit code: the service refused, or the job gave no model
INTERRUPTED = 130  # exit code of a program that Ctrl-C ended, as shells have it


@contextmanager
def connect(url: str | None) -> Iterator[Foldhouse]:
    """A client whose errors end the command with the problem as text."""
    from app.client import Foldhouse, FoldhouseError

    try:
        with Foldhouse(url) as client:
            yield client
    except FoldhouseError as error:
        typer.echo(f"foldhouse: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except OSError as error:  # a file of the user's that cannot be read or written
        refuse(f"{error.filename}: {error.strerror}")


def submit(
    spec: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The job spec, a JSON file.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="CSV file to upload and train on."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Id of a dataset uploaded before, or `latest`.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")] = False,
    url: Url = None,
) -> None:
    """Train: upload a table, submit a job and, with --watch, see its folds finish."""
    body = read_spec(spec)
    if data is not None and dataset is not None:
        refuse("give --data or --dataset, not both")
    with connect(url) as client:
        if data is not None:
            uploaded = client.upload(data)
            dataset = uploaded["id"]
            typer.echo(f"{dataset}  {uploaded['name']}: {uploaded['rows']} rows")
        job = client.submit(body, dataset or body.get("dataset_id", "latest"))
        typer.echo(f"{job['id']}  {job['status']}")
        if watch:
            follow(client, job["id"])


def show(
    job_id: JobId = "latest",
    watch: Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")] = False,
    url: Url = None,
) -> None:
    """Show a job: its progress, its folds and metrics, or why it failed."""
    from app.cli import display

    with connect(url) as client:
        job = client.job(job_id)
        if watch:
            follow(client, job["id"])
        else:
            display.job(job)


def jobs(
    status: Annotated[str | None, typer.Option(help="Only jobs of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    url: Url = None,
) -> None:
    """List jobs, newest first."""
    from itertools import islice

    from app.cli import display

    with connect(url) as client:
        display.jobs(islice(client.jobs(status), limit))


def cancel(
    job_id: JobId,
    keep_best: Annotated[
        bool, typer.Option("--keep-best", help="Make a model of what it has learnt so far.")
    ] = False,
    url: Url = None,
) -> None:
    """Stop a job that waits or runs."""
    with connect(url) as client:
        job = client.cancel(job_id, keep_best=keep_best)
        going = "" if job["status"] == "cancelled" else ", asked to stop"
        typer.echo(f"{job['id']}  {job['status']}{going}")


def predict(
    rows: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV file with a header.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="CSV file to write. Default: standard output."),
    ] = None,
    model: Model = "champion",
    passthrough: Annotated[
        list[str] | None, typer.Option(help="Column to copy in front; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Header of the prediction column.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(help="Column to write, all by default; may be repeated.")
    ] = None,
    url: Url = None,
) -> None:
    """Price the rows of a CSV file."""
    with connect(url) as client:
        ignored = client.predict_csv(
            rows,
            sys.stdout.buffer if output is None else output,
            model,
            passthrough=passthrough or (),
            name=name,
            columns=columns or (),
        )
    if ignored:
        typer.echo(f"the model does not take {', '.join(ignored)}", err=True)


def export(
    model: Annotated[str, typer.Argument(help="A model's id, or an alias.")] = "champion",
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to write. Default: the model's id, here.", show_default=False),
    ] = None,
    url: Url = None,
) -> None:
    """Save a model as a folder that prices rows anywhere, with numpy and onnxruntime alone."""
    with connect(url) as client:
        model_id = client.model(model)["id"]
        folder = to or Path(model_id)
        client.export(model_id, folder)
    typer.echo(f"{folder}: {model_id}; `python {folder / 'predict.py'} rows.csv` prices rows")


def read_spec(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
        spec, twice = json.loads(text), repeated(text)
    except ValueError as error:
        refuse(f"{path} is not JSON: {error}")
    if twice is not None:
        refuse(f"{path} has {twice} twice: keep one of the two")
    if not isinstance(spec, dict):
        refuse(f'{path} must hold a JSON object, such as {{"target": "SalePrice"}}')
    return spec


def follow(client: Foldhouse, job_id: str) -> None:
    """Draw a job's progress until it has finished, then what came of it."""
    from app.cli import display

    try:
        job = display.watch(client.watch(job_id))
    except KeyboardInterrupt:
        typer.echo(
            f"The job goes on. `foldhouse show {job_id} --watch` follows it again, "
            f"`foldhouse cancel {job_id}` stops it.",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    display.job(job)
    if job["status"] != "succeeded":
        raise typer.Exit(FAILED)
