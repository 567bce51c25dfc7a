"""A result of predicted numbers in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.figures import deviation, number, one_line, percent
from models.objectives.base import DEFAULT_COVERAGE

# A larger mean share comes from truths near 0, and says little.
LARGEST_SHARE = 1.0


def told(target: str, result: Mapping[str, Any]) -> list[str]:
    """How far predictions are off, then how wide their intervals are and whether they hold."""
    metrics, errors = result["metrics"], result["metrics_error"]
    if metrics.get("mae") is None:  # a job of an early version
        return []
    share = metrics.get("mape")
    off = f"{number(metrics['mae'])}{deviation(errors.get('mae'))}"
    if share is not None and share <= LARGEST_SHARE:
        off = f"{percent(share, errors.get('mape'))}, or {off}"
    found = [f"Predictions of {one_line(target)} for rows it has not seen are off by {off}."]
    measured = next(
        (own for own in result["intervals"] or () if own["coverage"] == DEFAULT_COVERAGE), None
    )
    if measured is not None and measured["measured"] is not None:
        found.append(
            f"{percent(measured['measured'])} of {measured['rows']:,} true values lie in their "
            f"{percent(DEFAULT_COVERAGE)} interval, which is "
            f"{number(measured['mean_width'])} wide on average."
        )
    return found
