"""What a perceptron did: its mistakes, the margin that it reached, and Novikoff's bound.

If a vector w with margin ρ = min y·⟨w, x⟩ / ‖w‖ > 0 separates all training rows, the perceptron
makes at most (R / ρ)² mistakes before it separates them too, R the largest ‖x‖ (Novikoff 1962, "On
convergence proofs for perceptrons"). The weights that it ends with are such a vector, if it ends. A
row x has an input of 1 for the bias. With several classes, w is that of all classes side by side,
and x is placed at its own class and, negative, at the rival (Kesler's construction), so that R²
doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.design import Design
from models.data.folds import FoldRows
from models.export.served import ServedModel
from models.spec import TrainingSpec
from models.spec.architectures import PerceptronArchitecture
from models.training.progress import Course

Vector = NDArray[np.float64]


def perceptron_report(
    served: ServedModel,
    spec: TrainingSpec,
    design: Design,
    folds: Sequence[FoldRows],
    courses: Sequence[Course],
) -> list[dict[str, Any]]:
    """A row for each member of the served folds.

    fold, updates and epochs; converged: whether the last epoch had no mistake, and the weights
    separate the rows; margin ρ, negative if some training rows are on the wrong side; radius R;
    bound (R / ρ)², None unless they are separated by the rule that it is about.
    """
    is_taught = _as_taught(spec)
    report = []
    per_fold = served.members_per_fold
    for place, fold in enumerate(folds):
        own = served.fold(place)
        x = _inputs(own, design, fold.train)
        y = design.target[fold.train].astype(np.int64)
        radius = float(np.sqrt((x**2).sum(1).max()))
        [layer] = own.parts[0].network.linear_layers()
        first = served.folds[place] * per_fold
        for replica, course in enumerate(courses[first : first + per_fold]):
            parts = (layer.weight[replica], layer.bias[replica])
            weights = torch.cat(parts).detach().double().numpy()  # (inputs + 1, C)
            margin, size = _margin(x, y, weights), radius
            if weights.shape[1] > 2:
                size *= np.sqrt(2)
            converged = course.stopped_by == "no_mistakes" and margin > 0
            bound = (size / margin) ** 2 if margin > 0 and is_taught else None
            report.append(
                {
                    "fold": served.folds[place],
                    "updates": course.updates,
                    "epochs": course.epochs,
                    "converged": converged,
                    "margin": margin,
                    "radius": float(size),
                    "bound": None if bound is None else float(bound),
                    "summary": _summary(course, margin, float(size), bound, converged=converged),
                }
            )
    return report


def _as_taught(spec: TrainingSpec) -> bool:
    """Whether the settings are those of the rule that Novikoff's bound is about."""
    optimizer = spec.optimizer
    return (
        spec.batch_size == 1
        and (optimizer.name, optimizer.schedule, optimizer.momentum) == ("sgd", "constant", 0)
        and optimizer.gradient_clip is None
        and spec.weight_decay == 0
        and spec.class_weights is None
        and isinstance(spec.architecture, PerceptronArchitecture)
        and spec.architecture.initialization == "constant"
        and spec.early_stopping is None
    )


def _summary(
    course: Course, margin: float, radius: float, bound: float | None, *, converged: bool
) -> str:
    did = f"{course.updates:,} updates in {course.epochs:,} epochs"
    if converged:
        allows = "" if bound is None else f", which allows at most {bound:,.0f} updates"
        return (
            f"converged: {did}, then none; the training rows are separated with a margin of "
            f"{margin:.4g}{allows}"
        )
    if margin > 0:
        return f"not converged: {did}, although the weights separate the training rows"
    most = radius / max(1, course.updates or 0) ** 0.5
    return (
        f"not converged: {did}, and the weights leave training rows on the wrong side (margin "
        f"{margin:.4g}); either no plane separates them, or only one with a margin below {most:.4g}"
    )


def _inputs(own: ServedModel, design: Design, rows: NDArray[np.int64]) -> Vector:
    """(n, inputs + 1) of a fold's encoder, with a 1 for the bias."""
    numbers, codes = torch.from_numpy(design.numbers[rows]), torch.from_numpy(design.codes[rows])
    found = own.parts[0].encoder(numbers.unsqueeze(0), codes.unsqueeze(0))[0].double().numpy()
    return np.column_stack([found, np.ones(len(rows))])


def _margin(x: Vector, y: NDArray[np.int64], weights: Vector) -> float:
    """The smallest margin of rows x (n, D) of classes y (n,), in units of the weights (D, C). Of
    two classes the weights are half of their difference, as of a perceptron with one output."""
    outputs = x @ weights
    true = np.take_along_axis(outputs, y[:, None], 1)[:, 0]
    np.put_along_axis(outputs, y[:, None], -np.inf, 1)
    least = float((true - outputs.max(1)).min())
    two = weights.shape[1] == 2
    size = np.linalg.norm(weights[:, 1] - weights[:, 0]) if two else np.linalg.norm(weights)
    return least / float(size) if size > 0 else 0.0
