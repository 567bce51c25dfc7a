"""Numbers, times and names as pages show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from models.objectives import OBJECTIVES

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
HEADLINES = [name for objective in OBJECTIVES.values() for name in objective.headline]
SHARES = ("mape", "accuracy", "balanced_accuracy")


def figure(value: float | None, digits: int = 4) -> str:
    """`180,796`, `0.1237`, `3.1e-07`; a dash for none.

    >>> figure(180796.06), figure(0.12374), figure(0.00000031), figure(None)
    ('180,796', '0.1237', '3.1e-07', '–')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    size = abs(value)
    if size >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if size >= 1e-4 else f"{value:.2g}"


def plus_minus(value: float | None, error: float | None) -> str:
    """A number with its standard error, both to the error's second digit.

    >>> plus_minus(0.11849, 0.00563), plus_minus(23029.9, 1469.3), plus_minus(0.5, None)
    ('0.1185 ± 0.0056', '23,000 ± 1,500', '0.5')
    """
    if value is None or error is None or not math.isfinite(error) or error <= 0:
        return figure(value)
    places = 1 - math.floor(math.log10(error))
    if places > 6:
        return f"{figure(value)} ± {figure(error, 2)}"
    shown = max(0, places)
    return f"{round(value, places):,.{shown}f} ± {round(error, places):,.{shown}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """
    >>> percent(0.0788), percent(0.9010), percent(None)
    ('7.9 %', '90.1 %', '–')
    """
    return DASH if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def metric(name: str) -> str:
    return METRICS.get(name, name.replace("_", " "))


def metric_value(value: float | None, name: str) -> str:
    return percent(value) if name in SHARES else figure(value)


def metric_pair(value: float | None, error: float | None, name: str) -> str:
    """With its standard error; shares in per cent."""
    if name in SHARES and value is not None and error is not None:
        return f"{100 * value:.1f} ± {100 * error:.1f} %"
    return plus_minus(value, error)


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


def first_metric(metrics: Mapping[str, Any]) -> str:
    """The one that says most: the first that its objective leads with."""
    known = [name for name in HEADLINES if metrics.get(name) is not None]
    return next(iter([*known, *metrics]))


def answer(result: Any, target: str) -> str:
    """What a job came to, in one sentence."""
    metrics = result.metrics
    if metrics.get("mape") is not None and metrics.get("mae") is not None:
        return f"Off by {percent(metrics['mape'])} on average, or {figure(metrics['mae'])}."
    if metrics.get("accuracy") is not None:
        return f"Right in {percent(metrics['accuracy'])} of rows."
    name = first_metric(metrics)
    return f"{metric(name)} {metric_value(metrics[name], name)} for {target}."


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


def cell(value: Any) -> str:
    """A table's cell."""
    if value is None:
        return ""
    return figure(value, 6) if isinstance(value, float) else str(value)


FILTERS: dict[str, Callable[..., Any]] = {
    "figure": figure,
    "plus_minus": plus_minus,
    "percent": percent,
    "metric": metric,
    "metric_value": metric_value,
    "metric_pair": metric_pair,
    "seconds": seconds,
    "milliseconds": milliseconds,
    "size": size,
    "ago": ago,
    "stamp": stamp,
    "answer": answer,
    "words": words,
    "sentence": sentence,
    "day": day,
    "first_metric": first_metric,
    "cell": cell,
}
