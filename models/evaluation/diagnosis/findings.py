"""The findings of a diagnosis."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

Code = Literal[
    "good_fit",
    "no_better_than_mean",
    "numerical_trouble",
    "unscaled_inputs",
    "symmetric_units",
    "dropout_too_strong",
    "saturated_units",
    "dead_units",
    "vanishing_gradients",
    "exploding_gradients",
    "weight_decay_too_strong",
    "learning_rate_too_low",
    "learning_rate_too_high",
    "stopped_too_soon",
    "underfitting",
    "overfitting",
    "folds_disagree",
    "label_errors_suspected",
    "few_rows_dominate",
    "residuals_follow_order",
    "residuals_follow_number",
    "residuals_follow_levels",
    "residuals_follow_pair",
    "baseline_is_better",
]
# What a finding asks for: a change of the spec, a look at some rows, or nothing. A hint says that
# nothing is wrong with the spec, and another is known to do better.
Asks = Literal["change", "look", "hint", "nothing"]


class Finding(TypedDict):
    """One finding. `evidence` is a sentence with numbers, `advice` says what to try; `next_spec` is
    a whole spec that does so, None if no spec would help."""

    code: Code
    asks: Asks
    evidence: str
    advice: str
    next_spec: dict[str, Any] | None
