"""The settings of a job's notebook: every name that its cells may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.jobs.notebook_choice import Shown
from models.data.features import select
from models.objectives import objective_of
from models.objectives.classification.levels import least_rows
from models.spec.architectures import MlpArchitecture, bins_of
from models.tables.cells import MISSING
from models.tables.profile import ColumnProfile, Profile
from models.tables.readings import DateReading, NumberReading


@dataclass(frozen=True)
class Explained:
    """What a notebook is about.

    url : of the service, without a slash at its end
    separator : of the dataset's CSV, as pandas takes it
    result : the job's
    """

    url: str
    job_id: str
    dataset_id: str
    separator: str
    shown: Shown
    profile: Profile
    result: dict[str, Any]


def settings_of(of: Explained) -> dict[str, Any]:
    """By name."""
    spec, own = of.shown.spec, of.shown.architecture
    features = select(spec, of.profile)
    columns = {column.name: column for column in of.profile.columns}
    numeric = [one.name for one in features if one.kind != "categorical"]
    used = [one.name for one in features] + [spec.target]
    used += [spec.folds.column] if spec.folds.column else []
    is_mlp = isinstance(own, MlpArchitecture)
    line = own.linear_path if isinstance(own, MlpArchitecture) else own.initialization
    metric, error, standard_error = _error(of)
    pair = spec.features.coordinates
    stopping = spec.early_stopping
    return {
        "url": of.url,
        "job_id": of.job_id,
        "dataset_id": of.dataset_id,
        "separator": of.separator,
        "columns": [*columns],
        "table_rows": of.profile.rows,
        "target": spec.target,
        "numeric": numeric,
        "categorical": [one.name for one in features if one.kind == "categorical"],
        "stored_as": {name: columns[name].storage for name in used},
        "missing_words": [*MISSING],
        **_spelled([columns[name] for name in used]),
        "coordinates": [numeric.index(name) for name in pair] if isinstance(pair, tuple) else [],
        "fold_column": spec.folds.column,
        "numeric_missing": spec.preprocessing.numeric_missing,
        "target_transform": spec.preprocessing.target_transform,
        "loss_name": spec.loss,
        "label_smoothing": spec.label_smoothing,
        "class_weights": spec.class_weights,
        "rare_classes": spec.rare_classes,
        "fewest_class_rows": least_rows(spec),
        "bins": bins_of(own),
        "hidden_sizes": own.hidden_sizes if isinstance(own, MlpArchitecture) else [],
        "linear_path": bool(line) if is_mlp else None,
        "starts_at_the_line": line == "least_squares",
        "dropout": spec.dropout,
        "weight_decay": spec.weight_decay,
        "learning_rate": spec.optimizer.learning_rate,
        "momentum": spec.optimizer.momentum,
        "gradient_clip": spec.optimizer.gradient_clip,
        "batch_size": spec.batch_size,
        "max_epochs": spec.max_epochs,
        "watched_fraction": 0.0 if stopping is None else stopping.fraction,
        "patience": None if stopping is None else stopping.patience,
        "members_per_fold": spec.members_per_fold,
        "seed": spec.seed,
        "metric": metric,
        "job_error": error,
        "job_standard_error": standard_error,
    }


def _spelled(columns: Sequence[ColumnProfile]) -> dict[str, Any]:
    """How columns of other spellings are read."""
    readings = {column.name: column.reading for column in columns}
    return {
        "spelled_numbers": {
            name: (reading.decimal, reading.grouping, reading.powers)
            for name, reading in readings.items()
            if isinstance(reading, NumberReading)
        },
        "spelled_dates": {
            name: reading.pattern.find("<day>") < reading.pattern.find("<month>")
            for name, reading in readings.items()
            if isinstance(reading, DateReading)
        },
    }


def _error(of: Explained) -> tuple[str, float | None, float | None]:
    """The job's error that the notebook's is compared with: metric, value, standard error. The last
    two may be too large for a number."""
    result, spec, metrics = of.result, of.shown.spec, of.result["metrics"]
    headline = objective_of(spec).headline
    metric = next((name for name in headline if metrics.get(name) is not None), headline[-1])
    errors = result.get("metrics_error") or {}
    if of.shown.error is None:
        # Probabilities are calibrated on other folds' rows, which the notebook leaves out.
        before = result.get("calibration", {}).get("before", {})
        return metric, before.get(metric, metrics.get(metric)), errors.get(metric)
    error = of.shown.error
    match spec.preprocessing.target_transform:
        case "log":
            return "rmse_log", error, errors.get("rmsle")
        case "none":
            return "rmse", error, errors.get("rmse")
        case None:
            return metric, error, errors.get(metric)
