"""The example table, ready to train on."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from models.data.design import Design, load_design
from models.data.features import resolve, select
from models.data.folds import Split, split_rows
from models.data.profile import profile
from models.data.table import Limits, read_table
from models.spec import TrainingSpec

AMES = Path(__file__).parents[1] / "examples" / "ames.csv"
LIMITS = Limits(max_rows=10_000_000, max_columns=10_000)


@dataclass(frozen=True)
class Task:
    spec: TrainingSpec
    design: Design
    split: Split


def ames(**spec: Any) -> Task:
    """2,930 houses and a resolved spec."""
    typed = read_table(AMES, LIMITS)
    described = profile(typed)
    resolved = resolve(TrainingSpec.model_validate({"target": "SalePrice", **spec}), described)
    with tempfile.TemporaryDirectory() as folder:
        parquet = Path(folder) / "ames.parquet"
        pq.write_table(typed.table, parquet)
        design = load_design(parquet, resolved, select(resolved, described))
    return Task(resolved, design, split_rows(resolved, design.target, design.fold_column))
