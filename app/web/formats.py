"""Numbers, times and names as pages show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from app.ids import is_sweep
from models import figures
from models.objectives import HEADLINES, OBJECTIVES
from models.tables.wording import number_text

DASH = "–"
UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
# As a reader knows them; other metrics are shown by their own name.
METRICS = {
    "rmse": "RMSE",
    "rmsle": "RMSLE",
    "mae": "MAE",
    "mape": "MAPE",
    "r2": "R²",
    "roc_auc": "ROC AUC",
    "mcc": "MCC",
    "ece": "ECE",
    "f1": "F1",
}
SHARES = ("mape", "accuracy", "balanced_accuracy")


def percent(share: float | None, error: float | None = None) -> str:
    return DASH if share is None else figures.percent(share, error)


def with_error(value: float | None, error: float | None) -> str:
    """A number and its standard error."""
    return figures.number(value) + (figures.deviation(error) if value is not None else "")


def value_text(value: float | None) -> str:
    """A cell's number as the table has it: a year has no comma."""
    return DASH if value is None else number_text(value)


def metric(name: str) -> str:
    return METRICS.get(name, name.replace("_", " "))


def metric_value(value: float | None, name: str, error: float | None = None) -> str:
    """With its standard error, if there is one; shares in per cent."""
    return percent(value, error) if name in SHARES else with_error(value, error)


def seconds(value: float | None) -> str:
    """
    >>> seconds(0.34), seconds(44.97), seconds(187), seconds(7260)
    ('0.3 s', '45 s', '3 min 7 s', '2 h 1 min')
    """
    if value is None:
        return DASH
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def milliseconds(value: float | None) -> str:
    return DASH if value is None else f"{1000 * value:,.3g} ms"


def size(count: int) -> str:
    """
    >>> size(921350), size(12)
    ('900 KiB', '12 bytes')
    """
    for unit, name in UNITS:
        if count >= unit:
            return f"{count / unit:,.{0 if count >= 10 * unit else 1}f} {name}"
    return f"{count:,} bytes"


def ago(moment: datetime | None) -> str:
    """How long ago, in its largest unit."""
    if moment is None:
        return DASH
    past = (datetime.now(UTC) - moment).total_seconds()
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if past >= unit:
            count = int(past // unit)
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return "just now"


def stamp(moment: datetime | None) -> str:
    """For a time element."""
    return "" if moment is None else moment.isoformat(timespec="seconds")


def day(seconds_since_1970: float | None) -> str:
    """
    >>> day(0.0)
    '1970-01-01'
    """
    if seconds_since_1970 is None or not math.isfinite(seconds_since_1970):
        return DASH
    try:
        return datetime.fromtimestamp(seconds_since_1970, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):  # a year that Python has no date for
        return DASH


def trained_by(job_id: str) -> str:
    """The page of what trained a model.

    >>> trained_by("job_1"), trained_by("swp_1")
    ('/jobs/job_1', '/sweeps/swp_1')
    """
    return f"/{'sweeps' if is_sweep(job_id) else 'jobs'}/{job_id}"


def first_metric(metrics: Mapping[str, Any]) -> str:
    """The one that says most: the first that its objective leads with."""
    known = [name for name in HEADLINES if metrics.get(name) is not None]
    return next(iter([*known, *metrics]))


def told(result: BaseModel, spec: Mapping[str, Any]) -> list[str]:
    """What a job came to, in sentences."""
    objective = OBJECTIVES[spec["task"]]
    return objective.told(spec["target"], result.model_dump())


def words(name: str) -> str:
    """
    >>> words("good_fit"), words("optimizer.learning_rate")
    ('good fit', 'optimizer learning rate')
    """
    return name.replace("_", " ").replace(".", " ")


def sentence(text: str) -> str:
    """With a capital and a full stop.

    >>> sentence("five folds differ")
    'Five folds differ.'
    """
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


FILTERS: dict[str, Callable[..., Any]] = {
    "figure": figures.number,
    "value": value_text,
    "with_error": with_error,
    "percent": percent,
    "metric": metric,
    "metric_value": metric_value,
    "seconds": seconds,
    "milliseconds": milliseconds,
    "size": size,
    "ago": ago,
    "stamp": stamp,
    "told": told,
    "words": words,
    "sentence": sentence,
    "day": day,
    "first_metric": first_metric,
    "trained_by": trained_by,
    "is_sweep": is_sweep,
}
