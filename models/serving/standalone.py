"""Price the rows of a CSV file: python predict.py houses.csv > prices.csv

Needs Python 3.11, numpy and onnxruntime, and the files beside it, which are the model. What is odd
about the rows is told on the standard error.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

COVERAGE = 0.9  # from 0.5 to 0.99
MISSING = {"", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A", "<NA>", "NaT"}
MISSING_AMONG_NUMBERS = MISSING | {"None", "none", "?", "-", "."}
QUOTED = r'(?<![^,;\t|])"(?:[^"]|"")*"'
MONTH = r"(?:19|20)[0-9]{2}-[0-9]{2}"
CLOCK = r"[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
OFFSET = r"Z|[+-][0-9]{2}(?::?[0-9]{2})?"
DATE = rf"([0-9]{{4}})([-/])([0-9]{{1,2}})\2([0-9]{{1,2}})(?:[T ]({CLOCK})(?: ?({OFFSET}))?)?"


def number(text: str) -> float:
    """NaN where the cell is missing or no finite number."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and "_" not in text else math.nan


def seconds(text: str) -> float:
    """A date as seconds since 1970, in UTC where it names no offset; NaN where it is none."""
    found = re.fullmatch(DATE, text + "-01" if re.fullmatch(MONTH, text) else text)
    if found is None:
        return math.nan
    year, _, month, day, clock, offset = found.groups()
    try:
        iso = f"{year}-{month:0>2}-{day:0>2}T{clock or '00'}{offset or 'Z'}"
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:  # the 30th of February
        return math.nan


def level(text: str, numbers: bool) -> str:
    """A word, "" where it is missing. Numbers that are taken as words: 60.0 is 60."""
    if text in (MISSING_AMONG_NUMBERS if numbers else MISSING):
        return ""
    if numbers and text.lstrip("+-").lower() == "nan":
        return ""
    value = number(text) if numbers else math.nan
    if math.isnan(value):
        return text
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def interval(
    value: np.ndarray, members: np.ndarray, manifest: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds between which COVERAGE of the truths lie; NaN where none can be had."""
    calibration = manifest.get("calibration")
    if calibration is None:  # trained by a version without intervals
        return np.full(len(value), math.nan), np.full(len(value), math.nan)
    rank = math.ceil((calibration["rows"] + 1) * COVERAGE - 1e-9)
    scores = zip(calibration["ranks"], calibration["scores"], strict=True)
    bound = next((score for place, score in scores if place >= rank), math.nan)
    units = calibration.get("measured")  # None of a model of an earlier version
    if units is None:
        units = calibration["groups"] or rank
    if units < COVERAGE / (1 - COVERAGE) - 1e-9:
        bound = math.nan  # few groups say little, however many rows they have
    is_log = manifest["target_transform"] == "log"
    scale = np.log(members) if is_log else members
    per_fold = manifest["spec"]["members_per_fold"]
    if manifest["spec"]["folds"]["type"] == "time":  # the last fold's alone are the value
        scale = scale[-per_fold:]
    by_fold = scale.reshape(-1, per_fold, len(value))
    spread = by_fold.std(axis=1).mean(axis=0)
    difficulty = calibration["difficulty"]
    radius = (difficulty["constant"] + difficulty["spread"] * spread) * bound
    if is_log:
        return value * np.exp(-radius), value * np.exp(radius)
    return value - radius, value + radius


def read(path: str) -> tuple[dict[str, list[str]], int]:
    """The cells of each column, and how many rows there are."""
    with open(path, encoding="utf-8-sig") as file:
        header = re.sub(QUOTED, "", next((line for line in file if line.strip()), ""))
        file.seek(0)
        reader = csv.reader(file, delimiter=max(",;\t|", key=header.count), strict=True)
        lines = [row for row in reader if row]
    if len(lines) < 2:
        sys.exit(f"{path} needs a header and at least one row below it")
    names, *rows = lines
    for place, row in enumerate(rows, start=1):
        if len(row) != len(names):
            sys.exit(f"row {place} has {len(row)} cells where the header has {len(names)}")
    columns = zip(*rows, strict=True)
    cells = [[cell.strip() for cell in column] for column in columns]
    return dict(zip(map(str.strip, names), cells, strict=True)), len(rows)


def note(text: str) -> None:
    sys.stderr.write(text + "\n")


def main(path: str) -> None:
    folder = Path(__file__).parent
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))

    try:
        cells, rows = read(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        sys.exit(f"{path} cannot be read: {error}")
    if manifest["inputs"].keys().isdisjoint(cells):
        sys.exit(f"none of the columns is the model's, such as {next(iter(manifest['inputs']))}")
    for name in cells:
        if name not in manifest["inputs"] and name != manifest["target"]:
            note(f"the model does not take '{name}'")
    for name in manifest["inputs"]:
        if name not in cells:
            note(f"there is no '{name}': imputed as in training")
    missing = [""] * rows  # a column that is not there

    inputs: dict[str, np.ndarray] = {}
    for feature in manifest["numeric"]:
        is_date = feature["kind"] == "datetime"
        value_of, what = (seconds, "dates") if is_date else (number, "finite numbers")
        column = cells.get(feature["name"], missing)
        values = [value_of(cell) for cell in column]
        bad = sum(
            math.isnan(value) and cell not in MISSING_AMONG_NUMBERS
            for cell, value in zip(column, values, strict=True)
        )
        if bad:
            note(f"'{feature['name']}' has {bad} cells that are no {what}: imputed as if missing")
        inputs[manifest["inputs"][feature["name"]]] = np.array(values, np.float64)[:, None]
    for feature in manifest["categorical"]:
        words = [level(cell, feature["numbers"]) for cell in cells.get(feature["name"], missing)]
        known = {"", *(word for word in feature["levels"] if word is not None)}
        unseen = sum(word not in known for word in words)
        if unseen:
            note(f"'{feature['name']}' has {unseen} cells of levels that training did not have")
        inputs[manifest["inputs"][feature["name"]]] = np.array(words, object)[:, None]

    value, members = session.run(["value", "members"], inputs)
    low, high = interval(value, members, manifest)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["prediction", "low", "high"])
    for row in zip(value.tolist(), low.tolist(), high.tolist(), strict=True):
        writer.writerow(["" if math.isnan(cell) else cell for cell in row])


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(sys.argv[1])
