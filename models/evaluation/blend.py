"""Adds up the models of a spec's members, by weights from their out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.design import Design
from models.data.folds import FoldRows
from models.evaluation.simplicity import as_good
from models.evaluation.weights import member_weights
from models.export.served import ServedModel, outputs_of_parts
from models.objectives.learning import Learning, Target
from models.objectives.metrics import jackknife, units
from models.objectives.trained import learning_of
from models.spec import TrainingSpec
from models.training.engine import TrainedPopulation

Vector = NDArray[np.float64]


def blend(
    spec: TrainingSpec,
    trained: Sequence[TrainedPopulation],
    design: Design,
    folds: Sequence[FoldRows],
    weights: Vector | None = None,
) -> tuple[ServedModel, dict[str, Any]]:
    """What is served, and the members of the job's result that describe a blend; for a spec
    without members its only model, and nothing.

    `trained`: of each member of the spec. At least one has weights in at least one fold. `weights`
    (F, members): those that a choice among more models has given, if every member has weights in
    every fold.
    """
    models = [_served(spec, population) for population in trained]
    known = {place: model for place, model in enumerate(models) if model is not None}
    if spec.members is None:
        return known[0], {}
    most = max((model.folds for model in known.values()), key=len)
    usable = {place: model for place, model in known.items() if model.folds == most}
    rows = [folds[number].validation for number in most]
    found = _OutOfFold.of(spec, list(usable.values()), design, rows)
    if weights is None:
        weights = found.weights(spec)
    candidates = list(usable)
    # If no member is better than a constant, one of them stays, without weight.
    smallest = min(range(len(usable)), key=lambda place: _bytes(usable[candidates[place]]))
    kept = np.flatnonzero(weights.max(0) > 0).tolist() or [smallest]
    served = ServedModel.blend(
        [usable[candidates[place]] for place in kept],
        torch.from_numpy(np.ascontiguousarray(weights[:, kept])),
        latest_alone=spec.folds.type == "time",
    )
    shares = dict(zip(candidates, weights.mean(0).tolist(), strict=True))
    served_places = {candidates[place] for place in kept}
    column = None if design.fold_column is None else design.fold_column[np.concatenate(rows)]
    errors = found.compare(spec, weights, column)
    members = []
    for place, trial in enumerate(spec.trials()):
        compared = errors[candidates.index(place)] if place in usable else {}
        members.append(
            {
                "architecture": trial.architecture.type,
                "weight": shares.get(place, 0.0),
                "bytes": _bytes(usable[place]) if place in usable else None,
                "error": compared.get("error"),
                "difference": compared.get("difference"),
                "standard_error": compared.get("standard_error"),
                "left_out": None
                if place in served_places
                else ("it adds nothing" if place in usable else _failure(trained[place])),
            }
        )
    cheaper = as_good(
        [member["difference"] for member in members],
        [member["standard_error"] for member in members],
        [member["bytes"] for member in members],
        _bytes(served),
    )
    return served, {"blend": {"members": members, "cheaper": cheaper}}


def served_members(blended: dict[str, Any]) -> list[int]:
    """The places in the spec of the members that are served, from what `blend` says of them."""
    if not blended:
        return [0]
    members = blended["blend"]["members"]
    return [place for place, member in enumerate(members) if member["left_out"] is None]


def _served(spec: TrainingSpec, population: TrainedPopulation) -> ServedModel | None:
    """None if no member of it has weights."""
    if all(course.best_epoch == 0 for course in population.courses):
        return None
    return ServedModel.of(population, latest_alone=spec.folds.type == "time")


def _failure(population: TrainedPopulation) -> str:
    """Why a member is usable in none or not in all of the served folds."""
    troubles = [course.trouble for course in population.courses if course.trouble is not None]
    if troubles:
        return f"it failed at {troubles[0]}"
    if any(course.stopped_by == "non_finite" for course in population.courses):
        return "it failed in some folds"
    return "the run was stopped before it had trained in all folds"


def _bytes(served: ServedModel) -> int:
    """Of what is learned."""
    return sum(tensor.numel() * tensor.element_size() for tensor in served.state_dict().values())


class _OutOfFold:
    """Raw outputs of P models for the rows of F folds, each by the members of the row's own fold.

    outputs : F times (n, P, outputs) float64
    targets : F times (n,), as the loss takes them
    """

    def __init__(
        self,
        learning: Learning,
        targets: Sequence[Target],  # of each fold
        actual: Sequence[Vector],
        outputs: Sequence[Tensor],
    ) -> None:
        self._learning = learning
        self._targets = targets
        self._actual = actual
        self._outputs = outputs

    @classmethod
    def of(
        cls,
        spec: TrainingSpec,
        models: Sequence[ServedModel],
        design: Design,
        rows: Sequence[NDArray[np.int64]],
    ) -> _OutOfFold:
        # Together, because all parts see the same comparables.
        together = ServedModel.blend(models, torch.ones(len(rows), len(models)))
        by_fold = [together.fold(place) for place in range(len(rows))]
        outputs = [
            outputs_of_parts(model, design.numbers[own], design.codes[own])[0].transpose(0, 1)
            for model, own in zip(by_fold, rows, strict=True)
        ]
        targets = [model.target for model in by_fold]
        return cls(learning_of(spec), targets, [design.target[own] for own in rows], outputs)

    def weights(self, spec: TrainingSpec) -> Vector:
        """(F, P): each fold's from the rows of the others, in time of earlier ones; equal ones if
        those are few."""
        count = self._outputs[0].shape[1]
        if spec.weights == "mean":
            return np.full((len(self._outputs), count), 1 / count)
        standard = [
            target.standardize(torch.from_numpy(actual)[None])[0]
            for target, actual in zip(self._targets, self._actual, strict=True)
        ]
        return member_weights(
            self._outputs,
            standard,
            self._learning.watched_loss(spec),
            in_time=spec.folds.type == "time",
        )

    def compare(
        self, spec: TrainingSpec, weights: Vector, column: NDArray[Any] | None
    ) -> list[dict[str, float | None]]:
        """Of each model alone its error, the difference to the blend's error, and the standard
        error of that."""
        blended = self._errors(weights)
        apart = units(spec, column, len(blended))
        typical = self._learning.typical_error

        def difference(means: Vector) -> Vector:
            gap: Vector = typical(means[..., 0]) - typical(means[..., 1])
            return gap

        compared: list[dict[str, float | None]] = []
        for place in range(weights.shape[1]):
            alone = np.zeros_like(weights)
            alone[:, place] = 1.0
            terms = np.stack([self._errors(alone), blended], axis=1)
            means = terms.mean(axis=0)
            compared.append(
                {
                    "error": float(typical(means[:1])[0]),
                    "difference": float(difference(means)),
                    "standard_error": jackknife(terms, difference, apart),
                }
            )
        return compared

    def _errors(self, weights: Vector) -> Vector:
        """(n,) of all rows, with weights (F, P)."""
        errors = []
        for fold, (target, actual) in enumerate(zip(self._targets, self._actual, strict=True)):
            outputs = (self._outputs[fold] * torch.from_numpy(weights[fold])[:, None]).sum(1)
            predicted = target.restore(outputs[None])[0].numpy()
            errors.append(target.row_errors(actual, predicted))
        return np.concatenate(errors)
