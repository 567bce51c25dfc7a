"""A sweep in sentences."""

from __future__ import annotations

from app.storage.tables import State
from app.sweeps.schemas import SweepOut
from app.web.formats import metric, metric_value, with_error
from models.sweeps.outcome import SweepOutcome


def answer(sweep: SweepOut) -> list[str]:
    """What it came to, or what is known so far; the first is the answer."""
    name = metric(sweep.metric)
    done = sweep.progress.succeeded
    if sweep.best is None:
        return []
    if sweep.model_id is None:
        value = with_error(sweep.best.value, sweep.best.standard_error)
        first = "Trial" if done == 1 else f"The best of {done:,} trials so far is trial"
        said = f"{first} {sweep.best.trial}: {name} {value}."
        if sweep.status in (State.QUEUED, State.RUNNING):
            return [said, "What that is worth on new rows is computed at the end."]
        return [said]
    outcome = SweepOutcome(
        trials=done,
        metric=sweep.metric,
        best=sweep.best.trial,
        expected=sweep.expected,
        as_good=sweep.as_good,
        members=sweep.members,
    )
    told = outcome.told(name)
    if len(sweep.members) > 1 and sweep.metrics is not None:
        own, errors = sweep.metrics.get(sweep.metric), sweep.metrics_error or {}
        value = metric_value(own, sweep.metric, errors.get(sweep.metric))
        return [f"The blend of {len(sweep.members)} trials has {name} {value}.", *told]
    return told
