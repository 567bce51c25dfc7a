"""`sweep`, `sweeps` and `trials`: try many specs, and read which did best."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.connection import AsJson, Url, connect, print_json
from app.cli.following import finished, follow
from app.cli.specs import read_spec
from app.cli.tables import Data, DatasetId, chosen_dataset
from app.cli.terminal import refuse, tell

# The fields of a sweep whose values are objects, as those of a search space are too.
OBJECTS = ("spec", "search_space", "halving")


def sweep(
    space: Annotated[
        Path | None,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="JSON file: a search space, or a whole sweep with its `search_space`, `spec`, "
            "`n_trials` and so on. Default: a space that suits the table.",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    dataset: DatasetId = None,
    target: Annotated[
        str | None, typer.Option(help="The column to predict. Default: the file's `target`.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the sweep.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the sweep to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Train many specs on the same folds, and keep the best."""
    from app.cli import display

    body = {} if space is None else whole(read_spec(space))
    body |= {key: text for key, text in (("target", target), ("name", name)) if text is not None}
    if "target" not in body:
        refuse("name the column to predict with --target")
    with connect(url) as client:
        table = chosen_dataset(client, data, dataset or body.get("dataset_id"))
        started = client.submit_sweep(body, table["id"])
        if as_json:
            print_json(finished(client, started["id"]) if watch else started)
            return
        display.submitted(table, started)
        if watch:
            follow(client, started["id"])


def sweeps(
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List sweeps, newest first."""
    from app.cli import display_sweeps

    with connect(url) as client:
        listed = list(islice(client.sweeps(), limit))
    if as_json:
        print_json(listed)
    else:
        display_sweeps.sweeps(listed)


def trials(
    sweep_id: Annotated[str, typer.Argument(help="A sweep's id, or `latest`.")] = "latest",
    csv: Annotated[
        Path | None, typer.Option("--csv", help="CSV file to write instead.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the trials of a sweep, the best first."""
    from app.cli import display_sweeps

    with connect(url) as client:
        if csv is not None:
            client.trials_csv(csv, sweep_id)
            tell(str(csv))
            return
        listed = client.trials(sweep_id)
        if as_json:
            print_json(listed)
        else:
            display_sweeps.trials(listed, client.sweep(sweep_id)["metric"])


def whole(document: dict[str, Any]) -> dict[str, Any]:
    """The sweep of a file, which may be only its search space: an object or a list for each field.

    >>> whole({"dropout": {"low": 0.0, "high": 0.6}})
    {'search_space': {'dropout': {'low': 0.0, 'high': 0.6}}}
    >>> whole({"spec": {"k_folds": 3}})
    {'spec': {'k_folds': 3}}
    """
    is_space = (
        document
        and not any(name in document for name in OBJECTS)
        and all(isinstance(value, dict | list) for value in document.values())
    )
    return {"search_space": document} if is_space else document
