"""Numerical trouble in the members' training, with advice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from models.evaluation.findings import Finding
from models.training.progress import Course

# The target is standardised, so predicting its mean has a loss of 1 or less. The gradient of a
# healthy network has a norm around 1.
DIVERGED_LOSS = 10.0
EXPLODING_NORM = 1e3
VANISHING_NORM = 1e-6
# A training loss that changed by no more than this share has not moved.
STILL = 1e-3
# A larger share of idle hidden units is reported.
IDLE_UNITS = 0.5
# Members whose trouble is reported one by one.
EXAMPLES = 3


def numerical_findings(courses: Sequence[Course], folds: int, train_r2: float) -> list[Finding]:
    """Findings over the members of all folds; members of a fold are adjacent.

    `train_r2`: mean over the folds on their training rows, on the standardised target's scale.
    """
    findings: list[Finding] = []
    per_fold = len(courses) // folds
    failed = [place for place, course in enumerate(courses) if course.stopped_by == "non_finite"]
    if failed:
        places = [f"fold {p // per_fold} at {courses[p].trouble}" for p in failed[:EXAMPLES]]
        more = f" and {len(failed) - EXAMPLES} more" if len(failed) > EXAMPLES else ""
        findings.append(
            {
                "code": "numerical_trouble",
                "evidence": f"the numbers of {len(failed)} of {len(courses)} members stopped being "
                f"finite: {', '.join(places)}{more}; each member kept its best weights "
                "from before that, and other members replace those that have none",
                "advice": "lower optimizer.learning_rate, set optimizer.gradient_clip, scale the "
                "inputs, or choose another initialization",
            }
        )
    loss = float(np.median([course.last_loss for course in courses]))
    if not failed and train_r2 < 0 and loss > DIVERGED_LOSS:
        findings.append(
            {
                "code": "numerical_trouble",
                "evidence": "the networks predict their own training rows worse than the mean of "
                f"these rows would; the training loss ended at {loss:.3g}",
                "advice": "lower optimizer.learning_rate or dropout, set optimizer.gradient_clip, "
                "or choose an initialization with smaller weights",
            }
        )
    norms = [course.largest_gradient for course in courses if course.best_epoch > 0]
    largest, smallest = max(norms, default=1.0), min(norms, default=1.0)
    if largest > EXPLODING_NORM:
        findings.append(
            {
                "code": "exploding_gradients",
                "evidence": f"the norm of a gradient reached {largest:.2g}; around 1 is usual",
                "advice": "set optimizer.gradient_clip to 1, lower optimizer.learning_rate, or "
                "choose an initialization that keeps the variance (xavier, kaiming)",
            }
        )
    if smallest < VANISHING_NORM:
        findings.append(
            {
                "code": "vanishing_gradients",
                "evidence": f"the norm of a gradient never exceeded {smallest:.2g}: errors of the "
                "output do not reach the weights",
                "advice": "use activations that do not saturate (relu, silu), xavier or kaiming "
                "initialization, normalization, fewer layers",
            }
        )
    still = [course for course in courses if _still(course)]
    if still and train_r2 < STILL:
        first, last = still[0].first_loss, still[0].last_loss
        findings.append(
            {
                "code": "loss_does_not_move",
                "evidence": f"the training loss of {len(still)} of {len(courses)} members went "
                f"from {first:.5g} to {last:.5g} in {still[0].epochs} epochs",
                "advice": "a higher optimizer.learning_rate; weights that all start equal, or at "
                "0, stay equal: choose xavier_uniform; or the columns do not explain the target",
            }
        )
    dead = _mean([course.dead_units for course in courses])
    if dead is not None and dead > IDLE_UNITS:
        findings.append(
            {
                "code": "dead_units",
                "evidence": f"{dead:.0%} of the hidden units are 0 for every row, so that no "
                "gradient moves them",
                "advice": "lower optimizer.learning_rate, leaky_relu or silu instead of relu, "
                "kaiming initialization",
            }
        )
    saturated = _mean([course.saturated_units for course in courses])
    if saturated is not None and saturated > IDLE_UNITS:
        findings.append(
            {
                "code": "saturated_units",
                "evidence": f"{saturated:.0%} of the hidden activations lie within 1 % of a bound "
                "of their function, where its slope is almost 0",
                "advice": "an initialization with smaller weights (xavier), scaled inputs, "
                "scaled_sigmoid or relu instead of sigmoid",
            }
        )
    return findings


def _still(course: Course) -> bool:
    if course.stopped_by == "non_finite":  # it kept its best weights from before
        return False
    moved = abs(course.first_loss - course.last_loss)
    return course.epochs > 1 and moved <= STILL * abs(course.first_loss)


def _mean(shares: list[float | None]) -> float | None:
    known = [share for share in shares if share is not None and math.isfinite(share)]
    return float(np.mean(known)) if known else None
