"""Rows as users send them to numbers and level codes, and what is odd about each row.

JSON rows are looked up in dictionaries, tables are encoded a column at a time; both read a cell by
the same rules, so that a row has the same price by either road.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.data.cells import (
    MISSING,
    MISSING_AMONG_NUMBERS,
    epoch_seconds,
    is_missing,
    parse_dates,
    parse_numbers,
)
from models.data.design import Codes, Numbers, as_levels, encode, level_of
from models.data.faults import TableFault, quoted
from models.serving.manifest import CategoricalFeature, Manifest, NumericFeature

WarningCode = Literal[
    "unknown_category",
    "not_a_number",
    "missing_value",
    "missing_column",
    "out_of_range",
    "outlier",
    "no_interval",
]
REFUSED: tuple[WarningCode, ...] = ("unknown_category", "not_a_number", "missing_value")

SHARED = 4096  # columns whose warnings are kept: a row without any cells has one for each

_ABSENT = object()

Feature = TypeVar("Feature", NumericFeature, CategoricalFeature)


@dataclass(frozen=True, slots=True)
class RowWarning:
    """Something odd about one cell, about a column that is not there, or about the whole row."""

    code: WarningCode
    column: str | None
    detail: str


@dataclass(frozen=True)
class EncodedRows:
    """numbers (N, D) float64, codes (N, C) int64, and N lists of warnings."""

    numbers: Numbers
    codes: Codes
    warnings: list[list[RowWarning]]

    def faults(self) -> list[TableFault]:
        """The warnings that `on_unknown=error` refuses; rows count from 1."""
        return [
            TableFault(warning.detail, row, warning.column)
            for row, warnings in enumerate(self.warnings, start=1)
            for warning in warnings
            if warning.code in REFUSED
        ]


class RowEncoder:
    """Reads rows for one model."""

    def __init__(self, manifest: Manifest) -> None:
        self._numeric = manifest.numeric
        self._categorical = [
            (feature, {level: code for code, level in enumerate(feature.levels)})
            for feature in manifest.categorical
        ]
        self._ranges = [(feature.name, *_range(feature), feature) for feature in manifest.numeric]
        self.columns = manifest.columns
        self.has_costly_text = any(
            feature.kind == "datetime" for feature in manifest.numeric
        ) or any(feature.numbers for feature in manifest.categorical)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> EncodedRows:
        """Encode JSON objects: a cell is a number, a text, a boolean or null.

        Most cells are a number within its column's range or a known level, which is seen here: a
        call for each cell would take as long as the rest of a price.
        """
        warnings: list[list[RowWarning]] = [[] for _ in rows]
        numbers = [
            [
                cell
                if type(cell := row.get(name, _ABSENT)) in (int, float) and low <= cell <= high
                else _number(feature, cell, odd)
                for name, low, high, feature in self._ranges
            ]
            for row, odd in zip(rows, warnings, strict=True)
        ]
        codes = [
            [
                known[cell]
                if type(cell := row.get(feature.name, _ABSENT)) is str and cell in known
                else _code(feature, known, cell, odd)
                for feature, known in self._categorical
            ]
            for row, odd in zip(rows, warnings, strict=True)
        ]
        return EncodedRows(
            np.array(numbers, np.float64).reshape(len(rows), len(self._numeric)),
            np.array(codes, np.int64).reshape(len(rows), len(self._categorical)),
            warnings,
        )

    def table(self, cells: pa.Table | pa.RecordBatch) -> EncodedRows:
        """Encode a table of trimmed texts."""
        numbers = np.empty((len(cells), len(self._numeric)))
        codes = np.empty((len(cells), len(self._categorical)), np.int64)
        warnings: list[list[RowWarning]] = [[] for _ in range(len(cells))]
        present = set(cells.column_names)
        for column, feature in enumerate(self._numeric):
            if feature.name in present:
                numbers[:, column] = _column(feature, _numbers, cells[feature.name], warnings)
            else:
                numbers[:, column] = np.nan
                _warn_all(warnings, _missing_column(feature.name))
        for column, (feature_, _) in enumerate(self._categorical):
            if feature_.name in present:
                codes[:, column] = _column(feature_, _codes, cells[feature_.name], warnings)
            else:
                codes[:, column] = _missing_code(feature_)
                _warn_all(warnings, _missing_column(feature_.name))
        return EncodedRows(numbers, codes, warnings)


def _number(feature: NumericFeature, cell: object, odd: list[RowWarning]) -> float:
    if cell is _ABSENT:
        odd.append(_missing_column(feature.name))
    elif _is_nothing(cell):
        odd.append(_missing_value(feature.name))
    elif (
        isinstance(cell, (int, float)) and not isinstance(cell, bool) and feature.kind == "numeric"
    ):
        value = _float(cell)
        if math.isfinite(value):
            if _outside(feature, value):
                odd.append(_out_of_range(feature, value))
            return value
        odd.append(_not_a_number(feature, quoted(str(cell))))
    elif isinstance(cell, str):
        return _number_in_text(feature, cell.strip(), odd)
    else:
        text = str(cell)
        odd.append(_not_a_number(feature, quoted(text.lower() if isinstance(cell, bool) else text)))
    return math.nan


def _is_nothing(cell: object) -> bool:
    """null, or the NaN that some clients write for it."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf


