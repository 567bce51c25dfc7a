"""Predict the rows of a CSV file: python predict.py rows.csv > predictions.csv

Needs Python 3.11, numpy and onnxruntime, and the files beside it: the model and the CSV reader. Odd
rows are reported on standard error.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from models.objectives.regression.standalone import answer
from models.tables.faults import TableError
from models.tables.header import HEAD_BYTES, read_header

COVERAGE = 0.9  # share of truths inside the intervals, from 0.5 to 0.99
SEPARATOR = None  # for example ";" if more than one fits; " " for runs of blanks
MISSING = {"", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A", "<NA>", "NaT"}
MISSING_AMONG_NUMBERS = MISSING | {"None", "none", "?", "-", "."}
MONTH = r"(?:19|20)[0-9]{2}-[0-9]{2}"
CLOCK = r"[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
OFFSET = r"Z|[+-][0-9]{2}(?::?[0-9]{2})?"
DATE = rf"([0-9]{{4}})([-/])([0-9]{{1,2}})\2([0-9]{{1,2}})(?:[T ]({CLOCK})(?: ?({OFFSET}))?)?"
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()


def number(text: str) -> float:
    """NaN if the cell is missing or not a finite number."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and "_" not in text else math.nan


def seconds(text: str) -> float:
    """A date as seconds since 1970, in UTC unless it names an offset; NaN if it is not a date."""
    found = re.fullmatch(DATE, text + "-01" if re.fullmatch(MONTH, text) else text)
    if found is None:
        return math.nan
    year, _, month, day, clock, offset = found.groups()
    try:
        iso = f"{year}-{month:0>2}-{day:0>2}T{clock or '00'}{offset or 'Z'}"
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:  # the 30th of February
        return math.nan


def tidy(text: str) -> str:
    """The text with one kind of blank, dash and apostrophe."""
    text = unicodedata.normalize("NFKC", re.sub(r"([0-9])([¹²³⁰-⁹])", r"\1^\2", text))
    text = re.sub("[\u00ad\u200b-\u200f\u2060\ufeff]", "", text)
    return re.sub(" +", " ", re.sub("[’‘]", "'", re.sub("[−‐–]", "-", text)))


def optional(texts: Iterable[str], before: str = "", behind: str = "") -> str:
    any_of = "|".join(map(re.escape, texts))
    return f"(?:{before}({any_of}){behind})?" if any_of else "()"


def spelt_number(text: str, reading: dict[str, Any]) -> float:
    """$1,200.50, 85 m² or (3.5k), in the spelling of the column's cells in training."""
    text = re.sub(r"^([^0-9(]*)\((.*)\)$", r"-\1\2", tidy(text))
    text = re.sub(r"^([^+-]*[0-9])-$", r"-\1", text)
    text = re.sub(r"^([^0-9+-]*?) ?([+-]) ?", r"\2\1", text)
    point, mark = re.escape(reading["decimal"]), re.escape(reading["grouping"])
    digits = f"[0-9]+(?:{point}[0-9]+)?|{point}[0-9]+"
    if mark:
        more = "{2,3}" if mark == "," else "{3}"
        groups = f"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{more})*{mark}[0-9]{{3}}"
        rest = "[0-9]+" if reading["grouping"] in ".," else "(?:[0-9]{1,2}|[0-9]{4,})"
        digits = f"{groups}(?:{point}[0-9]+)?|[0-9]+(?:{point}{rest})?|{point}[0-9]+"
    found = re.fullmatch(
        rf"([+-]?){optional(reading['before'])} ?({digits})(?:[.,:]-+)?"
        rf"{optional(reading['powers'], ' ?', '[.]?')}{optional(reading['after'], ' ?')}",
        text,
    )
    if found is None:
        return math.nan
    body = found[3].replace(reading["grouping"], "").replace(reading["decimal"], ".")
    return number(f"{found[1]}{body}e{reading['powers'].get(found[4], 0)}")


def spelt_date(text: str, reading: dict[str, Any]) -> float:
    """31-Jul-2010 or 7/31/2010 6:30 PM, in the spelling of the column's cells in training."""
    found = re.fullmatch(reading["pattern"].removesuffix("$"), tidy(text))
    if found is None or not math.isnan(seconds(text)):
        return seconds(text)
    part = {name: (value or "").lower() for name, value in found.groupdict().items()}
    name = part["month"][:3]
    month = f"{MONTHS.index(name) + 1}" if name in MONTHS else name
    hour = int(part["hour"] or 0)
    if part["half"]:
        if not 1 <= hour <= 12:
            return math.nan
        hour = hour % 12 + 12 * (part["half"] == "pm")
    clock = f"{hour:02}:{part['minute'] or '00'}:{part['second'] or '00'}"
    date = f"{part['year']}-{month}-{part['day']}"
    return seconds(f"{date}T{clock}{part['offset'].upper()}")


def value_of(text: str, feature: dict[str, Any]) -> float:
    """The number or the moment in a cell; NaN if it is missing or neither."""
    reading = feature.get("reading")
    if text in MISSING_AMONG_NUMBERS:
        return math.nan
    if is_flag(feature) and text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    if reading is not None:
        return (spelt_date if reading["kind"] == "datetime" else spelt_number)(text, reading)
    return seconds(text) if feature["kind"] == "datetime" else number(text)


def is_flag(feature: dict[str, Any]) -> bool:
    """Whether training saw only 0 and 1, so that true and false mean the same."""
    if feature["kind"] == "categorical":
        return feature["numbers"] and {*feature["levels"]} <= {"0", "1", None}
    ends = (feature["low"], feature["high"]) == (0, 1)
    return ends and feature["kind"] == "numeric" and {*feature.get("edges", [])} <= {0, 1}


