"""Encodes users' rows as numbers and level codes, and reports what is odd about each row.

JSON rows are looked up in dictionaries; tables are encoded one column at a time. Both read cells by
the same rules, so that a row has the same prediction either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.data.design import Codes, Numbers
from models.serving.levels import Levels
from models.serving.manifest import CategoricalFeature, Manifest, NumericFeature
from models.serving.oddities import (
    REFUSED,
    missing_value,
    not_a_number,
    out_of_range,
    unknown_category,
)
from models.tables.arrays import as_levels, encode, level_of
from models.tables.cells import (
    MISSING,
    MISSING_AMONG_NUMBERS,
    Mask,
    epoch_seconds,
    is_missing,
    parse_dates,
    parse_numbers,
)
from models.tables.faults import RowWarning, TableFault, quoted
from models.tables.readings import apply

Feature = TypeVar("Feature", NumericFeature, CategoricalFeature)
Part = TypeVar("Part")


@dataclass(frozen=True)
class EncodedRows:
    """numbers (N, D) float64, codes (N, C) int64, and N lists of warnings."""

    numbers: Numbers
    codes: Codes
    warnings: list[list[RowWarning]]

    def faults(self) -> list[TableFault]:
        """The warnings that `on_unknown=error` turns into errors; rows count from 1."""
        return [
            TableFault(warning.detail, row, warning.column)
            for row, warnings in enumerate(self.warnings, start=1)
            for warning in warnings
            if warning.code in REFUSED
        ]


@dataclass(frozen=True)
class Given:
    """The columns of a request, matched with the model's.

    numeric, categorical : indices, among the model's columns, of those that came
    missing : columns of the model that did not come
    ignored : columns that came but are not the model's
    """

    numeric: list[int]
    categorical: list[int]
    missing: list[str]
    ignored: list[str]


class RowEncoder:
    """Encodes rows for one model."""

    def __init__(self, manifest: Manifest) -> None:
        self._numeric = manifest.numeric
        self._categorical = [(feature, Levels(feature.levels)) for feature in manifest.categorical]
        self._ranges = [(feature.name, *_range(feature), feature) for feature in manifest.numeric]
        self._finds = [(feature.name, known.codes.get) for feature, known in self._categorical]
        # What a model receives for a missing cell.
        self._no_number = np.full(len(self._numeric), np.nan)
        self._no_level = np.array([_missing_code(feature) for feature in manifest.categorical], int)
        self.columns = manifest.columns
        self._used = frozenset(self.columns)
        self.has_costly_text = any(
            feature.kind == "datetime" or feature.reading for feature in manifest.numeric
        ) or any(feature.numbers for feature in manifest.categorical)

    def given(self, names: Collection[str]) -> Given:
        """Match the columns of a request, each named once, with the model's."""
        came = self._used.intersection(names)
        return Given(
            numeric=[p for p, feature in enumerate(self._numeric) if feature.name in came],
            categorical=[p for p, (level, _) in enumerate(self._categorical) if level.name in came],
            missing=[name for name in self.columns if name not in came],
            ignored=[name for name in names if name not in came],
        )

    def rows(self, rows: Sequence[Mapping[str, Any]], given: Given) -> EncodedRows:
        """Encode JSON objects: a cell is a number, a text, a boolean or null. If a row lacks a
        column that another row of the request has, its cell is missing.

        Most cells are a number within the column's range or a known level. These are handled
        inline, because a function call per cell would take as long as the rest of a prediction.
        """
        warnings: list[list[RowWarning]] = [[] for _ in rows]
        ranges = _chosen_from(self._ranges, given.numeric)
        numbers = [
            [
                cell
                if type(cell := row.get(name)) in (int, float) and low <= cell <= high  # type: ignore[operator]
                else _number(feature, cell, odd)
                for name, low, high, feature in ranges
            ]
            for row, odd in zip(rows, warnings, strict=True)
        ]
        finds = _chosen_from(self._finds, given.categorical)
        codes = []
        for row, odd in zip(rows, warnings, strict=True):
            found = [
                find(cell) if type(cell := row.get(name)) is str or cell is None else None
                for name, find in finds
            ]
            if None in found:
                for at, code in enumerate(found):
                    if code is None:
                        feature, known = self._categorical[given.categorical[at]]
                        found[at] = _code(feature, known, row.get(feature.name), odd)
            codes.append(found)
        return EncodedRows(
            _completed(numbers, given.numeric, self._no_number),
            _completed(codes, given.categorical, self._no_level),
            warnings,
        )

    def table(self, cells: pa.Table | pa.RecordBatch, given: Given) -> EncodedRows:
        """Encode a table of trimmed texts."""
        numbers = np.tile(self._no_number, (len(cells), 1))
        codes = np.tile(self._no_level, (len(cells), 1))
        warnings: list[list[RowWarning]] = [[] for _ in range(len(cells))]
        for place in given.numeric:
            feature = self._numeric[place]
            numbers[:, place] = _column(feature, _numbers, cells[feature.name], warnings)
        for place in given.categorical:
            level, known = self._categorical[place]
            codes[:, place] = _column(level, partial(_codes, known), cells[level.name], warnings)
        return EncodedRows(numbers, codes, warnings)