def _number_in_text(feature: NumericFeature, text: str, odd: list[RowWarning]) -> float:
    """A number or a date that came as text, read as a table's cell is."""
    if feature.kind == "numeric":
        try:
            value = math.nan if text in MISSING_AMONG_NUMBERS else float(text)
        except ValueError:
            value = math.inf
        if math.isnan(value):
            odd.append(_missing_value(feature.name))
        elif math.isfinite(value) and "_" not in text:
            return _number(feature, value, odd)
        else:
            odd.append(_not_a_number(feature, quoted(text)))
        return math.nan
    values, told = _numbers(feature, pa.array([text], pa.string()))
    odd.extend(told.values())
    return float(values[0])


def _code(
    feature: CategoricalFeature,
    known: Mapping[str | None, int],
    cell: object,
    odd: list[RowWarning],
) -> int:
    if cell is _ABSENT:
        odd.append(_missing_column(feature.name))
        return _missing_code(feature)
    level = _level(feature, known, cell)
    code = known.get(level)
    if code is not None:
        return code
    if level is None:
        odd.append(_missing_value(feature.name))
    else:
        odd.append(_unknown_category(feature, level))
    return len(feature.levels)


def _level(
    feature: CategoricalFeature, known: Mapping[str | None, int], cell: object
) -> str | None:
    """The level that a JSON value names; None is missing."""
    if _is_nothing(cell):
        return None
    if isinstance(cell, bool):
        spellings = (str(cell), str(cell).lower(), str(cell).upper())
        return next((text for text in spellings if text in known), spellings[1])
    if isinstance(cell, (int, float)):
        number = _float(cell)
        # Among words a whole number is a word, with all of its digits.
        if isinstance(cell, int) and (not feature.numbers or math.isinf(number)):
            return str(cell)
        # A CSV's 2.0 may have been a word.
        return repr(number) if repr(number) in known else level_of(number)
    text = str(cell).strip()
    if not feature.numbers:
        return None if text in MISSING else text
    values, bad = parse_numbers(pa.chunked_array([pa.array([text], pa.string())]))
    if bad[0]:
        return text
    return None if np.isnan(values[0]) else level_of(float(values[0]))


def _column(
    feature: Feature,
    read: Callable[[Feature, pa.Array], tuple[np.ndarray, dict[int, RowWarning]]],
    cells: pa.Array | pa.ChunkedArray,
    warnings: list[list[RowWarning]],
) -> np.ndarray:
    """A column's numbers or codes (N,). Cells that are equal are read once: most columns have few
    different ones, and to tell them apart takes a fifth of the time of reading them all."""
    joined = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    distinct = joined.dictionary_encode()
    values, odd = read(feature, distinct.dictionary)
    places: NDArray[np.int32] = distinct.indices.to_numpy()
    if odd:
        rows = np.flatnonzero(np.isin(places, list(odd)))
        for row, place in zip(rows.tolist(), places[rows].tolist(), strict=True):
            warnings[row].append(odd[place])
    column: np.ndarray = values[places]
    return column


