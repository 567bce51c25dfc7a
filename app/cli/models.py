"""`models`, `promote`, `predict` and `export`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from app.cli.connection import AsJson, Url, connect, print_json
from app.cli.jobs import CsvFile
from app.cli.terminal import csv_file, tell

ModelId = Annotated[str, typer.Argument(help="A model's id, or an alias.")]


def models(
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List models with their metrics and aliases, newest first."""
    from app.cli import display

    with connect(url) as client:
        listed = list(islice(client.models(), limit))
        if as_json:
            print_json(listed)
        else:
            display.models(listed)


def promote(
    model: ModelId,
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "champion",
    if_better_than: Annotated[
        str | None,
        typer.Option(
            help="A model or an alias: move only if MODEL's error is significantly lower."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Move the alias even if the comparison or the target is against it."
        ),
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Point an alias at a model."""
    with connect(url) as client:
        moved = client.promote(model, alias, if_better_than=if_better_than, force=force)
        if as_json:
            print_json(moved)
        else:
            tell(f"{moved['alias']}  {moved['model_id']}")


def predict(
    rows: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV file with a header.")
    ],
    output: CsvFile = None,
    model: Annotated[str, typer.Option(help="A model's id, or an alias.")] = "champion",
    passthrough: Annotated[
        list[str] | None, typer.Option(help="Column of ROWS to copy to the front; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Header of the prediction column.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(help="Column to write; may be repeated. Default: all.")
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Share of the true values that intervals or sets should contain, 0.5 to 0.99."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Of two classes: predict the positive one from this probability."),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            help="Class whose probability to write, `*` for all; may be repeated. Default: only "
            "that of the predicted one."
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Predict the rows of a CSV file."""
    copied = passthrough or []
    with connect(url) as client:
        facts = client.predict_csv(
            rows,
            csv_file(output),
            model,
            passthrough=copied,
            name=name,
            columns=columns or (),
            coverage=coverage,
            threshold=threshold,
            classes=classes or (),
        )
    expected = [*copied, facts["target"]]
    unused = [column for column in facts["ignored_columns"] if column not in expected]
    if unused:
        tell(f"the model does not use {', '.join(unused)}", err=True)
    if facts["missing_columns"]:
        absent = ", ".join(facts["missing_columns"])
        tell(f"the rows lack {absent}: imputed as in training", err=True)


def export(
    model: ModelId = "champion",
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to write. Default: ./MODEL_ID.", show_default=False),
    ] = None,
    url: Url = None,
) -> None:
    """Save a model as a folder that predicts anywhere, with numpy and onnxruntime."""
    with connect(url) as client:
        model_id = client.model(model)["id"]
        folder = to or Path(model_id)
        client.export(model_id, folder)
    tell(f"{folder}: {model_id}; `python {folder / 'predict.py'} rows.csv` predicts rows")
