"""The findings of a diagnosis."""

from __future__ import annotations

from typing import Literal, TypedDict

Code = Literal[
    "good_fit",
    "overfitting",
    "underfitting",
    "stopped_too_soon",
    "capacity_exceeds_data",
    "folds_disagree",
    "numerical_trouble",
    "exploding_gradients",
    "vanishing_gradients",
    "dead_units",
    "saturated_units",
    "loss_does_not_move",
]


class Finding(TypedDict):
    """One finding: evidence is a sentence with numbers, advice says what to try."""

    code: Code
    evidence: str
    advice: str