def _numbers(
    feature: NumericFeature, texts: pa.Array
) -> tuple[NDArray[np.float64], dict[int, RowWarning]]:
    """The number in each text, and what is odd about it, by its place."""
    if feature.kind == "datetime":
        moments, bad = parse_dates(texts)
        values = epoch_seconds(moments)
    else:
        values, bad = parse_numbers(texts)
    odd = {
        place: _not_a_number(feature, quoted(text)) if bad[place] else _missing_value(feature.name)
        for place, text in _chosen(texts, np.isnan(values))
    }
    if feature.low is not None and feature.high is not None:
        for place in np.flatnonzero((values < feature.low) | (values > feature.high)).tolist():
            odd[place] = _out_of_range(feature, float(values[place]))
    return values, odd


def _codes(
    feature: CategoricalFeature, texts: pa.Array
) -> tuple[NDArray[np.int64], dict[int, RowWarning]]:
    """The code of each text's level, and what is odd about it, by its place."""
    if feature.numbers:
        values, bad = parse_numbers(texts)
        missing = np.isnan(values) & ~bad
        numbers = as_levels(pa.chunked_array([pa.array(values, from_pandas=True)]))
        texts = pc.if_else(pa.array(bad), texts, numbers)
    else:
        missing = is_missing(texts)
    levels = pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), texts)
    codes = encode(levels, feature.levels)
    odd = {
        place: _missing_value(feature.name) if missing[place] else _unknown_category(feature, level)
        for place, level in _chosen(levels, codes == len(feature.levels))
    }
    return codes, odd


def _chosen(texts: pa.Array, mask: NDArray[np.bool_]) -> Iterator[tuple[int, str]]:
    """Some of the texts, each with its place."""
    places = np.flatnonzero(mask)
    return zip(places.tolist(), texts.take(pa.array(places)).to_pylist(), strict=True)


def _missing_code(feature: CategoricalFeature) -> int:
    """The code of a missing cell: its own level where the table had one, else unknown."""
    return feature.levels.index(None) if None in feature.levels else len(feature.levels)


def _range(feature: NumericFeature) -> tuple[float, float]:
    """The bounds of a number that can be taken as it is; none where a cell must be text."""
    if feature.low is None or feature.high is None or feature.kind != "numeric":
        return math.inf, -math.inf
    return feature.low, feature.high


def _outside(feature: NumericFeature, value: float) -> bool:
    return (
        feature.low is not None
        and feature.high is not None
        and not (feature.low <= value <= feature.high)
    )


def _warn_all(warnings: list[list[RowWarning]], warning: RowWarning) -> None:
    for row in warnings:
        row.append(warning)


@lru_cache(SHARED)
def _missing_column(name: str) -> RowWarning:
    return RowWarning("missing_column", name, f"there is no '{name}': imputed as in training")


@lru_cache(SHARED)
def _missing_value(name: str) -> RowWarning:
    return RowWarning("missing_value", name, f"'{name}' is missing: imputed as in training")


def _not_a_number(feature: NumericFeature, cell: str) -> RowWarning:
    what = "a date (ISO 8601)" if feature.kind == "datetime" else "a finite number"
    return RowWarning(
        "not_a_number",
        feature.name,
        f"'{feature.name}' must be {what}, however it is {cell}: imputed as if missing",
    )


def _unknown_category(feature: CategoricalFeature, level: str) -> RowWarning:
    return RowWarning(
        "unknown_category",
        feature.name,
        f"{quoted(level)} was not among the {len(feature.levels)} levels of '{feature.name}' in "
        "training: the network sees none of them",
    )


def _out_of_range(feature: NumericFeature, value: float) -> RowWarning:
    return RowWarning(
        "out_of_range",
        feature.name,
        f"'{feature.name}' is {value:g}, outside {feature.low:g} to {feature.high:g} in training",
    )
