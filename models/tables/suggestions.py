"""Suggests the column to predict."""

from __future__ import annotations

import re
from collections.abc import Mapping

from models.spec import ColumnKind

# In lower case and without punctuation; the first that the table has is suggested.
TARGET_NAMES = (
    "target",
    "saleprice",
    "price",
    "medv",
    "medhouseval",
    "medianhousevalue",
    "y",
    "label",
    "value",
)


def suggest_target(numeric: Mapping[str, ColumnKind]) -> str | None:
    """The likely target: by its name, otherwise the last column that varies.

    Parameters
    ----------
    numeric: the columns stored as numbers, in the table's order, with their kinds.
    """
    able = [name for name, kind in numeric.items() if kind in ("numeric", "binary")]
    plain = {re.sub(r"[\W_]", "", name).lower(): name for name in able}
    named = [plain[target] for target in TARGET_NAMES if target in plain]
    prices = [name for key, name in plain.items() if key.endswith("price")]
    last = [name for name in reversed(able) if numeric[name] == "numeric"]
    return next(iter(named + prices + last + able), None)
