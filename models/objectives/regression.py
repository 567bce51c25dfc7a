"""A number is predicted."""

from __future__ import annotations

from models.spec import TargetTransform

# A target whose skewness is above this trains better as its logarithm.
LOG_SKEWNESS = 1.0


def fitting_transform(smallest: float | None, skewness: float | None) -> TargetTransform:
    """The scale on which a target of these statistics trains best."""
    positive = smallest is not None and smallest > 0
    return "log" if positive and (skewness or 0) > LOG_SKEWNESS else "none"
