"""The whole way of a table, in one go: `make demo`.

Starts a service of its own on a free port, uploads examples/ames.csv less three houses, trains
five folds, prices the three houses that no fold has seen, and stops the service.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

from app.cli import display
from app.cli.display import console
from app.client import Foldhouse, FoldhouseError

EXAMPLES = Path(__file__).parent
ROOT = EXAMPLES.parent
DATA_DIR = ROOT / "demo-data"
TARGET = "SalePrice"
UNSEEN = ("250", "1250", "2250")  # Ids of the houses that are kept from the training
FOLDHOUSE = Path(sys.executable).parent / "foldhouse"
STOP_SECONDS = 15

Row = dict[str, str]


def main() -> int:
    DATA_DIR.mkdir(exist_ok=True)
    training_csv = DATA_DIR / "ames-less-three.csv"
    unseen = split(EXAMPLES / "ames.csv", training_csv)
    spec = json.loads((EXAMPLES / "specs" / "baseline.json").read_text())
    try:
        with service() as url, Foldhouse(url) as client:
            run(client, training_csv, unseen, spec)
    except FoldhouseError as error:
        console.print(f"[red]{error}[/]")
        return 1
    console.print("\nThe service has stopped. Start it on the same data with")
    console.print(f"  {FOLDHOUSE} serve --data-dir {DATA_DIR}", soft_wrap=True)
    console.print(
        "and look at http://127.0.0.1:8000/docs: every request there has an example to click.\n"
        "The same flow with curl is in examples/quickstart.sh, with Python in "
        "examples/quickstart.py."
    )
    return 0


def run(client: Foldhouse, training_csv: Path, unseen: list[Row], spec: display.Json) -> None:
    dataset = client.upload(training_csv)
    console.print(
        f"Uploaded {dataset['name']}: {dataset['rows']:,} houses, "
        f"{len(dataset['columns'])} columns (three houses of ames.csv are kept for the end)"
    )
    job = client.submit(spec, dataset["id"])
    job = display.watch(client.watch(job["id"]))
    display.job(job)
    if job["status"] != "succeeded":
        raise SystemExit(1)
    model_id = job["result"]["model_id"]
    predictions = client.predict([without_target(row) for row in unseen], model_id)
    console.print("\nThree houses that no fold has seen:")
    console.print(prices(unseen, [prediction["value"] for prediction in predictions]))


def split(source: Path, training_csv: Path) -> list[Row]:
    """Write all but the unseen houses to `training_csv`; return the unseen ones."""
    with source.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames is not None
    with training_csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(row for row in rows if row["Id"] not in UNSEEN)
    return [row for row in rows if row["Id"] in UNSEEN]


def without_target(row: Row) -> Row:
    return {column: cell for column, cell in row.items() if column != TARGET}


def prices(houses: list[Row], values: list[float]) -> Table:
    table = Table("house", "neighborhood", "built", box=None, pad_edge=False)
    for header in ("living area", "priced at", "sold for", "error"):
        table.add_column(header, justify="right")
    for house, value in zip(houses, values, strict=True):
        sold = float(house[TARGET])
        table.add_row(
            house["Id"],
            house["Neighborhood"],
            house["YearBuilt"],
            f"{house['GrLivArea']} ft²",
            f"${value:,.0f}",
            f"${sold:,.0f}",
            f"{value / sold - 1:+.1%}",
        )
    return table


@contextmanager
def service() -> Iterator[str]:
    """A service on a free port; gives its address, and stops it at the end."""
    process = subprocess.Popen(
        [FOLDHOUSE, "serve", "--port", "0", "--data-dir", DATA_DIR],
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C in a terminal reaches this process alone, which then stops the service.
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        # The one line that it prints, when it is ready; the end of the output if it cannot start.
        ready = re.search(r"http://[\w.:]+", process.stdout.readline())
        if ready is None:
            raise SystemExit(process.wait())
        yield ready.group()
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
