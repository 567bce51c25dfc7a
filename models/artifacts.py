"""The files of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CORE = "core.onnx"  # for serving here: numbers and level codes in
ONNX = "model.onnx"  # for the world: raw columns in
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
OUT_OF_FOLD = "oof.parquet"
REPORT = "report.html"
CHARTS = "charts.json"  # the charts of the report as Vega-Lite documents
ROLES = "roles.parquet"  # what each fold did with each row of the table


def trial_file(number: int) -> str:
    """Of a sweep's trial: its weights, and what they predict out of fold."""
    return f"trial-{number}.safetensors"


@dataclass(frozen=True)
class EarlierModel:
    """A model to start from: two of its files, and the table that it learnt from.

    columns : those that it takes, and its target
    is_out_of_fold : whether its own numbers are
    """

    id: str
    columns: tuple[str, ...]
    is_out_of_fold: bool
    weights: Path
    roles: Path
    parquet: Path