def _chosen_from(all_of_them: list[Part], places: list[int]) -> list[Part]:
    """Those at some places in order, mostly at all."""
    if len(places) == len(all_of_them):
        return all_of_them
    return [all_of_them[place] for place in places]


def _completed(came: list[list[Any]], places: list[int], missing: np.ndarray) -> np.ndarray:
    """(N, D) cells: the given (N, len(places)), and `missing` (D,) in the other columns."""
    cells = np.array(came, missing.dtype).reshape(len(came), len(places))
    if len(places) == len(missing):
        return cells
    whole = np.tile(missing, (len(came), 1))
    whole[:, places] = cells
    return whole


def _number(feature: NumericFeature, cell: object, odd: list[RowWarning]) -> float:
    if _is_nothing(cell):
        odd.append(missing_value(feature.name))
    elif (
        isinstance(cell, (int, float)) and not isinstance(cell, bool) and feature.kind == "numeric"
    ):
        value = _float(cell)
        if math.isfinite(value):
            if _outside(feature, value):
                odd.append(out_of_range(feature, value))
            return value
        odd.append(not_a_number(feature, quoted(str(cell))))
    else:
        return _number_in_text(feature, _text(cell), odd)
    return math.nan


def _text(cell: object) -> str:
    """The text that a table would have for a JSON value."""
    return str(cell).lower() if isinstance(cell, bool) else str(cell).strip()


def _is_nothing(cell: object) -> bool:
    """Whether a value is null, or the NaN that some clients send instead."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer with hundreds of digits
        return math.inf


def _number_in_text(feature: NumericFeature, text: str, odd: list[RowWarning]) -> float:
    """Read a number or a date that came as text, by the rules for a table's cells."""
    if feature.kind == "numeric" and feature.reading is None and not feature.is_flag:
        try:
            value = math.nan if text in MISSING_AMONG_NUMBERS else float(text)
        except ValueError:
            value = math.inf
        if math.isnan(value):
            odd.append(missing_value(feature.name))
        elif math.isfinite(value) and "_" not in text:
            return _number(feature, value, odd)
        else:
            odd.append(not_a_number(feature, quoted(text)))
        return math.nan
    values, found = _numbers(feature, pa.array([text], pa.string()))
    odd.extend(found.values())
    return float(values[0])


def _code(
    feature: CategoricalFeature,
    known: Levels,
    cell: object,
    odd: list[RowWarning],
) -> int:
    level = _level(feature, known, cell)
    code = known.codes.get(None) if level is None else known.find(level)
    if code is not None:
        return code
    if level is None:
        odd.append(missing_value(feature.name))
    else:
        odd.append(unknown_category(feature, level))
    return len(feature.levels)


