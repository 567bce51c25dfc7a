"""What the losses of the folds show about the fit, with evidence and advice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.evaluation.findings import Finding
from models.evaluation.numerics import numerical_findings
from models.training.progress import Course

# A validation error of more than this many training errors is reported as overfitting.
OVERFITTING_RATIO = 2.0
# Explaining less than this of the target's variance in training is underfitting.
UNDERFITTING_R2 = 0.5
# A best epoch in this last share of the epochs shows that more epochs would help.
LATE = 0.95
# Fewer rows of a fold show little.
FEWEST_ROWS = 10
# Folds disagree if their deviation exceeds this share of the mean.
DISAGREEMENT = 0.5


def diagnose(
    *,
    train_r2: Sequence[float] | None,
    validation_r2: Sequence[float],
    best_epochs: Sequence[int],
    max_epochs: int,
    watched: bool,
    courses: Sequence[Course],
    folds: int,
    parameters: int,
    train_rows: int,
    scored_rows: int,
    measured: str,
) -> list[Finding]:
    """Findings over the F folds that have a model.

    `courses` are those of the members of all `folds`. The smallest fold trains on `train_rows` and
    is scored on `scored_rows`. R² is the explained share of what is `measured`, with dropout off,
    over all scored rows; on training rows None for models that repeat them, such as trees.
    `watched`: early stopping chose the best epochs, so they are meaningful.
    """
    scored = float(np.mean(validation_r2))
    fitted = scored if train_r2 is None else float(np.mean(train_r2))
    unexplained, train_unexplained = 1 - scored, max(1 - fitted, 1e-12)
    findings = numerical_findings(courses, folds, fitted) if courses else []
    in_trouble = any(finding["code"] == "numerical_trouble" for finding in findings)
    if fitted < UNDERFITTING_R2 and not in_trouble:
        findings.append(
            {
                "code": "underfitting",
                "evidence": f"the networks explain {max(fitted, 0):.0%} of {measured} "
                + ("out of fold" if train_r2 is None else "on the rows they were trained on"),
                "advice": "more hidden units or layers, more epochs, less weight_decay and "
                "dropout, a higher learning rate; or the columns do not explain the target",
            }
        )
    elif fitted >= UNDERFITTING_R2 and unexplained > OVERFITTING_RATIO * train_unexplained:
        findings.append(
            {
                "code": "overfitting",
                "evidence": f"the unexplained share of {measured} is {train_unexplained:.3f} on "
                f"training rows and {unexplained:.3f} out of fold, "
                f"{unexplained / train_unexplained:.1f} times as much",
                "advice": "more weight_decay or dropout, fewer hidden units, early stopping with "
                "less patience, or more rows",
            }
        )
    late = sum(best >= LATE * max_epochs for best in best_epochs)
    if watched and late > len(best_epochs) / 2:
        findings.append(
            {
                "code": "stopped_too_soon",
                "evidence": f"{late} of {len(best_epochs)} folds were still improving on their "
                f"watched rows in the last of {max_epochs} epochs",
                "advice": "raise max_epochs",
            }
        )
    if parameters > train_rows:
        findings.append(
            {
                "code": "capacity_exceeds_data",
                "evidence": f"{parameters:,} weights for {train_rows:,} training rows",
                "advice": "this is fine if weight_decay, dropout and early stopping prevent "
                "overfitting; compare with fewer hidden units",
            }
        )
    spread = float(np.std(1 - np.asarray(validation_r2), ddof=1)) if len(validation_r2) > 1 else 0.0
    if scored_rows >= FEWEST_ROWS and spread > DISAGREEMENT * unexplained:
        findings.append(
            {
                "code": "folds_disagree",
                "evidence": f"the unexplained share of {measured} out of fold is "
                f"{unexplained:.3f} ± {spread:.3f} over the folds",
                "advice": "look at the rows with the largest out-of-fold errors; stratified folds "
                "or more rows make the estimate more stable",
            }
        )
    if not findings or [f["code"] for f in findings] == ["capacity_exceeds_data"]:
        findings.insert(
            0,
            {
                "code": "good_fit",
                "evidence": "the networks explain "
                + ("" if train_r2 is None else f"{fitted:.1%} of {measured} on training rows and ")
                + f"{scored:.1%} out of fold",
                "advice": "nothing stands out; compare other specs with this one",
            },
        )
    return findings
