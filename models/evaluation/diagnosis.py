"""What the losses of the folds say about the fit, with the numbers and what to try."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.evaluation.findings import Finding
from models.evaluation.numerics import numerical_findings
from models.objectives.regression.metrics import FEWEST_R2_ROWS
from models.training.progress import Course

# A validation error this many times the training error is overfitting worth a word.
OVERFITTING_RATIO = 2.0
# A training fit that explains less of the target's variance than this is underfitting.
UNDERFITTING_R2 = 0.5
# A best epoch in this last share of the epochs says that more of them would help.
LATE = 0.95
# A deviation over the folds above this share of the mean is disagreement.
DISAGREEMENT = 0.5


def diagnose(
    *,
    train_r2: Sequence[float],
    validation_r2: Sequence[float],
    best_epochs: Sequence[int],
    max_epochs: int,
    watched: bool,
    courses: Sequence[Course],
    folds: int,
    parameters: int,
    train_rows: int,
    scored_rows: int,
) -> list[Finding]:
    """Findings over F folds that have a model; `courses` are of the members of all `folds`, and
    the smallest of these trains on `train_rows` and is scored on `scored_rows`.

    R² is on the scale that is learnt, dropout off, against one variance: that of all scored rows.
    `watched`: early stopping chose the best epochs, so that they say something.
    """
    fitted, scored = float(np.mean(train_r2)), float(np.mean(validation_r2))
    unexplained, train_unexplained = 1 - scored, max(1 - fitted, 1e-12)
    findings = numerical_findings(courses, folds, fitted)
    in_trouble = any(finding["code"] == "numerical_trouble" for finding in findings)
    if fitted < UNDERFITTING_R2 and not in_trouble:
        findings.append(
            {
                "code": "underfitting",
                "evidence": f"the networks explain {max(fitted, 0):.0%} of the target's variance "
                "on the rows they were trained on",
                "advice": "more hidden units or layers, more epochs, less weight_decay and "
                "dropout, a higher learning rate; or the columns do not hold the answer",
            }
        )
    elif fitted >= UNDERFITTING_R2 and unexplained > OVERFITTING_RATIO * train_unexplained:
        findings.append(
            {
                "code": "overfitting",
                "evidence": f"unexplained variance is {train_unexplained:.3f} on training rows "
                f"and {unexplained:.3f} out of fold, {unexplained / train_unexplained:.1f} times "
                "as much",
                "advice": "more weight_decay or dropout, fewer hidden units, early stopping with "
                "less patience, or more rows",
            }
        )
    late = sum(best >= LATE * max_epochs for best in best_epochs)
    if watched and late > len(best_epochs) / 2:
        findings.append(
            {
                "code": "stopped_too_soon",
                "evidence": f"{late} of {len(best_epochs)} folds were still improving on the rows "
                f"that early stopping watches in the last of {max_epochs} epochs",
                "advice": "raise max_epochs",
            }
        )
    if parameters > train_rows:
        findings.append(
            {
                "code": "capacity_exceeds_data",
                "evidence": f"{parameters:,} weights for {train_rows:,} training rows",
                "advice": "fine while overfitting is held back by weight_decay, dropout and early "
                "stopping; compare with fewer hidden units",
            }
        )
    spread = float(np.std(1 - np.asarray(validation_r2), ddof=1)) if len(validation_r2) > 1 else 0.0
    if scored_rows >= FEWEST_R2_ROWS and spread > DISAGREEMENT * unexplained:
        findings.append(
            {
                "code": "folds_disagree",
                "evidence": f"unexplained variance out of fold is {unexplained:.3f} ± "
                f"{spread:.3f} over the folds",
                "advice": "look at the rows with the largest out-of-fold errors; stratified folds "
                "or more rows make the estimate steadier",
            }
        )
    if not findings or [f["code"] for f in findings] == ["capacity_exceeds_data"]:
        findings.insert(
            0,
            {
                "code": "good_fit",
                "evidence": f"the networks explain {fitted:.1%} of the variance on training rows "
                f"and {scored:.1%} out of fold",
                "advice": "nothing stands out; try other specs against this one",
            },
        )
    return findings
