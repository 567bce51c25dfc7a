"""The profile of a table, which users see and specs are resolved against."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.spec import ColumnKind
from models.tables.cells import epoch_seconds
from models.tables.columns import LOOKALIKES, ReadingCode
from models.tables.kinds import MANY_LEVELS, MAX_LEVELS, counts_rows, number_kind, word_kind
from models.tables.readings import Reading
from models.tables.statistics import BINS, Summary, summarize
from models.tables.suggestions import suggest_target
from models.tables.table import TypedTable

TOP_LEVELS = 20
SHOWN_CHARACTERS = 100  # of a level in `top`
HIGH_MISSING = 0.5  # share of missing cells above which there is a warning

Storage = Literal["number", "text", "datetime"]
WarningCode = Literal[
    ReadingCode,
    "high_missing",
    "constant",
    "identifier",
    "text",
    "counts_rows",
    "many_levels",
    "duplicate_rows",
]
Codes = NDArray[np.int64]


class ProfileModel(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ColumnProfile(ProfileModel):
    """One column. Numbers and dates have statistics, words have `top`; dates are seconds since
    1970-01-01 UTC."""

    name: str
    kind: ColumnKind
    storage: Storage
    missing: int
    distinct: int = Field(description="Distinct values, missing cells not counted.")
    min: float | None
    max: float | None
    mean: float | None
    std: float | None = Field(description="Standard deviation, dividing by n.")
    skewness: float | None = Field(description="Third standardised moment.")
    quantiles: dict[str, float] | None
    top: list[tuple[str, int]] | None = Field(
        description="The most frequent levels and their counts; ties are in alphabetical order."
    )
    histogram: list[int] | None = Field(
        default=None,
        description=f"Rows in {BINS} parts of equal width from `min` to `max`. Null for words, and "
        "for tables that an earlier version read.",
    )
    cut: int = Field(
        default=0,
        description=f"Rows whose level is not among the {MAX_LEVELS:,} most frequent ones. A "
        "network knows only those of a categorical column.",
    )
    reading: Reading | None = Field(
        default=None,
        description="How the cells were converted, if they are not plain numbers or dates. Rows to "
        "predict are read in the same way.",
    )


class Exclusion(ProfileModel):
    column: str
    reason: Literal["identifier", "constant", "text"]


class Suggestions(ProfileModel):
    target: str | None
    exclude: list[Exclusion]


class ProfileWarning(ProfileModel):
    """`row`: the first affected row, from 1 below the header."""

    code: WarningCode
    column: str | None
    detail: str
    row: int | None


class Profile(ProfileModel):
    rows: int
    columns: list[ColumnProfile]
    suggestions: Suggestions
    warnings: list[ProfileWarning]


def profile(typed: TypedTable) -> Profile:
    """Profile a table, one column at a time."""
    table = typed.table
    columns = []
    lookalikes = {warning.column for warning in typed.warnings if warning.code in LOOKALIKES}
    row_hashes = np.zeros(table.num_rows, dtype=np.uint64)
    for name, cells in zip(table.column_names, table.columns, strict=True):
        column, codes = _profile_column(name, cells, name in lookalikes)
        columns.append(column.model_copy(update={"reading": typed.readings.get(name)}))
        if column.kind != "identifier":
            # hash_array mixes all 64 bits, so chaining it is as good as a hash of the row.
            row_hashes = pd.util.hash_array(row_hashes + codes.astype(np.uint64))

    warnings = [ProfileWarning(**asdict(warning)) for warning in typed.warnings]
    for column in columns:
        warnings += _column_warnings(column, table.num_rows)
    if any(column.kind != "identifier" for column in columns):
        warnings += _duplicate_warning(row_hashes)
    numeric = {column.name: column.kind for column in columns if column.storage == "number"}
    exclude = [
        Exclusion(column=column.name, reason=column.kind)
        for column in columns
        if column.kind in ("identifier", "constant", "text")
    ]
    return Profile(
        rows=table.num_rows,
        columns=columns,
        suggestions=Suggestions(target=suggest_target(numeric), exclude=exclude),
        warnings=warnings,
    )


def _profile_column(
    name: str, cells: pa.ChunkedArray, is_lookalike: bool
) -> tuple[ColumnProfile, Codes]:
    """The profile of n cells, and their codes (n,): a number for each level, −1 for missing."""
    series = cells.to_pandas()
    codes, levels = pd.factorize(series)
    storage: Storage
    kind: ColumnKind
    summary: Summary | None = None
    top: list[tuple[str, int]] | None = None
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    if pa.types.is_string(cells.type):
        storage = "text"
        words = pa.array(levels, type=pa.string())
        kind = word_kind(name, len(cells), cells.null_count, words, is_lookalike=is_lookalike)
        top = _top(words, counts)
    elif pa.types.is_timestamp(cells.type):
        storage = "datetime"
        kind = "datetime" if len(levels) > 1 else "constant"
        summary = summarize(epoch_seconds(levels.to_numpy()[codes[codes >= 0]]))
    else:
        storage = "number"
        values = series.to_numpy()
        kind = number_kind(name, values, levels.to_numpy())
        summary = summarize(values[codes >= 0]) if len(levels) > 0 else None
    column = ColumnProfile(
        name=name,
        kind=kind,
        storage=storage,
        missing=cells.null_count,
        distinct=len(levels),
        min=summary.min if summary else None,
        max=summary.max if summary else None,
        mean=summary.mean if summary else None,
        std=summary.std if summary else None,
        skewness=summary.skewness if summary else None,
        quantiles=summary.quantiles if summary else None,
        top=top,
        histogram=summary.histogram if summary else None,
        cut=_cut(counts, cells.null_count),
    )
    return column, codes


def _cut(counts: Codes, missing: int) -> int:
    """Rows whose level is not among the most frequent; missing cells are a level."""
    levels = np.append(counts, missing) if missing else counts
    if len(levels) <= MAX_LEVELS:
        return 0
    return int(np.partition(levels, len(levels) - MAX_LEVELS)[: len(levels) - MAX_LEVELS].sum())


def _top(words: pa.Array, counts: Codes) -> list[tuple[str, int]]:
    most = pc.select_k_unstable(
        pa.table({"word": words, "count": counts}),
        k=TOP_LEVELS,
        sort_keys=[("count", "descending"), ("word", "ascending")],
    )
    shown = pc.utf8_slice_codeunits(words.take(most), 0, SHOWN_CHARACTERS)
    return list(zip(shown.to_pylist(), counts[most.to_numpy()].tolist(), strict=True))


def _column_warnings(column: ColumnProfile, rows: int) -> list[ProfileWarning]:
    found: list[tuple[WarningCode, str]] = []
    share = column.missing / rows
    if share > HIGH_MISSING:
        found.append(("high_missing", f"{100 * share:.1f} % missing"))
    if column.kind == "constant":
        what = "No cell has a value" if column.distinct == 0 else "There is a single value"
        found.append(("constant", f"{what}, so nothing can be learnt from it."))
    if column.kind == "identifier":
        kind = "numeric" if column.storage == "number" else "categorical"
        found.append(
            (
                "identifier",
                "Names the row and says nothing about the target, so it is left out of training. "
                f"To use it, give it a kind in features.kinds, such as '{kind}'.",
            )
        )
    if column.kind == "numeric" and counts_rows(rows, column.distinct, column.min, column.max):
        found.append(
            ("counts_rows", "Counts up, one per row: exclude it if it only numbers the rows.")
        )
    if column.kind == "text":
        found.append(("text", f"Free text: {column.distinct:,} distinct values."))
    if column.kind == "categorical" and column.distinct > MANY_LEVELS:
        found.append(("many_levels", _many_levels(column, rows)))
    return [
        ProfileWarning(code=code, column=column.name, detail=detail, row=None)
        for code, detail in found
    ]


def _many_levels(column: ColumnProfile, rows: int) -> str:
    if column.cut == 0:
        return f"{column.distinct:,} levels, one input each."
    return (
        f"{column.distinct:,} levels: the {MAX_LEVELS:,} most frequent are inputs. The others, in "
        f"{100 * column.cut / rows:.1f} % of the rows, are unknown to the network."
    )


def _duplicate_warning(row_hashes: NDArray[np.uint64]) -> list[ProfileWarning]:
    repeated = pd.Series(row_hashes).duplicated()
    if not repeated.any():
        return []
    row = int(repeated.argmax()) + 1
    detail = (
        f"{int(repeated.sum()):,} rows repeat an earlier one, identifiers not compared (first: row "
        f"{row}). A copy among the training rows makes the score too good."
    )
    return [ProfileWarning(code="duplicate_rows", column=None, detail=detail, row=row)]
