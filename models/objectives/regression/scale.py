"""The target's scale: standardised for the network, restored for predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from models.objectives.base import Vector
from models.objectives.learning import ALL, Target
from models.objectives.regression.bounds import Bounds
from models.objectives.regression.intervals import transformed
from models.spec import Preprocessing, TrainingSpec
from models.tables.statistics import ROUNDING

# How far a prediction may exceed the training targets: a share of their range or, if they are
# learnt as logarithms, of the lowest and the highest. With 60 heavy-tailed rows, a tenth clips so
# many right predictions that the error grows by 6 %; a half costs 0.7 %.
MARGIN = 0.5
# The same for folds in time, whose predicted rows come later and may follow a trend.
MARGIN_IN_TIME = 1.0
# Standard deviations at which a target is clipped. No training target is that far. It keeps the
# square of a scored or padding row's target finite in float32, so that it stops no fold.
LARGEST_TARGET = 1e15
# Rounding error of a target far from zero, in units of its last place.
LAST_PLACES = 16


class TargetScale(Target):
    """Standardises by each fold's training rows, with or without a logarithm first.

    Everything is float64 except the input of the loss.
    """

    outputs = 1
    has_spread = True

    center: Tensor  # (F, 1)
    scale: Tensor  # (F, 1)
    low: Tensor  # (F, 1) bounds of a prediction on the target's own scale
    high: Tensor  # (F, 1)
    smearing: Tensor  # (F, 1) factor from the median, about, to the mean
    overflow: Tensor  # (F, 1) the prediction for a row whose numbers overflow the network

    def __init__(self, training: Sequence[Vector], spec: TrainingSpec) -> None:
        """Learn from the targets of each fold's training rows."""
        super().__init__()
        preprocessing = spec.preprocessing
        self.log = preprocessing.target_transform == "log"
        self.smeared = self.log and preprocessing.retransform == "mean"
        margin = MARGIN_IN_TIME if spec.folds.type == "time" else MARGIN
        folds = [_statistics(preprocessing, target, margin) for target in training]
        for place, name in enumerate(("center", "scale", "low", "high")):
            values = torch.tensor([fold[place] for fold in folds], dtype=torch.float64)
            self.register_buffer(name, values.unsqueeze(1))
        self.register_buffer("smearing", torch.ones_like(self.scale))
        self.register_buffer("overflow", self._overflow())

    def standardize(self, target: Tensor) -> Tensor:
        """(F, N) targets on their own scale to (F, N) standardised ones."""
        transformed = torch.log(target) if self.log else target
        standardised = (transformed - self.center) / self.scale
        return standardised.clamp(-LARGEST_TARGET, LARGEST_TARGET)

    def restore(self, outputs: Tensor, members: slice = ALL) -> Tensor:
        """(F, N, 1) raw outputs of these members to (F, N) predictions on the target's own
        scale."""
        output = outputs.squeeze(2)
        transformed = output.double() * self.scale[members] + self.center[members]
        prediction = torch.exp(transformed) if self.log else transformed
        if self.smeared:
            prediction = prediction * self.smearing[members]
        bounded = torch.minimum(torch.maximum(prediction, self.low[members]), self.high[members])
        return torch.where(torch.isnan(output), self.overflow[members], bounded)

    def rescaling(self, earlier: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        center, scale = self.center.squeeze(1), self.scale.squeeze(1)
        before = {name: earlier[name].to(center).squeeze(1) for name in ("center", "scale")}
        return before["scale"] / scale, (before["center"] - center) / scale

    def spread(self, parts: Tensor, weights: Tensor, first: int) -> Tensor:
        """The standard deviation on the transformed target's scale."""
        outputs, shares = parts[..., 0], (weights / weights.sum(1, keepdim=True)).unsqueeze(2)
        shares = torch.where(torch.isnan(shares), 0.0, shares)  # of a fold without weights
        middle = (shares * outputs).sum(1, keepdim=True)
        deviations = (shares * (outputs - middle).square()).sum(1).sqrt() * self.scale  # (F, N)
        return deviations[first:].mean(0)

    def smear(self, factors: Tensor) -> None:
        """Multiply each fold's predictions by its factor of (F,) from now on."""
        self.smearing = factors.double().unsqueeze(1)
        self.overflow = self._overflow()

    def _overflow(self) -> Tensor:
        """The next number above the mean, so that no other row has the same prediction."""
        middle = torch.exp(self.center) * self.smearing if self.log else self.center
        above = torch.nextafter(middle, torch.full_like(middle, torch.inf))
        return torch.minimum(torch.maximum(above, self.low), self.high)

    def transform(self, target: Vector) -> Vector:
        """The scale on which a target is learnt, before it is standardised."""
        return transformed(target, "log" if self.log else "none")

    def row_errors(self, actual: Vector, predicted: Vector) -> Vector:
        """Squared errors of the median prediction, even if the mean is predicted."""
        median = predicted / self.smearing[0].item()
        errors: Vector = (self.transform(median) - self.transform(actual)) ** 2
        return errors

    def apart(self, found: Vector, expected: Vector) -> Vector:
        """In standard deviations of the fold's training targets, or as a share of the prediction if
        that is many of them from the mean. On the target's own scale, a year would pass any graph
        and a count that is mostly zero would refuse its own."""
        center, scale = self.center[0].item(), self.scale[0].item()
        with np.errstate(invalid="ignore", divide="ignore"):  # a prediction of 0 has no logarithm
            size, other = ((self.transform(v) - center) / scale for v in (expected, found))
            lost = LAST_PLACES * np.finfo(np.float64).eps * abs(center) / scale
            distance: Vector = (np.abs(other - size) - lost) / np.maximum(np.abs(size), 1.0)
        return distance

    def bounds(self) -> Bounds:
        """The range of predictions."""
        low, high, overflow = (
            part.squeeze(1).tolist() for part in (self.low, self.high, self.overflow)
        )
        return Bounds(low=low, high=high, overflow=overflow)


def _statistics(
    preprocessing: Preprocessing, target: np.ndarray, margin: float
) -> tuple[float, float, float, float]:
    """(center, scale, low, high): the first two of the transformed target, the bounds of its own
    scale."""
    learnt = transformed(target, preprocessing.target_transform or "none")
    largest = max(float(np.abs(learnt).max()), np.finfo(np.float64).tiny)
    center = float(np.mean(learnt / largest)) * largest
    spread = float(np.std(learnt / largest))
    scale = spread * largest if spread > ROUNDING else 1.0
    low, high = float(target.min()), float(target.max())
    if preprocessing.target_transform == "log":
        return center, scale, low / (1 + margin), high * (1 + margin)
    room = margin * ((high - low) or scale)
    return center, scale, low - room, high + room
