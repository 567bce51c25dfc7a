"""`submit`, `jobs`, `show`, `watch`, `cancel`, `metrics`, `oof`, `report` and `notebook`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from app.cli.connection import AsJson, Url, connect, print_json
from app.cli.following import finished, follow, found, show_run
from app.cli.specs import Spec, read_spec
from app.cli.tables import Data, DatasetId, chosen_dataset
from app.cli.terminal import csv_file, tell

JobId = Annotated[str, typer.Argument(help="A job's id, or `latest`.")]
RunId = Annotated[str, typer.Argument(help="A job's id, a sweep's id, or `latest`: a job.")]
CsvFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="CSV file to write. Default: standard output."),
]


def submit(
    spec: Spec,
    data: Data = None,
    dataset: DatasetId = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Train: upload a table, submit a job and, with --watch, follow it to its end."""
    from app.cli import display

    body = read_spec(spec)
    with connect(url) as client:
        table = chosen_dataset(client, data, dataset or body.get("dataset_id"))
        job = client.submit(body, table["id"])
        if as_json:
            print_json(finished(client, job["id"]) if watch else job)
            return
        display.submitted(table, job)
        if watch:
            follow(client, job["id"])


def show(
    job_id: RunId = "latest",
    next_spec: Annotated[
        bool,
        typer.Option(
            "--next-spec",
            help="Print the spec that follows the first advice of the diagnosis, for `submit`.",
        ),
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show a job: its progress, its folds and metrics, or why it failed. Or show a sweep."""
    with connect(url) as client:
        run = found(client, job_id)
        if next_spec:
            findings = (run.get("result") or {}).get("diagnosis", ())
            advised = [found["next_spec"] for found in findings if found.get("next_spec")]
            if not advised:
                raise typer.BadParameter("the diagnosis advises no other spec", param_hint="JOB_ID")
            print_json(advised[0])
        elif as_json:
            print_json(run)
        else:
            show_run(run)


def watch(job_id: RunId = "latest", as_json: AsJson = False, url: Url = None) -> None:
    """Follow a job or a sweep to its end: its progress, and then its result."""
    with connect(url) as client:
        own_id = found(client, job_id)["id"]
        if as_json:
            print_json(finished(client, own_id))
        else:
            follow(client, own_id)


def jobs(
    status: Annotated[str | None, typer.Option(help="Only jobs of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = 20,
    sort: Annotated[
        str | None,
        typer.Option(
            help="Sort by a metric, such as rmsle or log_loss, and show the fields in which specs "
            "differ."
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List jobs, newest first."""
    from app.cli import leaderboard

    with connect(url) as client:
        listed = list(islice(client.jobs(status), limit))
    if sort is not None:
        listed = leaderboard.best_first(listed, sort)
    if as_json:
        print_json(listed)
    else:
        leaderboard.show(listed, sort)


def cancel(
    job_id: RunId,
    keep_best: Annotated[
        bool, typer.Option("--keep-best", help="Keep a model of the best so far.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Stop a queued or running job or sweep."""
    from foldhouse_client.ids import is_sweep

    with connect(url) as client:
        stop = client.cancel_sweep if is_sweep(job_id) else client.cancel
        job = stop(job_id, keep_best=keep_best)
        if as_json:
            print_json(job)
            return
        going = "" if job["status"] == "cancelled" else ", asked to stop"
        tell(f"{job['id']}  {job['status']}{going}")


def metrics(
    job_id: JobId = "latest", output: CsvFile = None, as_json: AsJson = False, url: Url = None
) -> None:
    """Write the losses and gradients of each fold and epoch, as CSV."""
    with connect(url) as client:
        if as_json:
            print_json(client.metrics(job_id))
        else:
            client.metrics_csv(csv_file(output), job_id)


def oof(
    job_id: JobId = "latest", output: CsvFile = None, as_json: AsJson = False, url: Url = None
) -> None:
    """Write the out-of-fold predictions, as CSV."""
    with connect(url) as client:
        if as_json:
            print_json(client.out_of_fold(job_id))
        else:
            client.out_of_fold_csv(csv_file(output), job_id)


def report(
    job_id: JobId = "latest",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="HTML file to write. Default: ./JOB_ID.html.", show_default=False
        ),
    ] = None,
    show_it: Annotated[bool, typer.Option("--open", help="Show it in a browser.")] = False,
    url: Url = None,
) -> None:
    """Save a job's report: one HTML page to read, to print or to send."""
    with connect(url) as client:
        found = client.job(job_id)["id"]
        page = output or Path(f"{found}.html")
        client.report(page, found)
    tell(str(page))
    if show_it:
        typer.launch(str(page.resolve()))


def notebook(
    job_id: JobId = "latest",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write. Default: ./JOB_ID.ipynb.", show_default=False
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Save a Jupyter notebook that trains a job's model again as a plain PyTorch loop."""
    with connect(url) as client:
        found = client.job(job_id)["id"]
        target = output or Path(f"{found}.ipynb")
        client.notebook(target, found)
    tell(str(target))
