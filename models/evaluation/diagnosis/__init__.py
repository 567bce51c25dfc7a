"""What a run shows about its fit: is it better than the mean, and than what is known to be
possible; if not, the cause; if so, whether its rows look right.

A cause is named only where the model falls short: networks that are as good as boosted trees may
have saturated units as they like. The first finding is the most likely cause.
"""

from __future__ import annotations

from models.evaluation.baselines import WORDS
from models.evaluation.diagnosis.causes import (
    CAUSES,
    found,
    left_to_columns,
    numbers_ended,
    still_falling,
    underfitting,
)
from models.evaluation.diagnosis.columns import residuals_follow_columns
from models.evaluation.diagnosis.evidence import Evidence, percent
from models.evaluation.diagnosis.findings import Finding
from models.evaluation.diagnosis.next_specs import better, is_blend, is_quick, recipe, rival_alone
from models.evaluation.diagnosis.rows import LOOKS, few_rows_dominate, label_errors_suspected

__all__ = ["Evidence", "Finding", "diagnose"]

# Explaining nearly all of the training rows is memory, not skill, if as much is lost out of fold.
MEMORISED, LOST = 0.9, 0.3
# Explaining less is no fit if no baseline says what could be had.
UNDERFITTING = 0.5
# What is fitted must fall short of the best known by this share of what that explains.
SHORT = 0.97
# The recipe asks for a change if a baseline errs less by this share, and explains so much more.
WIDE, WIDE_POINTS = 0.2, 0.1
# Decay of a smaller share of the weights, over the whole run, does nothing.
SMALLEST_DECAY = 0.01


def diagnose(run: Evidence) -> list[Finding]:
    """Findings, the most likely cause first; one if all is well, with the code `good_fit`."""
    if (trouble := numbers_ended(run)) is not None:
        return [trouble]
    if not _falls_short(run):
        if not run.beats_mean and not run.learnable:
            known = residuals_follow_columns(run) or label_errors_suspected(run)
            return [known or few_rows_dominate(run) or no_better_than_mean(run)]
        late = still_falling(run) if run.spec.members is None else None
        looks = [late, residuals_follow_columns(run), *(look(run) for look in LOOKS)]
        return [finding for finding in looks if finding is not None] or [good_fit(run)]
    if _is_memorised(run):
        return [overfitting(run)]
    for cause in CAUSES if run.courses else ():
        if (finding := cause(run)) is not None:
            return [finding]
    if (mistakes := label_errors_suspected(run)) is not None:
        return [mistakes]
    # A baseline may be better than networks that have learnt noise, and not than the mean.
    if not run.beats_mean and not run.learnable:
        return [no_better_than_mean(run)]
    if is_quick(run.spec) or is_blend(run.spec):
        return [baseline_is_better(run)]
    if run.fitted is not None and run.fitted >= SHORT * run.best_known:
        return [overfitting(run)]
    return [underfitting(run)]


def _falls_short(run: Evidence) -> bool:
    """Whether more can be learnt from these rows than the model did."""
    if run.ahead is not None or _is_memorised(run):
        return True
    if run.rivals:
        return not run.beats_mean and run.learnable and run.likely_ahead
    # Without baselines only the training rows tell.
    return run.fitted is not None and run.fitted < UNDERFITTING and not run.beats_mean


def _is_memorised(run: Evidence) -> bool:
    """Nothing held the networks back, and they know their training rows by heart."""
    spec = run.network
    is_free = spec.early_stopping is None and spec.dropout == 0 and _decay(run) < SMALLEST_DECAY
    return (
        is_free
        and run.fitted is not None
        and run.fitted >= MEMORISED
        and run.explained < run.fitted - LOST
    )


def _decay(run: Evidence) -> float:
    """The share of the weights that decay alone takes over the whole run."""
    return run.network.optimizer.learning_rate * run.network.weight_decay * run.steps


def no_better_than_mean(run: Evidence) -> Finding:
    share, error = run.over_mean
    doubt = "" if error is None else f" ± {100 * error:.1f}"
    others = ", nor are the baselines" if run.rivals else ""
    return Finding(
        code="no_better_than_mean",
        asks="look",
        evidence=f"the error is {100 * abs(share):.1f}{doubt} % "
        f"{'below' if share > 0 else 'above'} that of {run.constant}: no better, "
        f"as far as {len(run.order):,} rows can tell{others}",
        advice="other columns, or more rows: what these say about the target, if anything, is less "
        "than their noise, and no setting changes that",
        next_spec=None,
    )


def overfitting(run: Evidence) -> Finding:
    assert run.fitted is not None
    rival = run.ahead
    evidence = (
        f"the networks explain {percent(run.fitted)} of {run.measured} on training rows and "
        f"{percent(run.explained) if run.explained > 0 else 'nothing'} out of fold"
    )
    if rival is not None:
        share, error = run.rivals[rival]
        evidence += (
            f"; the error of {WORDS[rival]} is {percent(share)} ± {100 * (error or 0):.1f} lower"
        )
    if run.parameters > run.train_rows:
        evidence += f"; {run.parameters:,} weights learnt from {run.train_rows:,} rows"
    evidence += left_to_columns(run)
    if 0 < _decay(run) < SMALLEST_DECAY:
        evidence += (
            f"; weight_decay {run.network.weight_decay:g} does nothing: with the learning rate and "
            f"{run.steps:,} steps it takes {percent(_decay(run))} of a weight"
        )
    return found(
        "overfitting",
        evidence,
        "early stopping, dropout, fewer hidden units, a weight_decay that takes a part of the "
        "weights, or more rows; the recipe has the first two",
        better(run.spec, len(run.order)),
    )


def baseline_is_better(run: Evidence) -> Finding:
    """The recipe did what it can. It asks for a change only if the gap is sure and wide."""
    rival = run.ahead or run.best_rival
    share, error = run.rivals[rival]
    doubt = "" if error is None else f" ± {100 * error:.1f}"
    is_wide = share >= WIDE and run.explained_by(rival) - run.explained >= WIDE_POINTS
    if is_quick(run.spec):
        advice = (
            "effort 'standard' blends networks with boosted trees and, on small tables, with a "
            "kernel and a ridge regression, and weights each by what it adds"
        )
    else:
        advice = f"{WORDS[rival]} alone; it is smaller too"
    return Finding(
        code="baseline_is_better",
        asks="change" if is_wide and run.ahead is not None else "hint",
        evidence=f"the error of {WORDS[rival]} is {100 * share:.1f}{doubt} % lower: it explains "
        f"{percent(run.explained_by(rival))} of {run.measured} out of fold, and the "
        f"{'one network of a quick job' if is_quick(run.spec) else 'blend'} "
        f"{percent(run.explained) if run.explained > 0 else 'nothing'}",
        advice=advice,
        next_spec=recipe(run.spec) if is_quick(run.spec) else rival_alone(run.spec, rival),
    )


def good_fit(run: Evidence) -> Finding:
    share, _ = run.over_mean
    evidence = (
        f"the model explains {percent(run.explained)} of {run.measured} out of fold, and its error "
        f"is {percent(share)} below that of {run.constant}"
    )
    if run.rivals:
        evidence += "; no baseline is surely better"
    return Finding(
        code="good_fit",
        asks="nothing",
        evidence=evidence,
        advice="nothing stands out; compare other specs with this one",
        next_spec=None,
    )
