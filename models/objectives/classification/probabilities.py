"""The classes of a target: indices for the network, calibrated probabilities for predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.objectives.base import Vector
from models.objectives.classification.levels import positive_of
from models.objectives.classification.metrics import log_losses
from models.objectives.learning import ALL, Target
from models.objectives.metrics import Metrics
from models.spec import TrainingSpec

# Added to each class's rows, so that no share is 0.
SMOOTHING = 0.5
# Log-odds of 3 to 1 at the margin that the hinge loss asks for.
MARGIN_SCALE = 0.9


class ClassTarget(Target):
    """The C classes.

    A prediction is softmax(outputs / temperature). Of two classes, a monotone function of the
    second one's probability may follow: linear between `knots`.

    has_margins : whether outputs are margins, not log-odds
    scale : the temperature to expect
    positive : index of the positive one of two classes
    served_threshold : that of all folds
    uncalibrated : log loss and calibration error before calibration
    """

    temperature: Tensor  # (F, 1)
    prior: Tensor  # (F, C) shares of the training rows; predicted if numbers overflow the network
    weights: Tensor  # (F, C) of the classes' rows in the loss
    knots: Tensor | None  # (F, J) from 0 to 1, of the second class's probability
    heights: Tensor  # (F, J) what it becomes there
    threshold: Tensor  # (F, 1) from which the positive one of two classes is predicted

    def __init__(
        self, training: Sequence[Vector], levels: Sequence[str], spec: TrainingSpec
    ) -> None:
        super().__init__()
        self.outputs = len(levels)
        self.weighs = spec.class_weights is not None
        counts = np.stack(
            [np.bincount(rows.astype(int), minlength=len(levels)) for rows in training]
        )
        smooth = counts + SMOOTHING
        self.register_buffer("prior", torch.from_numpy(smooth / smooth.sum(1, keepdims=True)))
        weights = [_weights(spec, levels, rows) for rows in counts]
        self.register_buffer("weights", torch.from_numpy(np.stack(weights)))
        self.has_margins = spec.loss != "cross_entropy"
        self.scale = MARGIN_SCALE if self.has_margins else 1.0
        ones = torch.ones(len(training), 1, dtype=torch.float64)
        self.register_buffer("temperature", self.scale * ones)
        self.register_buffer("threshold", 0.5 * ones)
        self.positive = positive_of(levels, counts.sum(0).tolist(), spec.decision.positive)
        self.served_threshold = 0.5
        self.uncalibrated: Metrics = {}
        self.register_buffer("knots", None)
        self.register_buffer("heights", None)

    @property
    def method(self) -> str:
        """How the probabilities were calibrated."""
        if self.knots is not None:
            return "isotonic"
        is_plain = not self.has_margins and bool((self.temperature == self.scale).all())
        return "none" if is_plain else "temperature"

    def standardize(self, target: Tensor) -> Tensor:
        return target

    def row_weights(self, target: Tensor) -> Tensor | None:
        return self.weights.gather(1, target.long()) if self.weighs else None

    def restore(self, outputs: Tensor, members: slice = ALL) -> Tensor:
        """(F, N, C) raw outputs of these members to (F, N, C) probabilities."""
        scaled = outputs.double() / self.temperature[members].unsqueeze(2)
        probabilities = torch.softmax(scaled, -1)
        if self.knots is not None:
            # The second class's; a sum of ramps, because ONNX has no search among sorted numbers.
            second = probabilities[..., 1:]
            knots = self.knots[members].unsqueeze(1)
            heights = self.heights[members].unsqueeze(1)
            widths = knots.diff()
            ramps = torch.minimum((second - knots[..., :-1]).clamp(min=0), widths)
            second = heights[..., :1] + (ramps * (heights.diff() / widths)).sum(-1, keepdim=True)
            probabilities = torch.cat([1 - second, second], -1)
        return torch.where(
            torch.isnan(probabilities), self.prior[members].unsqueeze(1), probabilities
        )

    def row_errors(self, actual: Vector, predicted: Vector) -> Vector:
        return log_losses(actual, predicted)

    def apart(self, found: Vector, expected: Vector) -> Vector:
        """The largest difference of a class's probabilities."""
        distance: Vector = np.abs(found - expected).max(-1)
        return distance


def _weights(spec: TrainingSpec, levels: Sequence[str], rows: np.ndarray) -> Vector:
    """(C,) with a mean of 1 over the training rows."""
    if spec.class_weights is None:
        return np.ones(len(levels))
    if spec.class_weights == "balanced":
        weights = np.where(rows > 0, 1 / np.maximum(rows, 1), 0.0)
    else:
        weights = np.array([spec.class_weights.get(level, 1.0) for level in levels])
    weights *= rows.sum() / (weights * rows).sum()
    return weights
