"""Columns that say what the target is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.data.design import as_numbers
from models.data.features import select
from models.data.profile import Profile
from models.data.review.warning import SpecWarning
from models.data.stored import read_columns
from models.spec import TrainingSpec

# A column whose correlation with the target is above this says what the target is.
LEAKAGE_CORRELATION = 0.98
# Rows that tell a correlation well enough.
LEAKAGE_ROWS = 100_000


def leakage_suspects(spec: TrainingSpec, profile: Profile, parquet: Path) -> list[SpecWarning]:
    """Columns that all but repeat the target of a resolved spec."""
    numeric = [f.name for f in select(spec, profile) if f.kind != "categorical"]
    table = read_columns(parquet, [spec.target, *numeric]).slice(0, LEAKAGE_ROWS)
    target = as_numbers(table[spec.target])
    suspects = []
    for name in numeric:
        strength = _correlation(as_numbers(table[name]), target)
        if strength > LEAKAGE_CORRELATION:
            suspects.append(
                SpecWarning(
                    "leakage_suspect",
                    f"'{name}' follows '{spec.target}' with a correlation of {strength:.3f}: "
                    "exclude it if it is not known before the target is",
                    name,
                )
            )
    return suspects


def _correlation(column: np.ndarray, target: np.ndarray) -> float:
    """Size of the Pearson correlation over the rows that have both; 0 where it is not defined."""
    known = ~(np.isnan(column) | np.isnan(target))
    x, y = column[known], target[known]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of huge numbers overflow
    return abs(float(np.corrcoef(x, y)[0, 1]))
