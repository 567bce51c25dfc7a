"""Makes the model of a sweep from what its trials left: the best one, or a blend of several.

Nothing is trained. The error of the best is corrected for having been picked
(`models.evaluation.selection`); the weights of a blend's fold come from the other folds' rows, and
so does the choice of what is blended (`models.evaluation.blend`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.callbacks import Progress
from models.evaluation.blend import blend
from models.evaluation.selection import Trials, expected_error, simpler
from models.evaluation.weights import trial_weights
from models.experiment import (
    Clock,
    Context,
    Laid,
    Outcome,
    Trained,
    TrainingFailed,
    finish,
    lay,
    reviewed,
)
from models.networks.population import take
from models.objectives import objective_of
from models.objectives.learning import Target
from models.objectives.metrics import Vector, units
from models.objectives.trained import learning_of
from models.spec import MemberSettings, TrainingSpec
from models.spec.sweep import SweepSpec
from models.training.engine import TrainedPopulation
from models.training.extras import KnownExtras
from models.trials.saved import Saved
from models.trials.timing import row_seconds


@dataclass(frozen=True)
class Candidate:
    """A trial that succeeded; `bytes`: of its weights."""

    number: int
    spec: TrainingSpec
    bytes: int
    path: Path


def conclude(
    context: Context, family: TrainingSpec, sweep: SweepSpec, candidates: Sequence[Candidate]
) -> Outcome:
    """Write the files of a sweep's model; its result has the member `sweep` besides.

    Raises
    ------
    Stopped, TrainingFailed: as `models.experiment.run`.
    """
    clock = Clock()
    context.callbacks.report(Progress(1.0, 0, 0, family.k_folds, 0, None), [])
    laid = lay(context, family)
    clock.lap("prepare")
    assert sweep.metric is not None
    try:
        saved = [Saved.read(candidate.path) for candidate in candidates]
    except ValueError as error:
        raise TrainingFailed(str(error)) from error
    learning = learning_of(family)
    known = [laid.design.target[fold.known] for fold in laid.folds]
    target = learning.target(known, laid.design.levels, family)
    trials = _trials(family, laid, target, saved)
    expected = expected_error(trials, sweep.metric, seed=sweep.seed)
    if expected is None:
        expected_best, best = None, 0
    else:
        expected_best, best = asdict(expected), expected.winner
    as_good = simpler(trials, sweep.metric, [candidate.bytes for candidate in candidates])
    chosen, spec = [best], candidates[best].spec
    weights = None
    if sweep.keep == "blend":
        weights = _weights(family, laid, target, saved)
        places = np.flatnonzero(weights.max(0) > 0).tolist()
        if len(places) > 1:
            chosen, weights = places, weights[:, places]
            spec = _blended(family, [candidates[place].spec for place in chosen])
        else:
            weights = None
    context.stop_if_requested()
    clock.lap("choose")
    laid = reviewed(context, spec, laid)
    populations = _populations(laid, [candidates[place] for place in chosen], saved, chosen)
    served, blended = blend(spec, populations, laid.design, laid.folds, weights)
    found = {
        "trials": len(candidates),
        "metric": sweep.metric,
        "best": candidates[best].number,
        "expected": _named(expected_best),
        "as_good": None
        if as_good is None
        else asdict(as_good) | {"trial": candidates[as_good.trial].number},
        "members": [candidates[place].number for place in chosen],
        "bytes": served.bytes,
        "row_seconds": row_seconds(served, laid.design),
    }
    epochs = saved[chosen[0]].epochs
    trained = Trained(populations, served, blended, epochs, {"sweep": found})
    return finish(context, spec, laid, trained, clock)


def _named(expected: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without what only the choice needs."""
    if expected is None:
        return None
    kept = ("naive", "estimate", "low", "high", "optimism")
    return {name: expected[name] for name in kept}


def _trials(family: TrainingSpec, laid: Laid, target: Target, saved: Sequence[Saved]) -> Trials:
    design = laid.design
    decided = [own.rows.predicted for own in saved if own.rows.predicted is not None]
    return Trials(
        objective_of(family),
        [own.rows.prediction for own in saved],
        design.target,
        units(family, design.fold_column, len(design)),
        predicted=decided or None,
        positive=target.positive,
    )


def _weights(family: TrainingSpec, laid: Laid, target: Target, saved: Sequence[Saved]) -> Vector:
    """(F, T) of each fold's blend; most are 0."""
    actual = [torch.from_numpy(laid.design.target[fold.validation])[None] for fold in laid.folds]
    standard = [
        take(target, torch.tensor([number])).standardize(own)[0]
        for number, own in enumerate(actual)
    ]

    def outputs(fold: int, trial: int) -> torch.Tensor:
        raw = saved[trial].rows.raw[laid.folds[fold].validation]
        return torch.from_numpy(raw).double()

    loss = learning_of(family).watched_loss(family)
    in_time = family.folds.type == "time"
    return trial_weights(outputs, len(saved), standard, loss, in_time=in_time)


def _blended(family: TrainingSpec, specs: Sequence[TrainingSpec]) -> TrainingSpec:
    """The spec of a blend with these trials as its members."""
    members = [
        MemberSettings(**{name: getattr(spec, name) for name in MemberSettings.model_fields})
        for spec in specs
    ]
    longest = max(member.max_epochs for member in members)  # shown as the job's
    return family.model_copy(update={"members": members, "max_epochs": longest})


def _populations(
    laid: Laid, candidates: Sequence[Candidate], saved: Sequence[Saved], places: Sequence[int]
) -> list[TrainedPopulation]:
    known = KnownExtras(laid.design, laid.folds)
    return [
        saved[place].population(candidate.spec, laid.design, laid.folds, known.of(candidate.spec))
        for place, candidate in zip(places, candidates, strict=True)
    ]