def level(text: str, feature: dict[str, Any]) -> str:
    """The level that a cell names, "" if it is missing. For numbers taken as words, 60.0 is 60."""
    numbers = feature["numbers"]
    if text in (MISSING_AMONG_NUMBERS if numbers else MISSING):
        return ""
    if numbers and text.lstrip("+-").lower() == "nan":
        return ""
    value = value_of(text, feature) if numbers else math.nan
    if not math.isnan(value):
        text = str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    levels = [known for known in feature["levels"] if known is not None]
    if text in levels:
        return text
    booleans = {known.lower() for known in levels} <= {"true", "false"}
    spelling = str.lower if booleans else plainest
    return next((known for known in levels if spelling(known) == spelling(text)), text)


def plainest(text: str) -> str:
    """The shortest form of a number: 1.0 is 1, and 1.50 is 1.5."""
    found = re.fullmatch(r"([+-]?[0-9]+)(?:\.0*|(\.[0-9]*[1-9])0*)", text)
    return text if found is None else found[1] + (found[2] or "")


def read(path: str) -> tuple[dict[str, list[str]], int]:
    """The cells of each column, and how many rows there are."""
    data = Path(path).read_bytes()
    length = HEAD_BYTES + data[:HEAD_BYTES].endswith(b"\r")
    header = read_header(data[:length], sys.maxsize, SEPARATOR)
    below = header.rest + data[length:].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = (header.rows.feed(below) + header.rows.close()).decode()
    if "\0" in text:
        sys.exit(f"{path} contains NUL bytes")
    for fault in [*header.notes, *header.rows.notes]:
        note(fault.detail)
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=header.rows.dialect.delimiter, strict=True
    )
    rows = [line for line in lines if line]
    if not rows:
        sys.exit(f"{path} needs a header and at least one row below it")
    names = header.names
    for place, row in enumerate(rows, start=1):
        if len(row) != len(names):
            count = "1 cell" if len(row) == 1 else f"{len(row)} cells"
            sys.exit(f"row {place} has {count} where the header has {len(names)}.{header.hint}")
    columns = zip(*rows, strict=True)
    cells = [[cell.strip() for cell in column] for column in columns]
    return dict(zip(names, cells, strict=True)), len(rows)


def rows_of(
    inputs: dict[str, np.ndarray], manifest: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """numbers (N, D), and the codes (N, C) of levels: an unknown one has the number of levels."""
    names, numeric, categorical = (manifest[key] for key in ("inputs", "numeric", "categorical"))
    count = len(next(iter(inputs.values())))
    numbers = [inputs[names[feature["name"]]] for feature in numeric]
    codes = []
    for feature in categorical:
        known = {level or "": code for code, level in enumerate(feature["levels"])}
        words = inputs[names[feature["name"]]][:, 0]
        codes.append([known.get(word, len(known)) for word in words])
    return (
        np.concatenate(numbers, axis=1) if numbers else np.empty((count, 0)),
        np.array(codes, np.int64).reshape(len(codes), count).T,
    )


def note(text: str) -> None:
    sys.stderr.write(text + "\n")


def main(path: str) -> None:
    folder = Path(__file__).parent
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))

    csv.field_size_limit(sys.maxsize)
    try:
        cells, rows = read(path)
    except (OSError, UnicodeDecodeError, csv.Error, TableError) as error:
        sys.exit(f"{path} cannot be read: {error}")
    if manifest["inputs"].keys().isdisjoint(cells):
        sys.exit(f"none of the columns is the model's, such as {next(iter(manifest['inputs']))}")
    for name in cells:
        if name not in manifest["inputs"] and name != manifest["target"]:
            note(f"the model does not use '{name}'")
    for name in manifest["inputs"]:
        if name not in cells:
            note(f"the column '{name}' is missing: imputed as in training")
    missing = [""] * rows  # for columns that are absent

    inputs: dict[str, np.ndarray] = {}
    for feature in manifest["numeric"]:
        what = "dates" if feature["kind"] == "datetime" else "finite numbers"
        column = cells.get(feature["name"], missing)
        values = [value_of(cell, feature) for cell in column]
        bad = sum(
            math.isnan(value) and cell not in MISSING_AMONG_NUMBERS
            for cell, value in zip(column, values, strict=True)
        )
        if bad:
            note(f"'{feature['name']}' has {bad} cells that are not {what}: imputed as if missing")
        inputs[manifest["inputs"][feature["name"]]] = np.array(values, np.float64)[:, None]
    for feature in manifest["categorical"]:
        column = cells.get(feature["name"], missing)
        found = {cell: level(cell, feature) for cell in set(column)}
        words = [found[cell] for cell in column]
        known = {"", *(word for word in feature["levels"] if word is not None)}
        unseen = sum(word not in known for word in words)
        if unseen:
            note(f"'{feature['name']}' has {unseen} cells with levels that training did not have")
        inputs[manifest["inputs"][feature["name"]]] = np.array(words, object)[:, None]

    names = [output.name for output in session.get_outputs()]
    outputs: dict[str, Any] = dict(zip(names, session.run(names, inputs), strict=True))
    columns, notes = answer(outputs, *rows_of(inputs, manifest), manifest, COVERAGE)
    for text in notes:
        note(text)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow(
            ["" if isinstance(cell, float) and math.isnan(cell) else cell for cell in row]
        )


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(sys.argv[1])