def _level(feature: CategoricalFeature, known: Levels, cell: object) -> str | None:
    """The level that a JSON value names; None is missing."""
    if _is_nothing(cell):
        return None
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        number = _float(cell)
        # Among words a whole number is a word, with all its digits.
        if isinstance(cell, int) and (not feature.numbers or math.isinf(number)):
            return str(cell)
        # A CSV's 2.0 may have been a word.
        return repr(number) if repr(number) in known.codes else level_of(number)
    text = _text(cell)
    if not feature.numbers:
        if isinstance(cell, bool):  # a word like others
            spellings = (str(cell), text, text.upper())
            return next((spelt for spelt in spellings if spelt in known.codes), text)
        return None if text in MISSING else text
    [level] = _levels(feature, pa.array([text], pa.string())).to_pylist()
    return None if level is None else str(level)


def _column(
    feature: Feature,
    read: Callable[[Feature, pa.Array], tuple[np.ndarray, dict[int, RowWarning]]],
    cells: pa.Array | pa.ChunkedArray,
    warnings: list[list[RowWarning]],
) -> np.ndarray:
    """A column's numbers or codes (N,). Equal cells are read once, because most columns have few
    distinct ones, and finding them takes a fifth of the time of reading all cells."""
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
    """The number in each text, and what is odd, by index."""
    values, bad = _read(feature, texts)
    odd = {
        place: not_a_number(feature, quoted(text)) if bad[place] else missing_value(feature.name)
        for place, text in _chosen(texts, np.isnan(values))
    }
    if feature.low is not None and feature.high is not None:
        for place in np.flatnonzero((values < feature.low) | (values > feature.high)).tolist():
            odd[place] = out_of_range(feature, float(values[place]))
    return values, odd


def _read(feature: NumericFeature | CategoricalFeature, texts: pa.Array) -> tuple[Numbers, Mask]:
    """The number in each text (N,), and which texts cannot be read."""
    if feature.is_flag:
        texts = pc.replace_substring_regex(texts, "(?i)^true$", "1")
        texts = pc.replace_substring_regex(texts, "(?i)^false$", "0")
    if feature.reading is not None:
        return apply(feature.reading, texts)
    if feature.kind == "datetime":
        moments, bad = parse_dates(texts)
        return epoch_seconds(moments), bad
    return parse_numbers(texts)


def _levels(feature: CategoricalFeature, texts: pa.Array) -> pa.Array:
    """The level that each text names; null is missing."""
    if not feature.numbers:
        return pc.if_else(pa.array(is_missing(texts)), pa.scalar(None, pa.string()), texts)
    values, bad = _read(feature, texts)
    numbers = as_levels(pa.chunked_array([pa.array(values, from_pandas=True)]))
    return pc.if_else(pa.array(bad), texts, numbers.combine_chunks())


def _codes(
    known: Levels, feature: CategoricalFeature, texts: pa.Array
) -> tuple[NDArray[np.int64], dict[int, RowWarning]]:
    """The code of each text's level, and what is odd, by index."""
    levels = _levels(feature, texts)
    codes = encode(levels, feature.levels)
    odd: dict[int, RowWarning] = {}
    for place, level in _chosen(levels, codes == known.count):
        code = None if level is None else known.find(level)
        if code is not None:
            codes[place] = code
        elif level is None:
            odd[place] = missing_value(feature.name)
        else:
            odd[place] = unknown_category(feature, level)
    return codes, odd


def _chosen(texts: pa.Array, mask: NDArray[np.bool_]) -> Iterator[tuple[int, Any]]:
    """Some of the texts, each with its index."""
    places = np.flatnonzero(mask)
    return zip(places.tolist(), texts.take(pa.array(places)).to_pylist(), strict=True)


def _missing_code(feature: CategoricalFeature) -> int:
    """The code of a missing cell: a level of its own if the table had one, otherwise unknown."""
    return feature.levels.index(None) if None in feature.levels else len(feature.levels)


def _range(feature: NumericFeature) -> tuple[float, float]:
    """The range of numbers that need no check; empty if cells must be text."""
    if feature.low is None or feature.high is None or feature.kind != "numeric":
        return math.inf, -math.inf
    return feature.low, feature.high


def _outside(feature: NumericFeature, value: float) -> bool:
    return (
        feature.low is not None
        and feature.high is not None
        and not (feature.low <= value <= feature.high)
    )
