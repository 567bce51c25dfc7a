"""`upload`, `validate` and `find`: what a table holds, what a spec would train on it, and which
tables have a value."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connection import AsJson, Url, connect, print_json
from app.cli.specs import Spec, read_spec
from app.cli.terminal import refuse

if TYPE_CHECKING:
    from foldhouse_client import Foldhouse

Data = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="CSV file to upload and use.")
]
DatasetId = Annotated[
    str | None, typer.Option(help="Id of an uploaded dataset. Default: the newest.")
]


def upload(
    table: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV file with a header.")
    ],
    name: Annotated[str | None, typer.Option(help="Default: the file's own name.")] = None,
    separator: Annotated[
        str | None, typer.Option(help="The separator, if more than one fits.")
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="The decimal mark, if 1.234 can be read in two ways.")
    ] = None,
    thousands: Annotated[
        str | None, typer.Option(help="The thousands separator, if 1.234 can be read in two ways.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Upload a table and show what its columns hold."""
    from app.cli import display

    with connect(url) as client:
        dataset = client.upload(
            table, name, separator=separator, decimal=decimal, thousands=thousands
        )
        if as_json:
            print_json(dataset)
        else:
            display.dataset(dataset)


def validate(
    spec: Spec,
    data: Data = None,
    dataset: DatasetId = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show what a spec would train: columns, size, time and warnings. Nothing is created."""
    from app.cli import display

    body = read_spec(spec)
    with connect(url) as client:
        table = chosen_dataset(client, data, dataset or body.get("dataset_id"))
        plan = client.validate(body, table["id"])
        if as_json:
            print_json(plan)
        else:
            display.plan(table, plan)


def find(
    column: Annotated[str, typer.Argument(help="Name of the column.")],
    value: Annotated[
        str | None,
        typer.Option(
            help="The cell. Default: a line of standard input, which no history of a shell keeps."
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Find the datasets that have a value, and what learnt from them."""
    from app.cli import display

    with connect(url) as client:
        found = client.find(column, sys.stdin.readline().strip() if value is None else value)
        if as_json:
            print_json(found)
        else:
            display.traces(found)


def chosen_dataset(client: Foldhouse, data: Path | None, dataset: str | None) -> dict[str, Any]:
    """The table for a spec: uploaded now, or named, or else the newest."""
    if data is None:
        return client.dataset(dataset or "latest")
    if dataset is not None and dataset != "latest":
        refuse("give --data or a dataset's id, not both")
    return client.upload(data)
