"""The kind of a column, from its values and its name."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.spec import ColumnKind
from models.tables.cells import Floats

FEW_ROWS = 20  # with fewer, values may be unique by chance
MANY_LEVELS = 100  # categories; more give a warning
# A categorical column keeps its most frequent levels; the network does not know the others.
MAX_LEVELS = 1_000
CODE_LENGTH = 64  # characters; longer words are not identifiers
TEXT_LENGTH = 60  # characters on average; longer words are free text

ID_NAME = re.compile(
    r"(?i:^(?:id|uuid|guid|pid|index|unnamed: \d+)$|^id[_\-. ]|[_\-. ](?:id|uuid|guid)$)"
    r"|[a-z0-9](?:Id|ID)$"
)
# A column that counts up is a row number only if its name says so: day or step may be a time.
COUNTER_NAME = re.compile(
    r"(?i)^(?:#|nr|no|num|number|idx|seq|sequence|rows?|"
    r"row[_ .-]?(?:names?|no|nr|num|number|index)|instant|instance|"
    r"case|sample|record|obs|observation|entry|item|s\.?n\.?|"
    r"(?:sl|sr|s|serial)[_ .-]*(?:no|nr|num|number)\.?)$"
)
DIGITS = r"^[+-]?[0-9]+$"


def number_kind(name: str, values: Floats, levels: Floats) -> ColumnKind:
    """Kind of a column of numbers.

    Parameters
    ----------
    values: (n,), NaN is missing.
    levels: (distinct,), the distinct values without NaN.
    """
    if len(levels) <= 1:
        return "constant"
    if len(levels) == 2 and set(levels) == {0.0, 1.0}:
        return "binary"
    present = int(np.isfinite(values).sum())
    if _mostly_unique(len(levels), present) and np.array_equal(levels, np.floor(levels)):
        if ID_NAME.search(name):
            return "identifier"
        if COUNTER_NAME.search(name) and counts_rows(len(values), len(levels), *_ends(levels)):
            return "identifier"
    return "numeric"


def counts_rows(rows: int, distinct: int, low: float | None, high: float | None) -> bool:
    """Whether whole numbers count up from 0 or 1, one per row, in any order."""
    return low in (0, 1) and distinct == rows and high == low + rows - 1


def word_kind(
    name: str, rows: int, missing: int, levels: pa.Array, *, is_lookalike: bool = False
) -> ColumnKind:
    """Kind of a column of words; `levels` are its distinct words, without null.

    Words that look like numbers or dates are not identifiers, however many are unique. One word
    beside missing cells is not constant: a flag is often written as a word or nothing.
    """
    present = rows - missing
    if len(levels) == 0 or (len(levels) == 1 and missing == 0):
        return "constant"
    if len(levels) == 2:
        return "binary"
    lengths = pc.utf8_length(levels)
    if _mostly_unique(len(levels), present):
        codes = pc.max(lengths).as_py() <= CODE_LENGTH and not _any_space(levels)
        names_rows = len(levels) == present or ID_NAME.search(name) or _all_digits(levels)
        if codes and names_rows and not is_lookalike:
            return "identifier"
        return "text"
    if len(levels) > FEW_ROWS and pc.mean(lengths).as_py() > TEXT_LENGTH:
        return "text"
    return "categorical"


def _mostly_unique(levels: int, present: int) -> bool:
    return levels >= FEW_ROWS and levels > present / 2


def _ends(levels: Floats) -> tuple[float, float]:
    return float(levels.min()), float(levels.max())


def _all_digits(levels: pa.Array) -> bool:
    """Numbers with too many digits for a float."""
    return bool(pc.all(pc.match_substring_regex(levels, DIGITS)).as_py())


def _any_space(levels: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(levels, r"\s")).as_py())
