"""From a table to predictions in one go: `make demo`.

Starts its own service on a free port, uploads examples/ames.csv without three houses, trains five
folds, prices the three houses that no fold has seen, and stops the service.
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
from typing import Any

from foldhouse_client import Foldhouse, FoldhouseError
from rich.markup import escape
from rich.table import Table

from app.cli import display, live
from app.cli.display import console, say

EXAMPLES = Path(__file__).parent
DATA_DIR = EXAMPLES.parent / "demo-data"
FOLDHOUSE = Path(sys.executable).parent / "foldhouse"
TARGET = "SalePrice"
UNSEEN = ("250", "1250", "2250")  # Ids of the houses that are left out of training
STOP_SECONDS = 15
COVERAGE = 0.9  # of the intervals, by default

Row = dict[str, str]


def main(data_dir: Path) -> int:
    data_dir.mkdir(parents=True, exist_ok=True)
    training_csv = data_dir / "ames-less-three.csv"
    unseen = split(EXAMPLES / "ames.csv", training_csv)
    spec = json.loads((EXAMPLES / "specs" / "baseline.json").read_text())
    try:
        with service(data_dir) as url, Foldhouse(url) as client:
            run(client, training_csv, unseen, spec)
    except FoldhouseError as error:
        say(f"[red]{escape(str(error))}[/]")
        return 1
    say(
        "\nThe service has stopped. Start it on the same data with\n"
        f"  {FOLDHOUSE} serve --data-dir {data_dir}\n"
        "and open http://127.0.0.1:8000, where you see the job and price houses.\n"
        "The same steps are in examples/quickstart.sh (curl) and examples/quickstart.py (Python)."
    )
    return 0


def run(client: Foldhouse, training_csv: Path, unseen: list[Row], spec: display.Json) -> None:
    dataset = client.upload(training_csv)
    say(
        f"Uploaded {dataset['name']}: {dataset['rows']:,} houses, "
        f"{len(dataset['columns'])} columns. Three houses of ames.csv are left out for the end."
    )
    job = client.submit(spec, dataset["id"])
    job = live.follow(client, job["id"])
    display.job(job)
    if job["status"] != "succeeded":
        raise SystemExit(1)
    model_id = job["result"]["model_id"]
    predictions = client.predict([without_target(row) for row in unseen], model_id)
    say("\nThree houses that no fold has seen:")
    console.print(prices(unseen, predictions))
    (measured,) = [row for row in job["result"]["intervals"] if row["coverage"] == COVERAGE]
    say(
        f"Of {measured['rows']:,} houses, each priced by the fold that had not seen it, "
        f"{measured['measured']:.1%} sold for a price inside their interval."
    )


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


def prices(houses: list[Row], predictions: list[dict[str, Any]]) -> Table:
    table = Table("house", "neighborhood", "built", box=None, pad_edge=False)
    for header in ("priced at", f"{COVERAGE:.0%} interval", "sold for", "error"):
        table.add_column(header, justify="right")
    for house, prediction in zip(houses, predictions, strict=True):
        value, interval = prediction["value"], prediction["interval"]
        sold = float(house[TARGET])
        table.add_row(
            house["Id"],
            house["Neighborhood"],
            house["YearBuilt"],
            f"${value:,.0f}",
            f"${interval['low']:,.0f} – ${interval['high']:,.0f}",
            f"${sold:,.0f}",
            f"{value / sold - 1:+.1%}",
        )
    return table


@contextmanager
def service(data_dir: Path) -> Iterator[str]:
    """Start a service on a free port, yield its address, and stop it at the end."""
    log = data_dir / "service.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [FOLDHOUSE, "serve", "--port", "0", "--data-dir", data_dir],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # So that Ctrl-C reaches only this process, which then stops the service.
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        # It prints one line when it is ready, and nothing if it cannot start.
        ready = re.search(r"http://[\w.:]+", process.stdout.readline())
        if ready is None:
            raise SystemExit(log.read_text())
        yield ready.group()
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA_DIR))
