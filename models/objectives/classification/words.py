"""A result of predicted classes in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.figures import number, one_line, percent
from models.objectives.base import DEFAULT_COVERAGE


def told(target: str, result: Mapping[str, Any]) -> list[str]:
    """How often the class is right, how a positive class is found, and whether sets hold."""
    metrics, errors = result["metrics"], result["metrics_error"]
    right = percent(metrics["accuracy"], errors.get("accuracy"))
    found = [f"{one_line(target)} is predicted right for {right} of the rows it has not seen."]
    decision = result.get("decision")  # of two classes
    positive = None if decision is None else decision["positive"]
    own = next((known for known in result.get("classes", ()) if known["level"] == positive), None)
    if own is not None and own["recall"] is not None and own["precision"] is not None:
        found.append(
            f"Of the {own['rows']:,} rows that are {one_line(own['level'])} it finds "
            f"{percent(own['recall'])}, and {percent(own['precision'])} of those it calls so are."
        )
    measured = next((s for s in result["sets"] if s["coverage"] == DEFAULT_COVERAGE), None)
    if measured is not None and measured["measured"] is not None:
        found.append(
            f"{percent(measured['measured'])} of the true classes lie in their "
            f"{percent(DEFAULT_COVERAGE)} set, which has "
            f"{number(measured['mean_size'])} classes on average."
        )
    return found
